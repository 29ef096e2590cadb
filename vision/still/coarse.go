package still

const (
	coarseSide  = 8  // pixels of the picture in one of the coarse one
	coarseReach = 12 // coarse pixels by which two are compared
)

// coarse is a small grey copy of a picture.
type coarse struct {
	w, h int
	px   []int16
}

// shrink makes c a copy of the grey picture.
func (c *coarse) shrink(gray []byte, w, h int) {
	c.w, c.h = w/coarseSide, h/coarseSide
	if len(c.px) != c.w*c.h {
		c.px = make([]int16, c.w*c.h)
	}
	for y := range c.h {
		for x := range c.w {
			sum := 0
			for v := range coarseSide {
				row := gray[(y*coarseSide+v)*w+x*coarseSide:]
				for _, p := range row[:coarseSide] {
					sum += int(p)
				}
			}
			c.px[y*c.w+x] = int16(sum / (coarseSide * coarseSide))
		}
	}
}

// at returns the value between coarse pixels; false outside of the picture.
func (c *coarse) at(x, y float64) (v float64, ok bool) {
	if !(x >= 0 && y >= 0 && x <= float64(c.w-1) && y <= float64(c.h-1)) {
		return 0, false
	}
	x0, y0 := min(int(x), c.w-2), min(int(y), c.h-2)
	dx, dy := x-float64(x0), y-float64(y0)
	p := c.px[y0*c.w+x0:]
	top := float64(p[0])*(1-dx) + float64(p[1])*dx
	bottom := float64(p[c.w])*(1-dx) + float64(p[c.w+1])*dx
	return top*(1-dy) + bottom*dy, true
}

// shift returns by how many pixels of the picture the copy before must be read
// elsewhere to look like this one: the mean absolute difference is smallest. It
// is 0, 0 when there is no copy before.
func (c *coarse) shift(before *coarse) (dx, dy int) {
	if len(before.px) != len(c.px) || len(c.px) == 0 {
		return 0, 0
	}
	best := 1 << 30
	rx, ry := min(coarseReach, c.w/2), min(coarseReach, c.h/2)
	for oy := -ry; oy <= ry; oy++ {
		for ox := -rx; ox <= rx; ox++ {
			x0, x1 := max(0, -ox), min(c.w, c.w-ox)
			y0, y1 := max(0, -oy), min(c.h, c.h-oy)
			sum := 0
			for y := y0; y < y1; y++ {
				a, b := c.px[y*c.w+x0:y*c.w+x1], before.px[(y+oy)*c.w+x0+ox:]
				for i, v := range a {
					d := int(v - b[i])
					sum += max(d, -d)
				}
			}
			// A little more for a larger motion, so that an even picture stays.
			if cost := sum*256/((x1-x0)*(y1-y0)) + 8*(max(ox, -ox)+max(oy, -oy)); cost < best {
				best, dx, dy = cost, ox*coarseSide, oy*coarseSide
			}
		}
	}
	return dx, dy
}

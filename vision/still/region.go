package still

// finder collects neighbouring marked pixels.
type finder struct {
	w, h   int
	cw, ch int      // in cells of 2 by 2 pixels
	strict bool     // thin lines are no regions, and connect none
	count  []uint8  // marked pixels, by cell
	stack  []int32  // reused
	px     []int32  // reused
	found  []region // reused
}

// region is a connected group of pixels.
type region struct {
	px  []int32 // canvas indices; valid until the next search
	box rect
}

const reach = 2 // cells that two parts of one region may be apart

// limits returns how many pixels make a cell count, and how far apart parts of
// a region may be.
func (f *finder) limits() (pixels uint8, apart int) {
	if f.strict {
		return 3, 1
	}
	return 1, reach
}

func newFinder(w, h int) finder {
	f := finder{w: w, h: h, cw: (w + 1) / 2, ch: (h + 1) / 2}
	f.count = make([]uint8, f.cw*f.ch)
	return f
}

// regions returns the groups of at least minPixels marked pixels that are not
// skipped. It stops at limit groups.
func (f *finder) regions(marked, skip []byte, minPixels, limit int) []region {
	clear(f.count)
	some := false
	for y := range f.h {
		row, over := marked[y*f.w:(y+1)*f.w], skip[y*f.w:(y+1)*f.w]
		cells := f.count[y/2*f.cw:]
		for x, v := range row {
			if v != 0 && over[x] == 0 {
				cells[x/2]++
				some = true
			}
		}
	}
	f.found, f.px = f.found[:0], f.px[:0]
	if !some {
		return nil
	}
	pixels, _ := f.limits()
	for start := range f.count {
		if f.count[start] < max(2, pixels) || len(f.found) >= limit {
			continue
		}
		from := len(f.px)
		box := f.fill(int32(start), marked, skip)
		if len(f.px)-from < minPixels {
			f.px = f.px[:from]
			continue
		}
		f.found = append(f.found, region{px: f.px[from:len(f.px):len(f.px)], box: box})
	}
	return f.found
}

// fill takes the cells around start away and appends their marked pixels.
func (f *finder) fill(start int32, marked, skip []byte) rect {
	box := rect{f.w, f.h, 0, 0}
	pixels, apart := f.limits()
	f.stack = append(f.stack[:0], start)
	for len(f.stack) > 0 {
		c := int(f.stack[len(f.stack)-1])
		f.stack = f.stack[:len(f.stack)-1]
		if f.count[c] < pixels {
			continue
		}
		f.count[c] = 0
		cx, cy := c%f.cw, c/f.cw
		for y := 2 * cy; y < min(2*cy+2, f.h); y++ {
			for x := 2 * cx; x < min(2*cx+2, f.w); x++ {
				if i := y*f.w + x; marked[i] != 0 && skip[i] == 0 {
					f.px = append(f.px, int32(i)) //nolint:gosec // pixels fit
					box = box.union(rect{x, y, x + 1, y + 1})
				}
			}
		}
		for y := max(0, cy-apart); y <= min(f.ch-1, cy+apart); y++ {
			for x := max(0, cx-apart); x <= min(f.cw-1, cx+apart); x++ {
				if i := y*f.cw + x; f.count[i] >= pixels {
					f.stack = append(f.stack, int32(i)) //nolint:gosec // cells fit
				}
			}
		}
	}
	return box
}

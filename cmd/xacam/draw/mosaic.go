package draw

// Mosaic makes the inside of a rectangle unrecognisable, for good: it is cut
// into square blocks, at most three along its shorter side, and each gets its
// mean colour.
func (c *Canvas) Mosaic(r Rect) {
	x0, y0 := int(max(0, r.Left)), int(max(0, r.Top))
	x1, y1 := int(min(float64(c.W), r.Right+.999)), int(min(float64(c.H), r.Bottom+.999))
	if x0 >= x1 || y0 >= y1 {
		return
	}
	block := max(8, (min(x1-x0, y1-y0)+2)/3)
	for y := y0; y < y1; y += block {
		for x := x0; x < x1; x += block {
			c.level(x, y, min(x+block, x1), min(y+block, y1))
		}
	}
}

// level paints a block in its mean colour.
func (c *Canvas) level(x0, y0, x1, y1 int) {
	var sum [3]int
	for y := y0; y < y1; y++ {
		for i := 3 * (y*c.W + x0); i < 3*(y*c.W+x1); i++ {
			sum[i%3] += int(c.Pix[i])
		}
	}
	n := (x1 - x0) * (y1 - y0)
	for y := y0; y < y1; y++ {
		for i := 3 * (y*c.W + x0); i < 3*(y*c.W+x1); i++ {
			c.Pix[i] = byte(sum[i%3] / n) //nolint:gosec // a mean of bytes
		}
	}
}

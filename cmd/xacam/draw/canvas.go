// Package draw paints into BGR pictures: areas, lines and letters, all with
// smooth edges. It is plain Go, for pictures that people look at.
package draw

import (
	"image/color"
	"math"
	"slices"
)

// Point is a place in a picture, in pixels; y grows down.
type Point struct{ X, Y float64 }

// Canvas paints into a picture in packed BGR rows, in place. It is used by one
// goroutine.
type Canvas struct {
	Pix  []byte // 3×W×H bytes; the caller's
	W, H int

	steps []float32 // of one row, see scan
	cuts  []float64
}

// samples is how many lines of a pixel row are looked at.
const samples = 4

// Fill paints the inside of a polygon, by the even-odd rule. The colour is not
// premultiplied.
func (c *Canvas) Fill(pts []Point, col color.NRGBA) {
	if len(pts) < 3 || col.A == 0 {
		return
	}
	top, bottom := math.Inf(1), math.Inf(-1)
	for _, p := range pts {
		if math.IsNaN(p.X) || math.IsNaN(p.Y) {
			return
		}
		top, bottom = min(top, p.Y), max(bottom, p.Y)
	}
	if len(c.steps) < c.W+2 {
		c.steps = make([]float32, c.W+2)
	}
	whole := mixing(col)
	first, last := int(max(0, math.Floor(top))), int(min(float64(c.H), math.Ceil(bottom)))
	for y := first; y < last; y++ {
		left, right := c.scan(pts, y)
		var cover float32
		for x := left; x < right; x++ {
			cover += c.steps[x]
			c.steps[x] = 0
			p := c.Pix[3*(y*c.W+x) : 3*(y*c.W+x)+3]
			switch {
			case cover > covered:
				p[0], p[1], p[2] = whole[0][p[0]], whole[1][p[1]], whole[2][p[2]]
			case cover > 1-covered:
				c.blend(x, y, col, cover)
			}
		}
		if left < right {
			c.steps[right], c.steps[right+1] = 0, 0
		}
	}
}

// covered is from where on a pixel counts as covered as a whole: what is missing
// is the rounding of sums.
const covered = 1 - 1e-3

// scan works out how much of each pixel of a row lies inside, and returns the
// pixels that may. A pixel's cover is the sum of the steps up to it, so that the
// inside of an area costs nothing here.
func (c *Canvas) scan(pts []Point, y int) (left, right int) {
	left, right = c.W, 0
	for s := range samples {
		at := float64(y) + (float64(s)+.5)/samples
		c.cuts = c.cuts[:0]
		for i, p := range pts {
			q := pts[(i+1)%len(pts)]
			if (p.Y <= at) != (q.Y <= at) {
				c.cuts = append(c.cuts, p.X+(at-p.Y)/(q.Y-p.Y)*(q.X-p.X))
			}
		}
		slices.Sort(c.cuts)
		for i := 0; i+1 < len(c.cuts); i += 2 {
			from, to := max(0, c.cuts[i]), min(float64(c.W), c.cuts[i+1])
			if from >= to {
				continue
			}
			c.step(from, 1)
			c.step(to, -1)
			left, right = min(left, int(from)), max(right, int(math.Ceil(to)))
		}
	}
	return left, right
}

// step lets the cover change by a sample's share from x on.
func (c *Canvas) step(x, sign float64) {
	i := int(x)
	part := x - float64(i)
	c.steps[i] += float32(sign * (1 - part) / samples)
	c.steps[i+1] += float32(sign * part / samples)
}

// blend mixes a colour into a pixel; cover in [0,1] is how much of it.
func (c *Canvas) blend(x, y int, col color.NRGBA, cover float32) {
	a := cover * float32(col.A) / 255
	p := c.Pix[3*(y*c.W+x) : 3*(y*c.W+x)+3]
	p[0], p[1], p[2] = mix(p[0], col.B, a), mix(p[1], col.G, a), mix(p[2], col.R, a)
}

// mixing returns what becomes of each value of blue, green and red under a
// colour.
func mixing(col color.NRGBA) (out [3][256]byte) {
	a := float32(col.A) / 255
	for i, v := range []byte{col.B, col.G, col.R} {
		for old := range 256 {
			out[i][old] = mix(byte(old), v, a)
		}
	}
	return out
}

// mix moves a value towards another by a share in [0,1].
func mix(old, to byte, share float32) byte {
	return byte(float32(old) + share*(float32(to)-float32(old)) + .5)
}

// Rect is a rectangle in pixels.
type Rect struct{ Left, Top, Right, Bottom float64 }

// Overlaps reports whether two rectangles have an inner point in common.
func (r Rect) Overlaps(o Rect) bool {
	return r.Left < o.Right && o.Left < r.Right && r.Top < o.Bottom && o.Top < r.Bottom
}

// Box fills a rectangle with round corners.
func (c *Canvas) Box(r Rect, radius float64, col color.NRGBA) {
	radius = min(radius, (r.Right-r.Left)/2, (r.Bottom-r.Top)/2)
	if radius <= 0 {
		c.Fill([]Point{{r.Left, r.Top}, {r.Right, r.Top}, {r.Right, r.Bottom}, {r.Left, r.Bottom}}, col)
		return
	}
	const steps = 8
	var pts []Point
	for corner, p := range []Point{
		{r.Right - radius, r.Bottom - radius},
		{r.Left + radius, r.Bottom - radius},
		{r.Left + radius, r.Top + radius},
		{r.Right - radius, r.Top + radius},
	} {
		for i := range steps + 1 {
			a := (float64(corner) + float64(i)/steps) * math.Pi / 2
			pts = append(pts, Point{p.X + radius*math.Cos(a), p.Y + radius*math.Sin(a)})
		}
	}
	c.Fill(pts, col)
}

// Disc fills a circle.
func (c *Canvas) Disc(p Point, radius float64, col color.NRGBA) {
	c.Box(Rect{p.X - radius, p.Y - radius, p.X + radius, p.Y + radius}, radius, col)
}

// Line paints a segment with square ends.
func (c *Canvas) Line(p, q Point, width float64, col color.NRGBA) {
	dx, dy := q.X-p.X, q.Y-p.Y
	l := math.Hypot(dx, dy)
	if l == 0 {
		dx, l = 1, 1
	}
	dx, dy = dx/l*width/2, dy/l*width/2
	c.Fill([]Point{
		{p.X - dx - dy, p.Y - dy + dx},
		{q.X + dx - dy, q.Y + dy + dx},
		{q.X + dx + dy, q.Y + dy - dx},
		{p.X - dx + dy, p.Y - dy - dx},
	}, col)
}

// Dash paints a segment in dashes.
func (c *Canvas) Dash(p, q Point, width, dash, gap float64, col color.NRGBA) {
	l := math.Hypot(q.X-p.X, q.Y-p.Y)
	if dash <= 0 || gap <= 0 || l/(dash+gap) > 10_000 {
		return
	}
	for at := 0.0; at < l; at += dash + gap {
		end := min(at+dash, l)
		c.Line(
			Point{p.X + at/l*(q.X-p.X), p.Y + at/l*(q.Y-p.Y)},
			Point{p.X + end/l*(q.X-p.X), p.Y + end/l*(q.Y-p.Y)}, width, col,
		)
	}
}

// Hatch fills a polygon with slanted lines, spacing pixels apart.
func (c *Canvas) Hatch(pts []Point, spacing, width float64, col color.NRGBA) {
	if len(pts) < 3 || spacing < 2 {
		return
	}
	least, most := math.Inf(1), math.Inf(-1) // of x+y, along which lines follow each other
	for _, p := range pts {
		least, most = min(least, p.X+p.Y), max(most, p.X+p.Y)
	}
	if !(most-least < 1e6) {
		return
	}
	var cuts []float64
	for at := math.Ceil(least/spacing) * spacing; at < most; at += spacing {
		cuts = cuts[:0]
		for i, p := range pts {
			q := pts[(i+1)%len(pts)]
			if a, b := p.X+p.Y, q.X+q.Y; (a <= at) != (b <= at) {
				cuts = append(cuts, p.X+(at-a)/(b-a)*(q.X-p.X))
			}
		}
		slices.Sort(cuts)
		for i := 0; i+1 < len(cuts); i += 2 {
			c.Line(Point{cuts[i], at - cuts[i]}, Point{cuts[i+1], at - cuts[i+1]}, width, col)
		}
	}
}

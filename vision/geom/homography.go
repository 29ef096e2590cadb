package geom

import (
	"errors"
	"fmt"
	"math"
)

// Homography maps the picture to the ground plane. The zero value maps
// nothing: use NewHomography. Safe for concurrent use.
type Homography struct{ m [9]float64 }

// ErrCalibration is returned for point pairs that determine no mapping.
var ErrCalibration = errors.New("points determine no mapping")

// NewHomography returns the mapping that takes each of four points of the
// picture to the point of the ground, in metres, with the same index. Both
// quadrangles must be convex with the corners in the same order, no three of
// them on one line; else ErrCalibration is returned. Solved as the 8×8 system
// of Hartley and Zisserman, "Multiple View Geometry", 2nd ed., 4.1, with h₉ = 1
// after scaling both quadrangles to size 1 around their centre, where h₉ cannot
// be 0: the centre is not on the horizon.
func NewHomography(image, ground [4]Point) (Homography, error) {
	for i := range 4 {
		if !image[i].Finite() || !ground[i].Finite() {
			return Homography{}, fmt.Errorf("%w: pair %d is not finite", ErrCalibration, i+1)
		}
	}
	from, to := frameOf(image), frameOf(ground)
	if !convex(image, from) || !convex(ground, to) {
		return Homography{}, fmt.Errorf("%w: the four points must be the corners of a convex area, in order", ErrCalibration)
	}
	var a [8][9]float64
	for i := range 4 {
		p, q := from.unit(image[i]), to.unit(ground[i])
		a[2*i] = [9]float64{p.X, p.Y, 1, 0, 0, 0, -q.X * p.X, -q.X * p.Y, q.X}
		a[2*i+1] = [9]float64{0, 0, 0, p.X, p.Y, 1, -q.Y * p.X, -q.Y * p.Y, q.Y}
	}
	h, ok := solve(a)
	if !ok {
		return Homography{}, ErrCalibration
	}
	m := mul([9]float64{to.size.X, 0, to.center.X, 0, to.size.Y, to.center.Y, 0, 0, 1}, h)
	m = mul(m, [9]float64{1 / from.size.X, 0, -from.center.X / from.size.X, 0, 1 / from.size.Y, -from.center.Y / from.size.Y, 0, 0, 1})
	g := Homography{m: m}
	for i := range 4 {
		got, ok := g.Map(image[i])
		if !ok || math.Hypot(got.X-ground[i].X, got.Y-ground[i].Y) > 1e-6*(to.size.X+to.size.Y) {
			return Homography{}, fmt.Errorf("%w: too close to one line", ErrCalibration)
		}
	}
	return g, nil
}

// Map returns the ground position of p in metres, or false for a point at or
// beyond the horizon.
func (h Homography) Map(p Point) (Point, bool) {
	w := h.m[6]*p.X + h.m[7]*p.Y + h.m[8]
	if math.IsNaN(w) || w <= 1e-9 {
		return Point{}, false
	}
	q := Point{(h.m[0]*p.X + h.m[1]*p.Y + h.m[2]) / w, (h.m[3]*p.X + h.m[4]*p.Y + h.m[5]) / w}
	return q, q.Finite()
}

// IsZero reports whether h is the zero value, an uncalibrated camera.
func (h Homography) IsZero() bool { return h == Homography{} }

// frame is the position and extent of a quadrangle.
type frame struct{ center, size Point }

func frameOf(q [4]Point) frame {
	lo, hi, sum := q[0], q[0], Point{}
	for _, p := range q {
		lo = Point{min(lo.X, p.X), min(lo.Y, p.Y)}
		hi = Point{max(hi.X, p.X), max(hi.Y, p.Y)}
		sum = Point{sum.X + p.X, sum.Y + p.Y}
	}
	return frame{center: Point{sum.X / 4, sum.Y / 4}, size: Point{hi.X - lo.X, hi.Y - lo.Y}}
}

func (f frame) unit(p Point) Point {
	return Point{(p.X - f.center.X) / f.size.X, (p.Y - f.center.Y) / f.size.Y}
}

// convex reports whether the corners turn the same way everywhere, by more than
// rounding: each corner's triangle covers more than a thousandth of the box.
func convex(q [4]Point, f frame) bool {
	if f.size.X <= 0 || f.size.Y <= 0 || !f.size.Finite() || !f.center.Finite() {
		return false
	}
	turn := 0
	for i := range 4 {
		o, p, r := f.unit(q[i]), f.unit(q[(i+1)%4]), f.unit(q[(i+2)%4])
		cross := (p.X-o.X)*(r.Y-o.Y) - (p.Y-o.Y)*(r.X-o.X)
		if math.Abs(cross) < 1e-3 || turn != 0 && sign(cross) != turn {
			return false
		}
		turn = sign(cross)
	}
	return true
}

// solve runs Gauss-Jordan elimination with partial pivoting and returns the
// matrix of the mapping.
func solve(a [8][9]float64) ([9]float64, bool) {
	for c := range 8 {
		p := c
		for r := c + 1; r < 8; r++ {
			if math.Abs(a[r][c]) > math.Abs(a[p][c]) {
				p = r
			}
		}
		if d := math.Abs(a[p][c]); math.IsNaN(d) || d <= 1e-12 {
			return [9]float64{}, false
		}
		a[c], a[p] = a[p], a[c]
		for r := range 8 {
			if r == c {
				continue
			}
			f := a[r][c] / a[c][c]
			for k := c; k < 9; k++ {
				a[r][k] -= f * a[c][k]
			}
		}
	}
	h := [9]float64{8: 1}
	for i := range 8 {
		h[i] = a[i][8] / a[i][i]
	}
	return h, true
}

func mul(a, b [9]float64) (c [9]float64) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				c[3*i+j] += a[3*i+k] * b[3*k+j]
			}
		}
	}
	return c
}

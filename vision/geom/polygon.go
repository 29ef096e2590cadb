package geom

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// MaxVertices is the largest number of vertices of a polygon.
const MaxVertices = 200

// Errors of NewPolygon and NewSegment, to be tested with errors.Is.
var (
	// ErrDegenerate is returned for a polygon that encloses no area, and for
	// a segment without length.
	ErrDegenerate = errors.New("encloses no area")
	// ErrOutside is returned for a point that is not in the picture.
	ErrOutside = errors.New("outside of the picture (0 to 1)")
	// ErrSelfIntersecting is returned for a polygon whose edges meet.
	ErrSelfIntersecting = errors.New("edges cross or touch each other")
)

// minArea is the smallest area of a polygon, as a fraction of the picture: two
// pixels of a 1080p picture.
const minArea = 1e-6

// Polygon is a simple polygon. The zero value contains nothing: use NewPolygon.
// Copies share the vertices, which never change; safe for concurrent use.
type Polygon struct {
	pts    []Point
	bounds Box
}

// NewPolygon checks and copies the vertices, 3 to MaxVertices of them in either
// direction of rotation, within [0,1]. A last vertex that repeats the first is
// dropped. Errors are ErrDegenerate, ErrOutside and ErrSelfIntersecting, with
// the number of the vertex or edge, counted from 1.
func NewPolygon(pts ...Point) (Polygon, error) {
	if len(pts) > 3 && pts[0] == pts[len(pts)-1] {
		pts = pts[:len(pts)-1]
	}
	switch {
	case len(pts) < 3:
		return Polygon{}, fmt.Errorf("%w: %d points, needs at least 3", ErrDegenerate, len(pts))
	case len(pts) > MaxVertices:
		return Polygon{}, fmt.Errorf("%d points, at most %d are allowed", len(pts), MaxVertices)
	}
	g := Polygon{pts: make([]Point, len(pts))}
	for i, p := range pts {
		if !p.InPicture() {
			return Polygon{}, fmt.Errorf("point %d is %w", i+1, ErrOutside)
		}
		g.pts[i] = p.clamp()
	}
	if g.Area() < minArea {
		return Polygon{}, ErrDegenerate
	}
	if err := g.simple(); err != nil {
		return Polygon{}, err
	}
	g.bounds = Box{Min: g.pts[0], Max: g.pts[0]}
	for _, p := range g.pts {
		g.bounds.Min = Point{min(g.bounds.Min.X, p.X), min(g.bounds.Min.Y, p.Y)}
		g.bounds.Max = Point{max(g.bounds.Max.X, p.X), max(g.bounds.Max.Y, p.Y)}
	}
	return g, nil
}

// simple checks that edges meet at common vertices only.
func (g Polygon) simple() error {
	n := len(g.pts)
	for i := range n {
		a, b := g.pts[i], g.pts[(i+1)%n]
		c := g.pts[(i+2)%n]
		if a == b || orient(a, b, c) == 0 && (between(a, b, c) || between(b, c, a)) {
			return fmt.Errorf("%w: at point %d", ErrSelfIntersecting, (i+1)%n+1)
		}
		for j := i + 2; j < n; j++ {
			if i == 0 && j == n-1 {
				continue // neighbours
			}
			if meet(a, b, g.pts[j], g.pts[(j+1)%n]) {
				return fmt.Errorf("%w: edges %d and %d", ErrSelfIntersecting, i+1, j+1)
			}
		}
	}
	return nil
}

// Vertices returns a copy of the vertices.
func (g Polygon) Vertices() []Point { return slices.Clone(g.pts) }

// Bounds returns the smallest box around the polygon.
func (g Polygon) Bounds() Box { return g.bounds }

// Area returns the area as a fraction of the picture.
func (g Polygon) Area() float64 {
	var a float64
	for i, p := range g.pts {
		q := g.pts[(i+1)%len(g.pts)]
		a += p.X*q.Y - q.X*p.Y
	}
	return math.Abs(a) / 2
}

// ShareOf returns which part of the box lies in the polygon, in [0,1]. A box
// without area counts as its centre.
func (g Polygon) ShareOf(b Box) float64 {
	if len(g.pts) == 0 || !b.Min.Finite() || !b.Max.Finite() {
		return 0
	}
	if b.Area() <= 0 {
		if g.Contains(b.Center()) {
			return 1
		}
		return 0
	}
	return min(1, g.clippedArea(b)/b.Area())
}

// clippedArea cuts the polygon at each side of the box (Sutherland and Hodgman,
// 1974). Where that leaves several parts of a concave one they are joined along
// the box, by edges there and back that enclose nothing.
func (g Polygon) clippedArea(b Box) float64 {
	pts, next := slices.Clone(g.pts), make([]Point, 0, 2*len(g.pts))
	for side := range 4 {
		depth := func(p Point) float64 { // inside where it is not negative
			return [4]float64{p.X - b.Min.X, b.Max.X - p.X, p.Y - b.Min.Y, b.Max.Y - p.Y}[side]
		}
		next = next[:0]
		for i, p := range pts {
			q := pts[(i+1)%len(pts)]
			dp, dq := depth(p), depth(q)
			if dp >= 0 {
				next = append(next, p)
			}
			if (dp >= 0) != (dq >= 0) {
				k := dp / (dp - dq)
				next = append(next, Point{p.X + k*(q.X-p.X), p.Y + k*(q.Y-p.Y)})
			}
		}
		pts, next = next, pts
	}
	return Polygon{pts: pts}.Area()
}

// Contains reports whether p is inside (even-odd rule, edges half open, exact:
// of polygons that tile the picture exactly one contains p). A point beyond the
// border of the picture counts as on the border, and the right and bottom
// border belong to the picture: the foot of a person cut off by the bottom of
// the picture is in a zone that reaches down there.
func (g Polygon) Contains(p Point) bool {
	if !p.Finite() || len(g.pts) == 0 {
		return false
	}
	const last = 1 - 0x1p-53 // the largest coordinate below 1
	p = Point{min(max(p.X, 0), last), min(max(p.Y, 0), last)}
	if p.X < g.bounds.Min.X || p.X > g.bounds.Max.X || p.Y < g.bounds.Min.Y || p.Y > g.bounds.Max.Y {
		return false
	}
	in := false
	for i, j := 0, len(g.pts)-1; i < len(g.pts); j, i = i, i+1 {
		a, b := g.pts[i], g.pts[j]
		if (a.Y > p.Y) == (b.Y > p.Y) {
			continue
		}
		if a.Y > b.Y {
			a, b = b, a // one direction for both polygons that share the edge
		}
		if orient(a, b, p) > 0 { // the edge is to the right of p
			in = !in
		}
	}
	return in
}

// Distance returns how far p is from the polygon when lengths are measured in
// units of unit.X horizontally and unit.Y vertically, for example the width and
// height of the box that p is the foot of; 0 inside. A unit that is not
// positive counts as 1.
func (g Polygon) Distance(p, unit Point) float64 {
	if g.Contains(p) {
		return 0
	}
	return g.EdgeDistance(p, unit)
}

// EdgeDistance returns how far p is from the nearest edge, inside or outside, in
// the units of Distance.
func (g Polygon) EdgeDistance(p, unit Point) float64 {
	d := math.Inf(1)
	for i := range g.pts {
		d = min(d, Segment{g.pts[i], g.pts[(i+1)%len(g.pts)]}.Distance(p, unit))
	}
	return d
}

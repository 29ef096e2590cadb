// Package geom is plane geometry on normalised image coordinates: the origin is
// the top left corner, x grows to the right, y grows down, and the picture
// spans [0,1] on both axes whatever its size in pixels.
package geom

import (
	"errors"
	"fmt"
)

// Point is a position in the picture.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Box is an axis-aligned rectangle with Min inside and Max outside.
type Box struct {
	Min Point `json:"min"`
	Max Point `json:"max"`
}

// Area returns the area as a fraction of the picture.
func (b Box) Area() float64 {
	return max(0, b.Max.X-b.Min.X) * max(0, b.Max.Y-b.Min.Y)
}

// Center returns the middle of the box.
func (b Box) Center() Point { return Point{(b.Min.X + b.Max.X) / 2, (b.Min.Y + b.Max.Y) / 2} }

// IoU returns intersection over union, in [0,1]; 0 when both are empty.
func (b Box) IoU(o Box) float64 {
	w := min(b.Max.X, o.Max.X) - max(b.Min.X, o.Min.X)
	h := min(b.Max.Y, o.Max.Y) - max(b.Min.Y, o.Min.Y)
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / (b.Area() + o.Area() - w*h)
}

// Foot returns the middle of the bottom edge, where an object meets the ground.
func (b Box) Foot() Point { return Point{(b.Min.X + b.Max.X) / 2, b.Max.Y} }

// Polygon is a simple polygon. The zero value is not usable: use NewPolygon.
type Polygon struct{ pts []Point }

// ErrDegenerate is returned for a polygon that encloses no area.
var ErrDegenerate = errors.New("polygon encloses no area")

// NewPolygon checks and copies the vertices.
func NewPolygon(pts ...Point) (Polygon, error) {
	if len(pts) < 3 {
		return Polygon{}, fmt.Errorf("%w: %d vertices", ErrDegenerate, len(pts))
	}
	var a float64
	for i, p := range pts {
		q := pts[(i+1)%len(pts)]
		a += p.X*q.Y - q.X*p.Y
	}
	if a == 0 {
		return Polygon{}, ErrDegenerate
	}
	return Polygon{pts: append([]Point(nil), pts...)}, nil
}

// Contains reports whether p is inside (even-odd rule, edges half open).
func (g Polygon) Contains(p Point) bool {
	in := false
	for i, j := 0, len(g.pts)-1; i < len(g.pts); j, i = i, i+1 {
		a, b := g.pts[i], g.pts[j]
		if (a.Y > p.Y) != (b.Y > p.Y) && p.X < (b.X-a.X)*(p.Y-a.Y)/(b.Y-a.Y)+a.X {
			in = !in
		}
	}
	return in
}

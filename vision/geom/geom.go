// Package geom is plane geometry on normalised image coordinates: the origin is
// the top left corner, x grows to the right, y grows down, and the picture
// spans [0,1] on both axes whatever its size in pixels.
package geom

import "math"

// Point is a position in the picture.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Finite reports whether neither coordinate is NaN or infinite.
func (p Point) Finite() bool {
	return !math.IsNaN(p.X) && !math.IsInf(p.X, 0) && !math.IsNaN(p.Y) && !math.IsInf(p.Y, 0)
}

// Tolerance is how far outside of [0,1] a configured coordinate may lie; a
// rounded number of a drawing tool is moved onto the border.
const Tolerance = 1e-6

// InPicture reports whether p is finite and within [0,1], give or take
// Tolerance.
func (p Point) InPicture() bool {
	return p.Finite() && p.X >= -Tolerance && p.X <= 1+Tolerance && p.Y >= -Tolerance && p.Y <= 1+Tolerance
}

// clamp moves p onto the picture.
func (p Point) clamp() Point { return Point{min(max(p.X, 0), 1), min(max(p.Y, 0), 1)} }

// Box is an axis-aligned rectangle with Min inside and Max outside.
type Box struct {
	Min Point `json:"min"`
	Max Point `json:"max"`
}

// Width returns the horizontal extent as a fraction of the picture; 0 for an
// inverted box.
func (b Box) Width() float64 { return max(0, b.Max.X-b.Min.X) }

// Height returns the vertical extent as a fraction of the picture; 0 for an
// inverted box.
func (b Box) Height() float64 { return max(0, b.Max.Y-b.Min.Y) }

// Area returns the area as a fraction of the picture.
func (b Box) Area() float64 { return b.Width() * b.Height() }

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

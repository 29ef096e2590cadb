package geom

import (
	"fmt"
	"math"
)

// Segment is a straight line with two ends and a direction.
type Segment struct {
	From Point `json:"from"`
	To   Point `json:"to"`
}

// minLength is the shortest segment, as a fraction of the picture: one pixel
// of a 1080p picture.
const minLength = 1e-3

// NewSegment checks the ends. Errors are ErrOutside and ErrDegenerate.
func NewSegment(from, to Point) (Segment, error) {
	if !from.InPicture() {
		return Segment{}, fmt.Errorf("from is %w", ErrOutside)
	}
	if !to.InPicture() {
		return Segment{}, fmt.Errorf("to is %w", ErrOutside)
	}
	s := Segment{from.clamp(), to.clamp()}
	if math.Hypot(s.To.X-s.From.X, s.To.Y-s.From.Y) < minLength {
		return Segment{}, fmt.Errorf("%w: from and to are the same point", ErrDegenerate)
	}
	return s, nil
}

// Side is a side of a directed line.
type Side int8

// Sides of a line. SideA is on the left hand of someone walking in the picture
// from From to To: with y down that is above a line drawn from left to right.
const (
	SideA Side = -1
	SideB Side = 1
	OnIt  Side = 0 // exactly on the line or its extension
)

// Side returns the side of the infinite line on which p, finite, lies. The
// result is exact.
func (s Segment) Side(p Point) Side { return Side(orient(s.From, s.To, p)) } //nolint:gosec // -1, 0 or 1

// Direction says how a line was crossed.
type Direction int8

// Directions of a crossing.
const (
	NoCrossing Direction = 0
	AToB       Direction = 1
	BToA       Direction = -1
)

// String returns "a_to_b", "b_to_a" or "none".
func (d Direction) String() string {
	switch d {
	case AToB:
		return "a_to_b"
	case BToA:
		return "b_to_a"
	default:
		return "none"
	}
}

// Crosses returns in which direction the straight path from prev to now crosses
// the segment. Everything is half open and exact, so that counts add up:
//
//   - a point on the line belongs to side A: a path that ends on the line
//     coming from A does not cross, the next step to B does; touching from B
//     and going back gives two crossings that cancel out;
//   - running along the line is no crossing;
//   - a path through the common end of two joined segments crosses exactly one
//     of them;
//   - the way back crosses what the way there crossed.
//
// Points that are not finite cross nothing.
func (s Segment) Crosses(prev, now Point) Direction {
	if !prev.Finite() || !now.Finite() {
		return NoCrossing
	}
	was, is := s.Side(prev) == SideB, s.Side(now) == SideB
	if was == is {
		return NoCrossing
	}
	// The same decision for the way there and the way back, whatever the segment.
	p, q := prev, now
	if q.X < p.X || q.X == p.X && q.Y < p.Y {
		p, q = q, p
	}
	if (orient(p, q, s.From) >= 0) == (orient(p, q, s.To) >= 0) {
		return NoCrossing
	}
	if is {
		return AToB
	}
	return BToA
}

// Depth returns the distance of p from the infinite line with lengths measured
// in units of unit.X horizontally and unit.Y vertically: negative on side A,
// positive on side B. A unit that is not positive counts as 1.
func (s Segment) Depth(p, unit Point) float64 {
	f, t, q := s.From.per(unit), s.To.per(unit), p.per(unit)
	dx, dy := t.X-f.X, t.Y-f.Y
	return (dx*(q.Y-f.Y) - dy*(q.X-f.X)) / math.Hypot(dx, dy)
}

// Distance returns the distance of p from the nearest point of the segment, in
// the units of Depth.
func (s Segment) Distance(p, unit Point) float64 {
	f, t, q := s.From.per(unit), s.To.per(unit), p.per(unit)
	dx, dy := t.X-f.X, t.Y-f.Y
	u := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		u = min(max(((q.X-f.X)*dx+(q.Y-f.Y)*dy)/l, 0), 1)
	}
	return math.Hypot(q.X-f.X-u*dx, q.Y-f.Y-u*dy)
}

// per expresses p in units of unit.
func (p Point) per(unit Point) Point {
	if unit.X > 0 {
		p.X /= unit.X
	}
	if unit.Y > 0 {
		p.Y /= unit.Y
	}
	return p
}

package track

import (
	"math"
	"time"
)

const (
	strayGrace = 400 * time.Millisecond // an excursion must last this long to count
	growth     = 0.25                   // logarithmic change of both sides that is as good as a move
	anchorMean = 5                      // boxes averaged into an anchor
)

// still measures for how long an object has not moved: since it is near the
// place where it was first seen at rest, the anchor. Drift adds up because the
// anchor stays, jitter does not because a short excursion is forgiven, and an
// object that is partly hidden does not move because a move shifts both of two
// opposite edges, or scales both sides.
type still struct {
	anchor  box
	boxes   int // averaged into the anchor
	since   time.Time
	strayed time.Time // when the current excursion began
	away    bool      // there is one
}

func (s *still) begin(b box, at time.Time) { *s = still{anchor: b, boxes: 1, since: at} }

// observe takes the box detected at the given moment, not the filtered one,
// which a single outlier would move for longer; tolerance is a fraction of the
// object's size.
func (s *still) observe(b box, at time.Time, tolerance float64) {
	shift, scaled := movement(s.anchor, b)
	moved := max(shift/tolerance, scaled/growth)
	switch {
	case moved <= 1:
		s.away = false
		if s.boxes < anchorMean {
			s.boxes++
			f := 1 / float64(s.boxes)
			s.anchor.x += f * (b.x - s.anchor.x)
			s.anchor.y += f * (b.y - s.anchor.y)
			s.anchor.w += f * (b.w - s.anchor.w)
			s.anchor.h += f * (b.h - s.anchor.h)
		}
	case s.away && at.Sub(s.strayed) >= strayGrace:
		s.begin(b, at)
	case !s.away:
		s.away, s.strayed = true, at
	}
}

// movement returns how far a box has come, as a fraction of its size, and the
// logarithm of the factor by which both its sides grew or shrank.
func movement(a, b box) (shift, scaled float64) {
	dx := common(b.x-b.w/2-(a.x-a.w/2), b.x+b.w/2-(a.x+a.w/2))
	dy := common(b.y-b.h/2-(a.y-a.h/2), b.y+b.h/2-(a.y+a.h/2))
	return math.Hypot(dx, dy) / a.scale(), math.Abs(common(math.Log(b.w/a.w), math.Log(b.h/a.h)))
}

// common returns the smaller of two changes in the same direction, else 0.
func common(a, b float64) float64 {
	switch {
	case a > 0 && b > 0:
		return min(a, b)
	case a < 0 && b < 0:
		return max(a, b)
	default:
		return 0
	}
}

package track

import (
	"math"
	"time"
)

// How alike a track and a detection are.
const (
	marginSigma = 0.9  // buffer around boxes, in standard deviations of the track's place
	marginMost  = 0.45 // the largest buffer, a fraction of the object's size
	heightPower = 1.65 // a height that differs by 10 % costs 16 % of the similarity
	scorePower  = 0.3  // a score of a half costs 19 %
	lostPenalty = 0.3  // a track lost for a second costs 26 %
	scoreFloor  = 0.4  // below this a score costs no more
)

// stage says which tracks and detections are brought together.
type stage struct {
	tracks    func(*object) bool
	from, to  float64 // scores, to excluded
	minimum   float64 // least similarity
	useScores bool    // prefer detections with high scores
}

// match brings the free tracks and detections of a stage together so that the
// sum of similarities is largest.
func (t *Tracker) match(s stage, at time.Time) {
	t.rows, t.cols, t.cost = t.rows[:0], t.cols[:0], t.cost[:0]
	for _, o := range t.tracks {
		if o.hitOn != t.look && s.tracks(o) {
			t.rows = append(t.rows, o)
		}
	}
	for i := range t.dets {
		if d := &t.dets[i]; !d.taken && d.score >= s.from && d.score < s.to {
			t.cols = append(t.cols, d)
		}
	}
	if len(t.rows) == 0 || len(t.cols) == 0 {
		return
	}
	for _, o := range t.rows {
		mx, my := o.margin()
		worth := 1.0
		if o.missed > 0 {
			worth = math.Exp(-lostPenalty * at.Sub(o.seen).Seconds())
		}
		for _, d := range t.cols {
			sim := 0.0
			if o.group == d.group {
				sim = worth * similarity(o.box, d.box, mx, my)
			}
			if s.useScores && sim > 0 {
				sim *= d.weight
			}
			t.cost = append(t.cost, 1-sim)
		}
	}
	for r, c := range t.solver.Solve(t.cost, len(t.rows), len(t.cols), 1-s.minimum) {
		if c >= 0 {
			t.cols[c].taken = true
			t.rows[r].hit(t.cols[c], at, t.look, t.cfg.StillShift)
		}
	}
}

// similarity returns the overlap of two boxes, both grown by the margins (Yang
// et al. 2023, C-BIoU, with a buffer that follows the filter's uncertainty:
// small for an object seen 30 times a second, large at 3 or after a gap), less
// where the heights differ (Yang et al. 2024, Hybrid-SORT).
func similarity(a, b box, mx, my float64) float64 {
	iou := overlap(a, b, mx, my)
	if iou <= 0 {
		return 0
	}
	return iou * math.Pow(min(a.h, b.h)/max(a.h, b.h), heightPower)
}

// overlap returns the intersection over union of two boxes after each has been
// grown by the margins on both sides.
func overlap(a, b box, mx, my float64) float64 {
	if 2*math.Abs(a.x-b.x) >= a.w+b.w+4*mx || 2*math.Abs(a.y-b.y) >= a.h+b.h+4*my {
		return 0
	}
	w := min(a.x+a.w/2, b.x+b.w/2) - max(a.x-a.w/2, b.x-b.w/2) + 2*mx
	h := min(a.y+a.h/2, b.y+b.h/2) - max(a.y-a.h/2, b.y-b.h/2) + 2*my
	both := w * h
	return both / ((a.w+2*mx)*(a.h+2*my) + (b.w+2*mx)*(b.h+2*my) - both)
}

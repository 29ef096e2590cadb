package track

import (
	"math"
	"time"
)

// Limits of a leap.
const (
	leapWithin  = time.Second // since the latest detection
	leapLeast   = 0.25        // of the way expected at the speed so far
	leapMost    = 4.0         // times that way
	leapCosine  = 0.8         // of the angle between old and new direction
	leapGrowth  = 2.5         // factor by which the size may change
	leapReach   = 12.0        // sizes a second that a vehicle without a known speed may have gone
	leapFarMost = 3.0         // sizes, whatever the time
	leapLimit   = 1.0         // cost above which nothing is matched
	leapSlow    = 0.3         // sizes a second below which a direction says nothing
)

// leap matches the vehicles and the strong detections that are left over. Near
// the camera a vehicle goes further between two looks than its own length, and
// faster each time: its boxes no longer overlap, nor does the prediction. What
// remains is that it keeps its direction, that its size changes as its speed
// does, and that a match which could as well be another is none.
func (t *Tracker) leap(at time.Time) {
	t.rows, t.cols, t.cost = t.rows[:0], t.cols[:0], t.cost[:0]
	for _, o := range t.tracks {
		if o.hitOn != t.look && o.agility > 1 && at.Sub(o.seen) <= leapWithin {
			t.rows = append(t.rows, o)
		}
	}
	for i := range t.dets {
		if d := &t.dets[i]; !d.taken && d.agility > 1 && d.score >= t.cfg.HighScore {
			t.cols = append(t.cols, d)
		}
	}
	if len(t.rows) == 0 || len(t.cols) == 0 {
		return
	}
	for _, o := range t.rows {
		for _, d := range t.cols {
			t.cost = append(t.cost, o.leapCost(d, at))
		}
	}
	for r, c := range t.solver.Solve(t.cost, len(t.rows), len(t.cols), leapLimit) {
		if c < 0 || t.rivalled(r, c) {
			continue
		}
		d := t.cols[c]
		d.taken = true
		t.rows[r].restart(d, at)
		t.rows[r].hit(d, at, t.look, t.cfg.StillShift)
	}
}

// rivalled reports whether another pair with the same track or detection is
// hardly worse.
func (t *Tracker) rivalled(r, c int) bool {
	const hardly = 0.25
	own := t.cost[r*len(t.cols)+c]
	for i := range t.cols {
		if i != c && t.cost[r*len(t.cols)+i] < own+hardly {
			return true
		}
	}
	for i := range t.rows {
		if i != r && t.cost[i*len(t.cols)+c] < own+hardly {
			return true
		}
	}
	return false
}

// leapCost is how implausible it is that o is now at d: 0 is as expected, +Inf
// impossible.
func (o *object) leapCost(d *detection, at time.Time) float64 {
	forbidden := math.Inf(1)
	dt := at.Sub(o.seen).Seconds()
	growth := math.Abs(math.Log(d.box.scale() / o.found.scale()))
	if o.group != d.group || dt <= 0 || growth > math.Log(leapGrowth) {
		return forbidden
	}
	dx, dy := d.box.x-o.found.x, d.box.y-o.found.y
	way := math.Hypot(dx, dy)
	scale := max(d.box.scale(), o.found.scale())
	speed := math.Hypot(o.vx, o.vy)
	if speed < leapSlow*scale {
		reach := min(leapReach*dt, leapFarMost) * scale
		if way > reach {
			return forbidden
		}
		return .4 + .3*way/reach + .3*growth
	}
	expected := speed * dt
	cos := (dx*o.vx + dy*o.vy) / (way*speed + 1e-12)
	if cos < leapCosine || way < leapLeast*expected || way > leapMost*max(expected, scale/4) {
		return forbidden
	}
	return .3*math.Abs(math.Log(way/expected)) + 2*(1-cos) + .3*growth
}

// restart tells the filter of a leap: the object is at d with the speed that
// took it there.
func (o *object) restart(d *detection, at time.Time) {
	dt := at.Sub(o.seen).Seconds()
	centre, size := noises(d.box.scale(), 1, o.agility)
	from := o.found
	o.filter.start(d.box, centre, size)
	o.filter.x.vel, o.filter.y.vel = (d.box.x-from.x)/dt, (d.box.y-from.y)/dt
	o.filter.w.vel, o.filter.h.vel = (d.box.w-from.w)/dt, (d.box.h-from.h)/dt
}

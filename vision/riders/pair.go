package riders

import (
	"math"
	"time"

	"github.com/xacam/xacam/vision/geom"
)

// pose is how a person's box lies on a vehicle's, in heights of the vehicle's
// box, so that it stays the same while both come closer.
type pose struct {
	x, foot float64 // of the person's centre and foot from the vehicle's
	head    float64 // of the person from the vehicle's foot
	size    float64 // height of the person
	fit     float64 // how much it looks like riding, in [0,1]

	centre geom.Point // of the vehicle, in heights of the picture
	height float64    // of the vehicle, in heights of the picture
	aspect float64
}

// ramp is 0 up to a, 1 from b on, and straight between; with a > b it falls.
func ramp(v, a, b float64) float64 { return min(max((v-a)/(b-a), 0), 1) }

// poseOf compares the boxes. Seen from the front a rider sticks out of the
// vehicle by half a height, feet at two thirds of it; from the side the vehicle
// is wider and the rider in its middle. Detectors also draw vehicles with their
// riders in, as high as both. The limits leave room for that, for cameras that
// look down, and for children.
func poseOf(p, v geom.Box, aspect float64) pose {
	h := v.Height()
	vw, pw := v.Width()*aspect, p.Width()*aspect
	out := pose{
		centre: geom.Point{X: v.Center().X * aspect, Y: v.Center().Y}, height: h, aspect: aspect,
	}
	if h <= 0 || vw <= 0 || pw <= 0 || p.Height() <= 0 {
		return out
	}
	out.x = (p.Center().X - v.Center().X) * aspect / h
	out.foot = (p.Max.Y - v.Max.Y) / h
	out.head = (p.Min.Y - v.Max.Y) / h
	out.size = p.Height() / h
	common := max(0, min(p.Max.X, v.Max.X)-max(p.Min.X, v.Min.X)) * aspect / min(pw, vw)
	beside := math.Abs(out.x) * h / max(pw, vw)
	above := (v.Min.Y - p.Min.Y) / h // the vehicle
	out.fit = ramp(common, .4, .7) * ramp(beside, .5, .25) *
		ramp(out.foot, -.95, -.7) * ramp(out.foot, .25, .1) *
		ramp(above, -.3, -.1) * ramp(above, 1.4, 1) *
		ramp(out.size, .35, .55) * ramp(out.size, 2.4, 1.9)
	return out
}

// away returns how far the person has moved on the vehicle, judging by the head
// or the feet, whichever moved less: one of them is often hidden.
func (p pose) away(o pose) float64 {
	return math.Hypot(p.x-o.x, min(math.Abs(p.head-o.head), math.Abs(p.foot-o.foot)))
}

// way returns how far the vehicle has come, nearer or farther included.
func (p pose) way(o pose) float64 {
	h := math.Sqrt(p.height * o.height)
	if h <= 0 {
		return 0
	}
	return math.Hypot(p.centre.X-o.centre.X, p.centre.Y-o.centre.Y)/h + math.Abs(math.Log(p.height/o.height))
}

// vehicleOf returns where the vehicle is, judging by the person's box, in the
// shape it had.
func (p pose) vehicleOf(person, shape geom.Box) geom.Box {
	if p.size <= 0 || p.aspect <= 0 || shape.Height() <= 0 {
		return shape
	}
	h := person.Height() / p.size
	w := h * shape.Width() / shape.Height()
	x := person.Center().X - p.x*h/p.aspect
	foot := person.Max.Y - p.foot*h
	clip := func(v float64) float64 { return min(max(v, 0), 1) }
	return geom.Box{
		Min: geom.Point{X: clip(x - w/2), Y: clip(foot - h)},
		Max: geom.Point{X: clip(x + w/2), Y: clip(foot)},
	}
}

// How evidence comes and goes.
const (
	most = 2.0 // evidence that a pair can have: how long a ride outlasts doubt

	least    = 300 * time.Millisecond // between two poses that are compared
	longest  = 2 * time.Second        // the same: a far vehicle hardly moves
	jitter   = .15                    // way that is no motion, in vehicles
	clearly  = .5                     // way that is
	slack    = .25                    // drift of a person on a vehicle that rides: boxes tremble
	sway     = .3                     // the same, for each vehicle of way
	parting  = .7                     // drift that is none of that
	parked   = time.Second            // Track.StillFor from which a vehicle does not move
	unfitted = 1.2                    // evidence lost a second while the boxes do not fit
)

// pair is a person and a vehicle.
type pair struct {
	evidence float64
	last     pose      // when both were last detected
	at       time.Time // then
	from     pose      // with which the next are compared
	since    time.Time // of from; zero before the first
	fits     float64   // sum of the fits since
	looks    float64   // number of them
}

// observe takes a scene in which both are detected. still is how long the
// vehicle has not moved.
func (p *pair) observe(at time.Time, now pose, still time.Duration) {
	gap := at.Sub(p.at)
	if p.since.IsZero() || gap > longest || gap < 0 {
		p.begin(at, now)
		return
	}
	if now.fit <= 0 {
		p.evidence -= unfitted * min(gap.Seconds(), .5)
	}
	p.last, p.at = now, at
	p.fits += now.fit
	p.looks++
	age := at.Sub(p.since)
	if age < least {
		return
	}
	way, drift := now.way(p.from), now.away(p.from)
	if way < clearly && drift < parting && age < longest {
		return // wait for more
	}
	agree := 1 - drift/(slack+sway*way)
	switch {
	case agree > 0 && still < parked:
		p.evidence += p.fits / p.looks * agree * ramp(way, jitter, clearly)
	case agree < 0:
		p.evidence += max(agree, -1) * min(1, age.Seconds())
	}
	p.evidence = min(p.evidence, most)
	p.begin(at, now)
}

// begin makes now the pose with which the next ones are compared.
func (p *pair) begin(at time.Time, now pose) {
	p.evidence = max(p.evidence, -1)
	p.last, p.at, p.from, p.since = now, at, now, at
	p.fits, p.looks = now.fit, 1
}

package track

import (
	"math"
	"time"

	"github.com/xacam/xacam/vision/geom"
)

// How objects move and how well detectors measure them. Lengths are fractions
// of the object's size (the root of its area), times are seconds. Only the
// orders of magnitude matter; see the table test for what they achieve.
const (
	centreMeasure  = 0.1  // a detected centre is off by this much
	centreWalk     = 0.2  // sway, in one second
	centrePush     = 0.74 // change of velocity, in one second
	centreVelocity = 1.8  // velocity of an object never seen before
	centreFade     = 6.0  // how long a velocity lasts
	sizeMeasure    = 0.14
	sizeWalk       = 0.2
	sizePush       = 0.5
	sizeVelocity   = 0.3
	sizeFade       = 0.5

	doubt     = 5.5 // noise of a detection whose score fell to 0 from the usual, over 1, less 1
	usualFade = 1.0 // seconds over which the usual score is taken

	trust = 0.3 // weight of the detection against the filter in the box shown

	correlated = 0.2 // seconds until a detection is new evidence
	evidence   = 0.1 // least weight of one that is not
)

// object is a track with everything the tracker knows about it.
type object struct {
	id      uint64 // 0 until confirmed
	group   int
	agility float64
	class   ballot

	filter Kalman
	box    box      // predicted; after a hit the one shown
	shown  geom.Box // of the latest scene
	posed  bool     // there was such a scene
	found  box      // as last detected
	vx, vy float64  // speed between the last two detections, a second

	score  float64 // of the latest detection
	usual  float64 // mean of late
	proof  float64 // sum of scores, see Config.ConfirmScore
	first  time.Time
	seen   time.Time
	hitOn  uint64 // number of the look with the latest detection
	missed int    // looks without a detection since
	still  still
	gone   bool
}

func (o *object) confirmed() bool { return o.id > 0 }

// noises returns the noise of centre and size for an object of the given scale;
// a detection is worse by the factor vague, and the object swifter than a person
// by the factor agility, both from 1.
func noises(scale, vague, agility float64) (centre, size noise) {
	centre = noise{
		measure: centreMeasure * scale * vague, walk: centreWalk * scale, push: centrePush * scale * agility,
		velocity: centreVelocity * scale * agility, fade: centreFade,
	}
	size = noise{
		measure: sizeMeasure * scale * vague, walk: sizeWalk * scale, push: sizePush * scale * agility,
		velocity: sizeVelocity * scale * agility, fade: sizeFade,
	}
	return centre, size
}

// begin makes o a new track, keeping its memory.
func (o *object) begin(d *detection, at time.Time, look uint64) {
	votes := o.class
	votes.reset()
	*o = object{
		group: d.group, agility: d.agility, class: votes, box: d.box, score: d.score, usual: d.score, proof: d.score,
		first: at, seen: at, hitOn: look,
	}
	o.found = d.box
	o.class.cast(d.label, d.score, 0)
	centre, size := noises(d.box.scale(), 1, d.agility)
	o.filter.start(d.box, centre, size)
	o.still.begin(d.box, at)
}

func (o *object) predict(dt float64) {
	centre, size := noises(o.box.scale(), 1, o.agility)
	o.filter.predict(dt, centre, size)
	o.box = o.filter.box()
}

// hit takes the detection matched to o. A score that falls means that the
// object is being hidden, so its box is believed less.
func (o *object) hit(d *detection, at time.Time, look uint64, tolerance float64) {
	dt := max(0, at.Sub(o.seen).Seconds())
	o.usual += (d.score - o.usual) * (1 - math.Exp(-dt/usualFade))
	vague := 1 + doubt*max(0, o.usual-d.score)/o.usual
	centre, size := noises(d.box.scale(), vague, o.agility)
	o.filter.update(d.box, centre, size)
	f := o.filter.box()
	o.box = box{
		x: f.x + trust*(d.box.x-f.x), y: f.y + trust*(d.box.y-f.y),
		w: f.w + trust*(d.box.w-f.w), h: f.h + trust*(d.box.h-f.h),
	}
	if dt > 0 {
		o.vx, o.vy = (d.box.x-o.found.x)/dt, (d.box.y-o.found.y)/dt
	}
	o.found = d.box
	o.class.cast(d.label, d.score, dt)
	o.proof += d.score * (evidence + (1-evidence)*min(1, dt/correlated))
	o.score, o.seen, o.hitOn, o.missed = d.score, at, look, 0
	o.still.observe(d.box, at, tolerance)
}

// rest says that the picture has not changed until the given moment.
func (o *object) rest(at time.Time, look uint64) {
	centre, size := noises(o.box.scale(), 1, o.agility)
	o.filter.rest(centre, size)
	if o.missed == 0 && o.confirmed() {
		o.seen, o.hitOn = at, look
	}
}

// margin returns by how much the object may be away from where it is thought
// to be, in both directions.
func (o *object) margin() (x, y float64) {
	limit := marginMost * o.box.scale()
	return min(marginSigma*math.Sqrt(o.filter.x.pp), limit), min(marginSigma*math.Sqrt(o.filter.y.pp), limit)
}

package track

import (
	"math"

	"github.com/xacam/xacam/vision/geom"
)

// Kalman is a constant-velocity Kalman filter over a box: centre x and y, width
// and height, and the velocity of each, eight values in all. Noise of one
// coordinate never depends on another, so the 8×8 covariance is four 2×2 blocks
// and the filter is four small ones; the result is that of the full matrices.
//
// Velocity is an Ornstein–Uhlenbeck process: it dies down with a time constant,
// so that an object out of sight does not fly away. All noise is per second,
// hence one step of 0.2 s is as good as six of 1/30 s.
type Kalman struct {
	x, y, w, h axis
}

// axis is one coordinate with its velocity.
type axis struct {
	pos, vel   float64
	pp, pv, vv float64 // covariance
}

// noise describes how a coordinate moves and how well it is measured.
type noise struct {
	measure  float64 // standard deviation of a measurement
	walk     float64 // of the position after one second, velocity aside
	push     float64 // of the velocity after one second
	velocity float64 // of the velocity at first sight
	fade     float64 // time constant of the velocity in seconds, above 0
}

// minSide is the shortest side of a box, a ten-thousandth of the picture's
// height.
const minSide = 1e-4

// box is centre and size; x is stretched by the picture's aspect so that a unit
// is the picture's height in both directions.
type box struct{ x, y, w, h float64 }

func newBox(b geom.Box, aspect float64) box {
	return box{
		x: (b.Min.X + b.Max.X) / 2 * aspect, y: (b.Min.Y + b.Max.Y) / 2,
		w: (b.Max.X - b.Min.X) * aspect, h: b.Max.Y - b.Min.Y,
	}
}

// geom returns the box clipped to the picture.
func (b box) geom(aspect float64) geom.Box {
	clip := func(v float64) float64 { return min(1, max(0, v)) }
	return geom.Box{
		Min: geom.Point{X: clip((b.x - b.w/2) / aspect), Y: clip(b.y - b.h/2)},
		Max: geom.Point{X: clip((b.x + b.w/2) / aspect), Y: clip(b.y + b.h/2)},
	}
}

// scale is the length that noise and gates are proportional to.
func (b box) scale() float64 { return math.Sqrt(b.w * b.h) }

func (k *Kalman) start(z box, centre, size noise) {
	k.x.start(z.x, centre)
	k.y.start(z.y, centre)
	k.w.start(z.w, size)
	k.h.start(z.h, size)
}

func (k *Kalman) predict(dt float64, centre, size noise) {
	k.x.predict(dt, centre)
	k.y.predict(dt, centre)
	k.w.predict(dt, size)
	k.h.predict(dt, size)
}

func (k *Kalman) update(z box, centre, size noise) {
	k.x.update(z.x, centre.measure)
	k.y.update(z.y, centre.measure)
	k.w.update(z.w, size.measure)
	k.h.update(z.h, size.measure)
}

// rest says that the object stands still where it is and may set off anew.
func (k *Kalman) rest(centre, size noise) {
	k.x.rest(centre)
	k.y.rest(centre)
	k.w.rest(size)
	k.h.rest(size)
}

// box returns the current estimate; its sides are at least minSide.
func (k *Kalman) box() box {
	return box{k.x.pos, k.y.pos, max(minSide, k.w.pos), max(minSide, k.h.pos)}
}

func (a *axis) start(z float64, n noise) {
	*a = axis{pos: z, pp: n.measure * n.measure, vv: n.velocity * n.velocity}
}

// predict moves the estimate dt seconds on (Bar-Shalom, Li and Kirubarajan 2001,
// 6.2.2 with a decaying velocity, 8.2.2 for its exact discretisation).
func (a *axis) predict(dt float64, n noise) {
	f := math.Exp(-dt / n.fade)
	g := n.fade * (1 - f) // how far a velocity of 1 goes
	a.pos += g * a.vel
	a.vel *= f
	pp := a.pp + 2*g*a.pv + g*g*a.vv
	pv := f * (a.pv + g*a.vv)
	vv := f * f * a.vv
	q := n.push * n.push
	a.pp = pp + n.walk*n.walk*dt + q*n.fade*n.fade*max(0, dt-2*g+n.fade/2*(1-f*f))
	a.pv = pv + q*g*g/2
	a.vv = vv + q*n.fade/2*(1-f*f)
}

func (a *axis) rest(n noise) {
	a.vel, a.pv, a.vv = 0, 0, n.velocity*n.velocity
}

func (a *axis) update(z, std float64) {
	s := a.pp + std*std
	kp, kv := a.pp/s, a.pv/s
	y := z - a.pos
	a.pos += kp * y
	a.vel += kv * y
	a.vv -= kv * a.pv
	a.pv *= 1 - kp
	a.pp *= 1 - kp
}

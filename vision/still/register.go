package still

import (
	"bytes"
	"math"
	"time"
)

const (
	minShare    = .3                 // of the features must agree
	maxRefine   = .03                // of the size: a larger correction needs a good share
	goodShare   = .5                 // so many are no reason to look elsewhere
	snap        = .6                 // pixels: a smaller motion of the corners is none
	steadyRun   = 8                  // so many pictures without motion in a row make a camera steady
	lostLimit   = 4 * time.Second    // longer without registering: look from here anew
	swayMemory  = 10 * time.Second   // after a motion the picture may still be off by a pixel
	refEvery    = 10 * time.Second   // a reference is replaced at least so often
	refDrift    = .05                // of the size: so does a motion since it was made
	scrollAfter = .02                // of the size: then the canvas follows
	maxTurn     = 20 * math.Pi / 180 // more is another view
	minZoom     = .7                 // so is less, or more than its inverse
	noFeatures  = 16                 // fewer say nothing
	lowContrast = time.Second        // between tries to find a reference where there are no features
	travel      = 4                  // pixels: a larger motion must show in the coarse picture too:
	betterBy    = .8                 // what does not fit there must become less than so much of it,
	sureView    = .75                // and the rest correlate
)

// projection maps pixels of a picture onto the canvas, in homogeneous
// coordinates.
type projection = [9]float64

func identity() projection { return projection{1, 0, 0, 0, 1, 0, 0, 0, 1} }

// registrar knows where on the canvas the pictures lie.
type registrar struct {
	aligner    Aligner // nil takes them as they come
	w, h       int
	to         projection // of the latest registered picture
	refAt      time.Time  // when the reference was made; zero when there is none
	refTo      projection // to when it was made
	refX, refY int        // by how many pixels the canvas has moved since
	features   int
	steady     int        // pictures in a row that lay where they should
	moved      time.Time  // when one last did not
	lost       time.Time  // since when none could be registered; zero when the latest could
	guess      projection // of the latest picture, registered or not
	coarse     [2]coarse  // the latest picture and the one before
	view       coarse     // the reference
	travelled  time.Time  // when the camera last moved by more than a tremble

	newAligner func(width, height int) (Aligner, error)
	step       Aligner // from picture to picture, of a camera that moves
	stepping   bool    // step has the picture before
	all        []byte  // looks everywhere
}

// outcome says what is known of a picture's place.
type outcome uint8

const (
	placed  outcome = iota // to is right
	unknown                // say nothing of this picture
	another                // another view: begin anew
)

// place finds where the grey picture lies.
func (r *registrar) place(gray []byte, at time.Time) (outcome, error) {
	r.coarse[1], r.coarse[0] = r.coarse[0], r.coarse[1]
	r.coarse[0].shrink(gray, r.w, r.h)
	if r.aligner == nil || r.refAt.IsZero() || r.features < noFeatures {
		return placed, nil
	}
	m, share, err := r.align(gray)
	if err == nil {
		err = r.remember(gray)
	}
	if err != nil {
		return unknown, err
	}
	if share >= minShare && r.shift(m, r.to) > travel && !r.shows(m, at) {
		share = 0 // a few faint features agree by chance
	}
	if share < minShare {
		return r.fail(at), nil
	}
	r.guess = m
	if !r.plausible(m) {
		return another, nil
	}
	if r.shift(m, r.to) > travel {
		r.travelled = at
	}
	r.lost = time.Time{}
	switch {
	case r.shift(m, identity()) < snap:
		m = identity()
	case r.shift(m, r.to) < snap:
		m = r.to // rather a bit wrong than trembling
	}
	if m == r.to {
		r.steady++
	} else {
		r.to, r.steady, r.moved = m, 0, at
	}
	return placed, nil
}

// align looks where the picture before was. Of a camera that moves it first asks
// how it moved since that picture, which is easy, and takes that for the answer
// when the canvas cannot be found: what has been seen from afar, or from another
// side, may look too different.
func (r *registrar) align(gray []byte) (m projection, share float64, err error) {
	if r.steady >= steadyRun {
		return r.onCanvas(gray)
	}
	sure := 0.0
	if r.stepping {
		dx, dy := r.coarse[0].shift(&r.coarse[1])
		d, part, err := r.step.Align(gray, projection{1, 0, float64(dx), 0, 1, float64(dy), 0, 0, 1})
		if err != nil {
			return r.guess, 0, err
		}
		r.guess, sure = mulProjection(r.guess, d), part
	}
	m, share, err = r.onCanvas(gray)
	if err == nil && sure >= minShare && (share < minShare || share < goodShare && r.shift(m, r.guess) > maxRefine*float64(max(r.w, r.h))) {
		r.refAt = time.Time{} // what is seen now is the better reference
		return r.guess, sure, nil
	}
	return m, share, err
}

// onCanvas looks for the picture on the canvas, around the guess.
func (r *registrar) onCanvas(gray []byte) (m projection, share float64, err error) {
	there := projection{1, 0, float64(r.refX), 0, 1, float64(r.refY), 0, 0, 1}
	back := projection{1, 0, float64(-r.refX), 0, 1, float64(-r.refY), 0, 0, 1}
	m, share, err = r.aligner.Align(gray, mulProjection(there, r.guess))
	return mulProjection(back, m), share, err
}

// remember keeps the picture to compare the next one with, where that is needed.
func (r *registrar) remember(gray []byte) (err error) {
	r.stepping = false
	if r.aligner == nil || r.steady >= steadyRun {
		return nil
	}
	if r.step == nil {
		if r.step, err = r.newAligner(r.w, r.h); err != nil {
			return err
		}
		r.all = bytes.Repeat([]byte{255}, r.w*r.h)
	}
	n, err := r.step.Reference(gray, r.all)
	r.stepping = n >= noFeatures
	return err
}

// travels reports whether the camera has moved by more than a tremble lately.
func (r *registrar) travels(at time.Time) bool {
	return !r.travelled.IsZero() && at.Sub(r.travelled) < swayMemory
}

// shows reports whether the coarse picture lies rather there than where the
// picture before lay; of a camera that has not moved so far, clearly rather, and
// without doubt.
func (r *registrar) shows(m projection, at time.Time) bool {
	there, here := r.likeness(m), r.likeness(r.to)
	if r.travels(at) {
		return there >= here
	}
	return there >= sureView && 1-there <= betterBy*(1-here)
}

// likeness correlates the picture, if it lies there, with the reference, both
// coarse, in [-1,1]; 0 without texture or a common part.
func (r *registrar) likeness(m projection) float64 {
	back := invertProjection(m)
	var n, sa, sb, saa, sbb, sab float64
	for y := range r.view.h {
		for x := range r.view.w {
			u, v := mapPoint(back, (float64(x)+.5)*coarseSide-float64(r.refX), (float64(y)+.5)*coarseSide-float64(r.refY))
			b, ok := r.coarse[0].at(u/coarseSide-.5, v/coarseSide-.5)
			if !ok {
				continue
			}
			a := float64(r.view.px[y*r.view.w+x])
			n, sa, sb, saa, sbb, sab = n+1, sa+a, sb+b, saa+a*a, sbb+b*b, sab+a*b
		}
	}
	if 2*n < float64(len(r.view.px)) || n == 0 {
		return 0
	}
	va, vb := saa/n-sa/n*sa/n, sbb/n-sb/n*sb/n
	if va < 1 || vb < 1 {
		return 0
	}
	return (sab/n - sa/n*sb/n) / math.Sqrt(va*vb)
}

// fail handles a picture in which the features are not found. Of a camera that
// does not move it is the light, or somebody stands before it; else nobody knows.
func (r *registrar) fail(at time.Time) outcome {
	if r.steady >= steadyRun {
		return placed
	}
	if !r.travels(at) {
		r.guess = r.to // what seems to move may be a car that fills the picture
		r.moved = at   // by a few pixels, perhaps
		return placed
	}
	if r.lost.IsZero() {
		r.lost = at
	}
	if at.Sub(r.lost) > lostLimit {
		return another
	}
	return unknown
}

// plausible reports whether the projection is that of the same view.
func (r *registrar) plausible(m projection) bool {
	zoom := math.Sqrt(math.Abs(m[0]*m[4] - m[1]*m[3]))
	if math.IsNaN(zoom) || zoom < minZoom || zoom > 1/minZoom || math.Abs(math.Atan2(m[3], m[0])) > maxTurn {
		return false
	}
	d := r.shift(m, identity())
	return !math.IsNaN(d) && d < float64(max(r.w, r.h))
}

// shift returns by how many pixels two projections differ at most, at the
// corners.
func (r *registrar) shift(m, o projection) (d float64) {
	for _, c := range [4][2]float64{{0, 0}, {float64(r.w), 0}, {0, float64(r.h)}, {float64(r.w), float64(r.h)}} {
		x0, y0 := mapPoint(m, c[0], c[1])
		x1, y1 := mapPoint(o, c[0], c[1])
		if e := math.Hypot(x1-x0, y1-y0); e > d || math.IsNaN(e) {
			d = e
		}
	}
	return d
}

// scroll returns by how many whole pixels the canvas must move to follow the
// picture; 0, 0 for not yet.
func (r *registrar) scroll() (dx, dy int) {
	cx, cy := float64(r.w)/2, float64(r.h)/2
	x, y := mapPoint(r.to, cx, cy)
	if math.Abs(x-cx) < scrollAfter*float64(r.w) && math.Abs(y-cy) < scrollAfter*float64(r.h) {
		return 0, 0
	}
	return int(math.Round(x - cx)), int(math.Round(y - cy))
}

// follow moves the canvas.
func (r *registrar) follow(dx, dy int) {
	back := projection{1, 0, float64(-dx), 0, 1, float64(-dy), 0, 0, 1}
	r.to, r.guess = mulProjection(back, r.to), mulProjection(back, r.guess)
	r.refTo = mulProjection(back, r.refTo)
	r.refX, r.refY = r.refX+dx, r.refY+dy
}

// stale reports whether a new reference is due.
func (r *registrar) stale(at time.Time) bool {
	switch {
	case r.aligner == nil:
		return false
	case r.refAt.IsZero():
		return true
	case r.features < noFeatures:
		return at.Sub(r.refAt) >= lowContrast
	}
	return at.Sub(r.refAt) >= refEvery || r.shift(r.to, r.refTo) > refDrift*float64(max(r.w, r.h))
}

// reference makes the grey canvas the reference.
func (r *registrar) reference(gray, use []byte, at time.Time) (err error) {
	r.features, err = r.aligner.Reference(gray, use)
	r.refAt, r.refTo, r.refX, r.refY = at, r.to, 0, 0
	r.view.shrink(gray, r.w, r.h)
	return err
}

// sways reports whether the camera has moved lately.
func (r *registrar) sways(at time.Time) bool {
	return !r.moved.IsZero() && at.Sub(r.moved) < swayMemory
}

func mapPoint(m projection, x, y float64) (u, v float64) {
	w := m[6]*x + m[7]*y + m[8]
	if w <= 1e-9 {
		return math.NaN(), math.NaN()
	}
	return (m[0]*x + m[1]*y + m[2]) / w, (m[3]*x + m[4]*y + m[5]) / w
}

func mulProjection(a, b projection) (c projection) {
	for i := range 3 {
		for j := range 3 {
			c[3*i+j] = a[3*i]*b[j] + a[3*i+1]*b[3+j] + a[3*i+2]*b[6+j]
		}
	}
	if c[8] != 0 {
		for i := range c {
			c[i] /= c[8]
		}
	}
	return c
}

// invertProjection returns the inverse, or the identity of what has none.
func invertProjection(m projection) projection {
	c := projection{
		m[4]*m[8] - m[5]*m[7], m[2]*m[7] - m[1]*m[8], m[1]*m[5] - m[2]*m[4],
		m[5]*m[6] - m[3]*m[8], m[0]*m[8] - m[2]*m[6], m[2]*m[3] - m[0]*m[5],
		m[3]*m[7] - m[4]*m[6], m[1]*m[6] - m[0]*m[7], m[0]*m[4] - m[1]*m[3],
	}
	if c[8] == 0 || math.IsNaN(c[8]) {
		return identity()
	}
	for i := range c[:8] {
		c[i] /= c[8]
	}
	c[8] = 1
	return c
}

package still

import (
	"math"
	"time"

	"github.com/xacam/xacam/vision"
)

type state uint8

const (
	candidate state = iota // seen, not believed yet
	believed               // reported
	standing               // the object of a track that is not found any more: not reported
)

const (
	confirmLooks  = 2
	confirmAfter  = 300 * time.Millisecond // of what somebody was seen to leave
	doubtAfter    = 4 * time.Second        // of everything else: who stands there without being found moves
	growFor       = 5 * time.Second        // parts that show within this time belong to the thing
	goneAfter     = time.Second            // the old background must be seen for so long
	replacedAfter = 10 * time.Second
	missedAfter   = time.Second      // a candidate that is not static any more for so long is none
	doubtFor      = 30 * time.Second // a candidate that nobody can make sense of becomes background
	standingFor   = 10 * time.Minute // so does an object without a track
	awayFor       = 2 * time.Minute  // a thing that has left the picture is forgotten
	maxThings     = 128
	maxAtOnce     = 6 // more things at once are the light
)

// thing is a static change.
type thing struct {
	id    uint64 // 0 while it is not believed
	state state
	kind  vision.StillKind
	label string
	score float64
	px    []int32 // canvas indices
	look  []byte  // BGR, by px: what it looks like
	back  []byte  // BGR, by px: what is behind it
	box   rect

	found  time.Time // when it was first marked
	marked time.Time // when it was last marked, as a candidate
	grown  time.Time // when it was last clearly larger than before, as a candidate
	looks  int
	since  time.Time // when its colours first showed
	bare   time.Time // when the background was last seen there; zero when never
	seen   time.Time // when it was last visible
	gone   time.Duration
	other  time.Duration // for which something else is there
	judged time.Time
	blind  bool       // the light has changed: what is behind it must be learnt anew
	inside [3]float64 // brightness over that of its surroundings

	actor    *suspect
	near     time.Time
	left     time.Time // when the actor was first seen away from it
	pictures Pictures
}

func (t *thing) reported() bool { return t.state == believed }

// shift moves the thing with the canvas; false when it has left it.
func (t *thing) shift(f *field, dx, dy int) bool {
	px, look, back := t.px[:0], t.look[:0], t.back[:0]
	t.box = rect{f.w, f.h, 0, 0}
	for k, i := range t.px {
		x, y := int(i)%f.w-dx, int(i)/f.w-dy
		if x < 0 || y < 0 || x >= f.w || y >= f.h {
			continue
		}
		px = append(px, int32(y*f.w+x)) //nolint:gosec // pixels fit
		if t.look != nil {
			look, back = append(look, t.look[3*k:3*k+3]...), append(back, t.back[3*k:3*k+3]...)
		}
		t.box = t.box.union(rect{x, y, x + 1, y + 1})
	}
	whole := len(px) > 0 && len(px)*2 >= len(t.px)
	t.px, t.look, t.back = px, look, back
	return whole
}

// own marks the pixels of things.
func (f *field) own() {
	clear(f.owned)
	for _, t := range f.things {
		if t.state != candidate {
			for _, i := range t.px {
				f.owned[i] = 255
			}
		}
	}
}

// followThings looks whether the known things are still there.
func (f *field) followThings(at time.Time, dt time.Duration, who *witnesses) {
	kept := f.things[:0]
	for _, t := range f.things {
		if t.state == candidate || f.stays(t, at, dt, who) {
			kept = append(kept, t)
		}
	}
	clear(f.things[len(kept):])
	f.things = kept
	f.own()
}

// stays brings a thing up to date; false when it is gone.
func (f *field) stays(t *thing, at time.Time, dt time.Duration, who *witnesses) bool {
	if t.actor != nil && t.actor.who.near(f.world(t.box), nearMargin) {
		t.near = at
	}
	if t.actor != nil && t.left.IsZero() {
		t.left = t.actor.who.leftAt(f.world(t.box), t.actor.contact.at)
	}
	if t.blind {
		return f.resume(t, at)
	}
	n, same, bare := f.compare(t)
	if n*3 < len(t.px) { // somebody stands before it, or it is out of the picture
		return at.Sub(t.seen) < awayFor || f.outside[t.px[len(t.px)/2]] == 0
	}
	switch {
	case 2*same >= n && same > bare:
		t.seen, t.gone, t.other = at, 0, 0
		f.follow(t)
	case 10*bare >= 6*n:
		if t.gone += dt; t.gone >= goneAfter {
			return false
		}
	default:
		t.gone = 0
		if t.other += dt; t.other >= replacedAfter && !f.replace(t, at) {
			return false
		}
	}
	if t.state == standing {
		return f.stillStanding(t, at, who)
	}
	return true
}

// nearMargin is how close an actor is near, in its own sizes.
const nearMargin = .2

// compare counts the pixels of the thing that can be seen, those of them that
// look like the thing, and those that look like what was behind it.
func (f *field) compare(t *thing) (n, same, bare int) {
	for k, i := range t.px {
		if f.hidden[i] != 0 {
			continue
		}
		n++
		p := f.img[3*i:]
		a, b := distance(p, t.look[3*k:]), distance(p, t.back[3*k:])
		switch {
		case a <= f.noise && a <= b:
			same++
		case b <= f.noise:
			bare++
		case b < a/2:
			bare++
		}
	}
	return n, same, bare
}

// follow lets the thing's look follow slow light, and what is behind it too.
func (f *field) follow(t *thing) {
	if f.nudged.IsZero() {
		return
	}
	for k, i := range t.px {
		if f.hidden[i] == 0 && distance(f.img[3*i:], t.look[3*k:]) <= f.noise {
			approach(t.look[3*k:3*k+3], f.img[3*i:3*i+3])
		}
	}
}

// replace takes over what lies there instead of the thing, if it is settled.
func (f *field) replace(t *thing, at time.Time) bool {
	settle := uint16(f.cfg.Settle.Milliseconds()) //nolint:gosec // checked
	n := 0
	for _, i := range t.px {
		if f.held[i] >= settle {
			n++
		}
	}
	if 10*n < 6*len(t.px) {
		return t.other < awayFor
	}
	for k, i := range t.px {
		copy(t.look[3*k:3*k+3], f.short[3*i:3*i+3])
	}
	t.other, t.seen = 0, at
	return true
}

// resume goes on with a thing after the light has changed: when it stands out
// from its surroundings as it did before, it is still there.
func (f *field) resume(t *thing, at time.Time) bool {
	if at.Before(f.calm) {
		return true
	}
	now, ok := f.contrast(t, f.short)
	if !ok {
		return at.Sub(t.seen) < awayFor
	}
	for c := range 3 {
		if math.Abs(now[c]-t.inside[c]) > .15+.5*math.Abs(t.inside[c]) {
			return false
		}
	}
	var was, is [3]float64
	for k, i := range t.px {
		for c := range 3 {
			was[c] += float64(t.look[3*k+c])
			is[c] += float64(f.short[int(3*i)+c])
		}
	}
	for k, i := range t.px {
		for c := range 3 {
			t.back[3*k+c] = byte(min(255, float64(t.back[3*k+c])*is[c]/max(1, was[c])))
			t.look[3*k+c] = f.short[int(3*i)+c]
			f.long[int(3*i)+c] = t.back[3*k+c]
		}
		f.known[i] = longCap
	}
	t.blind, t.seen, t.gone, t.other = false, at, 0, 0
	return true
}

// contrast returns how much brighter the thing is than its surroundings, as the
// logarithm of the ratio by channel; false when too little of either is seen.
func (f *field) contrast(t *thing, img []byte) (out [3]float64, ok bool) {
	var in, ring [3]float64
	ni, nr := 0, 0
	for _, i := range t.px {
		if f.hidden[i] == 0 {
			ni++
			for c := range 3 {
				in[c] += float64(img[int(3*i)+c])
			}
		}
	}
	for y := max(0, t.box.y0-4); y < min(f.h, t.box.y1+4); y++ {
		for x := max(0, t.box.x0-4); x < min(f.w, t.box.x1+4); x++ {
			if x >= t.box.x0 && x < t.box.x1 && y >= t.box.y0 && y < t.box.y1 {
				continue
			}
			if i := y*f.w + x; f.hidden[i] == 0 {
				nr++
				for c := range 3 {
					ring[c] += float64(img[3*i+c])
				}
			}
		}
	}
	if ni*2 < len(t.px) || nr < 8 {
		return out, false
	}
	for c := range 3 {
		out[c] = math.Log((in[c]/float64(ni) + 4) / (ring[c]/float64(nr) + 4))
	}
	return out, true
}

// stillStanding decides what becomes of an object that lost its track: when the
// same object is seen elsewhere, it has left something of its size behind.
func (f *field) stillStanding(t *thing, at time.Time, who *witnesses) bool {
	if at.Sub(t.found) > standingFor {
		f.absorb(t.px)
		return false
	}
	if at.Sub(t.judged) >= 2*time.Second {
		t.judged = at
		if r := f.world(t.box); !who.lostBefore(r) && who.occupant(r) == wentAway && t.kind == vision.StillAdded {
			f.believe(t, at, who)
		}
	}
	return true
}

// world returns a canvas box in the pixels of the first canvas.
func (f *field) world(r rect) rect {
	return rect{r.x0 + f.offX, r.y0 + f.offY, r.x1 + f.offX, r.y1 + f.offY}
}

// absorb makes what is static there the background.
func (f *field) absorb(px []int32) {
	for _, i := range px {
		if f.held[i] > 0 {
			copy(f.long[3*i:3*i+3], f.short[3*i:3*i+3])
			f.known[i] = max(f.held[i], minKnown)
		} else {
			f.known[i] = 0
		}
	}
}

// describe returns what a scene says of the thing.
func (f *field) describe(t *thing) vision.Still {
	s := vision.Still{
		ID: t.id, Kind: t.kind, Label: t.label, Box: f.inPicture(t.box), Area: float64(len(t.px)) / float64(f.w*f.h),
		Score: t.score, Since: t.since, Seen: t.seen,
	}
	if t.actor != nil {
		c := t.actor.contact
		s.Actor = &vision.Actor{
			Track: c.track, Label: t.actor.who.label, Box: c.box, Contact: c.at, Near: t.near, Left: t.left, Score: min(1, t.actor.score),
		}
		if o := t.actor.who; o.here {
			s.Actor.Current = o.ids[len(o.ids)-1]
		}
	}
	return s
}

package reid

import (
	"math"
	"slices"

	"github.com/xacam/xacam/vision/geom"
)

// How far an object may have come unseen, and how much larger or smaller it may
// look then. Lengths are in sizes of the object, the root of its box's area: of a
// person that is a good metre.
const (
	usualAspect = 16.0 / 9 // of a picture whose size is not known

	reach   = 1.0 // sizes, at once: the box of who is half hidden ends elsewhere
	speed   = 2.5 // sizes a second: a person who runs
	resize  = 1.6 // factor by which the size may differ at once
	growth  = .15 // logarithm of the factor for each second more
	resized = 3.0 // factor that is the most
)

// reachable reports whether an object in the box a can be in the box b so many
// seconds later.
func reachable(a, b geom.Box, seconds, aspect float64) bool {
	sa, sb := sizeOf(a, aspect), sizeOf(b, aspect)
	if sa <= 0 || sb <= 0 || seconds < 0 {
		return false
	}
	if math.Abs(math.Log(sa/sb)) > min(math.Log(resize)+growth*seconds, math.Log(resized)) {
		return false
	}
	p, q := a.Center(), b.Center()
	return math.Hypot((p.X-q.X)*aspect, p.Y-q.Y) <= (reach+speed*seconds)*max(sa, sb)
}

// sizeOf returns the root of the box's area, in heights of the picture.
func sizeOf(b geom.Box, aspect float64) float64 {
	return math.Sqrt(max(0, b.Width()) * aspect * max(0, b.Height()))
}

// likeness is how alike a new track and an object are.
type likeness struct {
	who *identity
	sim float64
}

// call is what is known of one new track.
type call struct {
	who      *newcomer
	all      []likeness // objects that it may be; without crops of it their similarity is -1
	best     *identity  // the one that it is by all that is known of itself; nil for none
	sim      float64    // of best
	hopeless bool       // it is none of them, and more crops would not change that
}

// far is how much less alike than needed a track looks in one crop that is
// somebody else. Two crops are enough to say so of whoever is less alike.
const far = .15

// consider compares a new track with all objects that were not detected since it
// began.
func (k *Keeper) consider(n *newcomer, aspect float64) call {
	c := call{who: n}
	visible := -1.0 // the highest similarity to somebody who is in the picture
	top, second := -1.0, -1.0
	var best *identity
	compare := func(o *identity) {
		if o.label != n.track.Label || o.looks.crops == 0 {
			return
		}
		sim := o.looks.similarity(&n.looks)
		lost := n.first.Sub(o.seen)
		if lost <= 0 {
			visible = max(visible, sim)
			return
		}
		if lost > k.cfg.Gap || !reachable(o.box, n.track.Box, n.track.Seen.Sub(o.seen).Seconds(), aspect) {
			return
		}
		c.all = append(c.all, likeness{o, sim})
		switch {
		case sim > top || sim == top && best != nil && o.id < best.id:
			best, top, second = o, sim, top
		case sim > second:
			second = sim
		}
	}
	for _, o := range k.lost {
		compare(o)
	}
	for _, id := range k.tracked() {
		compare(k.known[id])
	}
	if best == nil || n.looks.crops == 0 {
		return c
	}
	c.hopeless = top < k.cfg.Alike-far || n.looks.crops > 1 && top < k.cfg.Alike
	if top >= k.cfg.Alike && top-second >= k.cfg.Margin && top > visible {
		c.best, c.sim = best, top
	}
	return c
}

// rivalled reports whether another new track looks hardly less like the object
// that calls[i] would be.
func (k *Keeper) rivalled(calls []call, i int) bool {
	for j := range calls {
		if j == i {
			continue
		}
		at := slices.IndexFunc(calls[j].all, func(l likeness) bool { return l.who == calls[i].best })
		if at >= 0 && calls[i].sim-calls[j].all[at].sim < k.cfg.Margin {
			return true
		}
	}
	return false
}

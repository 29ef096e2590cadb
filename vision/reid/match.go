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
	speed   = 2.0 // sizes a second: a person who walks fast
	farMost = 7.0 // sizes, whatever the time: who hides does not come far
	resize  = 1.6 // factor by which the size may differ at once
	growth  = .15 // logarithm of the factor for each second more
	resized = 2.5 // factor that is the most

	rim     = .02 // of the picture, from its border: here objects come and go
	rimMost = 3.0 // sizes: who was lost at the border comes back there, if at all
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
	limit := min(reach+speed*seconds, farMost)
	if atRim(a) || atRim(b) {
		limit = min(limit, rimMost)
	}
	p, q := a.Center(), b.Center()
	return math.Hypot((p.X-q.X)*aspect, p.Y-q.Y) <= limit*max(sa, sb)
}

// atRim reports whether the box ends at the border of the picture.
func atRim(b geom.Box) bool {
	return b.Min.X <= rim || b.Min.Y <= rim || b.Max.X >= 1-rim || b.Max.Y >= 1-rim
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

// firstCrop is how much more alike a track of one crop must look: one crop says
// less than the mean of some.
const firstCrop = .1

// far is by how much one crop of somebody else misses what is needed. Two crops
// decide.
const far = .15

// consider compares a new track with all objects that were not detected since it
// began; known are the tracker's IDs of those that it still has, ascending.
func (k *Keeper) consider(n *newcomer, known []uint64, aspect float64) call {
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
	for _, id := range known {
		compare(k.known[id])
	}
	if best == nil || n.looks.crops == 0 {
		return c
	}
	need := k.cfg.Alike
	if n.looks.crops < 2 {
		need += firstCrop
	}
	ahead := top - max(second, visible)
	if top >= need && ahead >= k.cfg.Margin {
		c.best, c.sim = best, top
	}
	c.hopeless = n.looks.crops > 1 || top < need-far || ahead < k.cfg.Margin-far
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

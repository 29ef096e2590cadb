package behaviour

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// blindAfter is the longest time between two scenes after which what was pending
// goes on; after a longer one the camera has been blind, which proves nothing.
const blindAfter = 5 * time.Second

// usualAspect is the width of a picture over its height when it is not known.
const usualAspect = 16.0 / 9

// object is something that a behaviour follows for longer than the tracker does:
// when the tracker loses it and finds it again under another ID it stays the same
// object. S is what the behaviour knows of it.
type object[S any] struct {
	name   string     // the ID of its first track, for events.Key
	track  uint64     // the ID of its latest
	former uint64     // the one before, 0 for none
	taken  time.Time  // when it was taken for the latest
	label  string     // when last detected
	class  string     // what its events call it; "" before the first one
	box    geom.Box   // when last detected
	seen   time.Time  // when last detected, later by the time in which the picture stood still
	motion geom.Point // of the centre, smoothed, in picture heights a second
	size   float64    // root of the area of the box, in picture heights, smoothed
	state  S
}

// sighting is an object that was detected in a scene.
type sighting[S any] struct {
	*object[S]
	now    *vision.Track // of the scene
	since  time.Duration // time since it was detected before; 0 for the first time
	again  bool          // it is found again, as another track
	before geom.Box      // when it was detected before; now for the first time
}

// follower keeps the objects of one behaviour.
type follower[S any] struct {
	keep  time.Duration // an object not detected for this long is forgotten
	reach float64       // a new track this close to a lost object is it, in units of its size
	grow  float64       // so much further for each second in which it was lost, up to twice reach

	aspect  float64
	last    time.Time             // of the latest scene
	objects map[uint64]*object[S] // by the ID of their latest track
	out     []sighting[S]         // reused
}

func newFollower[S any](keep time.Duration, reach, grow float64) *follower[S] {
	return &follower[S]{keep: keep, reach: reach, grow: grow, aspect: usualAspect, objects: make(map[uint64]*object[S])}
}

// observe returns the objects that were detected in the scene, in the order of
// the IDs of their tracks; the result is good until the next call. blind is how
// long the camera has been blind before, 0 when it was not: objects are then
// where they were, as far as their own clocks are concerned.
func (f *follower[S]) observe(s *vision.Scene) (seen []sighting[S], blind time.Duration) {
	if s.Aspect > 0 {
		f.aspect = s.Aspect
	}
	gap := s.At.Sub(f.last)
	if f.last.IsZero() {
		gap = 0
	}
	f.last = s.At
	if gap > blindAfter || gap < 0 {
		blind = gap
		for _, o := range f.objects {
			o.seen = o.seen.Add(gap)
		}
	}
	f.out = f.out[:0]
	for i := range s.Tracks {
		t := &s.Tracks[i]
		o, known := f.objects[t.ID]
		switch {
		case t.Coasting(s.At):
			if known && s.Held && blind == 0 { // nothing moves, so it has not left
				o.seen = o.seen.Add(gap)
			}
			continue
		case !known:
			if o = f.back(s.At, t); o == nil {
				o = f.adopt(s, t)
			}
			known = o != nil
			if !known {
				o = &object[S]{name: f.newName(t), box: t.Box, seen: s.At, size: f.sizeOf(t.Box)}
			}
			f.objects[t.ID] = o
		}
		sight := sighting[S]{object: o, now: t, since: s.At.Sub(o.seen), again: known && o.track != t.ID, before: o.box}
		f.update(o, t, s.At)
		f.out = append(f.out, sight)
	}
	maps.DeleteFunc(f.objects, func(_ uint64, o *object[S]) bool { return s.At.Sub(o.seen) > f.keep })
	return f.out, blind
}

// signal returns the signal about the object. It keeps the class of the first
// one: an event is found again by it after a blind time.
func (o *sighting[S]) signal(r *Rule, kind events.Kind, zone string, at time.Time) events.Signal {
	if o.class == "" {
		o.class = o.label
	}
	t := *o.now
	t.Label = o.class
	sig := r.signal(kind, zone, &t, at)
	sig.Key.Object = o.name
	return sig
}

// motionFade is the time over which the motion of an object is smoothed.
const motionFade = .5

func (f *follower[S]) update(o *object[S], t *vision.Track, at time.Time) {
	dt := at.Sub(o.seen).Seconds()
	if dt > 0 {
		keep := math.Exp(-dt / motionFade)
		d := f.apart(o.box.Center(), t.Box.Center())
		o.motion.X = keep*o.motion.X + (1-keep)*d.X/dt
		o.motion.Y = keep*o.motion.Y + (1-keep)*d.Y/dt
		o.size = keep*o.size + (1-keep)*f.sizeOf(t.Box)
	}
	o.track, o.label, o.box, o.seen = t.ID, t.Label, t.Box, at
}

// adopt returns the object that the new track is, or nil: the nearest one of its
// class that was lost near by and did not walk out of the picture.
func (f *follower[S]) adopt(s *vision.Scene, t *vision.Track) *object[S] {
	var found *object[S]
	best := math.Inf(1)
	foot, size := t.Box.Foot(), f.sizeOf(t.Box)
	for _, o := range f.objects {
		if !sameGroup(o.label, t.Label) || o.track == t.ID || size > 2*o.size || o.size > 2*size || f.walkedOut(o) || detected(s, o.track) {
			continue
		}
		lost := s.At.Sub(o.seen).Seconds()
		from := f.scaled(o.box.Foot())
		ahead := min(lost, 1) // further than this nobody knows
		way := geom.Segment{From: from, To: geom.Point{X: from.X + o.motion.X*ahead, Y: from.Y + o.motion.Y*ahead}}
		d := way.Distance(f.scaled(foot), geom.Point{X: o.size, Y: o.size})
		if d > min(f.reach+f.grow*lost, 2*f.reach) {
			continue
		}
		if c := cmp.Or(cmp.Compare(d, best), cmp.Compare(o.track, trackOf(found))); c < 0 {
			best, found = d, o
		}
	}
	if found != nil {
		delete(f.objects, found.track)
		found.former, found.taken = found.track, s.At
	}
	return found
}

// regret is how long a lost track may come back and have its object back, which
// another track was taken for.
const regret = 3 * time.Second

// back returns the object that was the track's own until another track took it,
// or nil.
func (f *follower[S]) back(at time.Time, t *vision.Track) *object[S] {
	for id, o := range f.objects {
		if o.former == t.ID && at.Sub(o.taken) <= regret {
			delete(f.objects, id)
			o.former = 0
			return o
		}
	}
	return nil
}

// newName returns a name that no other object has.
func (f *follower[S]) newName(t *vision.Track) string {
	id := strconv.FormatUint(t.ID, 10)
	name := id
	for n := 2; f.named(name); n++ {
		name = id + "/" + strconv.Itoa(n)
	}
	return name
}

func (f *follower[S]) named(name string) bool {
	for _, o := range f.objects {
		if o.name == name {
			return true
		}
	}
	return false
}

func trackOf[S any](o *object[S]) uint64 {
	if o == nil {
		return math.MaxUint64
	}
	return o.track
}

// rim is how close to the border of the picture a box is cut off by it, and
// leaving the least motion outwards of who leaves through it, in units of the
// object's size a second.
const (
	rim     = .012
	leaving = .2
)

// walkedOut reports whether the object was on its way out of the picture when it
// was last detected.
func (f *follower[S]) walkedOut(o *object[S]) bool {
	v := leaving * o.size
	return o.box.Min.X <= rim && o.motion.X < -v || o.box.Max.X >= 1-rim && o.motion.X > v ||
		o.box.Min.Y <= rim && o.motion.Y < -v || o.box.Max.Y >= 1-rim && o.motion.Y > v
}

// scaled returns the point in picture heights.
func (f *follower[S]) scaled(p geom.Point) geom.Point { return geom.Point{X: p.X * f.aspect, Y: p.Y} }

// apart returns the way from a to b in picture heights.
func (f *follower[S]) apart(a, b geom.Point) geom.Point {
	return geom.Point{X: (b.X - a.X) * f.aspect, Y: b.Y - a.Y}
}

// sizeOf returns the size of an object: the root of the area of its box, in
// picture heights.
func (f *follower[S]) sizeOf(b geom.Box) float64 {
	return max(math.Sqrt(b.Width()*f.aspect*b.Height()), 1e-6)
}

// stride is what a walk is told of a detection.
type stride struct {
	way  geom.Point    // of the foot since the detection before, in picture heights
	size float64       // of the object now, in picture heights
	dt   time.Duration // since the detection before
}

// sight returns the step to the detection; it must be called once for each.
func (f *follower[S]) sight(o *sighting[S]) stride {
	return stride{way: f.apart(o.before.Foot(), o.box.Foot()), size: f.sizeOf(o.box), dt: o.since}
}

// walk is how the foot of an object has moved. Places are in units of its own
// size as it was at each of them, so that ways can be compared while the object
// grows or shrinks in the picture.
type walk struct {
	size  float64    // when last detected, in picture heights; 0 before the first time
	place geom.Point // the sum of all ways
	speed geom.Point // in sizes a second, smoothed
}

// maxJump is by how much, in sizes and as a share of itself, a step may differ
// from what the speed lets expect.
const maxJump = .6

// step takes a detection and reports whether the object jumped there, or has
// changed over from another one, so that what is known of its way is of no use.
func (w *walk) step(s stride, broken bool) (jump bool) {
	size := w.size
	w.size = s.size
	if size == 0 || s.dt <= 0 {
		return broken
	}
	mean, dt := (size+s.size)/2, s.dt.Seconds() // there and back again is no way
	x, y := s.way.X/mean, s.way.Y/mean
	w.place.X, w.place.Y = w.place.X+x, w.place.Y+y
	off := math.Hypot(x-w.speed.X*dt, y-w.speed.Y*dt)
	switch {
	case broken: // how it got there nobody saw
		w.speed = geom.Point{}
		return true
	case off > max(maxJump, maxJump*math.Hypot(x, y)):
		w.speed = geom.Point{X: x / dt, Y: y / dt}
		return true
	}
	w.speed = geom.Point{X: (w.speed.X + x/dt) / 2, Y: (w.speed.Y + y/dt) / 2}
	return false
}

// gathering is a state of many objects that has lasted for a while.
type gathering struct {
	since, last time.Time // it was so; zero when it is not
	peak        int       // number of objects since then
}

// step takes whether the state holds, and whether it almost does, which is
// enough once it has lasted for r.Hold, and n, the number of objects. It
// reports whether the state is to be signalled.
func (g *gathering) step(at time.Time, holds, almost bool, n int, r lifecycle.Rule) bool {
	raised := g.raised(r)
	if away := at.Sub(g.last); !g.since.IsZero() && (!raised && away > r.Miss || raised && away >= r.Clear) {
		*g, raised = gathering{}, false
	}
	if !holds && (!raised || !almost) {
		return false
	}
	if g.since.IsZero() {
		g.since = at
	}
	g.last, g.peak = at, max(g.peak, n)
	return true
}

// raised reports whether the state has lasted for r.Hold.
func (g *gathering) raised(r lifecycle.Rule) bool {
	return !g.since.IsZero() && g.last.Sub(g.since) >= r.Hold
}

// afterBlindness starts over what was pending and goes on with what was raised.
func (g *gathering) afterBlindness(gap time.Duration, r lifecycle.Rule) {
	switch {
	case g.since.IsZero():
	case gap > 0 && !g.raised(r):
		*g = gathering{}
	default:
		g.since, g.last = g.since.Add(gap), g.last.Add(gap)
	}
}

// heading says where a motion in the picture goes: "left", "right", "away" from
// the camera or "towards" it.
func heading(v geom.Point) string {
	switch {
	case math.Abs(v.X) > math.Abs(v.Y) && v.X < 0:
		return "left"
	case math.Abs(v.X) > math.Abs(v.Y):
		return "right"
	case v.Y < 0:
		return "away"
	default:
		return "towards"
	}
}

// inZone reports whether the foot of the box is in the zone; of one that was
// already, until it is clearly outside.
func inZone(z *Zone, b geom.Box, was bool) bool {
	foot := b.Foot()
	return z.Area.Contains(foot) || was && z.Area.Distance(foot, geom.Point{X: b.Width(), Y: b.Height()}) <= borderMargin
}

// vehicles are the classes that rules about traffic take for vehicles unless
// they name their own.
func vehicles() []string {
	return []string{"bicycle", "bus", "car", "motorbike", "motorcycle", "tricycle", "truck", "van"}
}

// isAbout reports whether a rule is about the class: one of its own, or of the
// usual ones of its kind when it has none.
func (r *Rule) isAbout(class string, usual []string) bool {
	return len(r.Classes) > 0 || slices.Contains(usual, class)
}

// sameGroup reports whether a detector may take the one class for the other.
func sameGroup(a, b string) bool { return a == b || groupOf(a) == groupOf(b) && groupOf(a) != 0 }

func groupOf(class string) int {
	switch class {
	case "car", "truck", "bus", "van":
		return 1
	case "bicycle", "motorcycle", "motorbike", "tricycle":
		return 2
	default:
		return 0
	}
}

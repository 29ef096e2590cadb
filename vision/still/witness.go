package still

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// mobile reports whether objects of the class move by themselves: what they
// cover is not looked at, and they can be actors.
func mobile(label string) bool {
	switch label {
	case "person", "bicycle", "car", "motorcycle", "motorbike", "bus", "truck", "train", "boat", "van", "tricycle",
		"airplane", "vehicle", "pedestrian", "cyclist", "rider",
		"bird", "cat", "dog", "horse", "sheep", "cow", "buffalo", "elephant", "bear", "pig", "chicken", "duck":
		return true
	}
	return false
}

// canAct reports whether objects of the class can put something down.
func canAct(label string) bool {
	switch label {
	case "bird", "cat", "dog", "horse", "sheep", "cow", "buffalo", "elephant", "bear", "pig", "chicken", "duck":
		return false
	}
	return mobile(label)
}

const (
	memory       = 40 * time.Second // of where tracks were
	maxSightings = 400              // of one object
	maxObjects   = 256
	rejoin       = 2 * time.Second // a new track this soon after, and
	rejoinAt     = .75             // this close to a lost one, in its widths and heights, is the same object
)

// witnesses remember where tracks were.
type witnesses struct {
	objects []*object // oldest first
	at      time.Time
}

// object is somebody or something that moves, under all IDs that it had.
type object struct {
	label string
	ids   []uint64 // in the order of time
	seen  []sighting
	first time.Time
	start rect // where it was first seen
	here  bool // detected in the latest scene
}

// sighting is a moment in which an object was detected.
type sighting struct {
	at     time.Time
	track  uint64
	canvas rect // in the pixels of the first canvas
	box    geom.Box
}

func newWitnesses() *witnesses { return &witnesses{} }

// see notes where the scene's tracks are.
func (w *witnesses) see(s *vision.Scene, f *field) {
	w.at = s.At
	for _, o := range w.objects {
		o.here = false
	}
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if !mobile(t.Label) || t.Coasting(s.At) && !s.Held {
			continue
		}
		w.note(t, s, f)
	}
	w.objects = slices.DeleteFunc(w.objects, func(o *object) bool {
		old := 0
		for old < len(o.seen) && s.At.Sub(o.seen[old].at) > memory {
			old++
		}
		if n := len(o.seen) - maxSightings; old < n {
			old = n
		}
		o.seen = append(o.seen[:0], o.seen[old:]...)
		return len(o.seen) == 0 && s.At.Sub(o.first) > memory
	})
	if n := len(w.objects) - maxObjects; n > 0 {
		w.objects = append(w.objects[:0], w.objects[n:]...)
	}
}

func (w *witnesses) note(t *vision.Track, s *vision.Scene, f *field) {
	r := f.onCanvas(t.Box)
	r = rect{r.x0 + f.offX, r.y0 + f.offY, r.x1 + f.offX, r.y1 + f.offY}
	o := w.find(t.ID)
	if o == nil {
		if o = w.lostNear(s, t.Label, r); o == nil {
			o = &object{label: t.Label, first: s.At, start: r}
			w.objects = append(w.objects, o)
		}
		o.ids = append(o.ids, t.ID)
	}
	o.label, o.here = t.Label, true
	o.seen = append(o.seen, sighting{at: s.At, track: t.ID, canvas: r, box: t.Box})
}

func (w *witnesses) find(id uint64) *object {
	for _, o := range w.objects {
		if slices.Contains(o.ids, id) {
			return o
		}
	}
	return nil
}

// lostNear returns the object of the class that was lost where the box is now,
// and is under no ID in the scene any more.
func (w *witnesses) lostNear(s *vision.Scene, label string, r rect) *object {
	var best *object
	nearest := rejoinAt
	for _, o := range w.objects {
		if o.here || o.label != label || len(o.seen) == 0 || s.At.Sub(o.seen[len(o.seen)-1].at) > rejoin {
			continue
		}
		if slices.ContainsFunc(s.Tracks, func(t vision.Track) bool {
			return !t.Coasting(s.At) && slices.Contains(o.ids, t.ID)
		}) {
			continue
		}
		l := o.seen[len(o.seen)-1].canvas
		dx := float64(l.x0+l.x1-r.x0-r.x1) / 2 / float64(max(1, l.width()))
		dy := float64(l.y1-r.y1) / float64(max(1, l.height()))
		if d := math.Hypot(dx, dy); d < nearest {
			best, nearest = o, d
		}
	}
	return best
}

const (
	touchMargin = .12 // of an object's size: so close it touches
	throwMargin = .6  // so far it can have thrown
	beforeSlack = 600 * time.Millisecond
	afterSlack  = 300 * time.Millisecond
	unseenFor   = 6 * time.Second // how far back is looked when nobody knows when the place was last bare
	minActor    = .15             // a lower score names nobody
)

// suspect is an object that may have changed a place.
type suspect struct {
	who     *object
	score   float64
	contact sighting
}

// blame returns who changed the place r, in the pixels of the first canvas,
// between the moment it was last seen bare and the moment it was first seen
// changed.
func (w *witnesses) blame(r rect, bare, changed time.Time) (suspect, bool) {
	from, to := bare.Add(-beforeSlack), changed.Add(afterSlack)
	if bare.IsZero() {
		from = changed.Add(-unseenFor)
	}
	var all []suspect
	for _, o := range w.objects {
		if !canAct(o.label) {
			continue
		}
		best, weight := 0.0, time.Duration(0)
		var last sighting
		for i, s := range o.seen {
			if s.at.Before(from) || s.at.After(to) {
				continue
			}
			q := closeness(s.canvas, r)
			if q < .1 {
				continue
			}
			if i > 0 {
				weight += min(s.at.Sub(o.seen[i-1].at), time.Second)
			}
			if best = max(best, q); q >= .6*best {
				last = s
			}
		}
		if best > 0 {
			stay := .6 + .4*min(1, weight.Seconds()/.8)
			all = append(all, suspect{who: o, score: best * stay, contact: last})
		}
	}
	if len(all) == 0 {
		all = w.unaccounted(r, from, to)
	}
	if len(all) == 0 {
		return suspect{}, false
	}
	top := slices.MaxFunc(all, func(a, b suspect) int { return cmp.Compare(a.score, b.score) })
	return top, top.score >= minActor
}

const (
	blindFor = 2500 * time.Millisecond // for which a detector may miss somebody who is there
	unsure   = .7                      // of the score of who was seen to do it
)

// unaccounted returns who may have been at the place without being detected:
// nobody vanishes or appears in the middle of the picture, so that who was lost
// by the place just before, or is found there just after, was there meanwhile.
func (w *witnesses) unaccounted(r rect, from, to time.Time) (all []suspect) {
	for _, o := range w.objects {
		if !canAct(o.label) || len(o.seen) < minTrack {
			continue
		}
		after := slices.IndexFunc(o.seen, func(s sighting) bool { return s.at.After(to) })
		before := after - 1
		if after < 0 {
			before = len(o.seen) - 1
		}
		if before >= 0 && !o.seen[before].at.Before(from) {
			continue // it was seen elsewhere
		}
		best := suspect{who: o}
		for _, i := range [2]int{before, after} {
			if i < 0 {
				continue
			}
			s := o.seen[i]
			out := s.box.Min.X < borderPart || s.box.Max.X > 1-borderPart
			if out || s.at.Before(from.Add(-blindFor)) || s.at.After(to.Add(blindFor)) {
				continue
			}
			if q := unsure * closeness(s.canvas, r); q >= best.score {
				best.score, best.contact = q, s
			}
		}
		if best.score > 0 {
			all = append(all, best)
		}
	}
	return all
}

// closeness says how well an object with the box b can reach the place r, in
// [0,1]: it touches it, and stands about where the thing stands.
func closeness(b, r rect) float64 {
	size := float64(max(b.height(), b.width(), 1))
	g := b.gap(r) / size
	if g > throwMargin {
		return 0
	}
	depth := float64(r.y1-b.y1) / size // positive: the thing is nearer to the camera
	q := math.Exp(-(depth / .45) * (depth / .45))
	if g > touchMargin {
		return q * .5 * math.Exp(-(g-touchMargin)/.15)
	}
	return q
}

// near reports whether the object is within so many of its sizes of the place
// in the latest scene.
func (o *object) near(r rect, within float64) bool {
	if !o.here || len(o.seen) == 0 {
		return false
	}
	b := o.seen[len(o.seen)-1].canvas
	return b.gap(r) <= within*float64(max(b.height(), b.width()))
}

const (
	borderPart = .015 // of the picture: who is lost this close to its border has left it
	minTrack   = 3    // sightings that make an object more than a mistake of the detector
)

// leftAt returns when the object was first seen away from the place after the
// contact, or lost at the picture's border.
func (o *object) leftAt(r rect, contact time.Time) time.Time {
	for _, s := range o.seen {
		if s.at.After(contact) && s.canvas.gap(r) > nearMargin*float64(max(s.canvas.height(), s.canvas.width())) {
			return s.at
		}
	}
	if n := len(o.seen); n > 0 && !o.here {
		if b := o.seen[n-1].box; b.Min.X < borderPart || b.Min.Y < borderPart || b.Max.X > 1-borderPart || b.Max.Y > 1-borderPart {
			return o.seen[n-1].at
		}
	}
	return time.Time{}
}

// lostBefore reports whether an object was lost where the place is, as far as
// anybody knows: what lies there may be the object itself, or a part of it.
func (w *witnesses) lostBefore(r rect) bool {
	return slices.ContainsFunc(w.objects, func(o *object) bool {
		if o.here || len(o.seen) < minTrack {
			return false
		}
		last := o.seen[len(o.seen)-1]
		b := last.box
		out := b.Min.X < borderPart || b.Max.X > 1-borderPart
		return !out && 10*last.canvas.overlap(r) >= 6*r.area()
	})
}

// own says what the place has to do with a track of the place's own size: one
// that was there and has gone elsewhere since, or that was lost there.
type own uint8

const (
	nobody    own = iota
	wentAway      // it came, and went again
	cameFrom      // it was first seen there: what changed is its own place
	lostThere     // it was lost there
)

// occupant looks for an object as large as the place that covered it.
func (w *witnesses) occupant(r rect) own {
	out := nobody
	for _, o := range w.objects {
		covered := false
		for _, s := range o.seen {
			if covers(s.canvas, r) {
				covered = true
			}
		}
		if !covered {
			continue
		}
		if last := o.seen[len(o.seen)-1].canvas; covers(last, r) || last.overlap(r)*2 > r.area() {
			return lostThere
		}
		if covers(o.start, r) {
			out = cameFrom
		} else if out == nobody {
			out = wentAway
		}
	}
	return out
}

// vehicleBegan reports whether a vehicle was first seen where the place is: it
// was parked, and what its parts uncover is the road.
func (w *witnesses) vehicleBegan(r rect) bool {
	return slices.ContainsFunc(w.objects, func(o *object) bool {
		return o.label != "person" && 10*o.start.overlap(r) >= 7*r.area()
	})
}

// covers reports whether an object with the box b hides the place and is not
// much larger.
func covers(b, r rect) bool {
	c := b.overlap(r)
	return float64(c) >= .55*float64(r.area()) && float64(c) >= .3*float64(b.area())
}

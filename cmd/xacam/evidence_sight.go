package main

import (
	"slices"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/still"
)

const (
	mostLooks    = 400                    // remembered of a camera
	mostBoxes    = 64                     // of one look
	mostPoints   = 20_000                 // of one event's track
	mostPictures = 32                     // of things whose event has not asked for them
	lookGap      = 180 * time.Millisecond // between looks of which everyone is collected
)

// sight is what evidence needs to know of one camera: its stream, what was seen
// lately, and how it is configured. It is safe for concurrent use.
type sight struct {
	plan     *plan
	deck     *deck
	separate bool              // the main stream is not the one that is looked at
	stats    func() rtsp.Stats // of the main stream
	looked   func() rtsp.Stats // of the one that is looked at; nil when that is the main one
	keep     time.Duration     // of looks

	mu       sync.Mutex
	looks    []seenLook
	followed []*following
	pictures map[string]still.Pictures // by event
	order    []string                  // of pictures, the oldest first
	skew     time.Duration             // at the last look
	skewed   time.Time                 // look at which the skew changed
}

// seenLook is what was seen in one look.
type seenLook struct {
	at    time.Time
	boxes []seenBox
	cut   bool          // there was more
	whole bool          // collected: everyone who was seen is in it
	skew  time.Duration // of the main stream's clock against that of at
	vague bool          // not everyone is known, or not when
}

// seenBox is where a track, or a thing that lies there, was.
type seenBox struct {
	id      uint64
	thing   bool
	class   string
	score   float64
	box     geom.Box
	guessed bool // predicted, not detected
}

// following collects what is seen for one event: its own objects in each look,
// and everyone now and then, so that a copy of the clip can hide the others.
type following struct {
	subject, thing uint64 // 0 for none
	looks          []seenLook
	last           time.Time // look of which everyone was collected
	own, others    int       // points
	cut            bool      // there was more than is kept
	crowded        bool      // likewise of others
}

// wants reports whether the event is about the object.
func (f *following) wants(b *seenBox) bool {
	if b.thing {
		return f.thing != 0 && b.id == f.thing
	}
	return f.subject != 0 && b.id == f.subject
}

func (f *following) add(l *seenLook) {
	everyone := !f.crowded && (f.last.IsZero() || l.at.Sub(f.last).Abs() >= lookGap)
	if everyone {
		f.others += len(l.boxes) + 1
		f.crowded = f.others > mostPoints
		everyone = !f.crowded
	}
	out := seenLook{at: l.at, whole: everyone && !l.cut && !l.vague, skew: l.skew}
	for i := range l.boxes {
		b := &l.boxes[i]
		switch {
		case f.wants(b):
			if f.own++; f.own > mostPoints {
				f.cut, out.whole = true, false
				continue
			}
		case !everyone || b.thing:
			continue
		}
		out.boxes = append(out.boxes, *b)
	}
	if everyone {
		f.last = l.at
	}
	if f.crowded && f.subject == 0 && f.thing == 0 {
		f.cut = true
	}
	if len(out.boxes) > 0 || out.whole {
		f.looks = append(f.looks, out)
	}
}

// see remembers a look. pictures may be nil.
func (s *sight) see(l *pipeline.Look, pictures func(thing uint64) (still.Pictures, bool)) {
	look := lookOf(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compare(&look)
	for _, f := range s.followed {
		f.add(&look)
	}
	old := 0
	for old < len(s.looks) && (look.at.Sub(s.looks[old].at) > s.keep || look.at.Before(s.looks[old].at)) {
		old++
	}
	old = max(old, len(s.looks)+1-mostLooks)
	s.looks = append(s.looks[:0], s.looks[old:]...)
	s.looks = append(s.looks, look)
	if pictures == nil {
		return
	}
	for i := range l.Changes {
		ev := &l.Changes[i].Event
		id := thingOf(ev)
		if ev.State != events.StateRaised || id == 0 {
			continue
		}
		if p, ok := pictures(id); ok {
			if s.pictures == nil {
				s.pictures = make(map[string]still.Pictures)
			}
			if len(s.order) >= mostPictures { // nobody has asked for the oldest, and nobody will
				delete(s.pictures, s.order[0])
				s.order = slices.Delete(s.order, 0, 1)
			}
			s.pictures[ev.ID], s.order = p, append(s.order, ev.ID)
		}
	}
}

const (
	sameSkew   = 100 * time.Millisecond  // a greater change is a clock that was set
	skewSettle = 1500 * time.Millisecond // pictures that are still on their way may be older than it
)

// compare notes by how much the clocks of both streams differ. Each may be set
// when the camera's reports come or its clock or ours is.
func (s *sight) compare(l *seenLook) {
	if s.looked == nil {
		return
	}
	l.skew = s.stats().Ahead - s.looked().Ahead
	if (l.skew - s.skew).Abs() > sameSkew {
		s.skew, s.skewed = l.skew, l.at
	}
	l.vague = l.vague || !s.skewed.IsZero() && l.at.Sub(s.skewed).Abs() < skewSettle
}

func lookOf(l *pipeline.Look) seenLook {
	sc := l.Scene
	n := min(len(sc.Tracks), mostBoxes)
	out := seenLook{at: sc.At, cut: n < len(sc.Tracks), vague: l.Tentative, boxes: make([]seenBox, 0, n+min(len(sc.Stills), mostBoxes))}
	for i := range sc.Tracks[:n] {
		t := &sc.Tracks[i]
		out.boxes = append(out.boxes, seenBox{id: t.ID, class: t.Label, score: t.Score, box: t.Box, guessed: t.Coasting(sc.At) && !sc.Held})
	}
	for i := range sc.Stills[:min(len(sc.Stills), mostBoxes)] {
		t := &sc.Stills[i]
		out.boxes = append(out.boxes, seenBox{id: t.ID, thing: true, class: t.Label, score: t.Score, box: t.Box, guessed: t.Seen.Before(sc.At)})
	}
	return out
}

// follow collects from now on what is seen of an event's objects, and what was
// seen since from.
func (s *sight) follow(ev *events.Event, from time.Time) *following {
	f := &following{thing: thingOf(ev)}
	if ev.Subject != nil {
		f.subject = ev.Subject.Track
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.looks {
		if !s.looks[i].at.Before(from) {
			f.add(&s.looks[i])
		}
	}
	s.followed = append(s.followed, f)
	return f
}

// nearLook is how far from the event a look may be that tells what its picture
// shows: a person walks a tenth of the picture meanwhile, at most.
const nearLook = 300 * time.Millisecond

// boxesAt returns what was seen in the look that is nearest to the event; nil
// when there is none near, or when not everything is known.
func (s *sight) boxesAt(ev *events.Event) *[]evidence.Box {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *seenLook
	for i := range s.looks {
		l := &s.looks[i]
		if d := l.at.Sub(ev.OccurredAt).Abs(); d <= nearLook && (best == nil || d < best.at.Sub(ev.OccurredAt).Abs()) {
			best = l
		}
	}
	if best == nil || best.cut {
		return nil
	}
	f := following{thing: thingOf(ev)}
	if ev.Subject != nil {
		f.subject = ev.Subject.Track
	}
	out := make([]evidence.Box, 0, len(best.boxes))
	for i := range best.boxes {
		b := &best.boxes[i]
		out = append(out, evidence.Box{
			Class: b.class, Box: [4]float64{b.box.Min.X, b.box.Min.Y, b.box.Max.X, b.box.Max.Y},
			Subject: f.wants(b),
		})
	}
	return &out
}

// leave ends a following and returns what was seen up to the given time.
func (s *sight) leave(f *following, to time.Time) []seenLook {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followed = slices.DeleteFunc(s.followed, func(o *following) bool { return o == f })
	out := f.looks
	for len(out) > 0 && out[len(out)-1].at.After(to) {
		out = out[:len(out)-1]
	}
	return out
}

// takePictures returns the pictures of the event's thing, once.
func (s *sight) takePictures(eventID string) (still.Pictures, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pictures[eventID]
	delete(s.pictures, eventID)
	s.order = slices.DeleteFunc(s.order, func(id string) bool { return id == eventID })
	return p, ok
}

// thingOf returns the number of the static thing that an event is about, 0 for
// none.
func thingOf(ev *events.Event) uint64 {
	thing, _ := ev.Attributes["thing"].(map[string]any)
	id, _ := thing["id"].(uint64)
	return id
}

// thingBox returns where the thing is that an event is about.
func thingBox(ev *events.Event) (geom.Box, bool) {
	thing, _ := ev.Attributes["thing"].(map[string]any)
	b, ok := thing["box"].([4]float64)
	return boxOf(b), ok
}

func boxOf(b [4]float64) geom.Box {
	return geom.Box{Min: geom.Point{X: b[0], Y: b[1]}, Max: geom.Point{X: b[2], Y: b[3]}}
}

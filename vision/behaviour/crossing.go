package behaviour

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// cutOff is where the lower edge of the picture cuts objects off: detectors end
// boxes a little above it. The real foot is out of the picture, further down.
const cutOff = .965

// An object that comes no further than the margin, because its way ends there,
// is on a side when it stays there, by a little, for a while.
const (
	settledMargin = .02 // in units of the object's own size
	settledAfter  = time.Second
	settledLooks  = 3 // looks that find it there: one that is held for long is one
)

// maxUnseen is the longest time between two detections of a track whose
// straight connection says where it went.
const maxUnseen = 5 * time.Second

// Riders and their vehicle are one object: the first of them to pass is it.
const (
	rideMemory = 3 * time.Second         // how long who was a rider still is one, and who passed has just passed
	ridersWait = 1500 * time.Millisecond // how long a rider waits for the vehicle to pass too
)

// crossings finds the objects that pass one line. A crossing counts once the foot
// of the track has passed through the line, straight from one detection to the
// next, and is then found further than the margin on the other side in two
// scenes, or in the last one before the track ends, or stays on the other side
// for a second. Hovering on the line counts nothing, and neither do predicted
// positions: a track that was hidden counts when it comes out. A track that is
// first seen on the line counts only when it crosses again. A track that begins
// where another one was lost goes on with what is known of that.
type crossings struct {
	line    geom.Segment
	margin  float64 // in units of the object's own size
	tracks  map[uint64]*walker
	waiting []rider
}

// crossed is one object that has passed the line.
type crossed struct {
	track vision.Track // when last detected; the rider where only that was seen
	class string       // of the object: the vehicle's where the track is a rider
	way   geom.Direction
	at    time.Time // when it passed; riders are told of later
	nth   int       // of the track's crossings
}

// walker is what is known of a track.
type walker struct {
	track vision.Track // when last detected
	speed geom.Point   // of the foot, a second
	side  geom.Side    // on which it was last clearly; OnIt when never
	far   geom.Side    // on which it was clearly in the latest scene, if not side
	near  geom.Side    // on which it has been, clearly or not, since
	since time.Time
	looks int // that found it on near since
	net   int // crossings of the segment since it was clearly on side, +1 a to b, -1 b to a
	count int // of crossings, to tell their events apart

	vehicle *walker        // that it rides, or rode when last; nil for none
	rode    time.Time      // when it last did
	way     geom.Direction // of the latest crossing, by itself or by a rider
	passed  time.Time      // then
}

// rider is somebody who passed and may be part of a vehicle.
type rider struct {
	w       *walker
	vehicle *walker // that it rode then; nil while that is not known
	on      *walker // that it seemed to stand on then; nil for none
	what    crossed
	until   time.Time
}

func newCrossings(line geom.Segment, margin float64) *crossings {
	return &crossings{line: line, margin: margin, tracks: make(map[uint64]*walker)}
}

// observe returns what has passed, in a stable order.
func (c *crossings) observe(s *vision.Scene) []crossed {
	var out []crossed
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Coasting(s.At) {
			continue
		}
		w := c.tracks[t.ID]
		if w == nil {
			w = c.adopt(s, t)
			c.tracks[t.ID] = w
		}
		if w.track.ID == 0 || s.At.Sub(w.track.Seen) > maxUnseen {
			side := c.clear(t, min(c.margin/2, settledMargin))
			*w = walker{track: *t, side: side, near: side, since: s.At, looks: 1, count: w.count}
		} else if c.step(w, t, s.Held) {
			out = c.pass(out, s, w)
		}
		if t.Carrier != 0 {
			w.ride(c.tracks[t.Carrier], t.Carrier, s.At)
		}
	}
	for _, id := range s.Ended {
		w := c.tracks[id]
		if w == nil {
			continue
		}
		if side := c.clear(&w.track, c.margin/2); c.through(w, side) {
			w.side = side
			out = c.pass(out, s, w)
		}
	}
	out = c.settle(out, s)
	forget(c.tracks, s)
	return out
}

// step moves w to the detected track and reports whether it has crossed.
func (c *crossings) step(w *walker, t *vision.Track, held bool) bool {
	w.net += int(c.line.Crosses(w.track.Box.Foot(), t.Box.Foot()))
	w.move(t)
	if near := c.clear(t, min(c.margin, settledMargin)); near != w.near {
		w.near, w.since, w.looks = near, t.Seen, 0
	}
	if !held {
		w.looks++
	}
	side := c.clear(t, c.margin)
	if side == geom.OnIt && t.Seen.Sub(w.since) >= settledAfter && w.looks >= settledLooks {
		side, w.far = w.near, w.near
	}
	switch {
	case side == geom.OnIt: // neither here nor there
		w.far = geom.OnIt
		return false
	case side == w.side: // here, or back again
		w.far, w.net = geom.OnIt, 0
		return false
	case w.side == geom.OnIt:
		w.side, w.far, w.net = side, geom.OnIt, 0
		return false
	case w.far != side: // for the first time
		w.far = side
		return false
	}
	crossed := c.through(w, side)
	w.side, w.far, w.net = side, geom.OnIt, 0
	return crossed
}

// move notes where the track is now and how fast it came there.
func (w *walker) move(t *vision.Track) {
	if dt := t.Seen.Sub(w.track.Seen).Seconds(); dt > 0 {
		f, g := w.track.Box.Foot(), t.Box.Foot()
		now := geom.Point{X: (g.X - f.X) / dt, Y: (g.Y - f.Y) / dt}
		if w.speed == (geom.Point{}) {
			w.speed = now
		}
		w.speed = geom.Point{X: (w.speed.X + now.X) / 2, Y: (w.speed.Y + now.Y) / 2}
	}
	w.track = *t
}

// through reports whether the way to the given side led through the segment, not
// around its end.
func (c *crossings) through(w *walker, side geom.Side) bool {
	return w.side != geom.OnIt && side == -w.side && w.net*int(side) > 0
}

// clear returns the side on which the foot is further than margin, in units of
// the box, or OnIt.
func (c *crossings) clear(t *vision.Track, margin float64) geom.Side {
	foot, unit := t.Box.Foot(), geom.Point{X: t.Box.Width(), Y: t.Box.Height()}
	d := c.line.Depth(foot, unit)
	if foot.Y >= cutOff {
		foot.Y += .2 * t.Box.Height()
		if below := c.line.Depth(foot, unit); below*d > 0 {
			d = below
		} else {
			d = 0 // only one of the two is over the line
		}
	}
	switch {
	case math.IsNaN(d) || math.Abs(d) < margin || d == 0:
		return geom.OnIt
	case d < 0:
		return geom.SideA
	default:
		return geom.SideB
	}
}

// pass adds the crossing of w to the side on which it is, unless it is part of
// one that was told of. Who may ride something waits for it.
func (c *crossings) pass(out []crossed, s *vision.Scene, w *walker) []crossed {
	way := geom.BToA
	if w.side == geom.SideB {
		way = geom.AToB
	}
	what := crossed{track: w.track, class: w.track.Label, way: way, at: s.At}
	switch {
	case w.rides(s.At):
		if !w.vehicle.justPassed(way, s.At) {
			c.waiting = append(c.waiting, rider{w, w.vehicle, nil, what, s.At.Add(ridersWait)})
		}
		return out
	case w.track.Label == classPerson:
		if near, on := c.wheels(&w.track); near {
			c.waiting = append(c.waiting, rider{w, nil, on, what, s.At.Add(ridersWait)})
			return out
		}
	}
	if w.justPassed(way, s.At) { // by its rider
		return out
	}
	return w.tell(out, what, w)
}

// tell adds a crossing of w; object is the vehicle where w rides one.
func (w *walker) tell(out []crossed, what crossed, object *walker) []crossed {
	object.way, object.passed = what.way, what.at
	w.count++
	what.nth = w.count
	return append(out, what)
}

// ride notes that w is on a vehicle, which is nil when it has ended.
func (w *walker) ride(vehicle *walker, id uint64, at time.Time) {
	if vehicle != nil {
		w.vehicle = vehicle
	}
	if w.vehicle != nil && w.vehicle.track.ID == id {
		w.rode = at
	}
}

// rides reports whether w rode something shortly before the given moment, or has
// since.
func (w *walker) rides(at time.Time) bool { return w.vehicle != nil && at.Sub(w.rode) <= rideMemory }

func (w *walker) justPassed(way geom.Direction, at time.Time) bool {
	return w.way == way && at.Sub(w.passed).Abs() <= rideMemory
}

// wheels reports whether something to ride on is behind the person's box, so
// that it is not known yet whether they belong together, and returns it when the
// person's foot is on it.
func (c *crossings) wheels(p *vision.Track) (near bool, on *walker) {
	for _, id := range slices.Sorted(maps.Keys(c.tracks)) {
		w := c.tracks[id]
		b := &w.track.Box
		if slices.Contains(ridden(), w.track.Label) && p.Seen.Sub(w.track.Seen).Abs() <= time.Second &&
			b.Min.X < p.Box.Max.X && b.Max.X > p.Box.Min.X && b.Min.Y < p.Box.Max.Y && b.Max.Y > p.Box.Min.Y {
			near = true
			if on == nil && standsOn(p, &w.track) {
				on = w
			}
		}
	}
	return near, on
}

// standsOn reports whether the person's foot is inside of the vehicle's box.
func standsOn(p, v *vision.Track) bool {
	f, b := p.Box.Foot(), &v.Box
	return f.X > b.Min.X && f.X < b.Max.X && f.Y > b.Min.Y && f.Y < b.Max.Y
}

// settle tells of those whose vehicle did not pass in time: a rider, known or by
// all appearances, stands for it, everybody else for themselves.
func (c *crossings) settle(out []crossed, s *vision.Scene) []crossed {
	keep := c.waiting[:0]
	for _, r := range c.waiting {
		ended := slices.Contains(s.Ended, r.w.track.ID)
		wait := s.At.Before(r.until) && !ended
		switch on := r.on; {
		case r.vehicle != nil:
		case r.w.rides(r.what.at):
			r.vehicle = r.w.vehicle
		case !wait && on != nil && r.w.track.Seen.Sub(on.track.Seen).Abs() <= time.Second && standsOn(&r.w.track, &on.track):
			r.vehicle = on // it has stayed on it all the time
		}
		switch {
		case r.vehicle != nil && r.vehicle.justPassed(r.what.way, r.what.at):
		case wait:
			keep = append(keep, r)
		case r.vehicle != nil:
			r.what.class = r.vehicle.track.Label
			out = r.w.tell(out, r.what, r.vehicle)
		default:
			out = r.w.tell(out, r.what, r.w)
		}
	}
	clear(c.waiting[len(keep):])
	c.waiting = keep
	return out
}

// Limits of what a new track may be: one that was lost.
const (
	adoptWithin = 1200 * time.Millisecond // since it was last detected
	adoptReach  = .7                      // from where it should be now, in units of the object's size
	adoptGrowth = 1.7                     // factor by which its height may differ
)

// adopt returns what is known of a new track: that of the nearest lost one, or
// nothing.
func (c *crossings) adopt(s *vision.Scene, t *vision.Track) *walker {
	best, from := adoptReach, uint64(0)
	for _, id := range slices.Sorted(maps.Keys(c.tracks)) {
		w := c.tracks[id]
		dt := t.Seen.Sub(w.track.Seen)
		if !alike(w.track.Label, t.Label) || dt <= 0 || dt > adoptWithin || detected(s, id) {
			continue
		}
		unit := geom.Point{X: (w.track.Box.Width() + t.Box.Width()) / 2, Y: (w.track.Box.Height() + t.Box.Height()) / 2}
		if g := math.Abs(math.Log(t.Box.Height() / w.track.Box.Height())); !(g <= math.Log(adoptGrowth)) {
			continue
		}
		f := w.track.Box.Foot()
		f.X, f.Y = f.X+w.speed.X*dt.Seconds(), f.Y+w.speed.Y*dt.Seconds()
		if d := (geom.Segment{From: f, To: f}).Distance(t.Box.Foot(), unit); d < best {
			best, from = d, id
		}
	}
	if from == 0 {
		return &walker{}
	}
	w := c.tracks[from]
	delete(c.tracks, from)
	return w
}

// alike reports whether a detector may take one class for the other.
func alike(a, b string) bool {
	if a == b {
		return true
	}
	for _, group := range [][]string{{"car", "truck", "bus"}, ridden()} {
		if slices.Contains(group, a) && slices.Contains(group, b) {
			return true
		}
	}
	return false
}

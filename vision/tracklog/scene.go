// Package tracklog keeps what a camera's tracker saw, scene by scene, in a few
// bytes a track, so that rules can be tried later on what happened: see
// vision/backtest.
//
// A Log belongs to one process and writes; each camera's analysis adds its scenes
// to a Tape. A Reader gives them back. What is kept of a scene is exactly what
// Snapper leaves of it: when live rules are shown the snapped scene, rules that
// read the log judge the same numbers.
//
// # Files
//
// Each camera has a folder and in it one file for each hour, UTC, in which it
// was looked at: "20261123T05.xtr". A file is a row of blocks, each with its
// length and CRC-32C, so that a tail torn by a crash, or a damaged block, costs
// itself only. A block holds up to two minutes and can be read without those
// before it. Its scenes are written as differences to the scene before, in
// columns of the same kind of number, and deflated (RFC 1951).
package tracklog

import (
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// How finely numbers are kept. Tenths of powers of ten, so that a number with
// that many decimals comes back as the very same number.
const (
	placeUnits = 10_000    // of the picture's width or height
	scoreUnits = 200       // of a track's score
	voteUnits  = 10_000    // of the scores of marks, stills and faults of the view
	areaUnits  = 1_000_000 // of the picture's area
)

// Most that is kept of one scene. A scene with more is not kept.
const (
	maxTracks = 4096 // and as many stills, faults, ended tracks, riders and marks
	maxText   = 255  // bytes of a class or a name
)

// maxWork bounds the tracks and stills of all scenes of a block together, so that
// a few foreign bytes cannot stand for hours of work.
const maxWork = 1 << 21

// work returns what the scene counts for.
func (q *qscene) work() int { return len(q.tracks) + len(q.stills) + len(q.view) + len(q.ended) }

// qbox is a box in placeUnits: left, top, right, bottom.
type qbox [4]int64

// qtrack is a track in whole numbers; times are Unix milliseconds.
type qtrack struct {
	id                 uint64
	label              string
	score              int64
	box, prev          qbox
	first, seen, since int64 // since: at rest, see vision.Track.StillFor
	carrier            uint64
	riders             []uint64
	marks              []qmark
}

type qmark struct {
	name, value string
	score       int64
	votes       int64
}

type qstill struct {
	id          uint64
	kind, label string
	box         qbox
	area, score int64
	since, seen int64
	acted       bool // there is an actor
	actor       qactor
}

type qactor struct {
	track, current      uint64
	label               string
	box                 qbox
	contact, near, left int64
	score               int64
}

type qfault struct {
	kind  string
	score int64
	since int64
}

// qscene is a scene in whole numbers.
type qscene struct {
	at     int64
	held   bool
	aspect float64
	tracks []qtrack
	ended  []uint64
	stills []qstill
	view   []qfault
}

// units rounds v to a whole number of units; what is not a number is 0.
func units(v float64, n int64) int64 {
	const most = 1 << 40
	x := math.Round(v * float64(n))
	if math.IsNaN(x) {
		return 0
	}
	return int64(min(max(x, -most), most))
}

func quantBox(b geom.Box) qbox {
	return qbox{units(b.Min.X, placeUnits), units(b.Min.Y, placeUnits), units(b.Max.X, placeUnits), units(b.Max.Y, placeUnits)}
}

func (b qbox) geom() geom.Box {
	const n = placeUnits
	return geom.Box{
		Min: geom.Point{X: float64(b[0]) / n, Y: float64(b[1]) / n},
		Max: geom.Point{X: float64(b[2]) / n, Y: float64(b[3]) / n},
	}
}

// grown returns s with n elements, keeping the memory of those there are.
func grown[T any](s []T, n int) []T {
	if n <= cap(s) {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

// take makes q the scene in whole numbers, reusing q's memory. It shares
// nothing with s.
func (q *qscene) take(s *vision.Scene) {
	q.at, q.held, q.aspect = s.At.UnixMilli(), s.Held, s.Aspect
	if math.IsNaN(q.aspect) {
		q.aspect = 0
	}
	q.ended = append(q.ended[:0], s.Ended...)
	q.tracks = grown(q.tracks, len(s.Tracks))
	for i := range s.Tracks {
		q.tracks[i].take(&s.Tracks[i])
	}
	q.stills = grown(q.stills, len(s.Stills))
	for i := range s.Stills {
		q.stills[i].take(&s.Stills[i])
	}
	q.view = grown(q.view, len(s.View))
	for i := range s.View {
		f := &s.View[i]
		q.view[i] = qfault{f.Kind, units(f.Score, voteUnits), f.Since.UnixMilli()}
	}
}

func (q *qtrack) take(t *vision.Track) {
	marks := grown(q.marks, len(t.Marks))
	for i := range t.Marks {
		m := &t.Marks[i]
		marks[i] = qmark{m.Name, m.Value, units(m.Score, voteUnits), int64(m.Votes)}
	}
	*q = qtrack{
		id: t.ID, label: t.Label, score: units(t.Score, scoreUnits), box: quantBox(t.Box), prev: quantBox(t.Prev),
		first: t.First.UnixMilli(), seen: t.Seen.UnixMilli(), since: t.Seen.Add(-t.StillFor).UnixMilli(),
		carrier: t.Carrier, riders: append(q.riders[:0], t.Riders...), marks: marks,
	}
}

func (q *qstill) take(s *vision.Still) {
	*q = qstill{
		id: s.ID, kind: string(s.Kind), label: s.Label, box: quantBox(s.Box), area: units(s.Area, areaUnits),
		score: units(s.Score, voteUnits), since: s.Since.UnixMilli(), seen: s.Seen.UnixMilli(),
	}
	if a := s.Actor; a != nil {
		q.acted = true
		q.actor = qactor{
			track: a.Track, current: a.Current, label: a.Label, box: quantBox(a.Box),
			contact: a.Contact.UnixMilli(), near: a.Near.UnixMilli(), left: a.Left.UnixMilli(), score: units(a.Score, voteUnits),
		}
	}
}

// keepable reports whether the scene is within what the format can hold.
func (q *qscene) keepable() bool {
	if max(len(q.tracks), len(q.ended), len(q.stills), len(q.view)) > maxTracks {
		return false
	}
	for i := range q.tracks {
		t := &q.tracks[i]
		if len(t.label) > maxText || max(len(t.riders), len(t.marks)) > maxTracks {
			return false
		}
		for _, m := range t.marks {
			if max(len(m.name), len(m.value)) > maxText {
				return false
			}
		}
	}
	for i := range q.stills {
		if s := &q.stills[i]; max(len(s.kind), len(s.label), len(s.actor.label)) > maxText {
			return false
		}
	}
	return !slices.ContainsFunc(q.view, func(f qfault) bool { return len(f.kind) > maxText })
}

// buffers is the memory of a scene that is given out again and again.
type buffers struct {
	tracks []vision.Track
	stills []vision.Still
	actors []vision.Actor
	view   []vision.ViewFault
}

// give writes the scene to s, except for its Camera. s shares memory with q and
// b until either is used again.
func (q *qscene) give(s *vision.Scene, b *buffers) {
	s.At, s.Held, s.Aspect = time.UnixMilli(q.at).UTC(), q.held, q.aspect
	s.Tracks, s.Ended, s.Stills, s.View = nil, nil, nil, nil
	if len(q.tracks) > 0 {
		b.tracks = grown(b.tracks, len(q.tracks))
		for i := range q.tracks {
			q.tracks[i].give(&b.tracks[i], q.at, s.At)
		}
		s.Tracks = b.tracks
	}
	if len(q.ended) > 0 {
		s.Ended = q.ended
	}
	if len(q.stills) > 0 {
		b.stills, b.actors = grown(b.stills, len(q.stills)), grown(b.actors, len(q.stills))
		for i := range q.stills {
			q.stills[i].give(&b.stills[i], &b.actors[i])
		}
		s.Stills = b.stills
	}
	if len(q.view) > 0 {
		b.view = grown(b.view, len(q.view))
		for i, f := range q.view {
			b.view[i] = vision.ViewFault{Kind: f.kind, Score: float64(f.score) / voteUnits, Since: time.UnixMilli(f.since).UTC()}
		}
		s.View = b.view
	}
}

func (q *qtrack) give(t *vision.Track, atMs int64, at time.Time) {
	seen := at
	if q.seen != atMs {
		seen = time.UnixMilli(q.seen).UTC()
	}
	marks := t.Marks[:0]
	for _, m := range q.marks {
		marks = append(marks, vision.Mark{Name: m.name, Value: m.value, Score: float64(m.score) / voteUnits, Votes: int(m.votes)})
	}
	t.ID, t.Label, t.Score = q.id, q.label, float64(q.score)/scoreUnits
	t.Box, t.Prev = q.box.geom(), q.prev.geom()
	t.First, t.Seen = time.UnixMilli(q.first).UTC(), seen
	t.StillFor = time.Duration(q.seen-q.since) * time.Millisecond
	t.Carrier, t.Riders, t.Marks = q.carrier, nil, nil
	if len(q.riders) > 0 {
		t.Riders = q.riders
	}
	if len(marks) > 0 {
		t.Marks = marks
	}
}

func (q *qstill) give(s *vision.Still, a *vision.Actor) {
	*s = vision.Still{
		ID: q.id, Kind: vision.StillKind(q.kind), Label: q.label, Box: q.box.geom(), Area: float64(q.area) / areaUnits,
		Score: float64(q.score) / voteUnits, Since: time.UnixMilli(q.since).UTC(), Seen: time.UnixMilli(q.seen).UTC(),
	}
	if q.acted {
		*a = vision.Actor{
			Track: q.actor.track, Current: q.actor.current, Label: q.actor.label, Box: q.actor.box.geom(), Score: float64(q.actor.score) / voteUnits,
			Contact: time.UnixMilli(q.actor.contact).UTC(), Near: time.UnixMilli(q.actor.near).UTC(),
			Left: time.UnixMilli(q.actor.left).UTC(),
		}
		s.Actor = a
	}
}

// Snapper rounds scenes to what the log keeps: places to 1/10000 of the picture,
// scores of tracks to 1/200, times to a millisecond, downwards. The zero value
// is ready; it is used by one goroutine.
type Snapper struct {
	q qscene
	b buffers
}

// Snap rounds the scene. Its slices are replaced by the Snapper's own, which are
// valid until the next call: whoever made the scene keeps its numbers. Snapping
// twice changes nothing.
func (n *Snapper) Snap(s *vision.Scene) {
	n.q.take(s)
	n.q.give(s, &n.b)
}

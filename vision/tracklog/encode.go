package tracklog

import (
	"encoding/binary"
	"math"
	"slices"
)

// Columns of a block.
const (
	colOp    = iota // a byte a scene
	colTime         // milliseconds since the scene before, less the usual
	colFlags        // a byte a track
	colExt          // a byte a track with flagExt
	colLeft         // differences of the box
	colTop
	colRight
	colBottom
	colScore // differences
	colSince // milliseconds from the beginning of its rest until it was seen
	colMisc  // what is rare
	columns
)

// Bits of colOp.
const (
	opHeld   = 1 << iota // Scene.Held
	opSame               // everybody is as predicted by a picture that does not change; nothing follows
	opReset              // the tracks of before are forgotten and all are listed as new
	opEnded              // there are ended tracks
	opAspect             // the aspect changed
	opStills             // stills are listed
	opView               // faults of the view are listed
	opNew                // there are new tracks
)

// Bits of colFlags.
const (
	flagGone   = 1 << iota // the track of before is not there; nothing follows
	flagUnseen             // seen is as before, else it is the time of the scene
	flagPlace              // the box is as before
	flagScore              // the score is as before
	flagSince              // since is as before
	flagExt                // colExt has a byte
)

// Bits of colExt, each followed by its value in colMisc.
const (
	extLabel = 1 << iota
	extFirst
	extSeen
	extPrev // else prev is the box of the scene before, or of this one for a new track
	extCarrier
	extRiders
	extMarks
)

// Bits of the byte before a still.
const (
	stillNew   = 1 << iota // not the one of before in the same place; its ID follows
	stillNames             // kind and label follow
	stillBox
	stillArea
	stillScore
	stillSince
	stillSeen // else seen is the time of the scene
	stillActor
)

// pace predicts when the next scene comes: at the mean interval of late.
type pace struct {
	mean int64 // sixteenths of a millisecond; 0 before the first interval
}

func (p *pace) predict() int64 { return p.mean >> 4 }

func (p *pace) learn(dt int64) {
	const longest = 60_000
	dt = min(max(dt, 0), longest)
	if p.mean == 0 {
		p.mean = dt << 4
	} else {
		p.mean += (dt<<4 - p.mean) / 8
	}
}

// encoder turns scenes into the columns of one block.
type encoder struct {
	prev, next qscene
	pace       pace
	texts      map[string]uint64
	col        [columns][]byte
	first      int64
	scenes     int
	work       int // see maxWork
}

// reset begins a block, keeping memory.
func (e *encoder) reset() {
	for i := range e.col {
		e.col[i] = e.col[i][:0]
	}
	clear(e.texts)
	e.prev.tracks, e.prev.ended, e.prev.stills, e.prev.view = e.prev.tracks[:0], e.prev.ended[:0], e.prev.stills[:0], e.prev.view[:0]
	e.prev.aspect, e.pace, e.scenes, e.work = 0, pace{}, 0, 0
}

// size returns the bytes of all columns.
func (e *encoder) size() int {
	n := 0
	for i := range e.col {
		n += len(e.col[i])
	}
	return n
}

// add appends e.next.
func (e *encoder) add() {
	s := &e.next
	if e.scenes == 0 {
		e.first, e.prev.at = s.at, s.at
		if e.texts == nil {
			e.texts = make(map[string]uint64)
		}
	}
	dt := s.at - e.prev.at
	e.signed(colTime, dt-e.pace.predict())
	if e.scenes > 0 {
		e.pace.learn(dt)
	}
	e.scenes++
	e.work += s.work()
	op := byte(0)
	if s.held {
		op |= opHeld
	}
	if e.predicted() {
		e.col[colOp] = append(e.col[colOp], op|opSame)
	} else {
		e.differences(op)
	}
	e.prev, e.next = e.next, e.prev
}

// predicted reports whether the scene is the one before under a picture that
// did not change.
func (e *encoder) predicted() bool {
	p, s := &e.prev, &e.next
	if len(s.ended) > 0 || len(s.tracks) != len(p.tracks) || len(s.stills) != len(p.stills) || s.aspect != p.aspect ||
		!slices.Equal(s.view, p.view) {
		return false
	}
	for i := range s.tracks {
		t, b := &s.tracks[i], &p.tracks[i]
		if t.id != b.id || t.box != b.box || t.prev != b.box || t.seen != rested(b.seen, p.at, s.at) || t.score != b.score ||
			t.since != b.since || t.first != b.first || t.label != b.label || t.carrier != b.carrier ||
			!slices.Equal(t.riders, b.riders) || !slices.Equal(t.marks, b.marks) {
			return false
		}
	}
	for i := range s.stills {
		want := p.stills[i]
		want.seen = rested(want.seen, p.at, s.at)
		if s.stills[i] != want {
			return false
		}
	}
	return true
}

// rested returns when something is seen in a scene that does not change: now, if
// it was in the scene before.
func rested(seen, before, now int64) int64 {
	if seen == before {
		return now
	}
	return seen
}

func (e *encoder) differences(op byte) {
	p, s := &e.prev, &e.next
	news, ok := e.survivors()
	if !ok {
		op, news = op|opReset, 0
	}
	if len(s.ended) > 0 {
		op |= opEnded
	}
	if s.aspect != p.aspect {
		op |= opAspect
	}
	if len(s.stills) > 0 || len(p.stills) > 0 {
		op |= opStills
	}
	if len(s.view) > 0 || len(p.view) > 0 {
		op |= opView
	}
	if news < len(s.tracks) {
		op |= opNew
	}
	e.col[colOp] = append(e.col[colOp], op)
	if op&opReset == 0 {
		i := 0
		for j := range p.tracks {
			if i < news && s.tracks[i].id == p.tracks[j].id {
				e.track(&p.tracks[j], &s.tracks[i], p.tracks[j].box)
				i++
			} else {
				e.col[colFlags] = append(e.col[colFlags], flagGone)
			}
		}
	}
	if op&opNew != 0 {
		e.count(len(s.tracks) - news)
		last := int64(0)
		for i := news; i < len(s.tracks); i++ {
			t := &s.tracks[i]
			e.signed(colMisc, int64(t.id)-last) //nolint:gosec // wraps, and back
			last = int64(t.id)                  //nolint:gosec // the same
			e.track(&qtrack{first: s.at, seen: s.at, since: s.at}, t, t.box)
		}
	}
	if op&opEnded != 0 {
		e.ids(s.ended)
	}
	if op&opAspect != 0 {
		e.col[colMisc] = binary.LittleEndian.AppendUint64(e.col[colMisc], math.Float64bits(s.aspect))
	}
	if op&opStills != 0 {
		e.stills()
	}
	if op&opView != 0 {
		e.count(len(s.view))
		for _, f := range s.view {
			e.text(f.kind)
			e.signed(colMisc, f.score)
			e.signed(colMisc, s.at-f.since)
		}
	}
}

// survivors returns how many of the scene's first tracks are those of before, in
// their order; not ok when the rest has one of those too.
func (e *encoder) survivors() (n int, ok bool) {
	p, s := e.prev.tracks, e.next.tracks
	j := 0
	for n < len(s) {
		k := j
		for k < len(p) && p[k].id != s[n].id {
			k++
		}
		if k == len(p) {
			break
		}
		n, j = n+1, k+1
	}
	for i := n; i < len(s); i++ {
		if slices.ContainsFunc(p, func(t qtrack) bool { return t.id == s[i].id }) {
			return 0, false
		}
	}
	return n, true
}

// track writes t as what differs from base; prev is where it is thought to have
// been in the scene before.
func (e *encoder) track(base, t *qtrack, prev qbox) {
	flags, ext := byte(0), byte(0)
	switch t.seen {
	case e.next.at:
	case base.seen:
		flags |= flagUnseen
	default:
		ext |= extSeen
	}
	for _, f := range []struct {
		same bool
		bit  byte
	}{{t.box == base.box, flagPlace}, {t.score == base.score, flagScore}, {t.since == base.since, flagSince}} {
		if f.same {
			flags |= f.bit
		}
	}
	for _, f := range []struct {
		differs bool
		bit     byte
	}{
		{t.label != base.label, extLabel},
		{t.first != base.first, extFirst},
		{t.prev != prev, extPrev},
		{t.carrier != base.carrier, extCarrier},
		{!slices.Equal(t.riders, base.riders), extRiders},
		{!slices.Equal(t.marks, base.marks), extMarks},
	} {
		if f.differs {
			ext |= f.bit
		}
	}
	if ext != 0 {
		flags |= flagExt
	}
	e.col[colFlags] = append(e.col[colFlags], flags)
	if flags&flagPlace == 0 {
		for i := range t.box {
			e.signed(colLeft+i, t.box[i]-base.box[i])
		}
	}
	if flags&flagScore == 0 {
		e.signed(colScore, t.score-base.score)
	}
	if flags&flagSince == 0 {
		e.signed(colSince, t.seen-t.since)
	}
	if ext != 0 {
		e.col[colExt] = append(e.col[colExt], ext)
		e.rare(t, ext)
	}
}

// rare writes the fields of t that ext says.
func (e *encoder) rare(t *qtrack, ext byte) {
	if ext&extLabel != 0 {
		e.text(t.label)
	}
	if ext&extFirst != 0 {
		e.signed(colMisc, e.next.at-t.first)
	}
	if ext&extSeen != 0 {
		e.signed(colMisc, e.next.at-t.seen)
	}
	if ext&extPrev != 0 {
		e.box(t.prev, t.box)
	}
	if ext&extCarrier != 0 {
		e.unsigned(t.carrier)
	}
	if ext&extRiders != 0 {
		e.ids(t.riders)
	}
	if ext&extMarks != 0 {
		e.count(len(t.marks))
		for _, m := range t.marks {
			e.text(m.name)
			e.text(m.value)
			e.signed(colMisc, m.score)
			e.signed(colMisc, m.votes)
		}
	}
}

func (e *encoder) stills() {
	p, s := e.prev.stills, e.next.stills
	e.count(len(s))
	for i := range s {
		var base qstill
		flags := byte(0)
		if i < len(p) && p[i].id == s[i].id {
			base = p[i]
		} else {
			flags |= stillNew
		}
		e.still(&base, &s[i], flags)
	}
}

func (e *encoder) still(base, s *qstill, flags byte) {
	for _, f := range []struct {
		differs bool
		bit     byte
	}{
		{s.kind != base.kind || s.label != base.label, stillNames},
		{s.box != base.box, stillBox},
		{s.area != base.area, stillArea},
		{s.score != base.score, stillScore},
		{s.since != base.since, stillSince},
		{s.seen != e.next.at, stillSeen},
		{s.acted != base.acted || s.actor != base.actor, stillActor},
	} {
		if f.differs {
			flags |= f.bit
		}
	}
	e.col[colMisc] = append(e.col[colMisc], flags)
	if flags&stillNew != 0 {
		e.unsigned(s.id)
	}
	if flags&stillNames != 0 {
		e.text(s.kind)
		e.text(s.label)
	}
	if flags&stillBox != 0 {
		e.box(s.box, base.box)
	}
	if flags&stillArea != 0 {
		e.signed(colMisc, s.area-base.area)
	}
	if flags&stillScore != 0 {
		e.signed(colMisc, s.score-base.score)
	}
	if flags&stillSince != 0 {
		e.signed(colMisc, e.next.at-s.since)
	}
	if flags&stillSeen != 0 {
		e.signed(colMisc, e.next.at-s.seen)
	}
	if flags&stillActor == 0 {
		return
	}
	if !s.acted {
		e.col[colMisc] = append(e.col[colMisc], 0)
		return
	}
	a := &s.actor
	e.col[colMisc] = append(e.col[colMisc], 1)
	e.unsigned(a.track)
	e.unsigned(a.current)
	e.text(a.label)
	e.box(a.box, s.box)
	e.signed(colMisc, e.next.at-a.contact)
	e.signed(colMisc, e.next.at-a.near)
	e.signed(colMisc, e.next.at-a.left)
	e.signed(colMisc, a.score)
}

func (e *encoder) signed(col int, v int64) { e.col[col] = binary.AppendVarint(e.col[col], v) }

func (e *encoder) unsigned(v uint64) { e.col[colMisc] = binary.AppendUvarint(e.col[colMisc], v) }

func (e *encoder) count(n int) { e.unsigned(uint64(n)) } //nolint:gosec // a length

func (e *encoder) box(b, base qbox) {
	for i := range b {
		e.signed(colMisc, b[i]-base[i])
	}
}

// ids writes a list of track IDs as steps from one to the next.
func (e *encoder) ids(list []uint64) {
	e.count(len(list))
	last := uint64(0)
	for _, id := range list {
		e.signed(colMisc, int64(id-last)) //nolint:gosec // wraps, and back
		last = id
	}
}

// text writes the number of a text, and the text where it is new to the block.
func (e *encoder) text(s string) {
	n, known := e.texts[s]
	if !known {
		n = uint64(len(e.texts))
		e.texts[s] = n
	}
	e.unsigned(n)
	if !known {
		e.count(len(s))
		e.col[colMisc] = append(e.col[colMisc], s...)
	}
}

package tracklog

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// errCorrupt says that a block is not what an encoder writes.
var errCorrupt = errors.New("tracklog: damaged block")

// decoder reads the scenes of one block, as encoder wrote them. It is made for
// foreign bytes: whatever they are, it ends, and takes no more memory than
// maxTracks allows.
type decoder struct {
	prev, next qscene
	pace       pace
	texts      []string
	col        [columns][]byte
	bad        bool
	scenes     int
	work       int // see maxWork
}

// reset begins a block whose first scene was at first; the columns are shared.
func (d *decoder) reset(first int64, col [columns][]byte) {
	d.col, d.texts, d.pace, d.bad, d.scenes, d.work = col, d.texts[:0], pace{}, false, 0, 0
	d.prev.tracks, d.prev.ended, d.prev.stills, d.prev.view = d.prev.tracks[:0], d.prev.ended[:0], d.prev.stills[:0], d.prev.view[:0]
	d.prev.aspect, d.prev.at = 0, first
}

// more reports whether there is another scene.
func (d *decoder) more() bool { return !d.bad && len(d.col[colOp]) > 0 }

// scene reads the next scene, which is valid until the next call.
func (d *decoder) scene() (*qscene, error) {
	p, s := &d.prev, &d.next
	op := d.byte(colOp)
	dt := d.signed(colTime) + d.pace.predict()
	if d.scenes > 0 {
		d.pace.learn(dt)
	}
	d.scenes++
	s.at, s.held, s.aspect, s.ended = p.at+dt, op&opHeld != 0, p.aspect, s.ended[:0]
	if op&opSame != 0 {
		d.rest()
	} else {
		d.differences(op)
	}
	if d.work += s.work(); d.bad || d.work > maxWork {
		d.bad = true
		return nil, errCorrupt
	}
	d.prev, d.next = d.next, d.prev
	return &d.prev, nil
}

// rest makes the scene the one before under a picture that does not change.
func (d *decoder) rest() {
	p, s := &d.prev, &d.next
	s.tracks = grown(s.tracks, len(p.tracks))
	for i := range p.tracks {
		t := &s.tracks[i]
		t.copy(&p.tracks[i])
		t.prev, t.seen = t.box, rested(t.seen, p.at, s.at)
	}
	s.stills = append(s.stills[:0], p.stills...)
	for i := range s.stills {
		s.stills[i].seen = rested(s.stills[i].seen, p.at, s.at)
	}
	s.view = append(s.view[:0], p.view...)
}

// copy makes q equal to t, in its own memory.
func (q *qtrack) copy(t *qtrack) {
	own := *q
	*q = *t
	q.riders = append(own.riders[:0], t.riders...) //nolint:gocritic // own memory
	q.marks = append(own.marks[:0], t.marks...)    //nolint:gocritic // the same
}

func (d *decoder) differences(op byte) {
	p, s := &d.prev, &d.next
	s.tracks = s.tracks[:0]
	if op&opReset == 0 {
		for j := range p.tracks {
			flags := d.byte(colFlags)
			if d.bad {
				return
			}
			if flags&flagGone == 0 {
				d.track(&p.tracks[j], flags).prevUnless(&p.tracks[j].box)
			}
		}
	}
	if op&opNew != 0 {
		n, id := d.count(), int64(0)
		if len(s.tracks)+n > maxTracks {
			d.bad = true
		}
		for range n {
			id += d.signed(colMisc)
			flags := d.byte(colFlags)
			if d.bad {
				return
			}
			t := d.track(&qtrack{id: uint64(id), first: s.at, seen: s.at, since: s.at}, flags) //nolint:gosec // wraps, as in the encoder
			t.prevUnless(&t.box)
		}
	}
	if op&opEnded != 0 {
		s.ended = d.ids(s.ended)
	}
	if op&opAspect != 0 {
		s.aspect = d.float()
	}
	s.stills, s.view = s.stills[:0], s.view[:0]
	if op&opStills != 0 {
		d.stills()
	}
	if op&opView != 0 {
		for range d.count() {
			f := qfault{kind: d.text(), score: d.signed(colMisc)}
			f.since = s.at - d.signed(colMisc)
			s.view = append(s.view, f)
			if d.bad {
				return
			}
		}
	}
}

// placed is a track that was read, and whether prev was with it.
type placed struct {
	*qtrack
	explicit bool
}

// prevUnless says where the track was in the scene before, unless that was
// written.
func (p placed) prevUnless(b *qbox) {
	if !p.explicit {
		p.prev = *b
	}
}

// track appends the track that differs from base as the columns say.
func (d *decoder) track(base *qtrack, flags byte) placed {
	s := &d.next
	s.tracks = grown(s.tracks, len(s.tracks)+1)
	t := &s.tracks[len(s.tracks)-1]
	t.copy(base)
	if flags&flagUnseen == 0 {
		t.seen = s.at
	}
	if flags&flagPlace == 0 {
		for i := range t.box {
			t.box[i] += d.signed(colLeft + i)
		}
	}
	if flags&flagScore == 0 {
		t.score += d.signed(colScore)
	}
	rest := int64(0)
	if flags&flagSince == 0 {
		rest = d.signed(colSince)
	}
	ext := byte(0)
	if flags&flagExt != 0 {
		ext = d.byte(colExt)
		d.rare(t, ext)
	}
	if flags&flagSince == 0 {
		t.since = t.seen - rest
	}
	return placed{t, ext&extPrev != 0}
}

func (d *decoder) rare(t *qtrack, ext byte) {
	at := d.next.at
	if ext&extLabel != 0 {
		t.label = d.text()
	}
	if ext&extFirst != 0 {
		t.first = at - d.signed(colMisc)
	}
	if ext&extSeen != 0 {
		t.seen = at - d.signed(colMisc)
	}
	if ext&extPrev != 0 {
		t.prev = d.box(t.box)
	}
	if ext&extCarrier != 0 {
		t.carrier = d.unsigned()
	}
	if ext&extRiders != 0 {
		t.riders = d.ids(t.riders)
	}
	if ext&extMarks != 0 {
		t.marks = t.marks[:0]
		for range d.count() {
			m := qmark{name: d.text(), value: d.text()}
			m.score, m.votes = d.signed(colMisc), d.signed(colMisc)
			t.marks = append(t.marks, m)
			if d.bad {
				return
			}
		}
	}
}

func (d *decoder) stills() {
	p, s := &d.prev, &d.next
	for i := range d.count() {
		flags := d.byte(colMisc)
		var t qstill
		switch {
		case flags&stillNew != 0:
			t.id = d.unsigned()
		case i < len(p.stills):
			t = p.stills[i]
		default:
			d.bad = true
		}
		if d.bad {
			return
		}
		d.still(&t, flags)
		s.stills = append(s.stills, t)
	}
}

func (d *decoder) still(t *qstill, flags byte) {
	at := d.next.at
	if flags&stillNames != 0 {
		t.kind, t.label = d.text(), d.text()
	}
	if flags&stillBox != 0 {
		t.box = d.box(t.box)
	}
	if flags&stillArea != 0 {
		t.area += d.signed(colMisc)
	}
	if flags&stillScore != 0 {
		t.score += d.signed(colMisc)
	}
	if flags&stillSince != 0 {
		t.since = at - d.signed(colMisc)
	}
	t.seen = at
	if flags&stillSeen != 0 {
		t.seen = at - d.signed(colMisc)
	}
	if flags&stillActor == 0 {
		return
	}
	t.acted, t.actor = d.byte(colMisc) == 1, qactor{}
	if t.acted {
		a := &t.actor
		a.track, a.current, a.label = d.unsigned(), d.unsigned(), d.text()
		a.box = d.box(t.box)
		a.contact, a.near, a.left = at-d.signed(colMisc), at-d.signed(colMisc), at-d.signed(colMisc)
		a.score = d.signed(colMisc)
	}
}

func (d *decoder) byte(col int) byte {
	if len(d.col[col]) == 0 {
		d.bad = true
		return 0
	}
	b := d.col[col][0]
	d.col[col] = d.col[col][1:]
	return b
}

func (d *decoder) signed(col int) int64 {
	if c := d.col[col]; len(c) > 0 && c[0] < 0x80 { // most are small
		d.col[col] = c[1:]
		return int64(c[0]>>1) ^ -int64(c[0]&1)
	}
	v, n := binary.Varint(d.col[col])
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.col[col] = d.col[col][n:]
	return v
}

func (d *decoder) unsigned() uint64 {
	v, n := binary.Uvarint(d.col[colMisc])
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.col[colMisc] = d.col[colMisc][n:]
	return v
}

// count reads the length of a list; 0 when it cannot be one.
func (d *decoder) count() int {
	n := d.unsigned()
	if n > maxTracks {
		d.bad = true
	}
	if d.bad {
		return 0
	}
	return int(n) //nolint:gosec // checked
}

func (d *decoder) float() float64 {
	c := d.col[colMisc]
	if len(c) < 8 {
		d.bad = true
		return 0
	}
	d.col[colMisc] = c[8:]
	v := math.Float64frombits(binary.LittleEndian.Uint64(c))
	if math.IsNaN(v) {
		d.bad = true
	}
	return v
}

func (d *decoder) box(base qbox) qbox {
	for i := range base {
		base[i] += d.signed(colMisc)
	}
	return base
}

// ids reads a list of IDs into the memory of list.
func (d *decoder) ids(list []uint64) []uint64 {
	list = list[:0]
	last := uint64(0)
	for range d.count() {
		last += uint64(d.signed(colMisc)) //nolint:gosec // wraps, as in the encoder
		list = append(list, last)
		if d.bad {
			break
		}
	}
	return list
}

func (d *decoder) text() string {
	n := d.unsigned()
	if n < uint64(len(d.texts)) {
		return d.texts[n]
	}
	size := d.unsigned()
	if n != uint64(len(d.texts)) || size > maxText || size > uint64(len(d.col[colMisc])) {
		d.bad = true
		return ""
	}
	s := string(d.col[colMisc][:size])
	d.col[colMisc] = d.col[colMisc][size:]
	d.texts = append(d.texts, s)
	return s
}

// splitColumns cuts raw into columns of the given lengths.
func splitColumns(raw []byte, lengths [columns]int) (col [columns][]byte, err error) {
	for i, n := range lengths {
		if n > len(raw) {
			return col, errCorrupt
		}
		col[i], raw = raw[:n:n], raw[n:]
	}
	if len(raw) > 0 {
		return col, errCorrupt
	}
	return col, nil
}

// joinColumns returns the columns one after the other, and their lengths.
func joinColumns(col [columns][]byte) (raw []byte, lengths [columns]int) {
	for i := range col {
		lengths[i] = len(col[i])
	}
	return slices.Concat(col[:]...), lengths
}

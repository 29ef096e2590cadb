package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/ring"
	"github.com/xacam/xacam/vision/prep"
)

const (
	approachBack = 3 * time.Second // before the event
	approachLate = time.Second     // a picture nearer to the event shows no approach
	mostDecoded  = 150             // pictures that are decoded for one still
	stillQuality = 90
	niceness     = 10
)

// stillsJob asks for the pictures of an event.
type stillsJob struct {
	event events.Event
	base  string
	sight *sight
	state deckState
}

// stillsDone is what became of it.
type stillsDone struct {
	event string
	refs  []events.EvidenceRef
	flaws []string
}

// pen has the stills of an event made as soon as what they need has come.
func (c *capturer) pen(k *capture, now time.Time) {
	if k.drawn || k.penned || now.Sub(k.draft.Started) < stillsAfter {
		return
	}
	ev := k.draft.Event
	job := stillsJob{event: ev, base: k.base, sight: k.sight, state: k.sight.deck.state()}
	select {
	case c.pens <- job:
		k.penned = true
	default:
		if now.Sub(k.draft.Started) > stillsUntil {
			k.flaw("too many events at once: no stills")
			k.drawn = true
		}
	}
}

// takeStills adds finished stills to their event. After a crash they are found by
// their names.
func (c *capturer) takeStills(d stillsDone) {
	k := c.captures[d.event]
	if k == nil {
		return
	}
	k.drawn = true
	k.draft.Files = append(k.draft.Files, d.refs...)
	for _, f := range d.flaws {
		k.flaw("%s", f)
	}
}

// slowThread gives the calling goroutine a thread of its own with a lower priority
// than everything else, which ends with it. An error leaves the priority as it is.
func slowThread() error {
	runtime.LockOSThread() // never unlocked, so that the thread ends
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), niceness)
}

// RunStills makes stills until ctx is done, one event at a time, with a lower
// priority than everything else.
func (c *capturer) RunStills(ctx context.Context) error {
	err := slowThread()
	began := threadCPU()
	if err != nil {
		c.log.WarnContext(ctx, "stills are made at the same priority as everything else", "err", err)
	}
	letters, err := draw.NewLetters()
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case job := <-c.pens:
			d := c.draw(&job, letters)
			c.cpu.Store(int64(threadCPU() - began)) // the thread does nothing else
			select {
			case c.stills <- d: // also at the end, as long as there is room
				continue
			default:
			}
			select {
			case c.stills <- d:
			case <-ctx.Done(): // they are found by their names
				return nil
			}
		}
	}
}

// plate is a picture in full resolution: BGR, rows of exactly 3×w bytes.
type plate struct {
	bgr  []byte
	w, h int
	jpeg []byte // the file it was read from, while bgr is as it was read; nil when there is none
}

// draw makes all pictures of an event. One that is bad beyond expectation costs
// the event those that are not made yet, and nobody else anything.
func (c *capturer) draw(job *stillsJob, letters *draw.Letters) (done stillsDone) {
	m := stillMaker{c: c, job: job, done: stillsDone{event: job.event.ID}}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("the stills of an event cannot be made", "event", job.event.ID, "panic", p, "stack", string(debug.Stack()))
			m.done.flaws = append(m.done.flaws, "not all stills could be made")
		}
		done = m.done
	}()
	m.draw(letters)
	return m.done
}

func (m *stillMaker) draw(letters *draw.Letters) {
	job := m.job
	snap, err := m.snapshot()
	if err != nil {
		m.fail("annotated copy", err)
	}
	act := snap
	if job.sight.separate || snap == nil {
		// The snapshot is of the smaller stream: what happened is in the main one.
		if p, err := decodeAt(job.state, job.event.OccurredAt, job.event.OccurredAt); err == nil {
			act = p
		} else if snap == nil {
			m.fail("still «act»", err)
		} else {
			m.done.flaws = append(m.done.flaws, "the still «act» is of the smaller stream")
		}
	}
	target := job.event.OccurredAt.Add(-approachBack)
	if p, err := decodeAt(job.state, target, job.event.OccurredAt.Add(-approachLate)); err != nil {
		m.fail("still «approach»", err)
	} else {
		m.keep("still", "approach", p, stillQuality)
	}
	if act != nil {
		m.keep("still", "act", act, stillQuality)
		if p := detail(act, &job.event); p != nil {
			m.keep("still", "detail", p, stillQuality)
		}
	}
	if p, ok := job.sight.takePictures(job.event.ID); ok {
		m.keep("still", "before", &plate{bgr: p.Before, w: p.Width, h: p.Height}, stillQuality)
		m.keep("still", "after", &plate{bgr: p.After, w: p.Width, h: p.Height}, stillQuality)
	}
	if snap != nil {
		annotate(snap, job, letters)
		snap.jpeg = nil
		m.keep("annotated", "annotated", snap, snapshotQuality)
	}
}

// stillMaker collects what becomes of one job.
type stillMaker struct {
	c    *capturer
	job  *stillsJob
	done stillsDone
}

func (m *stillMaker) fail(what string, err error) {
	m.done.flaws = append(m.done.flaws, fmt.Sprintf("there is no %s: %s", what, reason(err)))
}

// reason says why there is no picture, without what is of no use to a reader.
func reason(err error) string {
	if errors.Is(err, errNoPicture) {
		return errNoPicture.Error()
	}
	return "it could not be made"
}

// keep stores a picture; act and approach are as large as they came.
func (m *stillMaker) keep(typ, name string, p *plate, quality int) {
	jpeg, err := p.jpeg, error(nil)
	if jpeg == nil { // once is enough: each compression loses something
		jpeg, err = prep.EncodeJPEG(p.bgr, p.w, p.h, quality)
	}
	if err == nil {
		var ref events.EvidenceRef
		if ref, err = m.c.store.Put(typ, m.job.base+"-"+name+".jpg", m.job.event.OccurredAt, jpeg); err == nil {
			m.done.refs = append(m.done.refs, ref)
			return
		}
	}
	m.c.log.Error("a picture of an evidence package cannot be stored", "event", m.job.event.ID, "picture", name, "err", err)
	m.c.fail()
	m.fail("picture «"+name+"»", err)
}

// snapshot reads the event's snapshot.
func (m *stillMaker) snapshot() (*plate, error) {
	for _, ref := range m.job.event.Evidence {
		if ref.Type != "snapshot" {
			continue
		}
		f, err := m.c.store.Open(ref)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		img, err := prep.Decode(b)
		if err != nil {
			return nil, err
		}
		defer img.Release()
		p, err := plateOf(img)
		if err != nil {
			return nil, err
		}
		p.jpeg = b
		return p, nil
	}
	return nil, errNoPicture
}

func plateOf(pic media.Picture) (*plate, error) {
	w, h := pic.Size()
	p := &plate{bgr: make([]byte, 3*w*h), w: w, h: h}
	return p, pic.BGR(p.bgr, w, h)
}

var errNoPicture = errors.New("the stream had no such picture")

// decodeAt returns the picture of the main stream at about the target, not later
// than the given time. The key picture nearest to the target is taken where one
// is within two seconds: that costs the decoding of one picture instead of half
// a group.
func decodeAt(st deckState, target, latest time.Time) (*plate, error) {
	units := st.ring.Snapshot(target, latest)
	if len(units) == 0 || units[0].Captured.After(latest) {
		return nil, errNoPicture
	}
	if !target.Equal(latest) {
		if au := nearestKey(units, st.ring, target, latest); au != nil {
			units = []*media.AccessUnit{au}
		}
	}
	if len(units) > mostDecoded {
		units = units[:mostDecoded]
	}
	dec, err := avdec.New(avdec.Config{Format: st.format})
	if err != nil {
		return nil, err
	}
	defer func() { _ = dec.Close() }() // freeing a decoder cannot fail in a way that anyone could mend
	var best *media.Frame
	defer func() { best.Release() }()
	offer := func(frames []*media.Frame) {
		for _, f := range frames {
			if best == nil || f.Captured.Sub(target).Abs() < best.Captured.Sub(target).Abs() {
				best.Release()
				best = f
			} else {
				f.Release()
			}
		}
	}
	for _, au := range units {
		if au.Captured.After(target.Add(time.Second)) && best != nil {
			break
		}
		frames, err := dec.Decode(au)
		if err != nil {
			return nil, err
		}
		offer(frames)
	}
	frames, err := dec.Flush()
	if err != nil {
		return nil, err
	}
	offer(frames)
	if best == nil {
		return nil, errNoPicture
	}
	return plateOf(best.Picture)
}

// nearestKey returns the key unit nearest to the target, nil when none is near.
func nearestKey(units []*media.AccessUnit, r *ring.Ring, target, latest time.Time) *media.AccessUnit {
	best := units[0]
	for _, au := range r.Snapshot(target, latest) {
		if au.Key && au.Captured.Sub(target).Abs() < best.Captured.Sub(target).Abs() {
			best = au
		}
	}
	if best.Captured.Sub(target).Abs() > 2*time.Second {
		return nil
	}
	return best
}

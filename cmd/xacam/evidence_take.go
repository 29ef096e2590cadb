package main

import (
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	streamclip "github.com/xacam/xacam/streams/clip"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/ring"
)

// take is a clip in the making. Events of one camera that overlap share one.
// Everything in it is the capturer's own goroutine's.
type take struct {
	sight  *sight
	ring   *ring.Ring
	cursor *ring.Cursor
	writer *streamclip.Writer // nil before the first picture and after the end
	rel    string             // path in the media folder
	full   string
	cfg    streamclip.Config
	from   time.Time // capture time of what should be its first picture
	latest time.Time // capture time of the newest picture in it
	began  time.Time // when writing began, by the clock that nobody sets
	pts    time.Duration
	span   time.Duration // of the pictures in it, by the stream's clock
	users  []*capture
	over   bool

	flaws []string
	ref   *events.EvidenceRef // of the finished clip
	info  streamclip.Info
}

// until is when the clip ends: when the last of its events does.
func (t *take) until() time.Time {
	var out time.Time
	for _, k := range t.users {
		out = later(k.until, out)
	}
	return out
}

// flaw notes what is wrong with the clip.
func (t *take) flaw(format string, args ...any) {
	t.flaws = append(t.flaws, fmt.Sprintf(format, args...))
}

// roll gives an event a clip: one that is being written, where that has all the
// event needs and does not become too long, or a new one.
func (c *capturer) roll(k *capture) {
	ev := &k.draft.Event
	st := k.sight.deck.state()
	for _, t := range c.takes {
		if t.over || t.sight != k.sight || t.ring != st.ring || t.from.After(k.from) || ev.Kind == events.KindCameraOffline {
			continue
		}
		if k.most.Sub(t.from) <= c.cfg.Before+c.cfg.Max+c.cfg.After+mostShared && t.until().After(ev.OccurredAt) {
			c.join(k, t)
			return
		}
	}
	if len(c.takes) >= mostTakes {
		k.flaw("too many clips at once: no clip")
		k.until = ev.OccurredAt
		return
	}
	rel, full, err := c.store.Place(k.base+".mp4", ev.OccurredAt)
	if err != nil {
		c.log.Error("a clip cannot be written", "event", ev.ID, "err", err)
		c.fail()
		k.flaw("the clip could not be stored")
		k.until = ev.OccurredAt
		return
	}
	t := &take{
		sight: k.sight, ring: st.ring, cursor: st.ring.Follow(k.from), rel: rel, full: full, from: k.from, began: c.now(),
		cfg: streamclip.Config{
			Format: st.format, Event: ev.OccurredAt, Label: string(ev.Kind) + " " + ev.Source.Name,
			Comment: "event " + ev.ID + " at " + ev.OccurredAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		},
	}
	c.takes = append(c.takes, t)
	c.join(k, t)
	c.advance(t, c.now())
}

const (
	// mostTakes bounds the clips that are written at once.
	mostTakes = 64
	// mostShared is how much longer than that of one event a clip may become.
	mostShared = 30 * time.Second
)

// join makes the event one of those that the clip is for. After a crash its draft
// tells where the clip is.
func (c *capturer) join(k *capture, t *take) {
	k.take = t
	t.users = append(t.users, k)
	if k.draft.Clip != t.rel { // Begin has written down where its own would be
		k.draft.Clip = t.rel
		c.save(k)
	}
}

// advance writes what has come.
func (c *capturer) advance(t *take, now time.Time) {
	until := t.until()
	for !t.over {
		st := t.sight.deck.state() // before the units: what comes after is the next call's
		units, lost := t.cursor.Next(64)
		if lost > 0 && t.writer != nil {
			t.flaw("the disk was too slow: %d pictures are missing from the clip", lost)
		}
		for _, au := range units {
			if au.Captured.After(until) {
				c.wrap(t)
				return
			}
			if t.span > c.longest() {
				c.cutShort(t, clockSet)
				return
			}
			if !t.latest.IsZero() && au.Captured.Sub(t.latest) > 2*time.Second {
				t.flaw("the camera sent no picture for %.0f s", au.Captured.Sub(t.latest).Seconds())
			}
			if err := t.add(au); err != nil {
				c.lose(t, err)
				return
			}
			t.latest = au.Captured
		}
		if len(units) > 0 {
			continue
		}
		switch {
		case !t.latest.Before(until): // up to the very last picture before a loss
			c.wrap(t)
		case st.ring != t.ring:
			c.cutShort(t, "the camera changed its picture while the clip was being written")
		case st.closed:
			c.cutShort(t, "the camera was stopped or its configuration was changed while the clip was being written")
		case now.Sub(t.began) > c.longest()+silence:
			c.cutShort(t, clockSet)
		case now.After(until.Add(silence)):
			c.cutShort(t, "the camera sent no picture up to the end of the clip")
		}
		return
	}
}

const (
	clockSet = "the clock was set back while the clip was being written"
	// mostGroup is how much earlier than asked for a clip may begin.
	mostGroup = 10 * time.Second
)

// longest is what no clip may exceed, whatever the clock says.
func (c *capturer) longest() time.Duration {
	return c.cfg.Before + c.cfg.Max + c.cfg.After + mostShared + mostGroup
}

// add writes an access unit, and begins the clip with the first.
func (t *take) add(au *media.AccessUnit) error {
	if t.writer == nil {
		w, err := streamclip.Create(t.full, t.cfg)
		if err != nil {
			return err
		}
		t.writer, t.pts = w, au.PTS
	}
	// A stream that begins anew may count from anywhere.
	t.span += min(max(au.PTS-t.pts, 0), time.Second)
	t.pts = au.PTS
	return t.writer.Add(au)
}

// wrap finishes the clip.
func (c *capturer) wrap(t *take) {
	t.over = true
	if t.writer == nil {
		t.flaw("there was no picture for a clip")
		return
	}
	info, err := t.writer.Close()
	if err == nil {
		var ref events.EvidenceRef
		if ref, err = c.store.Ref("clip", t.rel); err == nil {
			t.ref, t.info = &ref, info
			return
		}
	}
	c.lose(t, err)
}

// cutShort finishes the clip before its end.
func (c *capturer) cutShort(t *take, why string) {
	t.flaws = append(t.flaws, why)
	c.wrap(t)
}

// lose gives the clip up, but for what is whole of it.
func (c *capturer) lose(t *take, err error) {
	t.over = true
	c.log.Error("a clip cannot be written", "file", t.rel, "err", err)
	c.fail()
	t.flaw("the clip could not be stored")
	if t.writer == nil {
		return
	}
	_, cerr := t.writer.Close()
	if cerr != nil {
		cerr = streamclip.Salvage(t.full)
	}
	if cerr == nil {
		if ref, err := c.store.Ref("clip", t.rel); err == nil {
			t.ref = &ref
			t.info = streamclip.Info{Start: t.writer.Start(), End: t.latest}
			t.flaw("the clip was cut off")
		}
	}
}

// deliver gives a finished clip to one of its events.
func (t *take) deliver(k *capture) {
	for _, f := range t.flaws {
		k.flaw("%s", f)
	}
	if t.ref == nil {
		return
	}
	k.draft.Files = append(k.draft.Files, *t.ref)
	at := k.draft.Event.OccurredAt
	k.record.Clip = &recordClip{
		Path: t.ref.Path, Start: t.info.Start.UTC(), End: t.info.End.UTC(), EventMS: t.info.Offset(at).Milliseconds(), Shared: len(t.users) > 1,
	}
	if missing := t.info.Start.Sub(k.from); missing > 500*time.Millisecond {
		k.flaw("the clip begins %.1f s later than it should: the camera had not sent, or the memory did not hold, what came before", missing.Seconds())
	}
}

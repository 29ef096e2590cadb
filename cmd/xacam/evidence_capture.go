package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/models"
)

const (
	captureTick  = 250 * time.Millisecond
	mostWaiting  = 256             // raised and cleared events that wait for the capture
	mostCaptures = 512             // events whose evidence is being gathered
	stillsAfter  = time.Second     // after the raise, so that the main stream has come
	stillsUntil  = 8 * time.Second // after the raise the ring has lost what stills need
	silence      = 3 * time.Second // after its end a clip waits so long for pictures that are late
)

// capturer gathers the evidence of events behind their backs: an event is on its
// way to the store as soon as its draft is on disk, and clip, stills and track
// come after. One goroutine, Run, owns all captures; another makes the pictures.
// What it cannot do becomes a flaw of the package, never the loss of an event.
type capturer struct {
	store    *evidence.Store
	cfg      EvidenceConfig
	manifest func(model string) (models.Manifest, error) // may be nil
	now      func() time.Time
	log      *slog.Logger
	finished func(*evidence.Draft) // may be nil; hears of each complete package, in Run
	failed   func()                // may be nil; hears that the disk did not take something

	calls  chan captureCall // full: the event goes without
	pens   chan stillsJob   // to the maker of stills; full: tried again
	stills chan stillsDone
	cpu    atomic.Int64 // ns that stills have cost

	mu      sync.Mutex
	sights  map[string]*sight
	held    map[string]bool // events whose package is not complete on disk yet
	unsaved []*capture      // complete, but the disk has not taken the draft; at most mostCaptures

	captures map[string]*capture // by event; Run's own
	takes    []*take
	retried  time.Time // Run's own: when unsaved drafts were last tried
}

// captureCall is a raised event with its draft, or one that was cleared.
type captureCall struct {
	ev      events.Event
	started *capture // nil for a cleared one
}

func newCapturer(store *evidence.Store, cfg EvidenceConfig, now func() time.Time, log *slog.Logger) *capturer {
	return &capturer{
		store: store, cfg: cfg, now: now, log: log, calls: make(chan captureCall, mostWaiting), pens: make(chan stillsJob, 4),
		stills: make(chan stillsDone, 4), sights: make(map[string]*sight), held: make(map[string]bool), captures: make(map[string]*capture),
	}
}

// Watch makes a camera known until release is called.
func (c *capturer) Watch(s *sight) (release func()) {
	if c == nil {
		return s.deck.Close
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sights[s.plan.slug] = s
	return func() {
		s.deck.Close()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sights[s.plan.slug] == s {
			delete(c.sights, s.plan.slug)
		}
	}
}

func (c *capturer) sight(slug string) *sight {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sights[slug]
}

// capture is one event's evidence in the making.
type capture struct {
	draft  evidence.Draft
	record record
	sight  *sight // nil when the camera is not here
	base   string // of file names
	take   *take  // nil when there is no clip
	follow *following
	until  time.Time // of the clip, by capture time
	most   time.Time // until cannot be after this
	from   time.Time
	penned bool // the stills are being made
	drawn  bool // no stills will come any more
}

// flaw notes once what the package lacks.
func (k *capture) flaw(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(k.draft.Flaws, text) {
		k.draft.Flaws = append(k.draft.Flaws, text)
	}
}

// fileBase returns what the names of an event's files begin with.
func fileBase(ev *events.Event) string {
	return fmt.Sprintf("%s-%d-%s", ev.Source.ID, ev.OccurredAt.UnixMilli(), idTail(ev))
}

// idTail returns the part of an event's identifier that comes from what it is
// about.
func idTail(ev *events.Event) string { return ev.ID[max(0, len(ev.ID)-12):] }

// Begin writes the draft of an event that was raised, before the event goes on
// its way, and has the rest gathered. It waits for the disk, and for nothing
// else. Events that no camera saw have no package.
func (c *capturer) Begin(ev *events.Event) {
	if c == nil || ev.Source.Type != "camera" {
		return
	}
	now := c.now()
	s := c.sight(ev.Source.ID)
	k := &capture{
		draft:  evidence.Draft{Event: *ev, Files: slices.Clone(ev.Evidence), Started: now.UTC()},
		record: newRecord(ev, s, c.manifest, now), sight: s, base: fileBase(ev),
		from: ev.OccurredAt.Add(-c.cfg.Before), most: ev.OccurredAt.Add(c.cfg.Max + c.cfg.After), until: ev.OccurredAt.Add(c.cfg.Max + c.cfg.After),
	}
	k.draft.Record = k.record.encode()
	if s == nil {
		k.flaw("the camera was not running when the event was raised")
		k.draft.Ready = true
	}
	if s != nil && len(ev.Evidence) == 0 && ev.Kind != events.KindCameraOffline {
		k.flaw("the snapshot could not be stored")
	}
	if rel, _, err := c.store.Place(k.base+".mp4", ev.OccurredAt); err == nil && !k.draft.Ready {
		k.draft.Clip = rel
	}
	c.hold(k)
	if k.draft.Ready {
		c.hand(k)
		return
	}
	c.save(k)
	select {
	case c.calls <- captureCall{ev: *ev, started: k}: // from here on k is Run's
	default:
		k.flaw("too many events at once: no clip, stills and track")
		k.draft.Ready, k.draft.Clip = true, ""
		s.takePictures(ev.ID)
		c.hand(k)
	}
}

// Clear says that an event is over: its clip ends soon.
func (c *capturer) Clear(ev *events.Event) {
	if c == nil || ev.Source.Type != "camera" {
		return
	}
	select {
	case c.calls <- captureCall{ev: *ev}:
	default: // the clip ends at its longest
	}
}

// Run gathers evidence until ctx is done; what is unfinished then is finished
// with what there is.
func (c *capturer) Run(ctx context.Context) error {
	tick := time.NewTicker(captureTick)
	defer tick.Stop()
	for {
		select {
		case call := <-c.calls:
			c.handle(call)
		case d := <-c.stills:
			c.takeStills(d)
		case <-tick.C:
			c.step(c.now())
		case <-ctx.Done():
			c.end()
			return nil
		}
	}
}

// handle begins or ends a capture.
func (c *capturer) handle(call captureCall) {
	if call.started == nil {
		k := c.captures[call.ev.ID]
		if k == nil {
			return
		}
		end := later(call.ev.ClearedAt, k.draft.Event.OccurredAt).Add(c.cfg.After)
		if end.Before(k.until) {
			k.until = end
		}
		return
	}
	k := call.started
	if len(c.captures) >= mostCaptures {
		k.flaw("too many events at once: no clip, stills and track")
		k.drawn = true
		c.finish(k)
		return
	}
	c.captures[k.draft.Event.ID] = k
	k.follow = k.sight.follow(&k.draft.Event, k.from.Add(-mostGroup)) // the clip may begin so early
	if k.draft.Event.Kind == events.KindCameraOffline {
		k.drawn = true
		st := k.sight.deck.state()
		if st.last.IsZero() {
			k.flaw("the camera has sent no picture since the server started")
			k.until = time.Time{}
			return
		}
		// The picture before the loss is what there is to see.
		k.from, k.until = st.last.Add(-c.cfg.Before), st.last
	}
	c.roll(k)
}

// step brings every capture on.
func (c *capturer) step(now time.Time) {
	if now.Sub(c.retried).Abs() >= retryAfter {
		c.retry(now)
	}
	for _, t := range c.takes {
		c.advance(t, now)
	}
	c.takes = slices.DeleteFunc(c.takes, func(t *take) bool { return t.over })
	for _, k := range c.captures {
		k.look()
		c.pen(k, now)
		over := now.After(k.until) || now.Sub(k.draft.Started) > c.longest() // whatever becomes of the clock
		if k.take != nil {
			over = k.take.over
		}
		if k.drawn && over {
			c.finish(k)
		}
	}
}

// end finishes everything with what there is.
func (c *capturer) end() {
	for {
		select {
		case call := <-c.calls:
			c.handle(call)
			continue
		case d := <-c.stills:
			c.takeStills(d)
			continue
		default:
		}
		break
	}
	for _, t := range c.takes {
		c.advance(t, c.now())
		if !t.over {
			c.cutShort(t, "the server was stopped while the clip was being written")
		}
	}
	c.takes = nil
	for _, k := range c.captures {
		if !k.drawn {
			k.flaw("the server was stopped before the stills were made")
		}
		c.finish(k)
	}
	c.retry(c.now())
}

// look writes down who was in the picture of the act, which is known right after
// the raise and forgotten soon.
func (k *capture) look() {
	if k.record.Boxes == nil && k.sight != nil && k.draft.Event.Kind != events.KindCameraOffline {
		k.record.Boxes = k.sight.boxesAt(&k.draft.Event)
	}
}

// finish writes what only the end tells and gives the package to the sealer.
func (c *capturer) finish(k *capture) {
	ev := &k.draft.Event
	delete(c.captures, ev.ID)
	k.sight.takePictures(ev.ID) // those that no still has asked for
	if k.penned && !k.drawn {   // what is made so far
		if err := adoptStills(c.store, &k.draft); err != nil {
			c.log.Error("finished stills cannot be read", "event", ev.ID, "err", err)
		}
	}
	if k.follow != nil {
		end := later(k.until, ev.OccurredAt)
		if k.take != nil {
			end = later(end, k.take.info.End) // another event's
		}
		looks := k.sight.leave(k.follow, end)
		if len(looks) > 0 {
			b, err := json.Marshal(newEvidenceTrack(ev, looks, k.follow))
			c.put(k, "track", k.base+"-track.json", b, err)
		}
	}
	if k.take != nil {
		k.take.deliver(k)
	}
	k.look()
	k.draft.Clip = ""
	k.draft.Record = k.record.encode()
	c.put(k, "record", k.base+"-record.json", k.draft.Record, nil)
	k.draft.Ready = true
	k.follow, k.take = nil, nil
	c.hand(k)
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/prep"
)

// recorder turns what pipelines hand over into stored events: it takes the
// snapshot, refers to it, and puts the changes into the spool. It remembers
// which events are open, so that a pipeline that is made anew goes on with
// them also while the database is away. It is safe for concurrent use.
type recorder struct {
	media  *evidence.Store
	submit func(...events.Change)
	log    *slog.Logger
	jobs   chan job // nil without Queue

	evidence *capturer // nil gathers none but snapshots
	failed   func()    // hears that a snapshot could not be stored; may be nil

	mu   sync.Mutex
	open map[string]map[string]events.Event // by source, by ID
}

func newRecorder(store *evidence.Store, submit func(...events.Change), log *slog.Logger) *recorder {
	return &recorder{media: store, submit: submit, log: log, open: make(map[string]map[string]events.Event)}
}

// job is a step of events and, for those it raises, their snapshot.
type job struct {
	changes []events.Change
	jpeg    []byte // nil when none is to be kept
	name    string // of the snapshot
	at      time.Time
}

// maxJobs bounds what waits for the disk. When it is full, workers wait: events
// are never dropped.
const maxJobs = 64

// Queue makes the recorder leave the disk to Run, so that a slow one holds up
// no worker. Without it everything is done by the caller.
func (r *recorder) Queue() { r.jobs = make(chan job, maxJobs) }

// Run keeps what is queued, in order, until ctx is done and nothing is left. By
// then nobody may queue any more.
func (r *recorder) Run(ctx context.Context) error {
	for {
		select {
		case j := <-r.jobs:
			r.keep(j)
			continue
		default:
		}
		select {
		case j := <-r.jobs:
			r.keep(j)
		case <-ctx.Done():
			if len(r.jobs) == 0 {
				return nil
			}
		}
	}
}

// Record implements pipeline.CameraConfig.Record. A snapshot that cannot be
// kept is no reason to lose the event.
func (r *recorder) Record(ctx context.Context, f *media.Frame, changes []events.Change) error {
	j := job{changes: changes}
	if i := slices.IndexFunc(changes, func(c events.Change) bool { return c.Event.State == events.StateRaised }); i >= 0 {
		camera := changes[i].Event.Source.ID
		var err error
		if j.jpeg, err = snapshot(f); err != nil {
			r.log.ErrorContext(ctx, "event goes without its snapshot", "camera", camera, "err", err)
		}
		// Captured can stand still when a clock is set back: the event makes the name unique.
		j.name, j.at = fmt.Sprintf("%s-%d-%s.jpg", camera, f.Captured.UnixMilli(), idTail(&changes[i].Event)), f.Captured
	}
	r.take(j)
	return nil
}

// Submit keeps changes that need no snapshot.
func (r *recorder) Submit(changes []events.Change) {
	r.take(job{changes: changes})
}

func (r *recorder) take(j job) {
	r.mu.Lock()
	for _, c := range j.changes {
		r.note(c.Event)
	}
	r.mu.Unlock()
	if r.jobs == nil {
		r.keep(j)
		return
	}
	r.jobs <- j
}

// keep writes the snapshot, if there is one, and the drafts of the packages, and
// hands the events on.
func (r *recorder) keep(j job) {
	if j.jpeg != nil {
		ref, err := r.media.Put("snapshot", j.name, j.at, j.jpeg)
		if err != nil {
			r.log.Error("event goes without its snapshot", "file", j.name, "err", err)
			if r.failed != nil {
				r.failed()
			}
		} else {
			for i := range j.changes {
				if ev := &j.changes[i].Event; ev.State == events.StateRaised {
					ev.Evidence = []events.EvidenceRef{ref}
				}
			}
		}
	}
	var drafts sync.WaitGroup // the disk takes several at about the price of one
	for i := range j.changes {
		if ev := &j.changes[i].Event; ev.State == events.StateRaised {
			drafts.Go(func() { r.evidence.Begin(ev) })
		}
	}
	drafts.Wait()
	for i := range j.changes {
		if ev := &j.changes[i].Event; ev.State != events.StateRaised {
			r.evidence.Clear(ev)
		}
	}
	r.submit(j.changes...)
}

func (r *recorder) note(ev events.Event) {
	byID := r.open[ev.Source.ID]
	if ev.State == events.StateCleared {
		delete(byID, ev.ID)
		return
	}
	if byID == nil {
		byID = make(map[string]events.Event)
		r.open[ev.Source.ID] = byID
	}
	byID[ev.ID] = ev
}

// Adopt takes over the events that the store says are open, before the
// pipeline of their source starts.
func (r *recorder) Adopt(open []events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ev := range open {
		r.note(ev)
	}
}

// Open returns the open events of a source.
func (r *recorder) Open(source string) []events.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]events.Event, 0, len(r.open[source]))
	for _, ev := range r.open[source] {
		out = append(out, ev)
	}
	return out
}

// ClearAll clears every open event of a source that is gone.
func (r *recorder) ClearAll(source string, at time.Time) {
	var changes []events.Change
	for _, ev := range r.Open(source) {
		ev.State, ev.ClearedAt = events.StateCleared, at.UTC().Truncate(time.Microsecond)
		if ev.ClearedAt.Before(ev.OccurredAt) {
			ev.ClearedAt = ev.OccurredAt
		}
		changes = append(changes, events.Change{Event: ev})
	}
	if len(changes) > 0 {
		r.Submit(changes)
	}
}

const snapshotQuality = 85

// snapshot returns the whole frame as a JPEG picture in full resolution.
func snapshot(f *media.Frame) ([]byte, error) {
	w, h := f.Picture.Size()
	bgr := make([]byte, 3*w*h)
	if err := f.Picture.BGR(bgr, w, h); err != nil {
		return nil, fmt.Errorf("convert the frame: %w", err)
	}
	return prep.EncodeJPEG(bgr, w, h, snapshotQuality)
}

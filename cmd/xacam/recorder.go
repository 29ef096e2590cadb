package main

import (
	"context"
	"fmt"
	"log/slog"
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

	mu   sync.Mutex
	open map[string]map[string]events.Event // by source, by ID
}

func newRecorder(store *evidence.Store, submit func(...events.Change), log *slog.Logger) *recorder {
	return &recorder{media: store, submit: submit, log: log, open: make(map[string]map[string]events.Event)}
}

// Record implements pipeline.CameraConfig.Record. A snapshot that cannot be
// kept is no reason to lose the event.
func (r *recorder) Record(ctx context.Context, f *media.Frame, changes []events.Change) error {
	var refs []events.EvidenceRef
	for i := range changes {
		ev := &changes[i].Event
		if ev.State != events.StateRaised {
			continue
		}
		if refs == nil {
			ref, err := r.snapshot(f, ev.Source.ID)
			if err != nil {
				r.log.ErrorContext(ctx, "event goes without its snapshot", "camera", ev.Source.ID, "err", err)
				break
			}
			refs = []events.EvidenceRef{ref}
		}
		ev.Evidence = refs
	}
	r.Submit(changes)
	return nil
}

// Submit keeps changes that need no snapshot.
func (r *recorder) Submit(changes []events.Change) {
	r.mu.Lock()
	for _, c := range changes {
		r.note(c.Event)
	}
	r.mu.Unlock()
	r.submit(changes...)
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

// snapshot stores the whole frame as a JPEG picture in full resolution.
func (r *recorder) snapshot(f *media.Frame, camera string) (events.EvidenceRef, error) {
	w, h := f.Picture.Size()
	bgr := make([]byte, 3*w*h)
	if err := f.Picture.BGR(bgr, w, h); err != nil {
		return events.EvidenceRef{}, fmt.Errorf("convert the frame: %w", err)
	}
	jpeg, err := prep.EncodeJPEG(bgr, w, h, snapshotQuality)
	if err != nil {
		return events.EvidenceRef{}, err
	}
	return r.media.Put("snapshot", fmt.Sprintf("%s-%d.jpg", camera, f.Captured.UnixMilli()), f.Captured, jpeg)
}

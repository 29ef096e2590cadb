package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
)

// database is the store behind a gate: until the schema is up to date, every
// question is answered with events.ErrUnavailable, as while the server is
// down. It is safe for concurrent use.
type database struct {
	store *pgstore.Store
	wait  func(context.Context) error // until the server accepts connections
	now   func() time.Time
	log   *slog.Logger
	turn  func(context.Context) error // nil for nothing; before the first question is answered, and now and then

	once  sync.Once
	ready chan struct{} // closed when the schema is up to date
}

func newDatabase(store *pgstore.Store, wait func(context.Context) error, now func() time.Time, log *slog.Logger) *database {
	return &database{store: store, wait: wait, now: now, log: log, ready: make(chan struct{})}
}

// Run brings the schema up to date as soon as the server answers, and then
// makes partitions ahead, until ctx is done.
func (d *database) Run(ctx context.Context) error {
	pause := 500 * time.Millisecond
	for {
		err := d.prepare(ctx)
		var next time.Duration
		switch {
		case ctx.Err() != nil:
		case err == nil:
			d.once.Do(func() { close(d.ready) })
			pause, next = 500*time.Millisecond, 6*time.Hour
		case errors.Is(err, events.ErrUnavailable):
			d.log.WarnContext(ctx, "the database cannot be reached, events are kept on disk until it is back", "err", err)
			pause = min(2*pause, 5*time.Second)
			next = pause
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}

func (d *database) prepare(ctx context.Context) error {
	if err := d.wait(ctx); err != nil {
		return fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	if err := d.store.Migrate(ctx); err != nil {
		return err
	}
	err := d.store.EnsurePartitions(ctx, d.now())
	if err == nil && d.turn != nil {
		err = d.turn(ctx)
	}
	return err
}

// Ready returns a channel that is closed when the schema is up to date.
func (d *database) Ready() <-chan struct{} { return d.ready }

// whenReady returns what runs f once Ready is.
func (d *database) whenReady(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-d.ready:
			return f(ctx)
		}
	}
}

func (d *database) gate() error {
	select {
	case <-d.ready:
		return nil
	default:
		return fmt.Errorf("the database is not ready yet: %w", events.ErrUnavailable)
	}
}

// Commit implements spool.Store.
func (d *database) Commit(ctx context.Context, changes []events.Change) error {
	if err := d.gate(); err != nil {
		return err
	}
	return d.store.Commit(ctx, changes)
}

// Event implements api.EventReader.
func (d *database) Event(ctx context.Context, id string) (events.Event, error) {
	if err := d.gate(); err != nil {
		return events.Event{}, err
	}
	return d.store.Event(ctx, id)
}

// Events implements api.EventReader.
func (d *database) Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.Events(ctx, f, p)
}

// ChangesSince implements api.EventReader.
func (d *database) ChangesSince(ctx context.Context, sequence int64, limit int) ([]events.Event, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.ChangesSince(ctx, sequence, limit)
}

// LastSequence implements api.EventReader.
func (d *database) LastSequence(ctx context.Context) (int64, error) {
	if err := d.gate(); err != nil {
		return 0, err
	}
	return d.store.LastSequence(ctx)
}

// PutCounts implements tally.Store.
func (d *database) PutCounts(ctx context.Context, counts []events.Count) error {
	if err := d.gate(); err != nil {
		return err
	}
	return d.store.PutCounts(ctx, counts)
}

// Counts implements api.CountReader.
func (d *database) Counts(ctx context.Context, f events.CountFilter) ([]events.CountRow, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.Counts(ctx, f)
}

// Cameras implements cameraStore.
func (d *database) Cameras(ctx context.Context) ([]pgstore.Camera, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.Cameras(ctx)
}

// RuleVersions implements cameraStore.
func (d *database) RuleVersions(ctx context.Context, slug string) (map[string]int, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.RuleVersions(ctx, slug)
}

// OpenEvents implements cameraStore.
func (d *database) OpenEvents(ctx context.Context, source string) ([]events.Event, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.OpenEvents(ctx, source)
}

// Files implements evidence.Catalogue.
func (d *database) Files(ctx context.Context, after evidence.Cursor, before time.Time, limit int) ([]evidence.StoredFile, evidence.Cursor, error) {
	if err := d.gate(); err != nil {
		return nil, evidence.Cursor{}, err
	}
	return d.store.Files(ctx, after, before, limit)
}

// AllFiles implements evidence.Catalogue.
func (d *database) AllFiles(ctx context.Context, after evidence.Cursor, limit int) ([]evidence.StoredFile, evidence.Cursor, error) {
	if err := d.gate(); err != nil {
		return nil, evidence.Cursor{}, err
	}
	return d.store.AllFiles(ctx, after, limit)
}

// NewestFiles implements evidence.Newest.
func (d *database) NewestFiles(ctx context.Context, before time.Time, limit int) ([]evidence.StoredFile, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.NewestFiles(ctx, before, limit)
}

// Known implements evidence.Catalogue.
func (d *database) Known(ctx context.Context, paths []string) (map[string]bool, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.Known(ctx, paths)
}

// Remove implements evidence.Catalogue.
func (d *database) Remove(ctx context.Context, r evidence.Removal) ([]string, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.Remove(ctx, r)
}

// Bytes implements evidence.Catalogue.
func (d *database) Bytes(ctx context.Context) (int64, error) {
	if err := d.gate(); err != nil {
		return 0, err
	}
	return d.store.Bytes(ctx)
}

// Act implements api.WorkflowStore.
func (d *database) Act(ctx context.Context, r events.WorkflowRequest) (events.Done, error) {
	if err := d.gate(); err != nil {
		return events.Done{}, err
	}
	return d.store.Act(ctx, r)
}

// History implements api.WorkflowStore.
func (d *database) History(ctx context.Context, id string) ([]audit.Moment, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.History(ctx, id)
}

// Audit implements api.AuditReader.
func (d *database) Audit(ctx context.Context, f audit.Filter, p audit.Page) ([]audit.Entry, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.Audit(ctx, f, p)
}

// RuleStats implements api.StatsReader.
func (d *database) RuleStats(ctx context.Context, from, to time.Time) ([]events.RuleStats, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.RuleStats(ctx, from, to)
}

// Feed implements api.FeedStore.
func (d *database) Feed(ctx context.Context, key outbox.FeedKey, after int64, limit int) (outbox.FeedPage, error) {
	if err := d.gate(); err != nil {
		return outbox.FeedPage{}, err
	}
	return d.store.Feed(ctx, key, after, limit)
}

// UseFeedKey implements api.FeedStore.
func (d *database) UseFeedKey(ctx context.Context, hash [sha256.Size]byte) (outbox.FeedKey, error) {
	if err := d.gate(); err != nil {
		return outbox.FeedKey{}, err
	}
	return d.store.UseFeedKey(ctx, hash)
}

// FeedKeys implements api.FeedStore.
func (d *database) FeedKeys(ctx context.Context) ([]outbox.FeedKey, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return d.store.FeedKeys(ctx)
}

// CreateFeedKey implements api.FeedStore.
func (d *database) CreateFeedKey(ctx context.Context, k outbox.FeedKey, act outbox.Act) (made outbox.FeedKey, repeated bool, err error) {
	if err := d.gate(); err != nil {
		return k, false, err
	}
	return d.store.CreateFeedKey(ctx, k, act)
}

// RevokeFeedKey implements api.FeedStore.
func (d *database) RevokeFeedKey(ctx context.Context, name string, act outbox.Act) error {
	return gatedErr(d, func(s *pgstore.Store) error { return s.RevokeFeedKey(ctx, name, act) })
}

// Watch calls wake soon after changes of a topic, once the schema is there,
// until ctx is done.
func (d *database) Watch(ctx context.Context, topic pgstore.Topic, wake func()) error {
	select {
	case <-d.ready:
		return d.store.Watch(ctx, topic, wake)
	case <-ctx.Done():
		return nil
	}
}

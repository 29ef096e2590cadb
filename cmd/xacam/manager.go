package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
)

// cameraStore is what the manager needs from the database.
type cameraStore interface {
	Cameras(ctx context.Context) ([]pgstore.Camera, error)
	RuleVersions(ctx context.Context, slug string) (map[string]int, error)
	OpenEvents(ctx context.Context, source string) ([]events.Event, error)
	Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error)
}

// manager runs the cameras that belong to this process and follows the
// configuration in the database: a camera that changed is made anew, the
// others are not touched. While the database is away it goes on with what it
// knows, and starts with what it knew last.
type manager struct {
	store cameraStore
	planr *planner
	deps  *deps
	owns  func(slug string) bool
	// backlog is the number of changes that wait on disk for the database, those
	// from before the start among them.
	backlog func() int
	cache   string        // file with the last known configuration
	grace   time.Duration // longest wait for the database at the start
	log     *slog.Logger

	wake chan struct{}

	mu      sync.Mutex
	running map[string]*running
	order   []string
}

// running is a camera in work.
type running struct {
	stored storedCamera
	runner *runner // nil when the configuration cannot be used
	plan   *plan
	err    error
	stop   func() // returns when everything has ended
}

// storedCamera is a camera as the database has it.
type storedCamera struct {
	Slug     string          `json:"slug"`
	Spec     json.RawMessage `json:"spec"`
	Version  int             `json:"version"`
	Enabled  bool            `json:"enabled"`
	Versions map[string]int  `json:"rule_versions"`
}

// same reports whether nothing changed. The version alone does not tell: it
// begins at 1 again when a camera is deleted and added.
func (c storedCamera) same(old storedCamera) bool {
	return c.Version == old.Version && bytes.Equal(c.Spec, old.Spec)
}

// ownsAll is the ownership of a single process: it runs every camera. This is
// the one place that decides; with several nodes it becomes a lease.
func ownsAll(string) bool { return true }

func newManager(store cameraStore, pl *planner, d *deps, backlog func() int, cache string) *manager {
	return &manager{
		store: store, planr: pl, deps: d, owns: ownsAll, backlog: backlog, cache: cache, grace: startGrace, log: d.log,
		wake: make(chan struct{}, 1), running: make(map[string]*running),
	}
}

// Wake makes the manager look at the configuration soon. It never blocks.
func (m *manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run runs cameras until ctx is done, and returns when all have ended.
func (m *manager) Run(ctx context.Context) error {
	defer m.stopAll()
	if err := m.settle(ctx); err != nil {
		m.log.WarnContext(ctx, "starting without the database", "err", err)
	}
	poll := time.NewTicker(5 * time.Second)
	defer poll.Stop()
	adopted, swept, away := make(map[string]bool), false, false
	for {
		cams, err := m.load(ctx)
		switch {
		case err == nil && m.backlog() > 0:
			// What the database says is not the latest.
		case err == nil:
			if !swept {
				swept = m.clearGone(ctx, cams) == nil
			}
			for _, c := range cams {
				if adopted[c.Slug] {
					continue
				}
				if err = m.adopt(ctx, c.Slug); err != nil {
					break
				}
				adopted[c.Slug] = true
			}
		case ctx.Err() == nil && len(m.order) == 0:
			if !away {
				m.log.WarnContext(ctx, "the database is away, cameras start with what is known from before", "err", err)
			}
			cams = m.remembered()
		}
		away = err != nil
		if cams != nil {
			m.apply(ctx, cams)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-poll.C:
		}
	}
}

// adopt takes over the open events of a camera once the store can be asked. If
// the camera started without them, what it did not raise again is cleared.
func (m *manager) adopt(ctx context.Context, slug string) error {
	open, err := m.store.OpenEvents(ctx, slug)
	if err != nil {
		return err
	}
	// An endpoint may have the same name.
	open = slices.DeleteFunc(open, func(ev events.Event) bool { return ev.Source.Type != "camera" })
	m.mu.Lock()
	_, started := m.running[slug]
	m.mu.Unlock()
	if !started {
		m.deps.record.Adopt(open)
		return nil
	}
	known := make(map[string]bool)
	for _, ev := range m.deps.record.Open(slug) {
		known[ev.ID] = true
	}
	var changes []events.Change
	for _, ev := range open {
		if !known[ev.ID] {
			ev.State, ev.ClearedAt = events.StateCleared, later(ev.OccurredAt, m.deps.now().UTC())
			changes = append(changes, events.Change{Event: ev})
		}
	}
	m.deps.record.Submit(changes)
	return nil
}

// clearGone clears the open events of cameras that were deleted or disabled
// while no server ran.
func (m *manager) clearGone(ctx context.Context, cams []storedCamera) error {
	here := make(map[string]bool, len(cams))
	for _, c := range cams {
		here[c.Slug] = true
	}
	page := events.Page{Limit: 500}
	for {
		open, err := m.store.Events(ctx, events.Filter{States: []events.State{events.StateRaised}}, page)
		if err != nil || len(open) == 0 {
			return err
		}
		var changes []events.Change
		for _, ev := range open {
			if ev.Source.Type == "camera" && !here[ev.Source.ID] && m.owns(ev.Source.ID) {
				ev.State, ev.ClearedAt = events.StateCleared, later(ev.OccurredAt, m.deps.now().UTC())
				changes = append(changes, events.Change{Event: ev})
			}
		}
		m.deps.record.Submit(changes)
		page.Before = open[len(open)-1].ID
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// startGrace is how long cameras wait at the start for the database, so that
// open events go on instead of being cleared and raised again.
const startGrace = 15 * time.Second

func (m *manager) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.grace)
	defer cancel()
	for {
		_, err := m.store.Cameras(ctx)
		if err == nil && m.backlog() > 0 {
			err = errors.New("events from before the start are still being stored")
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (m *manager) load(ctx context.Context) ([]storedCamera, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cams, err := m.store.Cameras(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]storedCamera, 0, len(cams))
	for _, c := range cams {
		if !c.Enabled || !m.owns(c.Slug) {
			continue
		}
		v, err := m.store.RuleVersions(ctx, c.Slug)
		if err != nil {
			return nil, err
		}
		spec, err := json.Marshal(c.Spec) // in the form that the cache has
		if err != nil {
			return nil, fmt.Errorf("camera %s: %w", c.Slug, err)
		}
		out = append(out, storedCamera{c.Slug, spec, c.Version, c.Enabled, v})
	}
	slices.SortFunc(out, func(a, b storedCamera) int { return cmp.Compare(a.Slug, b.Slug) })
	return out, nil
}

// apply starts, restarts and stops cameras so that exactly cams run.
func (m *manager) apply(ctx context.Context, cams []storedCamera) {
	changed := false
	want := make(map[string]storedCamera, len(cams))
	for _, c := range cams {
		want[c.Slug] = c
	}
	for slug, r := range m.snapshot() {
		if c, ok := want[slug]; ok && c.same(r.stored) && !m.planr.Better(r.plan) {
			continue
		}
		changed = true
		r.stop()
		m.mu.Lock()
		delete(m.running, slug)
		m.mu.Unlock()
		if _, ok := want[slug]; !ok {
			m.deps.record.ClearAll(slug, m.deps.now())
			m.deps.metrics.Remove(slug)
			m.deps.rtspMetrics.Forget(slug)
			m.log.InfoContext(ctx, "camera removed", "camera", slug)
		}
	}
	for _, c := range cams {
		m.mu.Lock()
		_, there := m.running[c.Slug]
		m.mu.Unlock()
		if !there {
			changed = true
			m.start(ctx, c)
		}
	}
	m.mu.Lock()
	m.order = m.order[:0]
	for _, c := range cams {
		m.order = append(m.order, c.Slug)
	}
	m.mu.Unlock()
	if changed {
		m.remember(ctx, cams)
	}
}

func (m *manager) start(ctx context.Context, c storedCamera) {
	r := &running{stored: c, stop: func() {}}
	r.plan, r.err = m.planr.Plan(c, func() []events.Event { return m.deps.record.Open(c.Slug) })
	if r.err == nil {
		r.runner, r.err = newRunner(r.plan, m.deps)
	}
	if r.err != nil {
		m.log.ErrorContext(ctx, "camera cannot be run", "camera", c.Slug, "err", r.err)
	} else {
		if r.plan.fault != nil {
			m.log.ErrorContext(ctx, "camera runs without detection", "camera", c.Slug, "err", r.plan.fault)
		}
		rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := r.runner.Run(rctx); err != nil && rctx.Err() == nil {
				m.log.ErrorContext(rctx, "camera ended", "camera", c.Slug, "err", err)
			}
		}()
		r.stop = func() {
			cancel()
			<-done
		}
		m.log.InfoContext(ctx, "camera started", "camera", c.Slug, "version", c.Version)
	}
	m.mu.Lock()
	m.running[c.Slug] = r
	m.mu.Unlock()
}

func (m *manager) snapshot() map[string]*running {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.running)
}

func (m *manager) stopAll() {
	var wg sync.WaitGroup
	for _, r := range m.snapshot() {
		wg.Go(r.stop)
	}
	wg.Wait()
}

// remember keeps the configuration for a start without the database. The file
// holds camera passwords and is the owner's only.
func (m *manager) remember(ctx context.Context, cams []storedCamera) {
	b, err := json.Marshal(cams)
	if err == nil {
		tmp := m.cache + ".part"
		err = errors.Join(os.WriteFile(tmp, b, 0o600), os.Rename(tmp, m.cache))
	}
	if err != nil {
		m.log.ErrorContext(ctx, "the camera configuration could not be kept for a start without the database",
			"file", filepath.Base(m.cache), "err", err)
	}
}

// remembered returns the last known configuration; nil when there is none.
func (m *manager) remembered() []storedCamera {
	b, err := os.ReadFile(m.cache)
	if err != nil {
		return nil
	}
	var cams []storedCamera
	if err := json.Unmarshal(b, &cams); err != nil {
		m.log.Error(fmt.Sprintf("the file %s is damaged and not used", filepath.Base(m.cache)), "err", err) //nolint:sloglint // no context here
		return nil
	}
	return cams
}

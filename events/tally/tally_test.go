package tally_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a Store in memory that can be away, and that refuses the class
// "bad".
type table struct {
	mu    sync.Mutex
	rows  map[events.Count]int // by the count with N 0
	away  bool
	calls int
}

func newTable() *table { return &table{rows: make(map[events.Count]int)} }

func (t *table) PutCounts(_ context.Context, counts []events.Count) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	if t.away {
		return fmt.Errorf("test: %w", events.ErrUnavailable)
	}
	for _, c := range counts {
		if c.Class == "bad" {
			return errors.New("refused")
		}
	}
	for _, c := range counts {
		n := c.N
		c.N = 0
		t.rows[c] = max(t.rows[c], n)
	}
	return nil
}

func (t *table) setAway(away bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.away = away
}

func (t *table) sum() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, m := range t.rows {
		n += m
	}
	return n
}

func count(run string, minute, n int) events.Count {
	return events.Count{
		Source: "cong-cho", Run: run, Rule: "dem-xe", Line: "vach-1", Class: "motorcycle", Direction: "a_to_b",
		Minute: time.Date(2026, 11, 23, 15, minute, 0, 0, time.UTC), N: n,
	}
}

func newWriter(t *testing.T, cfg tally.Config) *tally.Writer {
	t.Helper()
	w, err := tally.New(cfg)
	require.NoError(t, err)
	return w
}

// TestOutage: what is counted while the store is away arrives once it is back,
// also when the process was killed in between, and nothing twice.
func TestOutage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := newTable()
		store.setAway(true)
		w := newWriter(t, tally.Config{Dir: dir, Store: store})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		for n := 1; n <= 5; n++ {
			w.Add([]events.Count{count("one", 0, n), count("one", n, 1)})
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		assert.Equal(t, 6, w.Waiting())

		// As after kill -9: another process reads what is on disk.
		second := newWriter(t, tally.Config{Dir: copyOf(t, dir), Store: store})
		assert.Equal(t, 6, second.Waiting())

		store.setAway(false)
		w.Add([]events.Count{count("one", 0, 6)})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, 0, w.Waiting())
		assert.Equal(t, 11, store.sum())
		assert.NoFileExists(t, filepath.Join(dir, "counts.jsonl"))
		cancel()
		require.NoError(t, <-done)

		// The second process tells old totals again, and a new run its own.
		second.Add([]events.Count{count("two", 0, 2)})
		runOnce(t, second)
		assert.Equal(t, 13, store.sum())
	})
}

// runOnce runs the writer as at a shutdown.
func runOnce(t *testing.T, w *tally.Writer) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, w.Run(ctx))
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

func TestShutdownWhileAwayKeepsAll(t *testing.T) {
	t.Parallel()
	store, dir := newTable(), t.TempDir()
	store.setAway(true)
	w := newWriter(t, tally.Config{Dir: dir, Store: store})
	w.Add([]events.Count{count("one", 0, 3)})
	runOnce(t, w)
	store.setAway(false)
	runOnce(t, newWriter(t, tally.Config{Dir: dir, Store: store}))
	assert.Equal(t, 3, store.sum())
}

func TestHalfWrittenLine(t *testing.T) {
	t.Parallel()
	store, dir := newTable(), t.TempDir()
	store.setAway(true)
	w := newWriter(t, tally.Config{Dir: dir, Store: store})
	w.Add([]events.Count{count("one", 0, 3), count("one", 1, 4)})
	runOnce(t, w)
	path := filepath.Join(dir, "counts.jsonl")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b[:len(b)-9], 0o600))

	w = newWriter(t, tally.Config{Dir: dir, Store: store})
	assert.Equal(t, 1, w.Waiting())
	w.Add([]events.Count{count("one", 2, 5)})
	runOnce(t, w)
	assert.Equal(t, 2, newWriter(t, tally.Config{Dir: dir, Store: store}).Waiting(), "what is written behind half a line")
}

func TestRefusedCountDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	store := newTable()
	reg := prometheus.NewRegistry()
	w := newWriter(t, tally.Config{Dir: t.TempDir(), Store: store, Metrics: reg})
	bad := count("one", 0, 1)
	bad.Class = "bad"
	var all []events.Count
	for m := range 20 {
		all = append(all, count("one", m, 2))
	}
	w.Add(append(all, bad))
	runOnce(t, w)
	assert.Equal(t, 40, store.sum())
	assert.Equal(t, 0, w.Waiting())
	n, err := testutil.GatherAndCount(reg, "xacam_traffic_counted_total")
	require.NoError(t, err)
	assert.Equal(t, 2, n)
}

func TestBounds(t *testing.T) {
	t.Parallel()
	store, dir := newTable(), t.TempDir()
	store.setAway(true)
	w := newWriter(t, tally.Config{Dir: dir, Store: store, Most: 100, Batch: 10})
	for i := range 5000 {
		c := count("one", 0, i+1)
		c.Minute = c.Minute.Add(time.Duration(i/20) * time.Minute)
		w.Add([]events.Count{c})
		if i%10 == 9 {
			runOnce(t, w)
		}
	}
	assert.LessOrEqual(t, w.Waiting(), 100)
	info, err := os.Stat(filepath.Join(dir, "counts.jsonl"))
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(200_000), "the journal is written anew before it is long")
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := tally.New(tally.Config{})
	require.ErrorContains(t, err, "required")
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "counts.jsonl"), 0o700))
	_, err = tally.New(tally.Config{Dir: dir, Store: newTable()})
	require.ErrorContains(t, err, "journal")
}

func BenchmarkAdd(b *testing.B) {
	w, err := tally.New(tally.Config{Dir: b.TempDir(), Store: newTable()})
	require.NoError(b, err)
	c := []events.Count{count("one", 0, 1)}
	b.ReportAllocs()
	for b.Loop() {
		c[0].N++
		w.Add(c)
	}
}

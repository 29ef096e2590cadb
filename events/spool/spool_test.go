package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/spool"
)

func TestMain(m *testing.M) {
	if os.Getenv(envChild) != "" {
		runChild()
		return
	}
	goleak.VerifyTestMain(eventstest.M{M: m})
}

var day = time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

// change returns the n-th change of a source, as the store needs it.
func change(source string, n int) events.Change {
	key := events.Key{Source: source, Kind: "intrusion", Object: strconv.Itoa(n)}
	at := day.Add(time.Duration(n) * time.Millisecond)
	return events.Change{Event: events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityLow,
		Source: events.Source{Type: "camera", ID: source}, Object: key.Object, OccurredAt: at,
		Why: events.Text{VI: "Một người ở trong vùng.", EN: "A person."},
	}}
}

// objects returns the numbers of changes.
func objects(changes []events.Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.Event.Object
	}
	return out
}

func numbers(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

// memoryStore keeps what is committed and fails as told.
type memoryStore struct {
	mu      sync.Mutex
	taken   []events.Change
	commits int
	fail    func(ctx context.Context, changes []events.Change) error // nil takes everything
}

func (m *memoryStore) Commit(ctx context.Context, changes []events.Change) error {
	m.mu.Lock()
	fail := m.fail
	m.commits++
	m.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, changes); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = append(m.taken, changes...)
	return nil
}

func (m *memoryStore) set(fail func(ctx context.Context, changes []events.Change) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fail
}

func (m *memoryStore) objects() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return objects(m.taken)
}

func away(context.Context, []events.Change) error {
	return fmt.Errorf("commit: %w: connection refused", events.ErrUnavailable)
}

// start runs a spool; stop ends it and returns Run's error.
func start(t *testing.T, cfg spool.Config) (s *spool.Spool, stop func() error) {
	t.Helper()
	s, err := spool.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = stop() })
	return s, stop
}

func segments(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	return found
}

func TestCommitsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, dir := &memoryStore{}, t.TempDir()
		var told []events.Change
		reg := prometheus.NewPedanticRegistry()
		s, stop := start(t, spool.Config{
			Dir: dir, Store: store, Batch: 10, Registerer: reg,
			OnCommit: func(c []events.Change) { told = append(told, c...) },
		})
		began := time.Now()
		for i := range 95 {
			s.Submit(change("a", i))
		}
		s.Submit()
		synctest.Wait()
		assert.Zero(t, time.Since(began), "no artificial delay")
		assert.Equal(t, numbers(0, 95), store.objects())
		assert.Zero(t, s.Depth())
		require.NoError(t, stop())
		assert.Equal(t, numbers(0, 95), objects(told))
		assert.Empty(t, segments(t, dir))
		n, err := testutil.GatherAndCount(reg)
		require.NoError(t, err)
		assert.Equal(t, 6, n)
		problems, err := testutil.GatherAndLint(reg)
		require.NoError(t, err)
		assert.Empty(t, problems)
	})
}

func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, dir := &memoryStore{}, t.TempDir()
		s, stop := start(t, spool.Config{Dir: dir, Store: store, Batch: 7, SegmentBytes: 2000})
		next := 0
		submit := func(n int) {
			for range n {
				s.Submit(change("a", next))
				next++
			}
		}
		for range 3 { // again and again
			submit(20)
			synctest.Wait()
			store.set(away)
			before := next
			submit(50)
			time.Sleep(time.Minute)
			submit(50)
			synctest.Wait()
			st := s.Status()
			assert.Equal(t, 0, st.Memory, "memory stays flat")
			assert.Equal(t, 100, st.Disk)
			assert.Positive(t, st.Bytes)
			require.ErrorIs(t, st.Away, events.ErrUnavailable)
			assert.Greater(t, len(segments(t, dir)), 1)
			assert.Equal(t, numbers(0, before), store.objects())
			store.set(nil)
			submit(10)
			time.Sleep(6 * time.Second) // the longest wait between two attempts
			synctest.Wait()
			assert.Equal(t, numbers(0, next), store.objects())
			assert.Empty(t, segments(t, dir))
			assert.Equal(t, spool.Status{}, s.Status())
		}
		require.NoError(t, stop())
	})
}

func TestHangingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memoryStore{fail: func(ctx context.Context, _ []events.Change) error {
			<-ctx.Done()
			return ctx.Err() // as a driver that knows nothing of ErrUnavailable
		}}
		s, stop := start(t, spool.Config{Dir: t.TempDir(), Store: store})
		s.Submit(change("a", 0))
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, 1, s.Status().Disk, "on disk after the timeout of 2 s")
		store.set(func(ctx context.Context, _ []events.Change) error {
			select {
			case <-time.After(10 * time.Second): // slow, but it works
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		time.Sleep(90 * time.Second)
		synctest.Wait()
		assert.Equal(t, numbers(0, 1), store.objects(), "patience grows for what is safe on disk")
		s.Submit(change("a", 1))
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, stop())
		assert.LessOrEqual(t, time.Since(began), 4*time.Second, "the end is bounded")
		assert.Equal(t, 1, s.Depth())
	})
}

func TestRefusedChangesArePutAside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := []string{"3", "4", "17", "39"}
		refuse := func(_ context.Context, changes []events.Change) error {
			for _, c := range changes {
				if slices.Contains(bad, c.Event.Object) {
					return errors.New("severity is wrong")
				}
			}
			return nil
		}
		for name, first := range map[string]func(context.Context, []events.Change) error{"from memory": refuse, "from disk": away} {
			store, dir := &memoryStore{fail: first}, t.TempDir()
			s, stop := start(t, spool.Config{Dir: dir, Store: store})
			for i := range 40 {
				s.Submit(change("a", i))
			}
			time.Sleep(10 * time.Second)
			store.set(refuse)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			var want []string
			for _, n := range numbers(0, 40) {
				if !slices.Contains(bad, n) {
					want = append(want, n)
				}
			}
			assert.Equal(t, want, store.objects(), name)
			assert.Zero(t, s.Depth(), name)
			require.NoError(t, stop())
			for _, n := range []int{3, 4, 17, 39} {
				b, err := os.ReadFile(filepath.Join(dir, "rejected", change("a", n).Event.ID+"-raised.json"))
				require.NoError(t, err, name)
				assert.Contains(t, string(b), "severity is wrong")
				assert.Contains(t, string(b), `"Object": "`+strconv.Itoa(n)+`"`)
			}
		}
	})
}

// TestRefusedThenAway loses the store in the middle of the search for the
// offending change.
func TestRefusedThenAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &memoryStore{}
		calls := 0
		store.fail = func(ctx context.Context, changes []events.Change) error {
			calls++
			switch {
			case calls%3 == 0:
				return away(ctx, changes)
			case slices.Contains(objects(changes), "11"):
				return errors.New("refused")
			}
			return nil
		}
		s, stop := start(t, spool.Config{Dir: t.TempDir(), Store: store})
		for i := range 16 {
			s.Submit(change("a", i))
		}
		time.Sleep(5 * time.Minute)
		assert.Equal(t, append(numbers(0, 11), numbers(12, 16)...), store.objects(), "in order, each once")
		require.NoError(t, stop())
	})
}

func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, dir := &memoryStore{fail: away}, t.TempDir()
		cfg := spool.Config{Dir: dir, Store: store, Batch: 5, SegmentBytes: 1500}
		next := 0
		for range 3 {
			s, stop := start(t, cfg)
			for range 30 {
				s.Submit(change("a", next))
				next++
			}
			time.Sleep(time.Second)
			s.Submit(change("a", next)) // just before the end
			next++
			require.NoError(t, stop())
			s.Submit(change("a", next)) // and after it
			next++
			assert.Equal(t, next, s.Depth())
			assert.Zero(t, s.Status().Memory)
		}
		store.set(nil)
		early, err := spool.New(cfg)
		require.NoError(t, err)
		assert.Equal(t, next, early.Depth(), "known before Run")
		s, stop := start(t, cfg)
		s.Submit(change("a", next))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Equal(t, numbers(0, next+1), store.objects(), "old files first")
		assert.Empty(t, segments(t, dir))
		require.NoError(t, stop())
	})
}

func TestEndCommitsWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, dir := &memoryStore{}, t.TempDir()
		store.fail = func(context.Context, []events.Change) error { time.Sleep(100 * time.Millisecond); return nil }
		s, stop := start(t, spool.Config{Dir: dir, Store: store, Batch: 10})
		for i := range 55 {
			s.Submit(change("a", i))
		}
		require.NoError(t, stop())
		assert.Equal(t, numbers(0, 55), store.objects())
		assert.Empty(t, segments(t, dir))
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := spool.New(spool.Config{Store: &memoryStore{}})
	require.ErrorContains(t, err, "Dir")
	_, err = spool.New(spool.Config{Dir: t.TempDir()})
	require.ErrorContains(t, err, "Store")
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = spool.New(spool.Config{Dir: file, Store: &memoryStore{}})
	require.Error(t, err)
}

func BenchmarkSubmitAndCommit(b *testing.B) {
	store := &memoryStore{}
	s, err := spool.New(spool.Config{Dir: b.TempDir(), Store: store})
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	c := change("a", 1)
	b.ReportAllocs()
	for b.Loop() {
		s.Submit(c)
	}
	cancel()
	require.NoError(b, <-done)
}

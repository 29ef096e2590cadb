package spool_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgcluster"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/spool"
)

// TestPostgreSQLOutages stops the database in every way while three cameras
// raise and clear events, and checks that the log of changes holds each of
// them once and in order.
func TestPostgreSQLOutages(t *testing.T) {
	t.Parallel()
	const away = 1200 * time.Millisecond
	dir := filepath.Join(eventstest.OpenTempDir(t), "pg")
	cluster, stopCluster := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	store, err := pgstore.Open(t.Context(), cluster.DSN(), pgstore.Config{})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.EnsurePartitions(t.Context(), day))
	var mu sync.Mutex
	committed := 0
	s, stop := start(t, spool.Config{
		Dir: t.TempDir(), Store: store, CommitTimeout: 500 * time.Millisecond,
		OnCommit: func(c []events.Change) { mu.Lock(); defer mu.Unlock(); committed += len(c) },
	})

	load, endLoad := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	sent := make([]int, 3)
	for i := range sent {
		wg.Go(func() {
			source := "cam" + strconv.Itoa(i)
			for ; load.Err() == nil; sent[i]++ {
				raise := change(source, sent[i])
				clearing := raise
				clearing.Event.State, clearing.Event.ClearedAt = events.StateCleared, raise.Event.OccurredAt.Add(time.Second)
				s.Submit(raise)
				s.Submit(clearing)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	catchUp := func() {
		t.Helper()
		require.Eventually(t, func() bool { return s.Status().Disk == 0 && s.Status().Away == nil }, 90*time.Second, 5*time.Millisecond)
	}
	pid := func() int {
		b, err := os.ReadFile(filepath.Join(dir, "pgdata", "postmaster.pid"))
		if err != nil {
			return 0
		}
		line, _, _ := strings.Cut(string(b), "\n")
		n, err := strconv.Atoi(line)
		require.NoError(t, err)
		return n
	}
	began := time.Now()
	phase := func(name string) { t.Helper(); t.Logf("%s: %s", name, time.Since(began)) }
	time.Sleep(200 * time.Millisecond)
	require.NoError(t, syscall.Kill(pid(), syscall.SIGKILL)) // the server dies, the supervisor restarts it
	require.Eventually(t, func() bool { return s.Status().Away != nil }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return s.Status().Away == nil }, 20*time.Second, time.Millisecond)
	catchUp()
	phase("killed")
	signalAll(t, dir, syscall.SIGSTOP) // it hangs, with all connections open
	time.Sleep(away)
	require.ErrorIs(t, s.Status().Away, events.ErrUnavailable)
	assert.Positive(t, s.Status().Disk)
	signalAll(t, dir, syscall.SIGCONT)
	catchUp()
	phase("frozen")
	stopCluster() // fast shutdown, and later a new start
	time.Sleep(away)
	assert.Positive(t, s.Status().Disk)
	assert.Less(t, s.Status().Memory, 500, "memory stays flat")
	_, stopCluster = eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	defer stopCluster()
	catchUp()
	phase("stopped")
	endLoad()
	wg.Wait()
	require.Eventually(t, func() bool { return s.Depth() == 0 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, stop())

	total := 2 * (sent[0] + sent[1] + sent[2])
	last, err := store.LastSequence(t.Context())
	require.NoError(t, err)
	require.Equal(t, int64(total), last, "nothing lost, nothing doubled")
	checkLog(t, store, total)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, total, committed)
	t.Logf("%d changes over three outages", total)
}

// signalAll sends a signal to every process of a cluster.
func signalAll(t *testing.T, dir string, signal syscall.Signal) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	require.NoError(t, err)
	n := 0
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && at == filepath.Join(dir, "pgdata") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, signal))
			n++
		}
	}
	require.Greater(t, n, 3)
}

// checkLog reads the whole log: numbers without gaps, and each source's events
// in their order, raised before cleared.
func checkLog(t *testing.T, store *pgstore.Store, total int) {
	t.Helper()
	next := make(map[string]int) // twice the event's number, plus one when raised
	for at := 0; at < total; {
		log, err := store.ChangesSince(t.Context(), int64(at), 500)
		require.NoError(t, err)
		require.NotEmpty(t, log)
		for _, e := range log {
			at++
			require.Equal(t, int64(at), e.Sequence)
			n := next[e.Source.ID]
			require.Equal(t, strconv.Itoa(n/2), e.Object)
			require.Equal(t, n%2 == 1, e.State == events.StateCleared)
			next[e.Source.ID]++
		}
	}
}

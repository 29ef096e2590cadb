package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// deadlocks returns how many the database has had to break.
func deadlocks(tb testing.TB, dsn string) string {
	tb.Helper()
	require.NoError(tb, exec(tb, dsn, "SELECT pg_stat_clear_snapshot(); SELECT pg_stat_force_next_flush()"))
	return query(tb, dsn, "SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()")[0]
}

// TestNothingWaitsForEachOther lets everything happen at the same time that
// takes more than one of the locks: cameras commit, people act on events and
// endpoints, replays and deliveries go on, endpoints come and go, what is settled
// is pruned while it is replayed. The database
// must not find a single deadlock, and every act is in the audit chain.
func TestNothingWaitsForEachOther(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dsn := eventstest.Database(t)
	v, err := vault.Open(t.TempDir())
	require.NoError(t, err)
	open := func() *pgstore.Store {
		s, err := pgstore.Open(ctx, dsn, pgstore.Config{Sealer: v, Signer: v, MaxConns: 12})
		require.NoError(t, err)
		return s
	}
	s, other := open(), open() // two servers
	require.NoError(t, s.Migrate(ctx))
	require.NoError(t, s.EnsurePartitions(ctx, day))
	const n = 150
	for i := range n {
		require.NoError(t, s.Commit(ctx, changes(raised("old", i))))
	}
	var acts atomic.Int64 // that the chain must have
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	acts.Add(1)

	// did counts an act that was done; some are not possible at the moment.
	did := func(name string, err error) {
		switch {
		case err == nil:
			acts.Add(1)
		case errors.Is(err, events.ErrConflict), errors.Is(err, events.ErrNotFound):
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
	var wg sync.WaitGroup
	run := func(name string, rounds int, do func(s *pgstore.Store, i int) (changed bool, err error)) {
		for _, s := range []*pgstore.Store{s, other} {
			wg.Go(func() {
				for i := range rounds {
					if changed, err := do(s, i); changed || err != nil {
						did(name, err)
					}
				}
			})
		}
	}
	run("commit", 60, func(s *pgstore.Store, i int) (bool, error) {
		err := s.Commit(ctx, changes(raised(fmt.Sprintf("%p", s), i)))
		if errors.Is(err, events.ErrUnavailable) { // the endpoint went three times
			err = nil
		}
		return false, err
	})
	run("act", 40, func(s *pgstore.Store, i int) (bool, error) {
		_, err := s.Act(ctx, events.WorkflowRequest{EventID: raised("old", i).ID, Action: events.ActionNote, By: "Lan", Note: "x"})
		return true, err
	})
	from := raised("old", 0).OccurredAt.Add(-time.Hour)
	run("replay", 20, func(s *pgstore.Store, i int) (bool, error) {
		res, err := s.Replay(ctx, []string{"ioc", "guest"}[i%2], outbox.Replay{From: from}, by)
		return res.Count > 0, err
	})
	run("update", 20, func(s *pgstore.Store, i int) (bool, error) {
		e := outboxtest.Endpoint("ioc")
		e.Rate = float64(1 + i)
		st, err := s.UpdateEndpoint(ctx, e, by)
		return st.Changed, err
	})
	run("come and go", 10, func(s *pgstore.Store, _ int) (bool, error) {
		_, err := s.CreateEndpoint(ctx, outboxtest.Endpoint("guest"), by)
		did("create", err)
		return true, s.DeleteEndpoint(ctx, "guest", by)
	})
	run("deliver", 30, func(s *pgstore.Store, i int) (bool, error) {
		epoch, err := s.Lease(ctx, "ioc", fmt.Sprintf("%p", s), time.Millisecond)
		if err != nil {
			return false, nil //nolint:nilerr // the other one has it
		}
		list, err := s.Pending(ctx, "ioc", outbox.LaneReplay, 0, 500)
		if err != nil {
			return false, err
		}
		done := outbox.Settlement{Endpoint: "ioc", Epoch: epoch}
		for i, d := range list {
			if i%2 == 0 {
				done.Dead = append(done.Dead, d.Message.Sequence)
			} else {
				done.Delivered = append(done.Delivered, d.Message.Sequence)
			}
		}
		if i%3 == 0 {
			done.Disable = "gone"
		}
		return done.Disable != "", s.Settle(ctx, done)
	})
	run("expire", 10, func(s *pgstore.Store, _ int) (bool, error) {
		epoch, err := s.Lease(ctx, "ioc", fmt.Sprintf("%p", s), time.Millisecond)
		if err == nil {
			_, err = s.Expire(ctx, "ioc", epoch, time.Now())
		}
		if errors.Is(err, events.ErrConflict) {
			err = nil
		}
		return false, err
	})
	run("enable", 15, func(s *pgstore.Store, _ int) (bool, error) {
		st, err := s.EnableEndpoint(ctx, "ioc", by)
		return st.Changed, err
	})
	run("prune", 25, func(s *pgstore.Store, _ int) (bool, error) {
		_, err := s.PruneDeliveries(ctx, time.Now().Add(time.Hour)) // also what others just settled
		return false, err
	})
	run("sweep", 15, func(s *pgstore.Store, _ int) (bool, error) {
		_, err := s.SweepEndpoints(ctx)
		return false, err
	})
	wg.Wait()
	sound, err := verify(t, s, v)
	require.NoError(t, err)
	assert.Equal(t, acts.Load(), sound, "every act is in the chain")
	s.Close()
	other.Close() // which tells the last of the statistics
	assert.Equal(t, "0", deadlocks(t, dsn))
}

// TestPruneLeavesWhatIsReplayed: a prune that begins while a replay of the same
// messages is on the way neither waits for it nor takes them from it, and the two
// do not wait for each other.
func TestPruneLeavesWhatIsReplayed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	const n, page = 600, 500
	seed(t, dsn, n)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	r := outbox.Replay{From: day.AddDate(-2, 0, 0)}
	_, err := s.Replay(ctx, "ioc", r, by)
	require.NoError(t, err)
	require.NoError(t, exec(t, dsn, `
		UPDATE delivery SET state = 'delivered', settled_at = now();
		DELETE FROM delivery WHERE sequence = 10 -- a message that went to nobody`))
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx) // something in the way of the replay, at the end of its first page, and of the prune
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "SELECT FROM delivery WHERE sequence IN ($1, $2) FOR UPDATE", page, n)
	require.NoError(t, err)
	replayed, pruned := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := s.Replay(ctx, "ioc", r, by)
		replayed <- err
	}()
	require.Eventually(t, func() bool {
		return tally(t, dsn, "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	}, 10*time.Second, 10*time.Millisecond)
	var gone pgstore.Pruned
	go func() {
		var err error
		gone, err = s.PruneDeliveries(ctx, time.Now().Add(time.Hour))
		pruned <- err
	}()
	select {
	case err := <-pruned:
		require.NoError(t, err)
		assert.Equal(t, int64(n-page-1), gone.Messages, "those that the replay has not come to are made again by it")
	case <-time.After(3 * time.Second):
		t.Error("the prune waits")
	}
	require.NoError(t, tx.Rollback(ctx))
	require.NoError(t, <-replayed)
	assert.Equal(t, "600", tally(t, dsn, "delivery WHERE state = 'pending'"))
	s.Close()
	assert.Equal(t, "0", deadlocks(t, dsn))
}

// TestCommitsPassThoseWhoWait: while somebody holds the audit chain for long,
// people wait, and cameras do not.
func TestCommitsPassThoseWhoWait(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, _ := openSigned(t)
	require.NoError(t, s.Commit(ctx, changes(raised("a", 1))))
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	long, err := conn.Begin(ctx)
	require.NoError(t, err)
	_, err = long.Exec(ctx, "SELECT FROM audit_head FOR UPDATE")
	require.NoError(t, err)
	acted := make(chan error, 1)
	go func() {
		_, err := s.Act(ctx, events.WorkflowRequest{EventID: raised("a", 1).ID, Action: events.ActionAcknowledge, By: "Lan"})
		acted <- err
	}()
	require.Eventually(t, func() bool {
		return tally(t, dsn, "pg_locks WHERE NOT granted") != "0"
	}, 10*time.Second, 10*time.Millisecond)
	soon, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	require.NoError(t, s.Commit(soon, changes(raised("a", 2))))
	assert.Empty(t, acted, "it waits still")
	require.NoError(t, long.Rollback(ctx))
	require.NoError(t, <-acted)
}

// BenchmarkReplay tells for how long a replay of that many messages keeps people
// from acting.
func BenchmarkReplay(b *testing.B) {
	s, dsn := openSealed(b)
	seed(b, dsn, *benchEvents)
	addEndpoint(b, s, outboxtest.Endpoint("ioc"))
	for b.Loop() {
		b.StopTimer()
		require.NoError(b, exec(b, dsn, "TRUNCATE delivery, outbox_message"))
		b.StartTimer()
		res, err := s.Replay(b.Context(), "ioc", outbox.Replay{From: day.AddDate(-2, 0, 0)}, by)
		require.NoError(b, err)
		b.ReportMetric(float64(res.Count), "messages")
	}
}

// TestReplayInParts: a large replay lets others act in between, and is one for
// who asked for it.
func TestReplayInParts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	const n = 4500
	seed(t, dsn, n)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	r := outbox.Replay{From: day.AddDate(-2, 0, 0)}
	preview := r
	preview.Preview = true
	res, err := s.Replay(ctx, "ioc", preview, by)
	require.NoError(t, err)
	assert.Equal(t, int64(n), res.Count)
	assert.Len(t, res.Examples, outbox.PreviewExamples)
	assert.Equal(t, "0", tally(t, dsn, "delivery"))

	act := outbox.Act{By: "Lan", Key: "all", Version: 1}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_, err = s.Replay(gone, "ioc", r, act)
	require.Error(t, err)
	for range 2 { // what failed is not remembered, what was done is
		res, err := s.Replay(ctx, "ioc", r, act)
		require.NoError(t, err)
		assert.Equal(t, int64(n), res.Count)
		assert.False(t, res.More)
	}
	assert.Equal(t, []string{"4500"}, query(t, dsn, "SELECT count(*)::text FROM delivery WHERE state = 'pending' AND lane = 2"))
	assert.Equal(t, []string{"1 2000", "2 2000", "3 500"}, query(t, dsn,
		"SELECT (detail ->> 'part') || ' ' || (detail ->> 'count') FROM audit WHERE action = 'endpoint.replay' AND idempotency_key = 'all' ORDER BY number"))
	_, err = s.Replay(ctx, "ioc", r, outbox.Act{By: "Lan", Key: "other", Version: 7})
	require.ErrorIs(t, err, events.ErrConflict)
	assert.Equal(t, "0", tally(t, dsn, "idempotency WHERE key = 'other'"))
}

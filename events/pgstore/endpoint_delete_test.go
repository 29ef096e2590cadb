package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
)

// fillEndpoint queues n made-up messages for an endpoint, 1 to n, and logs an
// attempt of each.
func fillEndpoint(tb testing.TB, dsn, endpoint string, n int) {
	tb.Helper()
	require.NoError(tb, exec(tb, dsn, fmt.Sprintf(`
		SET session_replication_role = replica; -- no look for the row that each refers to
		INSERT INTO outbox_message (sequence, id, event_id, step, occurred_at, created_at, event)
			SELECT i, 'm' || i, gen_random_uuid(), 'raised', now(), now(), '{}' FROM generate_series(1, %[2]d) i;
		INSERT INTO delivery (endpoint, sequence, lane, state, queued_at) SELECT '%[1]s', i, 1, 'pending', now() FROM generate_series(1, %[2]d) i;
		INSERT INTO attempt (endpoint, kind, message_id, sequence, number, started_at, milliseconds, status, outcome, error, excerpt)
			SELECT '%[1]s', 'delivery', 'm' || i, i, 1, now(), 1, 503, 'retry', '', '' FROM generate_series(1, %[2]d) i;
		UPDATE event_sequence SET last = %[2]d`, endpoint, n)))
}

func tally(tb testing.TB, dsn, what string) string {
	tb.Helper()
	return query(tb, dsn, "SELECT count(*)::text FROM "+what)[0]
}

func TestDeletedEndpointIsGone(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	addEndpoint(t, s, outboxtest.Endpoint("other"))
	ev := outboxtest.Raised(1, events.SeverityLow)
	require.NoError(t, s.Commit(ctx, changes(ev)))
	fill := func(endpoint string) {
		_, err := s.Replay(ctx, endpoint, outbox.Replay{Sequences: []int64{1}}, by)
		require.NoError(t, err)
	}
	epoch, err := s.Lease(ctx, "ioc", "me", time.Minute)
	require.NoError(t, err)

	require.ErrorIs(t, s.DeleteEndpoint(ctx, "ioc", outbox.Act{By: "Lan", Version: 2}), events.ErrConflict)
	require.ErrorIs(t, s.DeleteEndpoint(ctx, "nobody", by), events.ErrNotFound)
	require.NoError(t, s.DeleteEndpoint(ctx, "ioc", outbox.Act{By: "Lan", Version: 1}))
	assert.Equal(t, "1", tally(t, dsn, "delivery WHERE endpoint = 'ioc'"), "it is still there, but")
	require.ErrorIs(t, s.DeleteEndpoint(ctx, "ioc", by), events.ErrNotFound)
	_, err = s.Endpoint(ctx, "ioc")
	require.ErrorIs(t, err, events.ErrNotFound)
	list, err := s.Endpoints(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, "other", list[0].Name)
	assert.Equal(t, "0", tally(t, dsn, "endpoint_secret WHERE endpoint = 'ioc'"), "what is secret goes at once")
	assert.Equal(t, "{}", query(t, dsn, "SELECT spec::text FROM endpoint WHERE name = 'ioc'")[0])

	_, err = s.Lease(ctx, "ioc", "me", time.Minute)
	require.ErrorIs(t, err, events.ErrNotFound)
	pending, err := s.Pending(ctx, "ioc", outbox.LaneNormal, 0, 10)
	require.NoError(t, err)
	assert.Empty(t, pending, "nothing more is sent")
	require.ErrorIs(t, s.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch}), events.ErrConflict)
	_, err = s.Deliveries(ctx, "ioc", outbox.DeliveryFilter{Limit: 10})
	require.ErrorIs(t, err, events.ErrNotFound)
	of, err := s.EventDeliveries(ctx, ev.ID)
	require.NoError(t, err)
	require.Len(t, of, 1)
	assert.Equal(t, "other", of[0].Endpoint)
	_, err = s.EnableEndpoint(ctx, "ioc", by)
	require.ErrorIs(t, err, events.ErrNotFound)
	_, err = s.UpdateEndpoint(ctx, outboxtest.Endpoint("ioc"), by)
	require.ErrorIs(t, err, events.ErrNotFound)
	_, err = s.Replay(ctx, "ioc", outbox.Replay{Sequences: []int64{1}}, by)
	require.ErrorIs(t, err, events.ErrNotFound)
	require.NoError(t, s.Commit(ctx, changes(outboxtest.Raised(2, events.SeverityLow))))
	assert.Equal(t, "1", tally(t, dsn, "delivery WHERE endpoint = 'ioc'"), "nothing more is queued")

	// A new one of the name has nothing of it, and the old one's process cannot
	// say anything about it.
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	n, err := s.Backlog(ctx, "ioc")
	require.NoError(t, err)
	assert.Zero(t, n)
	fill("ioc")
	_, err = s.Lease(ctx, "ioc", "another", time.Minute)
	require.NoError(t, err)
	require.ErrorIs(t, s.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Dead: []int64{1}}), events.ErrConflict)
	swept, err := s.SweepEndpoints(ctx)
	require.NoError(t, err)
	assert.Zero(t, swept)
	assert.Equal(t, "1", tally(t, dsn, "delivery WHERE endpoint = 'ioc'"), "no sweep takes what is not deleted")
}

// TestDeletionGoesOn: a sweep that was cut off is ended by the next one, and
// until then the name is not free.
func TestDeletionGoesOn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	addEndpoint(t, s, outboxtest.Endpoint("pruned"))
	const rows = 2500
	fillEndpoint(t, dsn, "ioc", rows)
	_, deleted, err := s.ReplaceEndpoints(ctx, nil, true, by)
	require.NoError(t, err)
	assert.Equal(t, []string{"ioc", "pruned"}, deleted)
	assert.Equal(t, "2500", tally(t, dsn, "delivery"))

	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	tx, err := conn.Begin(ctx) // something that the second batch waits for
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "SELECT FROM delivery WHERE sequence = 1500 FOR UPDATE")
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	n, err := s.SweepEndpoints(short)
	require.Error(t, err)
	assert.Equal(t, int64(1000), n)
	_, err = s.CreateEndpoint(ctx, outboxtest.Endpoint("ioc"), by)
	require.ErrorIs(t, err, events.ErrConflict)
	require.ErrorContains(t, err, "still being removed")
	require.NoError(t, tx.Rollback(ctx))

	n, err = s.SweepEndpoints(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(1500), n, "the rest")
	for _, table := range []string{"endpoint", "delivery"} {
		assert.Equal(t, "0", tally(t, dsn, table), table)
	}
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
}

// TestLogOutlivesEndpoints: what was sent to an endpoint that was deleted is
// found until it is old, and is told from what its successor got.
func TestLogOutlivesEndpoints(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	for _, name := range []string{"ioc", "other", "pruned"} {
		addEndpoint(t, s, outboxtest.Endpoint(name))
	}
	fillEndpoint(t, dsn, "ioc", 10)
	require.NoError(t, exec(t, dsn, `
		UPDATE delivery SET state = 'dead', settled_at = now() WHERE sequence > 7;
		UPDATE delivery SET state = 'parked', next_at = now() WHERE sequence = 1`))
	former := func(endpoint string) (out []bool) {
		list, err := s.Attempts(ctx, outbox.AttemptFilter{Endpoint: endpoint, Limit: 100})
		require.NoError(t, err)
		for _, a := range list {
			out = append(out, a.Former)
		}
		return out
	}
	test := outbox.Attempt{
		Endpoint: "other", Kind: outbox.KindTest, MessageID: "test-1", Number: 1,
		Result: outbox.Result{Outcome: outbox.Delivered, Status: 204, Started: outboxtest.At(1)},
	}
	logged, err := s.LogAttempt(ctx, test, outbox.Test{})
	require.NoError(t, err)
	assert.False(t, logged.Former)
	assert.NotContains(t, former("ioc"), true)

	require.NoError(t, s.DeleteEndpoint(ctx, "ioc", by))
	assert.Equal(t, []string{`{"gave_up":{"dead":3,"parked":1,"pending":6}}`}, query(t, dsn, "SELECT detail_text FROM audit WHERE action = 'endpoint.delete'"))
	assert.Len(t, former("ioc"), 10)
	assert.NotContains(t, former("ioc"), false)
	_, err = s.SweepEndpoints(ctx)
	require.NoError(t, err)
	assert.Equal(t, "0", tally(t, dsn, "delivery"))
	assert.Len(t, former("ioc"), 10)
	assert.Equal(t, []bool{false}, former("other"))
	of, err := s.Attempts(ctx, outbox.AttemptFilter{MessageID: "m7", Limit: 10})
	require.NoError(t, err)
	assert.Len(t, of, 1, "without a name")

	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	assert.NotContains(t, former("ioc"), false)
	test.Endpoint, test.Result.Started = "ioc", time.Now().Add(-time.Hour) // the clock of another server
	_, err = s.LogAttempt(ctx, test, outbox.Test{})
	require.NoError(t, err)
	list := former("ioc")
	require.Len(t, list, 11)
	assert.False(t, list[0], "the successor's")
	assert.NotContains(t, list[1:], false)

	_, _, err = s.ReplaceEndpoints(ctx, nil, true, by)
	require.NoError(t, err)
	assert.Equal(t, "4", tally(t, dsn, "audit WHERE action = 'endpoint.delete' AND detail ? 'gave_up'"))
	pruned, err := s.PruneDeliveries(ctx, time.Now().Add(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, int64(12), pruned.Attempts, "only age ends it")
	assert.Empty(t, former("ioc"))
}

// TestDeletionStallsNoCommit deletes an endpoint with 200,000 deliveries: the
// commits beside it go on, and none waits for more than a part of it.
func TestDeletionStallsNoCommit(t *testing.T) { //nolint:paralleltest // it compares times
	ctx := t.Context()
	s, dsn := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("big"))
	addEndpoint(t, s, outboxtest.Endpoint("other"))
	fillEndpoint(t, dsn, "big", 200_000)
	began := time.Now()
	var took atomic.Int64 // until nothing was left
	done := make(chan error, 1)
	go func() {
		err := s.DeleteEndpoint(ctx, "big", by)
		asked := time.Since(began)
		if err == nil {
			_, err = s.SweepEndpoints(ctx)
		}
		t.Logf("deleted in %v, swept in %v", asked, time.Since(began))
		took.Store(int64(time.Since(began)))
		done <- err
	}()
	var longest time.Duration
	commits := 0
	for n := 0; took.Load() == 0; n++ {
		start := time.Now()
		err := s.Commit(ctx, changes(outboxtest.Raised(n, events.SeverityLow)))
		if errors.Is(err, events.ErrUnavailable) { // collided three times with the end of the deletion
			continue
		}
		require.NoError(t, err)
		longest, commits = max(longest, time.Since(start)), commits+1
	}
	require.NoError(t, <-done)
	t.Logf("%d commits meanwhile, the longest took %v", commits, longest)
	assert.Less(t, longest, time.Duration(took.Load())/3)
	assert.Greater(t, commits, 20)
	assert.Equal(t, "0", tally(t, dsn, "delivery WHERE endpoint = 'big'"))
}

// BenchmarkSweep tells what the deletion of one delivery costs.
func BenchmarkSweep(b *testing.B) {
	s, dsn := openSealed(b)
	const rows = 20_000
	for b.Loop() {
		b.StopTimer()
		require.NoError(b, exec(b, dsn, "TRUNCATE delivery, outbox_message, attempt"))
		_, err := s.SweepEndpoints(b.Context())
		require.NoError(b, err)
		addEndpoint(b, s, outboxtest.Endpoint("ioc"))
		fillEndpoint(b, dsn, "ioc", rows)
		require.NoError(b, s.DeleteEndpoint(b.Context(), "ioc", by))
		b.StartTimer()
		_, err = s.SweepEndpoints(b.Context())
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/rows, "us/delivery")
}

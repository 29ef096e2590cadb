package pgstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
	"github.com/xacam/xacam/events/pgstore"
)

// halfDone stops a replay where it comes to a message, when it has done some
// parts of 2000, and returns what undoes the obstacle; result gets what comes of
// the replay.
func halfDone(t *testing.T, s *pgstore.Store, dsn string, r outbox.Replay, act outbox.Act, at int64, parts string) (cancel, free func(), result chan error) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "SELECT FROM delivery WHERE sequence = $1 FOR UPDATE", at)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	result = make(chan error, 1)
	go func() {
		_, err := s.Replay(ctx, "ioc", r, act)
		result <- err
	}()
	require.Eventually(t, func() bool {
		return tally(t, dsn, "audit WHERE action = 'endpoint.replay'") == parts &&
			tally(t, dsn, "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "1"
	}, 20*time.Second, 10*time.Millisecond)
	return cancel, func() { require.NoError(t, tx.Rollback(context.WithoutCancel(t.Context()))) }, result
}

// openReplayed has 4600 deliveries to ioc that were given up.
func openReplayed(t *testing.T) (*pgstore.Store, string) {
	t.Helper()
	s, dsn := openSealed(t)
	seed(t, dsn, 4600)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	_, err := s.Replay(t.Context(), "ioc", outbox.Replay{From: day.AddDate(-2, 0, 0)}, by)
	require.NoError(t, err)
	require.NoError(t, exec(t, dsn, `
		UPDATE delivery SET state = 'dead', settled_at = now();
		ALTER TABLE audit DISABLE TRIGGER append_only; DELETE FROM audit WHERE action = 'endpoint.replay'; ALTER TABLE audit ENABLE TRIGGER append_only`))
	return s, dsn
}

// deliverPending says of what waits that it was delivered.
func deliverPending(t *testing.T, dsn string) {
	t.Helper()
	require.NoError(t, exec(t, dsn, "UPDATE delivery SET state = 'delivered', settled_at = now() WHERE state = 'pending'"))
}

const replayParts = "SELECT (detail ->> 'part') || ' ' || (detail ->> 'count') FROM audit WHERE action = 'endpoint.replay' ORDER BY number"

// TestHalfAReplayGoesOn: the repeat of a replay that was cut off queues the rest,
// not again what was delivered meanwhile, and answers for all of it.
func TestHalfAReplayGoesOn(t *testing.T) {
	t.Parallel()
	s, dsn := openReplayed(t)
	r, act := outbox.Replay{From: day.AddDate(-2, 0, 0)}, outbox.Act{By: "Lan", Key: "all", Version: 1}
	cancel, free, result := halfDone(t, s, dsn, r, act, 2500, "1")
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
	free()
	_, err := s.Replay(t.Context(), "ioc", outbox.Replay{From: r.From, Kinds: []events.Kind{"x"}}, act)
	require.ErrorContains(t, err, "was used for another request")
	deliverPending(t, dsn)
	for range 2 {
		res, err := s.Replay(t.Context(), "ioc", r, act)
		require.NoError(t, err)
		assert.Equal(t, int64(4600), res.Count)
		assert.False(t, res.More)
	}
	assert.Equal(t, []string{"1 2000", "2 2000", "3 600"}, query(t, dsn, replayParts))
	assert.Equal(t, "2000", tally(t, dsn, "delivery WHERE state = 'delivered'"), "not again")
	assert.Equal(t, "2600", tally(t, dsn, "delivery WHERE state = 'pending'"))
}

// TestSlowReplayIsFenced: a replay that was thought dead does nothing more once
// another one has its key, and neither answers for that nor frees the key.
func TestSlowReplayIsFenced(t *testing.T) {
	t.Parallel()
	s, dsn := openReplayed(t)
	r, act := outbox.Replay{From: day.AddDate(-2, 0, 0)}, outbox.Act{By: "Lan", Key: "all"}
	cancel, free, result := halfDone(t, s, dsn, r, act, 1500, "0")
	defer cancel()
	taken := make(chan error, 1)
	go func() { // it gets in between two parts, as another one does when the first hangs there
		taken <- exec(t, dsn, "UPDATE idempotency SET claim = gen_random_uuid()")
	}()
	require.Eventually(t, func() bool {
		return tally(t, dsn, "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == "2"
	}, 20*time.Second, 10*time.Millisecond)
	free()
	require.ErrorIs(t, <-result, events.ErrConflict)
	require.NoError(t, <-taken)
	assert.Less(t, len(query(t, dsn, replayParts)), 3)
	assert.Equal(t, "1", tally(t, dsn, "idempotency WHERE key = 'all' AND claim IS NOT NULL AND answer IS NULL AND progress IS NOT NULL"))
	_, err := s.Replay(t.Context(), "ioc", r, act)
	require.ErrorIs(t, err, events.ErrConflict, "the other one is at it")

	require.NoError(t, exec(t, dsn, "UPDATE idempotency SET at = at - interval '3 minutes'")) // it died
	deliverPending(t, dsn)
	delivered := tally(t, dsn, "delivery WHERE state = 'delivered'")
	res, err := s.Replay(t.Context(), "ioc", r, act)
	require.NoError(t, err)
	assert.Equal(t, int64(4600), res.Count)
	assert.Equal(t, delivered, tally(t, dsn, "delivery WHERE state = 'delivered'"), "not again")
	assert.Equal(t, []string{"1 2000", "2 2000", "3 600"}, query(t, dsn, replayParts))
}

// TestReplayWhoseEndFails: when the answer cannot be kept, neither is the last
// part, and the repeat answers for all of it.
func TestReplayWhoseEndFails(t *testing.T) {
	t.Parallel()
	s, dsn := openReplayed(t)
	r, act := outbox.Replay{State: outbox.StateDead}, outbox.Act{By: "Lan", Key: "all"}
	require.NoError(t, exec(t, dsn, `
		CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room'; END $$;
		CREATE TRIGGER fail BEFORE UPDATE ON idempotency FOR EACH ROW WHEN (new.answer IS NOT NULL) EXECUTE FUNCTION fail()`))
	_, err := s.Replay(t.Context(), "ioc", r, act)
	require.ErrorContains(t, err, "no room")
	require.NoError(t, exec(t, dsn, "DROP TRIGGER fail ON idempotency"))
	deliverPending(t, dsn)
	for range 2 {
		res, err := s.Replay(t.Context(), "ioc", r, act)
		require.NoError(t, err)
		assert.Equal(t, int64(4600), res.Count)
	}
	assert.Equal(t, []string{"1 2000", "2 2000", "3 600"}, query(t, dsn, replayParts))
	assert.Equal(t, "4000", tally(t, dsn, "delivery WHERE state = 'delivered'"))
}

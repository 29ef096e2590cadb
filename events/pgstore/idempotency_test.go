package pgstore_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
	"github.com/xacam/xacam/events/pgstore"
)

// TestRetriesChangeNothing offers the same acts again, also at the same time.
func TestRetriesChangeNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	act := func(key string) outbox.Act { return outbox.Act{By: "Lan", Key: key} }
	first, err := s.CreateEndpoint(ctx, outboxtest.Endpoint("ioc"), act("create"))
	require.NoError(t, err)
	again, err := s.CreateEndpoint(ctx, outboxtest.Endpoint("ioc"), act("create"))
	require.NoError(t, err)
	assert.True(t, again.Created)
	require.Len(t, again.Issued, 1)
	assert.Equal(t, first.Issued[0].ID, again.Issued[0].ID)
	assert.Empty(t, again.Issued[0].Text, "a secret is shown once")
	other := outboxtest.Endpoint("ioc")
	other.Rate = 1
	_, err = s.CreateEndpoint(ctx, other, act("create"))
	require.ErrorContains(t, err, "Idempotency-Key")

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := s.RotateSecret(ctx, "ioc", "v1", nil, time.Hour, act("rotate"))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	e, err := s.Endpoint(ctx, "ioc")
	require.NoError(t, err)
	assert.Len(t, e.Secrets, 2, "rotated once")
}

// TestEveryRequestHasOneMemory goes through all that people can ask for: done
// once for a key and answered twice, and the key is of no use for anything else.
func TestEveryRequestHasOneMemory(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	rotated, err := s.RotateSecret(ctx, "ioc", "v1", nil, time.Hour, by)
	require.NoError(t, err)
	old := rotated.Endpoint.Secrets[1].ID
	ev := outboxtest.Raised(1, events.SeverityLow)
	require.NoError(t, s.Commit(ctx, changes(ev)))
	settleAll(t, s)
	key := outbox.FeedKey{Name: "ioc"}
	require.NoError(t, key.Check())
	requests := []struct {
		name string
		do   func(act outbox.Act) error
	}{
		{"endpoint.update", func(act outbox.Act) error {
			e := outboxtest.Endpoint("ioc")
			e.Enabled = false
			_, err := s.UpdateEndpoint(ctx, e, act)
			return err
		}},
		{"endpoint.enable", func(act outbox.Act) error { _, err := s.EnableEndpoint(ctx, "ioc", act); return err }},
		{"endpoint.secret.delete", func(act outbox.Act) error { return s.DeleteSecret(ctx, "ioc", old, act) }},
		{"endpoint.replay", func(act outbox.Act) error {
			res, err := s.Replay(ctx, "ioc", outbox.Replay{Sequences: []int64{1}}, act)
			if err == nil && res.Count != 1 {
				err = errors.New("it was queued twice, or not counted")
			}
			return err
		}},
		{"event.acknowledge", func(act outbox.Act) error {
			_, err := s.Act(ctx, events.WorkflowRequest{EventID: ev.ID, Action: events.ActionAcknowledge, By: act.By, Key: act.Key})
			return err
		}},
		{"feed_key.create", func(act outbox.Act) error { _, _, err := s.CreateFeedKey(ctx, key, act); return err }},
		{"feed_key.revoke", func(act outbox.Act) error { return s.RevokeFeedKey(ctx, "ioc", act) }},
		{"endpoint.delete", func(act outbox.Act) error { return s.DeleteEndpoint(ctx, "ioc", act) }},
	}
	for _, r := range requests {
		before := query(t, dsn, "SELECT number::text FROM audit_head")
		require.NoError(t, r.do(outbox.Act{By: "Lan", Key: r.name}), r.name)
		after := query(t, dsn, "SELECT number::text FROM audit_head")
		assert.NotEqual(t, before, after, r.name)
		assert.Equal(t, []string{"Lan"}, query(t, dsn, "SELECT actor FROM audit WHERE idempotency_key = '"+r.name+"'"), "the chain notes the key")
		require.NoError(t, r.do(outbox.Act{By: "Lan", Key: r.name}), "%s again", r.name)
		assert.Equal(t, after, query(t, dsn, "SELECT number::text FROM audit_head"), r.name)
		err := r.do(outbox.Act{By: "Minh", Key: r.name})
		f, ok := errors.AsType[*events.FieldError](err)
		require.True(t, ok, "%s by another: %v", r.name, err)
		assert.Equal(t, "Idempotency-Key", f.Field)
		assert.Contains(t, f.Reason, "was used for another request, "+r.name)
	}
	require.NoError(t, s.RevokeFeedKey(ctx, "ioc", outbox.Act{By: "Lan", Key: "feed_key.revoke"}))
	err = s.RevokeFeedKey(ctx, "ioc", outbox.Act{By: "Lan", Key: "endpoint.delete"})
	require.ErrorContains(t, err, "endpoint.delete of endpoint:ioc by Lan")

	// A day later the key is free, also before it was pruned.
	require.NoError(t, exec(t, dsn, "UPDATE idempotency SET at = at - interval '25 hours'"))
	_, _, err = s.CreateFeedKey(ctx, key, outbox.Act{By: "Lan", Key: "endpoint.delete"})
	require.NoError(t, err)
	_, err = s.PruneDeliveries(ctx, time.Now().AddDate(0, 0, -7))
	require.NoError(t, err)
	assert.Equal(t, []string{"endpoint.delete"}, query(t, dsn, "SELECT key FROM idempotency"))
}

// TestOneOfManyRequests sends the same requests at the same time through several
// servers: one of each is done, and all get its answer.
func TestOneOfManyRequests(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, v := openSigned(t)
	stores := []*pgstore.Store{s, openWith(t, dsn, v)}
	const keys = 10
	for n := range keys {
		require.NoError(t, s.Commit(ctx, changes(raised("a", n))))
	}
	var wg sync.WaitGroup
	var fresh, revoked atomic.Int64
	for n := range keys {
		k := outbox.FeedKey{Name: "key-" + string(rune('a'+n)), PerMinute: 60}
		for range 3 {
			for _, s := range stores {
				wg.Go(func() {
					d, err := s.Act(ctx, events.WorkflowRequest{EventID: raised("a", n).ID, Action: events.ActionAcknowledge, By: "Lan", Key: "ack " + k.Name})
					assert.NoError(t, err)
					assert.Equal(t, events.WorkflowAcknowledged, d.Event.Workflow.State)
					k := k
					k.Hash, _ = outbox.HashFeedSecret(outbox.NewFeedSecret())
					_, repeated, err := s.CreateFeedKey(ctx, k, outbox.Act{By: "Lan", Key: k.Name})
					assert.NoError(t, err)
					if !repeated {
						fresh.Add(1)
					}
					assert.NoError(t, s.RevokeFeedKey(ctx, k.Name, outbox.Act{By: "Lan", Key: "end of " + k.Name}))
					revoked.Add(1)
				})
			}
		}
	}
	wg.Wait()
	assert.Equal(t, int64(keys), fresh.Load())
	assert.Equal(t, int64(6*keys), revoked.Load())
	sound, err := verify(t, s, v)
	require.NoError(t, err)
	assert.Equal(t, int64(3*keys), sound, "each thing once")
}

// TestTestsAreSentOnce: what takes longer than a transaction may is refused
// while it is on the way, and answered afterwards.
func TestTestsAreSentOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	act := outbox.Act{By: "Lan", Key: "t1"}
	test, err := s.BeginTest(ctx, "ioc", act)
	require.NoError(t, err)
	require.Nil(t, test.Before)
	assert.Len(t, test.Endpoint.Secrets, 1)
	_, err = s.BeginTest(ctx, "ioc", act)
	require.ErrorIs(t, err, events.ErrConflict)
	sent := outbox.Attempt{
		Endpoint: "ioc", Kind: outbox.KindTest, MessageID: "test-1", Number: 1,
		Result: outbox.Result{Outcome: outbox.Retry, Status: 503, Err: errors.New("503"), Started: outboxtest.At(1)},
	}
	logged, err := s.LogAttempt(ctx, sent, test)
	require.NoError(t, err)
	again, err := s.BeginTest(ctx, "ioc", act)
	require.NoError(t, err)
	require.NotNil(t, again.Before)
	assert.Equal(t, logged, *again.Before)
	_, err = s.BeginTest(ctx, "ioc", outbox.Act{By: "Minh", Key: "t1"})
	require.ErrorContains(t, err, "Idempotency-Key")
	_, err = s.BeginTest(ctx, "nobody", outbox.Act{By: "Lan"})
	require.ErrorIs(t, err, events.ErrNotFound)

	// One that does not end is free again after a while. When it ends after all, it
	// is in the log, and the answer is that of the other one.
	act.Key = "t2"
	slow, err := s.BeginTest(ctx, "ioc", act)
	require.NoError(t, err)
	require.NoError(t, exec(t, dsn, "UPDATE idempotency SET at = at - interval '3 minutes'"))
	_, err = s.BeginTest(ctx, "ioc", outbox.Act{By: "Minh", Key: "t2"})
	require.ErrorContains(t, err, "was used for another request", "not even then")
	quick, err := s.BeginTest(ctx, "ioc", act)
	require.NoError(t, err)
	assert.Nil(t, quick.Before)
	sent.MessageID = "slow"
	_, err = s.LogAttempt(ctx, sent, slow)
	require.NoError(t, err)
	_, err = s.BeginTest(ctx, "ioc", act)
	require.ErrorIs(t, err, events.ErrConflict, "the other one is on the way still")
	sent.MessageID = "quick"
	_, err = s.LogAttempt(ctx, sent, quick)
	require.NoError(t, err)
	again, err = s.BeginTest(ctx, "ioc", act)
	require.NoError(t, err)
	require.NotNil(t, again.Before)
	assert.Equal(t, "quick", again.Before.MessageID)
	assert.Equal(t, "3", tally(t, dsn, "attempt"))
}

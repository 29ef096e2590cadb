package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
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

// by is who acts in these tests.
var by = outbox.Act{By: "Lan"} //nolint:gochecknoglobals // a constant

// openSealed returns a migrated store that can keep secrets.
func openSealed(tb testing.TB) (*pgstore.Store, string) {
	tb.Helper()
	dsn := eventstest.Database(tb)
	v, err := vault.Open(tb.TempDir())
	require.NoError(tb, err)
	s := openWith(tb, dsn, v)
	require.NoError(tb, s.Migrate(tb.Context()))
	require.NoError(tb, s.EnsurePartitions(tb.Context(), day))
	return s, dsn
}

func openWith(tb testing.TB, dsn string, v *vault.Vault) *pgstore.Store {
	tb.Helper()
	s, err := pgstore.Open(tb.Context(), dsn, pgstore.Config{Poll: 200 * time.Millisecond, Sealer: v, Signer: v})
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	return s
}

func addEndpoint(tb testing.TB, s *pgstore.Store, e outbox.Endpoint) outbox.Stored {
	tb.Helper()
	st, err := s.CreateEndpoint(tb.Context(), e, by)
	require.NoError(tb, err)
	return st
}

func TestQueue(t *testing.T) {
	t.Parallel()
	outboxtest.ExerciseQueue(t, func(t *testing.T) outboxtest.Fixture {
		t.Helper()
		s, _ := openSealed(t)
		return outboxtest.Fixture{
			Queue:  s,
			Add:    func(e outbox.Endpoint) { addEndpoint(t, s, e) },
			Commit: func(list ...events.Event) { require.NoError(t, s.Commit(t.Context(), changes(list...))) },
		}
	})
}

func TestSettleLogsAttempts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	ev := outboxtest.Raised(1, events.SeverityLow)
	require.NoError(t, s.Commit(ctx, changes(ev, outboxtest.Raised(2, events.SeverityLow))))
	epoch, err := s.Lease(ctx, "ioc", "me", time.Minute)
	require.NoError(t, err)
	first := outbox.Attempt{
		Endpoint: "ioc", Kind: outbox.KindDelivery, MessageID: outbox.MessageID(ev.ID, events.StepRaised, 1), Sequence: 1, Number: 1,
		Result: outbox.Result{
			Outcome: outbox.Retry, Status: 503, Err: assert.AnError, Excerpt: "bận\x00 \xff", RetryAfter: 1500 * time.Millisecond,
			Started: outboxtest.At(10), Took: 1234 * time.Millisecond,
		},
	}
	beat := outbox.Attempt{
		Endpoint: "ioc", Kind: outbox.KindHeartbeat, MessageID: "heartbeat-1", Number: 1,
		Result: outbox.Result{Outcome: outbox.Delivered, Status: 204, Started: outboxtest.At(11)},
	}
	require.NoError(t, s.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Failed: []int64{1}, Attempts: []outbox.Attempt{first, beat}}))
	test, err := s.LogAttempt(ctx, outbox.Attempt{
		Endpoint: "ioc", Kind: outbox.KindTest, MessageID: "test-1", Number: 1, Result: outbox.Result{Outcome: outbox.Gone, Status: 410, Started: outboxtest.At(12)},
	}, outbox.Test{})
	require.NoError(t, err)
	assert.Equal(t, int64(3), test.ID)

	got, err := s.Attempts(ctx, outbox.AttemptFilter{Limit: 10})
	require.NoError(t, err)
	require.Len(t, got, 3)
	assert.Equal(t, outbox.KindTest, got[0].Kind)
	assert.Zero(t, got[1].Sequence)
	assert.Equal(t, "bận\uFFFD \uFFFD", got[2].Result.Excerpt)
	assert.Equal(t, 2*time.Second, got[2].Result.RetryAfter, "whole seconds, as obeyed")
	assert.Equal(t, 1234*time.Millisecond, got[2].Result.Took)
	require.ErrorContains(t, got[2].Result.Err, assert.AnError.Error())
	assert.Equal(t, outboxtest.At(10), got[2].Result.Started)
	for name, tt := range map[string]struct {
		f    outbox.AttemptFilter
		want []int64
	}{
		"endpoint":         {outbox.AttemptFilter{Endpoint: "ioc", Limit: 10}, []int64{3, 2, 1}},
		"another endpoint": {outbox.AttemptFilter{Endpoint: "x", Limit: 10}, nil},
		"event":            {outbox.AttemptFilter{EventID: ev.ID, Limit: 10}, []int64{1}},
		"no event":         {outbox.AttemptFilter{EventID: "x", Limit: 10}, nil},
		"message":          {outbox.AttemptFilter{MessageID: "heartbeat-1", Limit: 10}, []int64{2}},
		"outcome":          {outbox.AttemptFilter{Outcome: outbox.Gone, Limit: 10}, []int64{3}},
		"kind":             {outbox.AttemptFilter{Kind: outbox.KindHeartbeat, Limit: 10}, []int64{2}},
		"time":             {outbox.AttemptFilter{From: outboxtest.At(11), To: outboxtest.At(12), Limit: 10}, []int64{2}},
		"page":             {outbox.AttemptFilter{Before: 3, Limit: 1}, []int64{2}},
	} {
		list, err := s.Attempts(ctx, tt.f)
		require.NoError(t, err, name)
		var ids []int64
		for _, a := range list {
			ids = append(ids, a.ID)
		}
		assert.Equal(t, tt.want, ids, name)
	}
}

// TestSecretsAtRest looks for secrets in every table of a dump.
func TestSecretsAtRest(t *testing.T) {
	t.Parallel()
	s, dsn := openSealed(t)
	e := outboxtest.Endpoint("ioc")
	e.Headers = map[string]string{"Authorization": "Bearer s3cret-token"}
	st := addEndpoint(t, s, e)
	require.Len(t, st.Issued, 1)
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	for _, table := range []string{"endpoint", "endpoint_secret", "audit", "idempotency"} {
		rows, err := conn.Query(t.Context(), "SELECT t::text FROM "+table+" t")
		require.NoError(t, err)
		text, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		all := strings.Join(text, "\n")
		assert.NotContains(t, all, "s3cret-token")
		assert.NotContains(t, all, "QmVhcmVy", "base64 of Bearer")
		assert.NotContains(t, all, strings.TrimPrefix(st.Issued[0].Text, "whsec_"))
	}
	var sealed []byte
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT sealed FROM endpoint_secret").Scan(&sealed))
	assert.NotContains(t, string(sealed), string(st.Issued[0].Key))

	// A secret moved to another endpoint, or read with other keys, is of no use;
	// endpoints that are well go on.
	addEndpoint(t, s, outboxtest.Endpoint("zz"))
	require.NoError(t, exec(t, dsn, "UPDATE endpoint_secret SET sealed = (SELECT sealed FROM endpoint_secret WHERE endpoint = 'zz') WHERE endpoint = 'ioc'"))
	list, err := s.Endpoints(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.False(t, list[0].Enabled)
	assert.Contains(t, list[0].Disabled, "secret")
	assert.True(t, list[1].Enabled)
}

// TestDeleteWhileCommitting: an endpoint that goes away while events are
// committed must not cost one. The commit tries again by itself; should that
// collide as well, the spool does.
func TestDeleteWhileCommitting(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				addEndpoint(t, s, outboxtest.Endpoint("ioc")) //nolint:contextcheck // the test's
				assert.NoError(t, s.DeleteEndpoint(ctx, "ioc", by))
			}
		}
	})
	for n := range 300 {
		err := s.Commit(ctx, changes(outboxtest.Raised(n, events.SeverityLow)))
		for errors.Is(err, events.ErrUnavailable) {
			err = s.Commit(ctx, changes(outboxtest.Raised(n, events.SeverityLow)))
		}
		if !assert.NoError(t, err, "refused for good") {
			break
		}
	}
	close(stop)
	wg.Wait()
	last, err := s.LastSequence(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(300), last)
}

func TestWatchDeliveriesAndEndpoints(t *testing.T) {
	t.Parallel()
	s, dsn := openSealed(t)
	ctx, cancel := context.WithCancel(t.Context())
	woken := map[pgstore.Topic]chan struct{}{pgstore.DeliveryChanges: make(chan struct{}, 100), pgstore.EndpointChanges: make(chan struct{}, 100)}
	slow := openSlow(t, dsn)
	var wg sync.WaitGroup
	for topic, c := range woken {
		wg.Go(func() { assert.NoError(t, slow.Watch(ctx, topic, func() { c <- struct{}{} })) })
		<-c // it listens
	}
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	<-woken[pgstore.EndpointChanges]
	assert.Empty(t, woken[pgstore.DeliveryChanges])
	require.NoError(t, s.Commit(ctx, changes(outboxtest.Raised(1, events.SeverityLow))))
	<-woken[pgstore.DeliveryChanges]
	cancel()
	wg.Wait()
}

// openSlow returns the store's twin that never polls within a test.
func openSlow(t *testing.T, dsn string) *pgstore.Store {
	t.Helper()
	slow, err := pgstore.Open(t.Context(), dsn, pgstore.Config{Poll: time.Hour})
	require.NoError(t, err)
	t.Cleanup(slow.Close)
	return slow
}

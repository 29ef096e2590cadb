package pgstore_test

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
	"github.com/xacam/xacam/events/pgstore"
)

func TestEndpointRoundTrip(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	e := outbox.Endpoint{
		Name: "ioc", Enabled: true, URL: "https://ioc.example/hook?v=1", Format: outbox.FormatNGSILD,
		Filter: outbox.Filter{
			Kinds: []events.Kind{"intrusion"}, Severity: events.SeverityMedium, Hamlets: []string{"an-thuong"}, Sources: []string{"cong-cho"},
			Steps: []events.Step{events.StepRaised, events.StepWorkflow}, Schedule: "mon-fri 07:00-11:00",
		},
		Signing: []string{outbox.SchemeEd25519, outbox.SchemeHMAC}, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("10.92.0.0/16")},
		Timeout: 7 * time.Second, Rate: 3.5, Concurrency: 4, Heartbeat: -1, ExpireAfter: 80 * time.Hour,
		Headers: map[string]string{"X-Api-Key": "khóa"},
	}
	st, err := s.CreateEndpoint(ctx, e, by)
	require.NoError(t, err)
	assert.True(t, st.Created)
	require.Len(t, st.Issued, 2)
	for _, k := range st.Issued {
		assert.True(t, strings.HasPrefix(k.Text, map[string]string{"v1": "whsec_", "v1a": "whpk_"}[k.Scheme]), k.Text)
	}
	got, err := s.Endpoint(ctx, "ioc")
	require.NoError(t, err)
	want := e
	want.Version, want.Secrets = 1, got.Secrets
	assert.Equal(t, want, got)
	assert.Len(t, got.Secrets, 2)

	_, err = s.CreateEndpoint(ctx, e, by)
	require.ErrorIs(t, err, events.ErrConflict)
	same, err := s.UpdateEndpoint(ctx, e, by)
	require.NoError(t, err)
	assert.False(t, same.Changed)
	assert.Equal(t, 1, same.Endpoint.Version)
	e.Headers = map[string]string{"X-Api-Key": "another"}
	changed, err := s.UpdateEndpoint(ctx, e, outbox.Act{By: "Lan", Version: 1})
	require.NoError(t, err)
	assert.True(t, changed.Changed)
	assert.Empty(t, changed.Issued)
	assert.Equal(t, 2, changed.Endpoint.Version)
	assert.Equal(t, got.Secrets, changed.Endpoint.Secrets, "secrets stay")
	_, err = s.UpdateEndpoint(ctx, e, outbox.Act{By: "Lan", Version: 1})
	require.ErrorIs(t, err, events.ErrConflict)
	e.Name = "nobody"
	_, err = s.UpdateEndpoint(ctx, e, by)
	require.ErrorIs(t, err, events.ErrNotFound)
	e.Name, e.URL, e.Rate = "BAD", "https://u:p@x/", -1
	_, err = s.CreateEndpoint(ctx, e, by)
	for _, field := range []string{"name", "url", "rate"} {
		require.ErrorContains(t, err, field+":")
	}
	require.NotErrorIs(t, err, events.ErrUnavailable)
	assert.NotContains(t, err.Error(), "u:p")
}

func TestSecretRotation(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	first := addEndpoint(t, s, outboxtest.Endpoint("ioc")).Issued[0]
	st, err := s.RotateSecret(ctx, "ioc", "v1", nil, time.Hour, by)
	require.NoError(t, err)
	require.Len(t, st.Endpoint.Secrets, 2)
	newer, old := st.Endpoint.Secrets[0], st.Endpoint.Secrets[1]
	assert.Equal(t, st.Issued[0].ID, newer.ID)
	assert.True(t, newer.Expires.IsZero())
	assert.Equal(t, first.ID, old.ID)
	assert.WithinDuration(t, time.Now().Add(time.Hour), old.Expires, time.Minute)
	require.ErrorIs(t, s.DeleteSecret(ctx, "ioc", newer.ID, by), events.ErrConflict, "nothing would sign")
	require.NoError(t, s.DeleteSecret(ctx, "ioc", old.ID, by))
	require.ErrorIs(t, s.DeleteSecret(ctx, "ioc", old.ID, by), events.ErrNotFound)

	_, err = s.RotateSecret(ctx, "ioc", "v1", nil, 0, by)
	require.NoError(t, err)
	e, err := s.Endpoint(ctx, "ioc")
	require.NoError(t, err)
	assert.Len(t, e.Secrets, 1, "without an overlap the old one is of no use at once")
	for range 20 {
		if _, err = s.RotateSecret(ctx, "ioc", "v1", nil, time.Hour, by); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, events.ErrConflict, "there is a limit")
	_, err = s.RotateSecret(ctx, "ioc", "v1a", nil, time.Hour, by)
	require.ErrorContains(t, err, "scheme")
	_, err = s.RotateSecret(ctx, "ioc", "v1", nil, -1, by)
	require.ErrorContains(t, err, "overlap")
	_, err = s.RotateSecret(ctx, "nobody", "v1", nil, 0, by)
	require.ErrorIs(t, err, events.ErrNotFound)
}

func TestEnable(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	epoch, err := s.Lease(ctx, "ioc", "me", time.Minute)
	require.NoError(t, err)
	require.NoError(t, s.Settle(ctx, outbox.Settlement{
		Endpoint: "ioc", Epoch: epoch, Disable: "gone", Health: outbox.Health{Failures: 1, RetryAt: time.Now().Add(time.Hour)},
	}))
	st, err := s.EnableEndpoint(ctx, "ioc", by)
	require.NoError(t, err)
	assert.True(t, st.Changed)
	assert.True(t, st.Endpoint.Enabled)
	assert.Empty(t, st.Endpoint.Disabled)
	assert.True(t, st.Endpoint.Health.RetryAt.IsZero())
	st, err = s.EnableEndpoint(ctx, "ioc", by)
	require.NoError(t, err)
	assert.False(t, st.Changed)
	_, err = s.EnableEndpoint(ctx, "nobody", by)
	require.ErrorIs(t, err, events.ErrNotFound)
}

func TestReplaceEndpoints(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	given, err := outbox.ParseSecret("whsec_"+strings.Repeat("QUJD", 8), time.Now())
	require.NoError(t, err)
	a := outboxtest.Endpoint("a")
	a.Secrets = []outbox.Secret{given}
	stored, deleted, err := s.ReplaceEndpoints(ctx, []outbox.Endpoint{outboxtest.Endpoint("b"), a}, false, by)
	require.NoError(t, err)
	assert.Empty(t, deleted)
	require.Len(t, stored, 2)
	assert.Equal(t, "a", stored[0].Endpoint.Name)
	require.Len(t, stored[0].Endpoint.Secrets, 1, "the given one, no other")
	assert.Equal(t, given.Key, stored[0].Endpoint.Secrets[0].Key)
	stored, deleted, err = s.ReplaceEndpoints(ctx, []outbox.Endpoint{a}, true, by)
	require.NoError(t, err)
	assert.False(t, stored[0].Changed)
	assert.Equal(t, []string{"b"}, deleted)
	bad := outboxtest.Endpoint("c")
	bad.URL = "ftp://x"
	_, _, err = s.ReplaceEndpoints(ctx, []outbox.Endpoint{outboxtest.Endpoint("aa"), bad}, true, by)
	require.ErrorContains(t, err, "endpoint c: url")
	list, err := s.Endpoints(ctx)
	require.NoError(t, err)
	assert.Len(t, list, 1, "all or nothing")
}

// settleAll delivers or buries everything that is pending.
func settleAll(t *testing.T, s *pgstore.Store, dead ...int64) {
	t.Helper()
	epoch, err := s.Lease(t.Context(), "ioc", "me", time.Minute)
	require.NoError(t, err)
	var delivered []int64
	for lane := range outbox.Lane(3) {
		list, err := s.Pending(t.Context(), "ioc", lane, 0, 500)
		require.NoError(t, err)
		for _, d := range list {
			delivered = append(delivered, d.Message.Sequence)
		}
	}
	require.NoError(t, s.Settle(t.Context(), outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Dead: dead}))
	require.NoError(t, s.Settle(t.Context(), outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Delivered: delivered}))
}

func TestReplay(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	var evs []events.Event
	for n := range 6 {
		evs = append(evs, outboxtest.Raised(n, events.SeverityHigh))
	}
	evs[1].Severity, evs[3].Kind = events.SeverityLow, "crowd"
	evs[3].ID = events.NewID(evs[3].Key(), evs[3].OccurredAt)
	require.NoError(t, s.Commit(ctx, changes(evs[0], evs[1]))) // before there is an endpoint: 1, 2
	e := outboxtest.Endpoint("ioc")
	e.Filter.Severity = events.SeverityMedium
	addEndpoint(t, s, e)
	require.NoError(t, s.Commit(ctx, changes(evs[2], evs[3], evs[4], outboxtest.Cleared(evs[0])))) // 3, 4, 5, 6
	list, err := s.Pending(ctx, "ioc", outbox.LaneNormal, 0, 10)
	require.NoError(t, err)
	before := list[0].Message
	settleAll(t, s, 4, 5)
	require.NoError(t, s.Commit(ctx, changes(evs[5]))) // 7 waits

	from := outboxtest.At(0).Add(-time.Hour)
	for name, tt := range map[string]struct {
		r    outbox.Replay
		want []int64
	}{
		"dead":         {outbox.Replay{State: outbox.StateDead}, []int64{4, 5}},
		"delivered":    {outbox.Replay{State: outbox.StateDelivered, From: from}, []int64{3, 6}},
		"missing":      {outbox.Replay{State: outbox.StateMissing, From: from}, []int64{1}}, // 2 does not pass the filter
		"all":          {outbox.Replay{From: from}, []int64{1, 3, 4, 5, 6}},
		"kind":         {outbox.Replay{From: from, Kinds: []events.Kind{"crowd"}}, []int64{4}},
		"time":         {outbox.Replay{From: outboxtest.At(2), To: outboxtest.At(4)}, []int64{3, 4}},
		"named":        {outbox.Replay{Sequences: []int64{2, 3, 7, 99}}, []int64{2, 3}},
		"nothing here": {outbox.Replay{From: outboxtest.At(1000)}, nil},
	} {
		tt.r.Preview = true
		res, err := s.Replay(ctx, "ioc", tt.r, by)
		require.NoError(t, err, name)
		assert.Equal(t, int64(len(tt.want)), res.Count, name)
		var got []int64
		for _, x := range res.Examples {
			got = append(got, x.Sequence)
		}
		assert.Equal(t, tt.want, got, name)
	}
	n, err := s.Backlog(ctx, "ioc")
	require.NoError(t, err)
	assert.Equal(t, int64(1), n, "a preview queues nothing")

	act := outbox.Act{By: "Lan", Key: "k1"}
	for range 2 { // the second one is a retry
		res, err := s.Replay(ctx, "ioc", outbox.Replay{From: from}, act)
		require.NoError(t, err)
		assert.Equal(t, int64(5), res.Count)
		if res.Examples == nil {
			waiting, err := s.Backlog(ctx, "ioc")
			require.NoError(t, err)
			assert.Zero(t, waiting, "the retry queued nothing")
		}
		again, err := s.Pending(ctx, "ioc", outbox.LaneReplay, 0, 10)
		require.NoError(t, err)
		if len(again) > 0 {
			list = again
		}
		settleAll(t, s)
	}
	require.Len(t, list, 5)
	log, err := s.Deliveries(ctx, "ioc", outbox.DeliveryFilter{Limit: 10})
	require.NoError(t, err)
	assert.Len(t, log, 6)
	assert.Equal(t, before, list[1].Message, "the very message again")
	assert.Zero(t, list[1].Attempts)
	made := list[0].Message
	assert.Equal(t, outbox.MessageID(evs[0].ID, events.StepRaised, 1), made.ID)
	assert.Equal(t, events.StateRaised, made.Event.State, "as it was then")
	assert.True(t, made.Event.ClearedAt.IsZero())

	states, err := s.EventDeliveries(ctx, evs[0].ID)
	require.NoError(t, err)
	require.Len(t, states, 2)
	assert.Equal(t, outbox.StateDelivered, states[0].State)
	assert.Equal(t, events.Kind("intrusion"), states[0].Kind)
	page, err := s.Deliveries(ctx, "ioc", outbox.DeliveryFilter{Before: 6, Limit: 2})
	require.NoError(t, err)
	require.Len(t, page, 2)
	assert.Equal(t, int64(5), page[0].Sequence)
	_, err = s.Deliveries(ctx, "nobody", outbox.DeliveryFilter{})
	require.ErrorIs(t, err, events.ErrNotFound)

	for field, r := range map[string]outbox.Replay{
		"from": {}, "state": {State: "pending", From: from}, "to": {From: from, To: from}, "sequences": {Sequences: []int64{1}, From: from},
	} {
		_, err := s.Replay(ctx, "ioc", r, by)
		require.ErrorContains(t, err, field+":")
	}
	_, err = s.Replay(ctx, "nobody", outbox.Replay{From: from}, by)
	require.ErrorIs(t, err, events.ErrNotFound)
}

// TestReplayDoesNotHideTheLane: the end of an event whose beginning is replayed
// still goes in its own lane.
func TestReplayDoesNotHideTheLane(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	ev := outboxtest.Raised(1, events.SeverityCritical)
	require.NoError(t, s.Commit(ctx, changes(ev)))
	settleAll(t, s)
	_, err := s.Replay(ctx, "ioc", outbox.Replay{Sequences: []int64{1}}, by)
	require.NoError(t, err)
	require.NoError(t, s.Commit(ctx, changes(outboxtest.Cleared(ev))))
	list, err := s.Pending(ctx, "ioc", outbox.LaneUrgent, 0, 10)
	require.NoError(t, err)
	assert.Len(t, list, 1)
}

func TestPruneDeliveries(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	addEndpoint(t, s, outboxtest.Endpoint("ioc"))
	addEndpoint(t, s, outboxtest.Endpoint("slow"))
	a, b := outboxtest.Raised(1, events.SeverityLow), outboxtest.Raised(2, events.SeverityLow)
	require.NoError(t, s.Commit(ctx, changes(a, b)))
	settleAll(t, s)
	_, err := s.LogAttempt(ctx, outbox.Attempt{Endpoint: "ioc", Kind: outbox.KindTest, MessageID: "t", Result: outbox.Result{Outcome: outbox.Delivered, Started: outboxtest.At(0)}}, outbox.Test{})
	require.NoError(t, err)
	p, err := s.PruneDeliveries(ctx, time.Now().Add(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, pgstore.Pruned{Messages: 0, Attempts: 1}, p, "slow has not got them yet")
	epoch, err := s.Lease(ctx, "slow", "me", time.Minute)
	require.NoError(t, err)
	require.NoError(t, s.Settle(ctx, outbox.Settlement{Endpoint: "slow", Epoch: epoch, Delivered: []int64{1}}))
	p, err = s.PruneDeliveries(ctx, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	assert.Zero(t, p, "not old enough")
	p, err = s.PruneDeliveries(ctx, time.Now().Add(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, pgstore.Pruned{Messages: 1}, p)
	states, err := s.EventDeliveries(ctx, a.ID)
	require.NoError(t, err)
	assert.Empty(t, states)
	res, err := s.Replay(ctx, "ioc", outbox.Replay{From: outboxtest.At(-100)}, by)
	require.NoError(t, err)
	assert.Equal(t, int64(2), res.Count, "what was pruned is made again")
	list, err := s.Pending(ctx, "ioc", outbox.LaneReplay, 0, 10)
	require.NoError(t, err)
	assert.Equal(t, outbox.MessageID(a.ID, events.StepRaised, 1), list[0].Message.ID)
}

// TestEndpointsAreAudited: whatever is done to an endpoint is in the chain, with
// who did it and without secrets, and the chain verifies.
func TestEndpointsAreAudited(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := openSealed(t)
	first := addEndpoint(t, s, outboxtest.Endpoint("ioc")).Issued[0]
	e := outboxtest.Endpoint("ioc")
	e.Rate, e.Headers = 3, map[string]string{"X-Key": "geheim"}
	_, err := s.UpdateEndpoint(ctx, e, by)
	require.NoError(t, err)
	_, err = s.UpdateEndpoint(ctx, e, by) // changes nothing
	require.NoError(t, err)
	_, err = s.RotateSecret(ctx, "ioc", "v1", nil, time.Hour, by)
	require.NoError(t, err)
	require.NoError(t, s.DeleteSecret(ctx, "ioc", first.ID, by))
	require.NoError(t, s.Commit(ctx, changes(outboxtest.Raised(1, events.SeverityLow))))
	settleAll(t, s)
	_, err = s.Replay(ctx, "ioc", outbox.Replay{Sequences: []int64{1}, Preview: true}, by)
	require.NoError(t, err)
	_, err = s.Replay(ctx, "ioc", outbox.Replay{Sequences: []int64{1}}, by)
	require.NoError(t, err)
	epoch, err := s.Lease(ctx, "ioc", "me", time.Minute)
	require.NoError(t, err)
	require.NoError(t, s.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Disable: "gone"}))
	_, err = s.EnableEndpoint(ctx, "ioc", by)
	require.NoError(t, err)
	require.NoError(t, s.DeleteEndpoint(ctx, "ioc", by))
	list, err := s.Audit(ctx, audit.Filter{}, audit.Page{Limit: 100})
	require.NoError(t, err)
	slices.SortFunc(list, func(a, b audit.Entry) int { return cmp.Compare(a.Number, b.Number) })
	var actions []string
	for _, x := range list {
		actions = append(actions, x.Actor+" "+x.Action)
		assert.Equal(t, "endpoint:ioc", x.Subject)
		assert.NotContains(t, x.Detail, "geheim")
		assert.NotContains(t, x.Detail, strings.TrimPrefix(first.Text, "whsec_"))
	}
	assert.Equal(t, []string{
		"Lan endpoint.create", "Lan endpoint.update", "Lan endpoint.secret.rotate", "Lan endpoint.secret.delete", "Lan endpoint.replay",
		"system endpoint.disable", "Lan endpoint.enable", "Lan endpoint.delete",
	}, actions)
}

// Package outboxtest holds every outbox.Queue to what its words promise. Only
// _test.go files import it.
package outboxtest

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// Fixture is an empty queue and how to fill it.
type Fixture struct {
	Queue outbox.Queue
	// Add stores an enabled endpoint.
	Add func(e outbox.Endpoint)
	// Commit stores changes of events, one transaction for all, and queues what
	// the endpoints want of them.
	Commit func(changes ...events.Event)
}

// At is when the events of these tests occur.
func At(n int) time.Time {
	return time.Date(2026, 11, 23, 15, 14, 5, 0, time.UTC).Add(time.Duration(n) * time.Second)
}

// Raised returns the n-th event, a second after the one before.
func Raised(n int, s events.Severity) events.Event {
	key := events.Key{Source: "cong-cho", Kind: "intrusion", Rule: "dem", Object: strconv.Itoa(n)}
	return events.Event{
		ID: events.NewID(key, At(n)), Kind: key.Kind, State: events.StateRaised, Severity: s,
		Source: events.Source{Type: "camera", ID: key.Source, Name: "Cổng chợ", Hamlet: "an-thuong"}, Place: events.Place{Commune: "31615"},
		Rule: events.RuleRef{Name: key.Rule, Version: 1}, Object: key.Object, OccurredAt: At(n),
		Why: events.Text{VI: "Một người ở trong vùng.", EN: "A person."},
	}
}

// Cleared returns the end of e.
func Cleared(e events.Event) events.Event {
	e.State, e.ClearedAt = events.StateCleared, e.OccurredAt.Add(time.Minute)
	return e
}

// Endpoint returns a valid endpoint.
func Endpoint(name string) outbox.Endpoint {
	return outbox.Endpoint{Name: name, Enabled: true, URL: "https://ioc.example/hook"}
}

// ttl of leases in these tests; none of them waits for it unless it says so.
const ttl = time.Minute

// ExerciseQueue runs the suite, each test with a queue of its own.
func ExerciseQueue(t *testing.T, open func(t *testing.T) Fixture) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Fixture){
		"order and lanes": order, "the end stays behind the beginning": lanes, "filter": filter, "the message is as of the change": asOf,
		"lease": lease, "a lost lease settles nothing": fence, "outcomes": outcomes, "the last word": lastWord, "parked": parked,
		"expire": expire, "health": health, "gone": gone, "secrets come opened": secrets,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// sequences returns those of a lane.
func sequences(t *testing.T, q outbox.Queue, lane outbox.Lane, after int64, limit int) []int64 {
	t.Helper()
	list, err := q.Pending(t.Context(), "ioc", lane, after, limit)
	require.NoError(t, err)
	out := []int64{}
	for _, d := range list {
		assert.Equal(t, lane, d.Lane)
		assert.Equal(t, "ioc", d.Endpoint)
		assert.False(t, d.Parked)
		out = append(out, d.Message.Sequence)
	}
	return out
}

func leased(t *testing.T, q outbox.Queue) int64 {
	t.Helper()
	epoch, err := q.Lease(t.Context(), "ioc", "me", ttl)
	require.NoError(t, err)
	return epoch
}

func order(t *testing.T, f Fixture) {
	t.Helper()
	f.Add(Endpoint("ioc"))
	f.Add(Endpoint("other"))
	f.Commit(Raised(1, events.SeverityLow), Raised(2, events.SeverityCritical), Raised(3, events.SeverityInfo))
	f.Commit(Cleared(Raised(1, events.SeverityLow)), Raised(4, events.SeverityHigh), Raised(5, events.SeverityCritical))
	assert.Equal(t, []int64{1, 3, 4, 5}, sequences(t, f.Queue, outbox.LaneNormal, 0, 10))
	assert.Equal(t, []int64{1, 3}, sequences(t, f.Queue, outbox.LaneNormal, 0, 2))
	assert.Equal(t, []int64{4, 5}, sequences(t, f.Queue, outbox.LaneNormal, 3, 2))
	assert.Equal(t, []int64{2, 6}, sequences(t, f.Queue, outbox.LaneUrgent, 0, 10))
	assert.Empty(t, sequences(t, f.Queue, outbox.LaneReplay, 0, 10))
	n, err := f.Queue.Backlog(t.Context(), "ioc")
	require.NoError(t, err)
	assert.Equal(t, int64(6), n)
}

func lanes(t *testing.T, f Fixture) {
	t.Helper()
	f.Add(Endpoint("ioc"))
	worse, better := Raised(1, events.SeverityHigh), Raised(2, events.SeverityCritical)
	f.Commit(worse, better)
	worse.Severity, better.Severity = events.SeverityCritical, events.SeverityLow
	f.Commit(Cleared(worse), Cleared(better))
	short := Raised(3, events.SeverityLow)
	end := Cleared(short)
	end.Severity = events.SeverityCritical
	f.Commit(short, end)
	assert.Equal(t, []int64{5, 6}, sequences(t, f.Queue, outbox.LaneNormal, 3, 10), "both in one transaction")
	assert.Equal(t, []int64{1, 3}, sequences(t, f.Queue, outbox.LaneNormal, 0, 2), "what got worse")
	assert.Equal(t, []int64{2, 4}, sequences(t, f.Queue, outbox.LaneUrgent, 0, 10), "what got better")
}

func filter(t *testing.T, f Fixture) {
	t.Helper()
	e := Endpoint("ioc")
	e.Filter = outbox.Filter{Severity: events.SeverityMedium, Steps: []events.Step{events.StepRaised}}
	f.Add(e)
	ev := Raised(2, events.SeverityMedium)
	f.Commit(Raised(1, events.SeverityLow), ev, Cleared(ev))
	assert.Equal(t, []int64{2}, sequences(t, f.Queue, outbox.LaneNormal, 0, 10))
}

func asOf(t *testing.T, f Fixture) {
	t.Helper()
	f.Add(Endpoint("ioc"))
	ev := Raised(1, events.SeverityMedium)
	ev.Attributes = map[string]any{"count": 3.0}
	f.Commit(ev)
	f.Commit(Cleared(ev))
	list, err := f.Queue.Pending(t.Context(), "ioc", outbox.LaneNormal, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 2)
	m := list[0].Message
	assert.Equal(t, outbox.MessageID(ev.ID, events.StepRaised, 1), m.ID)
	assert.Equal(t, events.StepRaised, m.Step)
	assert.Equal(t, events.StateRaised, m.Event.State)
	assert.True(t, m.Event.ClearedAt.IsZero())
	assert.Equal(t, ev.Attributes, m.Event.Attributes)
	assert.Equal(t, int64(1), m.Event.Sequence)
	assert.WithinDuration(t, time.Now(), list[0].Queued, time.Minute)
	assert.Zero(t, list[0].Attempts)
	assert.Equal(t, events.StateCleared, list[1].Message.Event.State)
	assert.Equal(t, outbox.MessageID(ev.ID, events.StepCleared, 2), list[1].Message.ID)
}

func lease(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	first, err := f.Queue.Lease(ctx, "ioc", "me", ttl)
	require.NoError(t, err)
	_, err = f.Queue.Lease(ctx, "ioc", "another", ttl)
	require.ErrorIs(t, err, events.ErrConflict)
	second, err := f.Queue.Lease(ctx, "ioc", "me", time.Millisecond)
	require.NoError(t, err, "the owner itself need not wait")
	assert.Greater(t, second, first)
	require.Eventually(t, func() bool {
		third, err := f.Queue.Lease(ctx, "ioc", "another", ttl)
		return err == nil && third > second
	}, 5*time.Second, 10*time.Millisecond, "it has run out")
	_, err = f.Queue.Lease(ctx, "ioc", "me", ttl)
	require.ErrorIs(t, err, events.ErrConflict)
	_, err = f.Queue.Lease(ctx, "nobody", "me", ttl)
	require.ErrorIs(t, err, events.ErrNotFound)
}

func fence(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	f.Commit(Raised(1, events.SeverityLow))
	old := leased(t, f.Queue)
	leased(t, f.Queue)
	err := f.Queue.Settle(ctx, outbox.Settlement{
		Endpoint: "ioc", Epoch: old, Delivered: []int64{1}, Health: outbox.Health{Failures: 7}, Disable: "gone",
		Attempts: []outbox.Attempt{attempt(1, 1, outbox.Delivered)},
	})
	require.ErrorIs(t, err, events.ErrConflict)
	assert.NotErrorIs(t, err, events.ErrUnavailable)
	assert.Equal(t, []int64{1}, sequences(t, f.Queue, outbox.LaneNormal, 0, 10))
	list, err := f.Queue.Endpoints(ctx)
	require.NoError(t, err)
	assert.Zero(t, list[0].Health.Failures)
	assert.True(t, list[0].Enabled)
	_, err = f.Queue.Expire(ctx, "ioc", old, time.Now().Add(time.Hour))
	require.ErrorIs(t, err, events.ErrConflict)
	assert.Equal(t, []int64{1}, sequences(t, f.Queue, outbox.LaneNormal, 0, 10))
}

// attempt returns a line of the log.
func attempt(sequence int64, number int, o outbox.Outcome) outbox.Attempt {
	r := outbox.Result{Outcome: o, Status: 200, Started: At(0), Took: 20 * time.Millisecond, Excerpt: "ok"}
	if o != outbox.Delivered {
		r.Status, r.Err = 500, errors.New("500 Internal Server Error")
	}
	return outbox.Attempt{Endpoint: "ioc", Kind: outbox.KindDelivery, MessageID: fmt.Sprint("m", sequence), Sequence: sequence, Number: number, Result: r}
}

func outcomes(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	f.Add(Endpoint("other"))
	f.Commit(Raised(1, events.SeverityLow), Raised(2, events.SeverityLow), Raised(3, events.SeverityLow), Raised(4, events.SeverityLow))
	epoch := leased(t, f.Queue)
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{
		Endpoint: "ioc", Epoch: epoch, Delivered: []int64{1}, Dead: []int64{2}, Park: map[int64]time.Time{3: At(100)}, Failed: []int64{4},
		Attempts: []outbox.Attempt{
			attempt(1, 1, outbox.Delivered), attempt(2, 1, outbox.Refused), attempt(3, 1, outbox.Retry),
			attempt(4, 1, outbox.Retry), attempt(4, 2, outbox.Retry),
		},
	}))
	list, err := f.Queue.Pending(ctx, "ioc", outbox.LaneNormal, 0, 10)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, int64(4), list[0].Message.Sequence)
	assert.Equal(t, 2, list[0].Attempts)
	n, err := f.Queue.Backlog(ctx, "ioc")
	require.NoError(t, err)
	assert.Equal(t, int64(2), n)
	n, err = f.Queue.Backlog(ctx, "other")
	require.NoError(t, err)
	assert.Equal(t, int64(4), n, "endpoints do not mix")
	// The same again, as after an answer that was lost.
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Delivered: []int64{1}}))
}

func lastWord(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	f.Commit(Raised(1, events.SeverityLow), Raised(2, events.SeverityLow))
	epoch := leased(t, f.Queue)
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{
		Endpoint: "ioc", Epoch: epoch, Failed: []int64{1, 2, 1}, Park: map[int64]time.Time{1: At(5)}, Delivered: []int64{1},
		Attempts: []outbox.Attempt{attempt(1, 1, outbox.Retry), attempt(2, 1, outbox.Retry), attempt(1, 2, outbox.Delivered)},
	}))
	assert.Equal(t, []int64{2}, sequences(t, f.Queue, outbox.LaneNormal, 0, 10))
	parked, err := f.Queue.Parked(ctx, "ioc", At(1000), 10)
	require.NoError(t, err)
	assert.Empty(t, parked)
}

func parked(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	f.Commit(Raised(1, events.SeverityLow), Raised(2, events.SeverityCritical), Raised(3, events.SeverityLow))
	epoch := leased(t, f.Queue)
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{
		Endpoint: "ioc", Epoch: epoch, Park: map[int64]time.Time{1: At(20), 2: At(10), 3: At(30)},
		Attempts: []outbox.Attempt{attempt(1, 1, outbox.Retry), attempt(2, 1, outbox.Retry), attempt(3, 1, outbox.Retry)},
	}))
	due := func(at time.Time, limit int) []int64 {
		list, err := f.Queue.Parked(ctx, "ioc", at, limit)
		require.NoError(t, err)
		out := []int64{}
		for _, d := range list {
			assert.True(t, d.Parked)
			assert.Equal(t, 1, d.Attempts)
			out = append(out, d.Message.Sequence)
		}
		return out
	}
	assert.Empty(t, due(At(9), 10))
	assert.Equal(t, []int64{2, 1}, due(At(20), 10))
	assert.Equal(t, []int64{2}, due(At(20), 1))
	assert.Empty(t, sequences(t, f.Queue, outbox.LaneNormal, 0, 10))
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Delivered: []int64{2}, Park: map[int64]time.Time{1: At(90)}}))
	assert.Equal(t, []int64{3}, due(At(50), 10))
}

func expire(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	f.Add(Endpoint("other"))
	f.Commit(Raised(1, events.SeverityLow), Raised(2, events.SeverityLow), Raised(3, events.SeverityLow))
	epoch := leased(t, f.Queue)
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Delivered: []int64{1}, Park: map[int64]time.Time{2: At(20)}}))
	n, err := f.Queue.Expire(ctx, "ioc", epoch, time.Now().Add(-time.Hour))
	require.NoError(t, err)
	assert.Zero(t, n)
	n, err = f.Queue.Expire(ctx, "ioc", epoch, time.Now().Add(time.Hour))
	require.NoError(t, err)
	assert.Equal(t, int64(2), n)
	n, err = f.Queue.Backlog(ctx, "ioc")
	require.NoError(t, err)
	assert.Zero(t, n)
	n, err = f.Queue.Backlog(ctx, "other")
	require.NoError(t, err)
	assert.Equal(t, int64(3), n)
}

func health(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	epoch := leased(t, f.Queue)
	want := outbox.Health{
		Failures: 5, FailingSince: At(1), RetryAt: At(2), LastSuccess: At(3), LastAttempt: At(4), LastError: "503 Service Unavailable", HeartbeatAt: At(5),
	}
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch, Health: want}))
	list, err := f.Queue.Endpoints(ctx)
	require.NoError(t, err)
	assert.Equal(t, want, list[0].Health)
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: epoch}))
	list, err = f.Queue.Endpoints(ctx)
	require.NoError(t, err)
	assert.Zero(t, list[0].Health)
}

func gone(t *testing.T, f Fixture) {
	t.Helper()
	ctx := t.Context()
	f.Add(Endpoint("ioc"))
	f.Commit(Raised(1, events.SeverityLow))
	require.NoError(t, f.Queue.Settle(ctx, outbox.Settlement{Endpoint: "ioc", Epoch: leased(t, f.Queue), Failed: []int64{1}, Disable: "gone"}))
	list, err := f.Queue.Endpoints(ctx)
	require.NoError(t, err)
	assert.False(t, list[0].Enabled)
	assert.Equal(t, "gone", list[0].Disabled)
	f.Commit(Raised(2, events.SeverityLow))
	assert.Equal(t, []int64{1}, sequences(t, f.Queue, outbox.LaneNormal, 0, 10), "what waited stays, nothing is added")
}

func secrets(t *testing.T, f Fixture) {
	t.Helper()
	b := Endpoint("b")
	b.Signing, b.Headers = []string{outbox.SchemeHMAC, outbox.SchemeEd25519}, map[string]string{"Authorization": "Bearer s3cret"}
	f.Add(b)
	f.Add(Endpoint("a"))
	list, err := f.Queue.Endpoints(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, "a", list[0].Name)
	require.Len(t, list[0].Secrets, 1)
	assert.Len(t, list[0].Secrets[0].Key, 32)
	assert.Equal(t, outbox.FormatCloudEvents, list[0].Format, "with defaults")
	assert.Equal(t, b.Headers, list[1].Headers)
	schemes := []string{}
	for _, s := range list[1].Secrets {
		schemes = append(schemes, s.Scheme)
		assert.Len(t, s.Key, 32)
	}
	assert.ElementsMatch(t, b.Signing, schemes)
}

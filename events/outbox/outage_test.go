package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// TestLeaseLost: who lost its lease stores nothing and sends nothing more.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 1}), &receiver{}
		for range 100 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(10 * time.Second)
		q.mu.Lock()
		l := q.leases["ioc"]
		l.owner, l.epoch, l.until = "there", l.epoch+1, time.Now().Add(time.Hour)
		q.mu.Unlock()
		time.Sleep(2 * time.Second) // one more may be on its way
		sent, stored := len(r.tries()), q.count("ioc", "delivered")
		time.Sleep(30 * time.Minute)
		assert.Len(t, r.tries(), sent)
		assert.Equal(t, stored, q.count("ioc", "delivered"))
		time.Sleep(time.Hour) // the other one has died
		assert.Equal(t, 100, q.count("ioc", "delivered"))
		got := slices.Compact(r.sequences())
		assert.Len(t, got, 100, "sent again at most")
	})
}

// TestLeaseBack: who gets its lease back goes on with what the other one learnt
// of the endpoint, not with what it knew itself.
func TestLeaseBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Heartbeat: -1}), &receiver{takes: 3 * time.Second}
		for range 5 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		var mu sync.Mutex
		var latest *outbox.Alarm
		run(t, outbox.Config{Queue: q, Deliverer: r, Alarm: func(_ context.Context, a outbox.Alarm) {
			mu.Lock()
			defer mu.Unlock()
			latest = &a
		}})
		failing := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return latest != nil && latest.Failing
		}
		time.Sleep(4 * time.Second) // the second is on its way
		now := time.Now()
		learnt := outbox.Health{
			Failures: 7, FailingSince: now, RetryAt: now.Add(3 * time.Hour), LastAttempt: now, LastSuccess: now, LastError: "asked to wait",
		}
		q.mu.Lock()
		l := q.leases["ioc"]
		l.owner, l.epoch, l.until = "there", l.epoch+1, now.Add(time.Hour)
		q.endpoints["ioc"].Health = learnt
		q.mu.Unlock()
		time.Sleep(time.Minute)
		sent := len(r.tries())
		time.Sleep(2 * time.Hour) // the other one has died
		assert.Equal(t, learnt, q.endpoint("ioc").Health)
		assert.Len(t, r.tries(), sent, "the pause that the receiver asked for holds")
		assert.True(t, failing())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, 5, q.count("ioc", "delivered"))
		assert.Zero(t, q.endpoint("ioc").Health.Failures)
		assert.False(t, failing())
	})
}

// TestStoreAway: what is in memory goes out, the rest waits; outcomes are kept
// until they can be stored.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 20}), &receiver{}
		for range 2000 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		w, _ := run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(2 * time.Second)
		q.setDown(fmt.Errorf("store: %w", events.ErrUnavailable))
		time.Sleep(time.Hour)
		held := len(r.sequences()) - q.count("ioc", "delivered")
		assert.Less(t, held, 257, "no more than can be told later")
		q.setDown(nil)
		w.Reload()
		time.Sleep(5 * time.Minute)
		assert.Equal(t, 2000, q.count("ioc", "delivered"))
		got := r.sequences()
		assert.Len(t, got, 2000, "nothing twice: the outcomes were kept")
		assert.True(t, slices.IsSorted(got))
	})
}

// TestStoreAwayLong: no more goes out than can be told later, and nothing after
// the lease has run out, since another server may deliver then.
func TestStoreAwayLong(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rate float64
		most int
	}{"outcomes": {100, 256}, "lease": {1, 41}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: tt.rate, Heartbeat: -1}), &receiver{}
				for range 2000 {
					q.queue("ioc", outbox.LaneNormal, "cam")
				}
				run(t, outbox.Config{Queue: q, Deliverer: r, Page: 2000})
				time.Sleep(1500 * time.Millisecond)
				q.setDown(fmt.Errorf("store: %w", events.ErrUnavailable))
				time.Sleep(time.Hour)
				assert.InDelta(t, tt.most, len(r.sequences())-q.count("ioc", "delivered"), 3)
			})
		})
	}
}

// TestFailTogether: requests that were on their way when the endpoint went away
// are one failure, and what passed of them does not prove that it is back.
func TestFailTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 100, Concurrency: 8, Heartbeat: -1})
		r := &receiver{takes: 10 * time.Millisecond}
		r.set(func(m outbox.Message) outbox.Result {
			time.Sleep(time.Duration(m.Sequence) * time.Millisecond)
			if m.Sequence == 8 {
				return outbox.Result{Outcome: outbox.Delivered, Status: 200}
			}
			return failure(503)
		})
		for i := range 8 {
			q.queue("ioc", outbox.LaneNormal, fmt.Sprintf("cam-%d", i))
		}
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(time.Second)
		assert.Equal(t, 1, q.endpoint("ioc").Health.Failures)
		assert.Len(t, r.tries(), 8)
	})
}

// TestShutdown: a request in progress may end, and its outcome is stored; one
// that takes too long is ended and tried again by the next start.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		takes     time.Duration
		delivered int
	}{"in time": {3 * time.Second, 1}, "too long": {14 * time.Second, 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Heartbeat: -1})
				r := &receiver{takes: tt.takes}
				q.queue("ioc", outbox.LaneNormal, "cam")
				_, stop := run(t, outbox.Config{Queue: q, Deliverer: r})
				time.Sleep(time.Second)
				before := time.Now()
				stop()
				assert.LessOrEqual(t, time.Since(before), 6*time.Second)
				assert.Equal(t, tt.delivered, q.count("ioc", "delivered"))
				assert.Len(t, q.log(), 1)
				assert.Zero(t, q.endpoint("ioc").Health.Failures, "we ended it")
				r.takes = 0
				_, stop = run(t, outbox.Config{Queue: q, Deliverer: r})
				time.Sleep(time.Minute)
				stop()
				assert.Equal(t, 1, q.count("ioc", "delivered"))
				assert.Len(t, r.sequences(), 1)
			})
		})
	}
}

// TestRestart: what was learnt of an endpoint survives.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Heartbeat: -1}), &receiver{}
		r.set(refuses(503))
		q.queue("ioc", outbox.LaneNormal, "cam")
		_, stop := run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(time.Hour)
		stop()
		tries, failures := len(r.tries()), q.endpoint("ioc").Health.Failures
		require.Greater(t, failures, 5)
		var alarms []outbox.Alarm
		_, stop = run(t, outbox.Config{Queue: q, Deliverer: r, Alarm: func(_ context.Context, a outbox.Alarm) { alarms = append(alarms, a) }})
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Len(t, r.tries(), tries, "the pause goes on")
		require.Len(t, alarms, 1)
		assert.True(t, alarms[0].Failing)
		time.Sleep(time.Hour)
		stop()
		assert.Greater(t, q.endpoint("ioc").Health.Failures, failures)
	})
}

// TestHangingNeighbour: an endpoint that hangs slows no other.
func TestHangingNeighbour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemory(outbox.Endpoint{Name: "a", URL: "https://a.example"}, outbox.Endpoint{Name: "b", URL: "https://b.example"})
		d := &hanging{receiver: &receiver{}}
		w, _ := run(t, outbox.Config{Queue: q, Deliverer: d})
		var worst time.Duration
		for range 100 {
			q.queue("b", outbox.LaneNormal, "cam")
			asked, n := time.Now(), len(d.sequences())
			q.queue("a", outbox.LaneNormal, "cam")
			w.Wake()
			for len(d.sequences()) == n {
				time.Sleep(time.Millisecond)
			}
			worst = max(worst, time.Since(asked))
			time.Sleep(time.Second)
		}
		assert.LessOrEqual(t, worst, 100*time.Millisecond)
	})
}

// hanging does not answer for endpoint b.
type hanging struct{ *receiver }

func (h *hanging) Deliver(ctx context.Context, e outbox.Endpoint, m outbox.Message) outbox.Result {
	if e.Name != "b" {
		return h.receiver.Deliver(ctx, e, m)
	}
	started := time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(e.Timeout):
	}
	return outbox.Result{Outcome: outbox.Retry, Err: context.DeadlineExceeded, Started: started, Took: time.Since(started)}
}

// TestPanic: a Deliverer that breaks down is like an endpoint that is away.
func TestPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example"}), &receiver{}
		r.set(func(outbox.Message) outbox.Result { panic("oh") })
		q.queue("ioc", outbox.LaneNormal, "cam")
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(2 * time.Second)
		assert.Equal(t, 1, q.endpoint("ioc").Health.Failures)
		r.set(nil)
		time.Sleep(time.Minute)
		assert.Equal(t, 1, q.count("ioc", "delivered"))
	})
}

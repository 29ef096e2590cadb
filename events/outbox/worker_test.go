package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/outbox"
)

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := outbox.New(outbox.Config{})
	require.Error(t, err)
	_, err = outbox.New(outbox.Config{Queue: newMemory(), Deliverer: &receiver{}, Owner: "a", Lease: 30 * time.Second})
	require.Error(t, err)
}

// TestOrderAndWake: what is queued goes out in order, and soon after Wake.
func TestOrderAndWake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 1000}), &receiver{}
		for range 500 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		reg := prometheus.NewRegistry()
		w, stop := run(t, outbox.Config{Queue: q, Deliverer: r, Reg: reg})
		time.Sleep(3 * time.Second)
		got := r.sequences()
		require.Len(t, got, 500)
		assert.True(t, slices.IsSorted(got))

		time.Sleep(1234 * time.Millisecond)
		q.queue("ioc", outbox.LaneNormal, "cam")
		before := time.Now()
		w.Wake()
		time.Sleep(time.Second)
		require.Len(t, r.sequences(), 501)
		assert.Less(t, r.got[500].at.Sub(before), 100*time.Millisecond)
		assert.Equal(t, 501, q.count("ioc", "delivered"), "an idle courier stores outcomes at once")
		stop()
		assert.Len(t, q.log(), 502, "every attempt is logged, and one heartbeat")
		n, err := testutil.GatherAndCount(reg, "xacam_delivery_attempts_total")
		require.NoError(t, err)
		assert.Equal(t, 4, n)
	})
}

// TestThreeDaysAway: the receiver is away for three days while 100,000 events
// gather. Then everything arrives in order, as fast as the rate allows, and a
// new critical alarm does not wait behind it.
func TestThreeDaysAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n, rate = 100_000, 100
		q := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: rate, Heartbeat: -1})
		r := &receiver{takes: 2 * time.Millisecond}
		r.set(func(outbox.Message) outbox.Result {
			return outbox.Result{Outcome: outbox.Retry, Err: errors.New("refused")}
		})
		var mu sync.Mutex
		var alarms []outbox.Alarm
		w, stop := run(t, outbox.Config{Queue: q, Deliverer: r, Alarm: func(_ context.Context, a outbox.Alarm) {
			mu.Lock()
			defer mu.Unlock()
			alarms = append(alarms, a)
		}})
		const days = 3 * 24 * time.Hour
		for range n / 1000 {
			for range 1000 {
				q.queue("ioc", outbox.LaneNormal, "cam")
			}
			time.Sleep(days / (n / 1000))
		}
		away := len(r.tries())
		assert.Less(t, away, 320, "an endpoint that is away is probed every 15 minutes")
		assert.Greater(t, away, 280)
		require.NotZero(t, q.endpoint("ioc").Health.Failures)
		require.Less(t, len(q.log()), away+1)

		r.set(nil)
		back := time.Now()
		for len(r.sequences()) == 0 {
			time.Sleep(time.Second)
		}
		first := time.Since(back)
		assert.LessOrEqual(t, first, 15*time.Minute)
		time.Sleep(time.Minute)

		var worst time.Duration
		var critical []int64
		for range 20 { // during catch-up
			asked := time.Now()
			seq := q.queue("ioc", outbox.LaneUrgent, "gate")
			critical = append(critical, seq)
			w.Wake()
			for !r.has(seq) {
				time.Sleep(5 * time.Millisecond)
			}
			worst = max(worst, time.Since(asked))
			time.Sleep(700 * time.Millisecond)
		}
		for q.count("ioc", "pending") > 0 {
			time.Sleep(10 * time.Second)
		}
		took := time.Since(back) - first
		normal := slices.DeleteFunc(r.sequences(), func(s int64) bool { return slices.Contains(critical, s) })
		require.Len(t, normal, n)
		assert.True(t, slices.IsSorted(normal), "in order")
		assert.LessOrEqual(t, worst, 100*time.Millisecond)
		assert.InDelta(t, n/rate, took.Seconds(), 60)
		assert.LessOrEqual(t, q.largest, 100, "paged")
		stop()
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, alarms, 2)
		assert.True(t, alarms[0].Failing)
		assert.Equal(t, 5, alarms[0].Failures)
		assert.False(t, alarms[1].Failing)
		t.Logf("%d probes in 3 days; first delivery %s after it was back; %d drained in %s at %d/s; worst of %d criticals %s",
			away, first, n, took.Round(time.Second), rate, len(critical), worst)
	})
}

// TestCriticalWhileAway: a critical alarm makes the probes come every minute.
func TestCriticalWhileAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Heartbeat: -1}), &receiver{}
		r.set(refuses(502))
		q.queue("ioc", outbox.LaneNormal, "cam")
		w, _ := run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(3 * time.Hour)
		calm := len(r.tries())
		urgent := q.queue("ioc", outbox.LaneUrgent, "gate")
		w.Wake()
		time.Sleep(time.Hour)
		assert.InDelta(t, 60, len(r.tries())-calm, 32) // and another beside it, to compare with
		r.set(nil)
		time.Sleep(61 * time.Second)
		require.Equal(t, []int64{urgent, 1}, r.sequences())
	})
}

// TestLanesShare: urgent goes first, and nobody waits for ever.
func TestLanesShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 64}), &receiver{}
		lanes := map[int64]outbox.Lane{}
		for range 800 {
			for _, l := range []outbox.Lane{outbox.LaneReplay, outbox.LaneNormal, outbox.LaneUrgent} {
				lanes[q.queue("ioc", l, "cam")] = l
			}
		}
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(10 * time.Second)
		n := map[outbox.Lane]int{}
		byLane := map[outbox.Lane][]int64{}
		for _, s := range r.sequences() {
			n[lanes[s]]++
			byLane[lanes[s]] = append(byLane[lanes[s]], s)
		}
		total := n[0] + n[1] + n[2]
		assert.InDelta(t, 64*11, total, 10)
		assert.InDelta(t, total*7/8, n[outbox.LaneUrgent], 10)
		assert.InDelta(t, total*7/64, n[outbox.LaneNormal], 10)
		assert.InDelta(t, total/64, n[outbox.LaneReplay], 5)
		for _, l := range byLane {
			assert.True(t, slices.IsSorted(l))
		}
		t.Logf("of %d: urgent %d, normal %d, replay %d", total, n[0], n[1], n[2])
	})
}

// TestConcurrency: more requests at a time keep the order of each source.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 1000, Concurrency: 8})
		r := &receiver{takes: 50 * time.Millisecond}
		r.set(func(outbox.Message) outbox.Result {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			return outbox.Result{Outcome: outbox.Delivered, Status: 200}
		})
		for i := range 800 {
			q.queue("ioc", outbox.LaneNormal, fmt.Sprintf("cam-%d", i%20))
		}
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(20 * time.Second)
		got := r.sequences()
		require.Len(t, got, 800)
		assert.False(t, slices.IsSorted(got), "they overtake each other")
		assert.Equal(t, 8, r.max)
		bySource := map[string][]int64{}
		for _, a := range r.got {
			bySource[a.source] = append(bySource[a.source], a.sequence)
		}
		for _, s := range bySource {
			assert.True(t, slices.IsSorted(s))
		}
	})
}

// TestReload: endpoints come, change and go while others are served.
func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemory(outbox.Endpoint{Name: "a", URL: "https://a.example", Version: 1, Rate: 10})
		r := &receiver{}
		for range 1000 {
			q.queue("a", outbox.LaneNormal, "cam")
		}
		w, _ := run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(5 * time.Second)
		q.mu.Lock()
		q.endpoints["a"].Version, q.endpoints["a"].Rate = 2, 500
		q.endpoints["b"] = &outbox.Endpoint{Name: "b", URL: "https://b.example", Enabled: true}
		q.mu.Unlock()
		q.queue("b", outbox.LaneNormal, "cam")
		w.Reload()
		time.Sleep(4 * time.Second)
		assert.Equal(t, 1000, q.count("a", "delivered"))
		assert.Equal(t, 1, q.count("b", "delivered"))
		q.mu.Lock()
		delete(q.endpoints, "a")
		q.mu.Unlock()
		q.queue("a", outbox.LaneNormal, "cam")
		w.Reload()
		time.Sleep(time.Minute)
		assert.Equal(t, 1, q.count("a", "pending"))
	})
}

// TestHeartbeat: silence means trouble, so there is none.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example"}), &receiver{}
		run(t, outbox.Config{Queue: q, Deliverer: r, Heartbeat: func(context.Context) outbox.Heartbeat {
			return outbox.Heartbeat{Sequence: 7, Cameras: 3, Offline: 1}
		}})
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		require.Len(t, r.heard, 12)
		assert.Equal(t, int64(7), r.heard[5].Sequence)
		assert.Equal(t, 3, r.heard[5].Cameras)

		// It finds out that an endpoint is away, and that it is back.
		r.mu.Lock()
		r.beats = func(outbox.Heartbeat) outbox.Result {
			return outbox.Result{Outcome: outbox.Retry, Err: errors.New("refused")}
		}
		r.mu.Unlock()
		time.Sleep(time.Hour)
		assert.Greater(t, q.endpoint("ioc").Health.Failures, 4)
		r.mu.Lock()
		r.beats = nil
		r.mu.Unlock()
		time.Sleep(16 * time.Minute)
		assert.Zero(t, q.endpoint("ioc").Health.Failures)

		// A receiver that does not know heartbeats gets its events.
		r.mu.Lock()
		r.beats = func(outbox.Heartbeat) outbox.Result { return failure(404) }
		r.mu.Unlock()
		time.Sleep(time.Hour)
		assert.Zero(t, q.endpoint("ioc").Health.Failures)
	})
}

// TestExpire: what waits longer than it may is given up.
func TestExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", ExpireAfter: 72 * time.Hour})
		r := &receiver{}
		r.set(refuses(503))
		q.queue("ioc", outbox.LaneNormal, "cam")
		q.queue("ioc", outbox.LaneReplay, "cam")
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(71 * time.Hour)
		assert.Zero(t, q.count("ioc", "dead"))
		time.Sleep(2 * time.Hour)
		assert.Equal(t, 1, q.count("ioc", "dead"))
		assert.Equal(t, 1, q.count("ioc", "pending"), "what a person asked for stays")
	})
}

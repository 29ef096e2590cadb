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

	"github.com/xacam/xacam/events"
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

// TestPoison: one message that always fails is put aside and in the end given
// up; the others pass in order.
func TestPoison(t *testing.T) {
	t.Parallel()
	for name, concurrency := range map[string]int{"one at a time": 1, "four": 4} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 50, Concurrency: concurrency, ExpireAfter: 30 * 24 * time.Hour})
				r := &receiver{takes: time.Millisecond}
				r.set(func(m outbox.Message) outbox.Result {
					if m.Sequence == 10 {
						return failure(500)
					}
					return outbox.Result{Outcome: outbox.Delivered, Status: 200}
				})
				for range 100 {
					q.queue("ioc", outbox.LaneNormal, "cam")
				}
				run(t, outbox.Config{Queue: q, Deliverer: r})
				time.Sleep(2 * time.Minute)
				got := r.sequences()
				require.Len(t, got, 99)
				assert.Equal(t, 1, q.count("ioc", "parked"))
				// One passed while the suspect was compared with it.
				assert.True(t, slices.IsSorted(got))
				assert.Zero(t, q.endpoint("ioc").Health.Failures)

				time.Sleep(60 * time.Hour)
				require.Equal(t, 1, q.count("ioc", "parked"))
				time.Sleep(24 * time.Hour)
				assert.Equal(t, 1, q.count("ioc", "dead"))
				var numbers []int
				for _, a := range q.log() {
					if a.Sequence == 10 {
						numbers = append(numbers, a.Number)
					}
				}
				assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, numbers)
			})
		})
	}
}

// TestManyPoisoned: where every other message fails, the rest is not held up
// for long.
func TestManyPoisoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 50}), &receiver{}
		r.set(func(m outbox.Message) outbox.Result {
			if m.Sequence%2 == 0 {
				return failure(500)
			}
			return outbox.Result{Outcome: outbox.Delivered, Status: 200}
		})
		for range 400 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(10 * time.Minute)
		assert.Len(t, r.sequences(), 200)
		r.set(nil)
		time.Sleep(3 * time.Hour)
		assert.Equal(t, 400, q.count("ioc", "delivered"))
	})
}

// TestRefused: a message that the receiver does not want is dead after three
// tries and holds up nobody; a receiver that wants none is away.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 50}), &receiver{}
		r.set(func(m outbox.Message) outbox.Result {
			if m.Sequence == 3 {
				return failure(422)
			}
			return outbox.Result{Outcome: outbox.Delivered, Status: 200}
		})
		for range 50 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		w, _ := run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(3 * time.Second)
		require.Len(t, r.sequences(), 49)
		time.Sleep(3 * time.Minute)
		assert.Equal(t, 1, q.count("ioc", "dead"))
		n := 0
		for _, a := range r.tries() {
			if a.sequence == 3 {
				n++
			}
		}
		assert.Equal(t, 3, n)

		r.set(refuses(400))
		for range 50 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		w.Wake()
		time.Sleep(time.Hour)
		assert.Equal(t, 1, q.count("ioc", "dead"), "a receiver that refuses everything is not believed")
		assert.GreaterOrEqual(t, q.endpoint("ioc").Health.Failures, 5)
		r.set(nil)
		time.Sleep(time.Hour)
		assert.Equal(t, 99, q.count("ioc", "delivered"))
	})
}

// TestLoneSuspect: a message that fails with nothing beside it holds up what comes
// later for no longer than it takes to compare the two.
func TestLoneSuspect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Heartbeat: -1}), &receiver{}
		suspect := q.queue("ioc", outbox.LaneNormal, "cam")
		r.set(func(m outbox.Message) outbox.Result {
			if m.Sequence == suspect {
				return failure(500)
			}
			return outbox.Result{Outcome: outbox.Delivered, Status: 204}
		})
		w, _ := run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(5 * time.Hour)
		require.Greater(t, q.endpoint("ioc").Health.Failures, 15)
		for range 3 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		w.Wake()
		time.Sleep(10 * time.Second)
		assert.Equal(t, []int64{2, 3, 4}, r.sequences())
		assert.Equal(t, 1, q.count("ioc", "parked"))
		assert.Zero(t, q.endpoint("ioc").Health.Failures)

		// An endpoint that is away is compared once, not with whatever comes.
		r.set(refuses(500))
		q.queue("ioc", outbox.LaneNormal, "cam")
		w.Wake()
		time.Sleep(5 * time.Hour)
		before := len(r.tries())
		for range 10 {
			q.queue("ioc", outbox.LaneNormal, "cam")
			w.Wake()
			time.Sleep(5 * time.Second)
		}
		assert.LessOrEqual(t, len(r.tries())-before, 2)
	})
}

// TestFlapping: a receiver that is up and down loses nothing and keeps order.
func TestFlapping(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Rate: 50}), &receiver{}
		start := time.Now()
		r.set(func(outbox.Message) outbox.Result {
			if int(time.Since(start)/time.Second)%20 < 12 {
				return outbox.Result{Outcome: outbox.Retry, Err: errors.New("connection refused")}
			}
			return outbox.Result{Outcome: outbox.Delivered, Status: 200}
		})
		for range 3000 {
			q.queue("ioc", outbox.LaneNormal, "cam")
		}
		run(t, outbox.Config{Queue: q, Deliverer: r})
		time.Sleep(30 * time.Minute)
		got := r.sequences()
		require.Len(t, got, 3000)
		assert.True(t, slices.IsSorted(got))
	})
}

// TestRetryAfter: what the receiver asks for is obeyed, up to a day.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ asks, least, most time.Duration }{
		"a minute": {time.Minute, time.Minute, time.Minute},
		"a second": {time.Second, 5 * time.Second, 7 * time.Second}, // no sooner than without
		"negative": {-time.Hour, 5 * time.Second, 7 * time.Second},
		"six days": {6 * 24 * time.Hour, 24 * time.Hour, 24 * time.Hour},
		"an hour":  {time.Hour, time.Hour, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example", Heartbeat: -1}), &receiver{}
				r.set(func(outbox.Message) outbox.Result {
					res := failure(429)
					res.RetryAfter = tt.asks
					return res
				})
				q.queue("ioc", outbox.LaneNormal, "cam")
				w, _ := run(t, outbox.Config{Queue: q, Deliverer: r})
				time.Sleep(time.Second)
				require.Len(t, r.tries(), 1)
				r.set(nil)
				q.queue("ioc", outbox.LaneUrgent, "gate") // even a critical alarm waits
				w.Wake()
				time.Sleep(25 * time.Hour)
				require.Len(t, r.tries(), 3)
				pause := r.tries()[1].at.Sub(r.tries()[0].at)
				assert.GreaterOrEqual(t, pause, tt.least)
				assert.LessOrEqual(t, pause, tt.most+100*time.Millisecond)
			})
		})
	}
}

// TestGone: 410 disables the endpoint; what waits stays.
func TestGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, r := newMemory(outbox.Endpoint{Name: "ioc", URL: "https://a.example"}), &receiver{}
		r.set(refuses(410))
		q.queue("ioc", outbox.LaneNormal, "cam")
		q.queue("ioc", outbox.LaneNormal, "cam")
		var alarms []outbox.Alarm
		run(t, outbox.Config{Queue: q, Deliverer: r, Alarm: func(_ context.Context, a outbox.Alarm) { alarms = append(alarms, a) }})
		time.Sleep(time.Hour)
		e := q.endpoint("ioc")
		assert.False(t, e.Enabled)
		assert.Equal(t, "gone", e.Disabled)
		assert.Len(t, r.tries(), 1)
		assert.Equal(t, 2, q.count("ioc", "pending"))
		require.NotEmpty(t, alarms)
		assert.True(t, alarms[len(alarms)-1].Gone)
	})
}

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

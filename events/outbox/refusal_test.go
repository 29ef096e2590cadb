package outbox_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/outbox"
)

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

package ration_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/ration"
)

// TestBudget holds that all cameras together stop when the time is spent, and
// go on when it has come again.
func TestBudget(t *testing.T) {
	t.Parallel()
	start := time.Now()
	now := start
	b := ration.NewBudget(100*time.Millisecond, func() time.Time { return now })
	looks := 0
	for range 300 { // 30 s, each look takes 50 ms
		if b.Allow() {
			looks++
			spent, err := b.Time(func() error { now = now.Add(50 * time.Millisecond); return nil })
			require.NoError(t, err)
			require.Equal(t, 50*time.Millisecond, spent)
		}
		now = now.Add(100 * time.Millisecond)
	}
	took := now.Sub(start).Seconds()
	assert.InDelta(t, took*.1/.05, looks, 3)

	var none *ration.Budget
	assert.True(t, none.Allow())
	_, err := none.Time(func() error { return context.Canceled })
	require.ErrorIs(t, err, context.Canceled)
}

type counted struct{ looks, seconds *prometheus.CounterVec }

func newCounted() (counted, ration.Counters) {
	c := counted{
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "looks_total", Help: "of a test"}, []string{"camera", "outcome"}),
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "seconds_total", Help: "of a test"}, []string{"camera"}),
	}
	return c, ration.NewCounters(c.looks, c.seconds, []string{"taken"}, "gate")
}

func (c counted) of(outcome string) float64 {
	return testutil.ToFloat64(c.looks.WithLabelValues("gate", outcome))
}

func TestRate(t *testing.T) {
	t.Parallel()
	c, counters := newCounted()
	r := ration.New(4, nil, counters)
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	var order []int
	look := func(i int) (string, error) { order = append(order, i); return "taken", nil }
	wanted := []int{1, 2, 3, 4, 5, 6}
	r.Refill(at)
	require.NoError(t, ration.Spend(r, wanted, look))
	assert.Equal(t, []int{1, 2, 3, 4}, order, "a second's worth at the start, the most urgent first")
	for i, s := range []struct {
		gone time.Duration
		want int
	}{{0, 0}, {250 * time.Millisecond, 1}, {time.Hour, 4}, {-time.Hour, 0}, {500 * time.Millisecond, 2}} {
		order = nil
		at = at.Add(s.gone)
		r.Refill(at)
		require.NoError(t, ration.Spend(r, wanted, look))
		assert.Len(t, order, s.want, i)
	}
	assert.InDelta(t, 11, c.of("taken"), 0)
	assert.InDelta(t, 6*6-11, c.of(ration.Rate), 0)
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	c, counters := newCounted()
	now := time.Now()
	b := ration.NewBudget(100*time.Millisecond, func() time.Time { return now })
	r := ration.New(100, b, counters)
	broken := errors.New("broken")
	fails := func(int) (string, error) { now = now.Add(10 * time.Millisecond); return "", broken }
	require.ErrorIs(t, ration.Spend(r, []int{1, 2}, fails), broken, "all failed")
	some := func(i int) (string, error) {
		if i == 1 {
			return fails(i)
		}
		now = now.Add(90 * time.Millisecond)
		return "taken", nil
	}
	require.NoError(t, ration.Spend(r, []int{1, 2, 3}, some), "one did not")
	assert.InDelta(t, 3, c.of(ration.Failed), 0)
	assert.InDelta(t, 1, c.of("taken"), 0)
	assert.InDelta(t, 1, c.of(ration.Spent), 0, "the time was spent")
	assert.InDelta(t, .12, testutil.ToFloat64(c.seconds.WithLabelValues("gate")), 1e-9)
	require.NoError(t, ration.Spend(r, []int{}, fails))
	require.NoError(t, ration.Spend(ration.New(1, nil, ration.Counters{}), []int{1}, func(int) (string, error) { return "taken", nil }), "nothing is counted")
}

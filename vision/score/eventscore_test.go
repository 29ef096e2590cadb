package score_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/score"
)

// clock returns the moment the given number of seconds into a recording.
func clock(s float64) time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

func happened(from, to float64) score.Label {
	return score.Label{Kind: "loitering", From: clock(from), To: clock(to)}
}

// told is an event raised and cleared at the given seconds; 0 is not cleared.
func told(from, to float64) score.Told {
	e := score.Told{Kind: "loitering", Rule: "r", From: clock(from)}
	if to > 0 {
		e.To = clock(to)
	}
	return e
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func square(x float64) *geom.Box {
	return &geom.Box{Min: geom.Point{X: x, Y: x}, Max: geom.Point{X: x + .2, Y: x + .2}}
}

func TestComputeEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		labels                     []score.Label
		told                       []score.Told
		cfg                        score.EventConfig
		right, missed, wrong, more int
	}{
		"nothing":                     {},
		"told in time":                {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(12, 25)}, right: 1},
		"not told":                    {labels: []score.Label{happened(10, 20)}, missed: 1},
		"nothing happened":            {told: []score.Told{told(12, 25)}, wrong: 1},
		"told twice":                  {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(12, 13), told(15, 25)}, right: 1, wrong: 1, more: 1},
		"told before, still raised":   {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(2, 0)}, right: 1},
		"cleared before":              {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(2, 7.9)}, missed: 1, wrong: 1},
		"cleared just before":         {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(2, 8.1)}, right: 1},
		"just late":                   {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(21.9, 30)}, right: 1},
		"late":                        {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(22.1, 30)}, missed: 1, wrong: 1},
		"late, but tolerated":         {labels: []score.Label{happened(10, 20)}, told: []score.Told{told(22.1, 30)}, cfg: score.EventConfig{Tolerance: 5 * time.Second}, right: 1},
		"one event is not two labels": {labels: []score.Label{happened(10, 20), happened(11, 20)}, told: []score.Told{told(12, 25)}, right: 1, missed: 1},
		// The first event could tell of both, the second of the first label only.
		"as many as possible": {labels: []score.Label{happened(10, 12), happened(15, 20)}, told: []score.Told{told(11, 30), told(10, 11)}, right: 2},
		"another kind": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Kind = "crowd" })}, told: []score.Told{told(12, 25)}, missed: 1, wrong: 1,
		},
		"another rule": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Rule = "q" })}, told: []score.Told{told(12, 25)}, missed: 1, wrong: 1,
		},
		"another camera": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Camera = "q" })}, told: []score.Told{told(12, 25)}, missed: 1, wrong: 1,
		},
		"its zone and class": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Zone, l.Class = "z", "person" })},
			told:   []score.Told{with(told(12, 25), func(e *score.Told) { e.Zone, e.Class = "z", "person" })}, right: 1,
		},
		"its box": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Box = square(.5) })},
			told:   []score.Told{with(told(12, 25), func(e *score.Told) { e.Box = square(.55) })}, right: 1,
		},
		"another box": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Box = square(.5) })},
			told:   []score.Told{with(told(12, 25), func(e *score.Told) { e.Box = square(.62) })}, missed: 1, wrong: 1,
		},
		"no box": {
			labels: []score.Label{with(happened(10, 20), func(l *score.Label) { l.Box = square(.5) })}, told: []score.Told{told(12, 25)}, missed: 1, wrong: 1,
		},
		"optional, told":     {labels: []score.Label{with(happened(10, 20), optional)}, told: []score.Told{told(12, 25)}},
		"optional, twice":    {labels: []score.Label{with(happened(10, 20), optional)}, told: []score.Told{told(12, 25), told(13, 14)}},
		"optional, not told": {labels: []score.Label{with(happened(10, 20), optional)}},
		"rather the required one": {
			labels: []score.Label{with(happened(10, 20), optional), happened(15, 20)}, told: []score.Told{told(10, 25)}, right: 1,
		},
		"nobody watched": {
			labels: []score.Label{happened(10, 20), happened(60, 61)}, told: []score.Told{told(5, 6), told(70, 71)},
			cfg: score.EventConfig{Watched: score.Span{From: clock(30), To: clock(65)}}, missed: 1,
		},
		"nobody is sure": {
			labels: []score.Label{happened(10, 20), happened(60, 61)}, told: []score.Told{told(5, 6), told(70, 71)},
			cfg: score.EventConfig{Unsure: []score.Span{{From: clock(55), To: clock(65)}, {To: clock(12)}}}, wrong: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := score.ComputeEvents(c.labels, c.told, c.cfg)
			require.NoError(t, err)
			assert.Equal(t, [4]int{c.right, c.missed, c.wrong, c.more}, [4]int{s.Right, s.Missed(), s.Wrong(), s.Twice})
			assert.Equal(t, c.right+c.missed, s.Labels)
			assert.Equal(t, c.right+c.wrong, s.Events)
			assert.Len(t, s.Pairs, c.right)
			assert.Len(t, s.NotTold, c.missed)
			assert.Len(t, s.False, c.wrong)
		})
	}
}

func optional(l *score.Label) { l.Optional = true }

func TestComputeEventsDelays(t *testing.T) {
	t.Parallel()
	labels := []score.Label{happened(10, 20), happened(30, 40), happened(50, 60), happened(70, 80)}
	labels[3].Due = clock(75)
	events := []score.Told{told(11, 20), told(33, 40), told(50, 60), told(74, 80)}
	s, err := score.ComputeEvents(labels, events, score.EventConfig{})
	require.NoError(t, err)
	assert.Equal(t, time.Duration(0), s.DelayP50, "of -1, 0, 1 and 3 s")
	assert.Equal(t, 3*time.Second, s.DelayMax)
	assert.Equal(t, -time.Second, s.Pairs[3].Delay, "before it was due")

	s, err = score.ComputeEvents(labels[:1], []score.Told{told(19, 21), told(11, 13)}, score.EventConfig{})
	require.NoError(t, err)
	assert.Equal(t, 1, s.Pairs[0].Event, "the earlier of two")
	assert.Equal(t, []score.EventFalse{{Event: 0, Twice: 0}}, s.False)
}

func TestComputeEventsGroups(t *testing.T) {
	t.Parallel()
	kind := func(k string) func(*score.Label) { return func(l *score.Label) { l.Kind = k } }
	labels := []score.Label{happened(10, 20), happened(30, 40), with(happened(5, 6), kind("crowd"))}
	labels[1].Rule = "s"
	events := []score.Told{told(11, 20), told(100, 101)}
	s, err := score.ComputeEvents(labels, events, score.EventConfig{})
	require.NoError(t, err)
	var got []string
	for _, g := range s.Groups {
		got = append(got, g.Kind+"/"+g.Rule)
	}
	require.Equal(t, []string{"crowd/", "loitering/", "loitering/r", "loitering/s"}, got)
	assert.InDelta(t, 0.5, s.Groups[1].Precision(), 1e-12)
	assert.InDelta(t, 0.5, s.Groups[1].Recall(), 1e-12)
	assert.InDelta(t, 0.5, s.Groups[1].F1(), 1e-12)
	assert.InDelta(t, 1, s.Groups[3].Precision(), 1e-12, "no event, no false one")
	assert.InDelta(t, 0, s.Groups[3].Recall(), 1e-12)
	assert.Equal(t, []int{2, 1}, s.NotTold, "by time")

	_, err = score.ComputeEvents(nil, nil, score.EventConfig{MinIoU: 2})
	require.Error(t, err)
	_, err = score.ComputeEvents(nil, nil, score.EventConfig{Tolerance: -1})
	require.Error(t, err)
}

// TestComputeEventsIsOptimal compares with every way to pair labels and events.
func TestComputeEventsIsOptimal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var labels []score.Label
		var events []score.Told
		for range rng.IntN(5) {
			from := rng.Float64() * 30
			labels = append(labels, happened(from, from+rng.Float64()*10))
		}
		for range rng.IntN(5) {
			from := rng.Float64() * 30
			events = append(events, told(from, from+rng.Float64()*10))
		}
		s, err := score.ComputeEvents(labels, events, score.EventConfig{})
		require.NoError(t, err)
		right, delay := bestPairs(labels, events, 0, 0)
		require.Equal(t, right, s.Right)
		sum := 0.0
		for _, p := range s.Pairs {
			sum += p.Delay.Abs().Seconds()
		}
		require.InDelta(t, delay, sum, 1e-3)
	}
}

// bestPairs tries everything: the most pairs, then the smallest sum of delays.
func bestPairs(labels []score.Label, events []score.Told, next int, used uint) (right int, delay float64) {
	if next == len(labels) {
		return 0, 0
	}
	right, delay = bestPairs(labels, events, next+1, used)
	l := labels[next]
	for i, e := range events {
		if used>>i&1 == 1 || e.From.After(l.To.Add(2*time.Second)) || e.To.Before(l.From.Add(-2*time.Second)) {
			continue
		}
		r, d := bestPairs(labels, events, next+1, used|1<<i)
		r, d = r+1, d+e.From.Sub(l.From).Abs().Seconds()
		if r > right || r == right && d < delay {
			right, delay = r, d
		}
	}
	return right, delay
}

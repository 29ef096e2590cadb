package behaviour_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
)

// TestTamperedFaults: what may be watched for, and what each fault is called.
func TestTamperedFaults(t *testing.T) {
	t.Parallel()
	d, ok := behaviour.Lookup(behaviour.KindCameraTampered)
	require.True(t, ok)
	assert.Equal(t, behaviour.WhereNone, d.Where)
	for params, want := range map[string]string{
		"faults: []":             "must name at least one of covered",
		"faults: [stolen]":       `"stolen" is not one of`,
		"faults: covered":        "faults: must be",
		"sensitivity: 2":         "sensitivity: must be a number from 0 to 1",
		"{after: -1, faults: 3}": "after: must be",
	} {
		_, _, err := d.New(behaviour.Rule{Camera: "cam"}, []byte(params))
		require.ErrorContains(t, err, want, params)
	}
	b, _, err := d.New(behaviour.Rule{Camera: "cam", Ref: events.RuleRef{Name: "r", Version: 1}}, nil)
	require.NoError(t, err)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	seen := make(map[string]bool)
	for _, kind := range []string{"covered", "blurred", "moved", "frozen", "dark"} {
		out := b.Observe(&vision.Scene{At: at.Add(time.Minute), View: []vision.ViewFault{{Kind: kind, Score: 1, Since: at}}})
		require.Len(t, out, 1, kind)
		assert.Equal(t, kind, out[0].Key.Object)
		assert.Equal(t, events.SeverityHigh, out[0].Severity)
		assert.False(t, seen[out[0].Why.VI] || seen[out[0].Why.EN], "a text of its own")
		seen[out[0].Why.VI], seen[out[0].Why.EN] = true, true
	}
	assert.Empty(t, b.Observe(&vision.Scene{At: at.Add(time.Minute), View: []vision.ViewFault{{Kind: "new", Score: 1, Since: at}}}))
}

func BenchmarkCameraTampered(b *testing.B) {
	d, _ := behaviour.Lookup(behaviour.KindCameraTampered)
	r, _, err := d.New(behaviour.Rule{Camera: "cam"}, nil)
	require.NoError(b, err)
	s := &vision.Scene{At: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Tracks: make([]vision.Track, 30)}
	s.View = []vision.ViewFault{{Kind: "covered", Score: 1, Since: s.At.Add(-time.Minute)}}
	b.ReportAllocs()
	for b.Loop() {
		s.At = s.At.Add(200 * time.Millisecond)
		r.Observe(s)
	}
}

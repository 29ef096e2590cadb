package behaviour_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
)

func noHelmetRule(tb testing.TB, params string) (behaviour.Behaviour, error) {
	tb.Helper()
	d, ok := behaviour.Lookup(behaviour.KindNoHelmet)
	require.True(tb, ok)
	whole, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{Y: 1})
	require.NoError(tb, err)
	b, _, err := d.New(behaviour.Rule{
		Camera: "cam", Ref: events.RuleRef{Name: "r"}, Zones: []behaviour.Zone{{Name: "z", Area: whole}},
	}, []byte(params))
	return b, err
}

func TestNoHelmetParameters(t *testing.T) {
	t.Parallel()
	for params, ok := range map[string]bool{
		"": true, "{votes: 5, score: 0.9, after: 2}": true,
		"{votes: 0}": false, "{score: 0.4}": false, "{score: 1.1}": false, "{after: -1}": false, "{helmet: true}": false,
	} {
		_, err := noHelmetRule(t, params)
		assert.Equal(t, ok, err == nil, "%s: %v", params, err)
	}
	d, _ := behaviour.Lookup(behaviour.KindNoHelmet)
	assert.ElementsMatch(t, []behaviour.Need{behaviour.NeedRiders, behaviour.NeedHelmet}, d.Needs)
}

// road is a scene with n motorcycles and as many persons on them; every other
// person wears no helmet. All move along.
func road(n, step int) *vision.Scene {
	at := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC).Add(time.Duration(step) * 200 * time.Millisecond)
	s := &vision.Scene{Camera: "cam", At: at, Aspect: 16. / 9}
	for i := range n {
		x, y := .1+.8*float64(i)/float64(n), .3+.004*float64(step%100)
		box := geom.Box{Min: geom.Point{X: x, Y: y}, Max: geom.Point{X: x + .05, Y: y + .15}}
		id := uint64(2*i + 1)
		value := "with"
		if i%2 == 0 {
			value = "without"
		}
		s.Tracks = append(s.Tracks,
			vision.Track{ID: id, Label: "motorcycle", Score: .8, Box: box, Prev: box, First: at, Seen: at, Riders: []uint64{id + 1}},
			vision.Track{
				ID: id + 1, Label: "person", Score: .8, Box: box, Prev: box, First: at, Seen: at, Carrier: id,
				Marks: []vision.Mark{{Name: "helmet", Value: value, Score: .9, Votes: 5}},
			})
	}
	return s
}

// TestNoHelmetPerMotorcycle holds that there is one signal for each motorcycle,
// in the same order each time, and none once the marks are gone.
func TestNoHelmetPerMotorcycle(t *testing.T) {
	t.Parallel()
	b, err := noHelmetRule(t, "")
	require.NoError(t, err)
	var keys []string
	for step := range 10 {
		keys = keys[:0]
		for _, sig := range b.Observe(road(6, step)) {
			keys = append(keys, sig.Key.Object)
			assert.InDelta(t, .9, sig.Score, 1e-9)
			assert.Equal(t, true, sig.Attributes["confirm"])
		}
	}
	assert.Equal(t, []string{"1", "5", "9"}, keys)
	s := road(6, 10)
	for i := range s.Tracks {
		s.Tracks[i].Marks = nil
	}
	assert.Empty(t, b.Observe(s), "looked at again: nothing is known")
}

// BenchmarkNoHelmet takes 30 tracks; the budget is 2 ms, 1 % of a core at 5
// scenes a second.
func BenchmarkNoHelmet(b *testing.B) {
	rule, err := noHelmetRule(b, "")
	require.NoError(b, err)
	step := 0
	b.ReportAllocs()
	for b.Loop() {
		rule.Observe(road(15, step))
		step++
	}
}

package behaviour_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
)

// TestRidersAreOneObject: to a rule that is about persons and motorcycles, who
// rides one is part of it; to one about persons they are persons.
func TestRidersAreOneObject(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)
	box := func(x float64) geom.Box {
		return geom.Box{Min: geom.Point{X: x, Y: .4}, Max: geom.Point{X: x + .1, Y: .7}}
	}
	track := func(id uint64, class string, x float64) vision.Track {
		return vision.Track{ID: id, Label: class, Score: .8, Box: box(x), Prev: box(x), First: at, Seen: at}
	}
	bike, driver, passenger, walker := track(1, "motorcycle", .2), track(2, "person", .2), track(3, "person", .21), track(4, "person", .6)
	bike.Riders = []uint64{2, 3}
	driver.Carrier, passenger.Carrier = 1, 1
	area, err := geom.NewPolygon(geom.Point{X: .05, Y: .05}, geom.Point{X: .95, Y: .05}, geom.Point{X: .95, Y: .95}, geom.Point{X: .05, Y: .95})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		classes []string
		want    []uint64
	}{
		"both":        {[]string{"person", "motorcycle"}, []uint64{1, 4}},
		"all":         {nil, []uint64{1, 4}},
		"persons":     {[]string{"person"}, []uint64{2, 3, 4}},
		"motorcycles": {[]string{"motorcycle"}, []uint64{1}},
		"cars":        {[]string{"car"}, nil},
	} {
		def, ok := behaviour.Lookup(behaviour.KindIntrusion)
		require.True(t, ok)
		b, _, err := def.New(behaviour.Rule{
			Camera: "a", Ref: events.RuleRef{Name: "r", Version: 1}, Classes: c.classes, Zones: []behaviour.Zone{{Name: "z", Area: area}},
		}, []byte("after: 0"))
		require.NoError(t, err)
		for i := range 3 {
			s := &vision.Scene{At: at.Add(time.Duration(i) * time.Second)}
			for _, tr := range []vision.Track{bike, driver, passenger, walker} {
				tr.Seen = s.At
				if i == 2 && tr.ID == 1 { // the vehicle was lost a moment ago
					continue
				}
				s.Tracks = append(s.Tracks, tr)
			}
			want := c.want
			if i == 2 && len(want) > 0 && want[0] == 1 {
				want = want[1:]
			}
			var got []uint64
			for _, sig := range b.Observe(s) {
				got = append(got, sig.Subject.Track)
			}
			assert.ElementsMatch(t, want, got, "%s, scene %d", name, i)
		}
		needs := def.NeedsOf(c.classes)
		assert.Equal(t, name == "both" || name == "all", len(needs) == 1 && needs[0] == behaviour.NeedRiders, name)
	}
}

// street is a scene of 30 tracks, half of them motorcycles with a rider, that
// all move down.
func street(s *vision.Scene, at time.Time) {
	s.At, s.Tracks, s.Aspect = at, s.Tracks[:0], 16.0/9
	shift := float64(at.UnixMilli()%8000) / 16000
	for k := range uint64(15) {
		x, y := .05+.055*float64(k), .2+.03*float64(k%4)+shift
		b := geom.Box{Min: geom.Point{X: x, Y: y}, Max: geom.Point{X: x + .05, Y: y + .2}}
		s.Tracks = append(
			s.Tracks,
			vision.Track{ID: 2*k + 1, Label: "motorcycle", Score: .8, Seen: at, Box: b, Prev: b, Riders: []uint64{2*k + 2}},
			vision.Track{ID: 2*k + 2, Label: "person", Score: .8, Seen: at, Box: b, Prev: b, Carrier: 2*k + 1},
		)
	}
}

// BenchmarkRules: one look with 30 tracks. The budget, 1 % of a core at 5 looks
// a second, is 2 ms.
func BenchmarkRules(b *testing.B) {
	area, err := geom.NewPolygon(geom.Point{X: .05, Y: .05}, geom.Point{X: .95, Y: .05}, geom.Point{X: .95, Y: .95}, geom.Point{X: .05, Y: .95})
	require.NoError(b, err)
	for _, kind := range []events.Kind{behaviour.KindTrafficCount, behaviour.KindLineCrossing, behaviour.KindOverloadedMotorbike} {
		b.Run(fmt.Sprint(kind), func(b *testing.B) {
			def, _ := behaviour.Lookup(kind)
			r, _, err := def.New(behaviour.Rule{
				Camera: "a", Ref: events.RuleRef{Name: "r", Version: 1}, Zones: []behaviour.Zone{{Name: "z", Area: area}},
				Line: &behaviour.Line{Name: "l", Segment: geom.Segment{From: geom.Point{X: .05, Y: .6}, To: geom.Point{X: .95, Y: .6}}},
			}, nil)
			require.NoError(b, err)
			at, s := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC), &vision.Scene{}
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(200 * time.Millisecond)
				street(s, at)
				r.Observe(s)
				if c, ok := r.(behaviour.Counter); ok {
					c.TakeCounts()
				}
			}
		})
	}
}

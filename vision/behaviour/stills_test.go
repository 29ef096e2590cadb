package behaviour_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
)

// BenchmarkStillRules is one scene with 30 tracks and 20 things for each rule
// about them. Budget: 1 % of a core at 5 scenes a second, 2 ms.
func BenchmarkStillRules(b *testing.B) {
	area, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{Y: 1})
	require.NoError(b, err)
	for _, kind := range []events.Kind{"dumping", "abandoned_object", "removed_object", "waste_accumulated"} {
		b.Run(string(kind), func(b *testing.B) {
			d, ok := behaviour.Lookup(kind)
			require.True(b, ok)
			rule, _, err := d.New(behaviour.Rule{Camera: "c", Zones: []behaviour.Zone{{Name: "z", Area: area}}}, nil)
			require.NoError(b, err)
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			s := &vision.Scene{Aspect: 1.78}
			for i := range 30 {
				x := float64(i) / 40
				s.Tracks = append(s.Tracks, vision.Track{ID: uint64(i + 1), Label: "person", Score: .8, Seen: at, Box: geom.Box{
					Min: geom.Point{X: x, Y: .4}, Max: geom.Point{X: x + .05, Y: .7},
				}})
			}
			for i := range 20 {
				box := geom.Box{Min: geom.Point{X: float64(i) / 25, Y: .7}, Max: geom.Point{X: float64(i)/25 + .03, Y: .75}}
				still := vision.Still{ID: uint64(i + 1), Kind: vision.StillAdded, Box: box, Area: .0015, Score: .9, Since: at, Seen: at}
				if i%2 == 0 {
					still.Actor = &vision.Actor{Track: uint64(i + 1), Label: "person", Box: box, Contact: at, Near: at, Left: at, Score: .9}
				}
				s.Stills = append(s.Stills, still)
			}
			b.ReportAllocs()
			for b.Loop() {
				at = at.Add(200 * time.Millisecond)
				s.At = at
				rule.Observe(s)
			}
		})
	}
}

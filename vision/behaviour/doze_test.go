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

// TestRulesHoldWhileTheCameraDozes: once nothing moves, scenes come with the key
// pictures only, up to 2.2 s apart.
func TestRulesHoldWhileTheCameraDozes(t *testing.T) {
	t.Parallel()
	for kind, params := range map[events.Kind]string{
		"intrusion": "{after: 30}", "loitering": "{dwell: 60}", "stopped_vehicle": "{dwell: 60}", "crowd": "{count: 5, hold: 30}",
		"congestion": "{count: 5, hold: 30}",
	} {
		for _, gap := range []time.Duration{2 * time.Second, 2002 * time.Millisecond, 2200 * time.Millisecond} {
			t.Run(string(kind)+" "+gap.String(), func(t *testing.T) {
				t.Parallel()
				def, ok := behaviour.Lookup(kind)
				require.True(t, ok)
				area, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{Y: 1})
				require.NoError(t, err)
				zone := behaviour.Zone{Name: "vung", Area: area}
				b, _, err := def.New(behaviour.Rule{Camera: "cam", Zones: []behaviour.Zone{zone}}, []byte(params))
				require.NoError(t, err)
				label := "car"
				if kind == "loitering" || kind == "crowd" {
					label = "person"
				}
				start := time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)
				signals, scenes := 0, 0
				for at := time.Duration(0); at < 300*time.Second; {
					s := &vision.Scene{Camera: "cam", At: start.Add(at), Aspect: 16. / 9}
					for i := range 6 {
						x, ahead := .1+.13*float64(i), .1*max(0, 4-at.Seconds()) // they come from above
						box := geom.Box{Min: geom.Point{X: x, Y: .5 - ahead}, Max: geom.Point{X: x + .08, Y: .7 - ahead}}
						s.Tracks = append(s.Tracks, vision.Track{
							ID: uint64(i + 1), Label: label, Score: .8, Box: box, Prev: box, First: start, Seen: s.At, StillFor: max(0, at-4*time.Second),
						})
					}
					n := len(b.Observe(s))
					if at > 90*time.Second {
						scenes++
						if n > 0 {
							signals++
						}
					}
					if at < 7*time.Second {
						at += 200 * time.Millisecond
					} else {
						at += gap
					}
				}
				assert.Equal(t, scenes, signals, "scenes after 90 s, and those with a signal")
			})
		}
	}
}

package track_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/track"
)

// seenAt is what a camera six metres above the road sees of a car that is
// ahead metres away and side metres to the right; false when it is out of the
// picture.
func seenAt(ahead, side float64) (geom.Box, bool) {
	const focal, height, horizon, aspect = 1.0, 6.0, .1, 16.0 / 9
	x, y := .5+side*focal/ahead/aspect, horizon+height*focal/ahead
	w, h := 1.8*focal/ahead/aspect, 1.5*focal/ahead
	b := geom.Box{Min: geom.Point{X: x - w/2, Y: y - h}, Max: geom.Point{X: x + w/2, Y: math.Min(1, y)}}
	return b, y-h < .95 && x > .05 && x < .95
}

// Cars at 90 km/h in two lanes, towards the camera and away from it: each must
// keep its track until it leaves the picture, also where its boxes of two looks
// are far apart.
func TestVehiclesKeepTheirTracks(t *testing.T) {
	t.Parallel()
	for _, fps := range []float64{5, 10, 30} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%g fps, away %v", fps, away), func(t *testing.T) {
				t.Parallel()
				tr, err := track.New(track.Config{})
				require.NoError(t, err)
				ids := make(map[uint64]bool)
				nearest := 0.0
				for i := range int(4 * fps) {
					now := second(float64(i) / fps)
					var dets []vision.Detection
					for _, lane := range []struct{ side, start float64 }{{-1.5, 70}, {2, 78}} {
						ahead := lane.start - 25*float64(i)/fps
						if away {
							ahead = lane.start - 64 + 25*float64(i)/fps
						}
						if b, ok := seenAt(ahead, lane.side); ok && ahead > 5 && ahead < 80 {
							dets = append(dets, vision.Detection{Label: "car", Score: .7, Box: b})
						}
					}
					tracks, _ := tr.Update(now, dets)
					for _, o := range tracks {
						ids[o.ID] = true
						if !o.Coasting(now) {
							nearest = math.Max(nearest, o.Box.Max.Y)
						}
					}
				}
				require.Len(t, ids, 2)
				if !away { // those that come from below are fast before anything is known of them
					require.Greater(t, nearest, .7, "followed into the lower part of the picture")
				}
			})
		}
	}
}

// Detectors report a pick-up as car and as truck; that is one vehicle.
func TestTwinClassesAreOneObject(t *testing.T) {
	t.Parallel()
	tr, err := track.New(track.Config{})
	require.NoError(t, err)
	var tracks []vision.Track
	for i := range 10 {
		x := .3 + .01*float64(i)
		b := geom.Box{Min: geom.Point{X: x, Y: .4}, Max: geom.Point{X: x + .1, Y: .5}}
		near := b
		near.Max.X += .005
		tracks, _ = tr.Update(second(.2*float64(i)), []vision.Detection{
			{Label: "car", Score: .6, Box: b}, {Label: "truck", Score: .55, Box: near}, {Label: "person", Score: .5, Box: b},
		})
	}
	require.Len(t, tracks, 2, "one vehicle and one person")
}

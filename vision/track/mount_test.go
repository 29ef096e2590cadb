package track

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

func TestRides(t *testing.T) {
	t.Parallel()
	bike := box{x: .5, y: .6, w: .2, h: .2} // from .5 to .7
	for name, c := range map[string]struct {
		person box
		want   bool
	}{
		"in the saddle":                   {box{x: .5, y: .5, w: .12, h: .3}, true},
		"the passenger":                   {box{x: .56, y: .48, w: .12, h: .25}, true},
		"half of a rider":                 {box{x: .5, y: .47, w: .12, h: .24}, true},
		"walks by":                        {box{x: .65, y: .5, w: .12, h: .3}, false},
		"stands behind it, further away":  {box{x: .5, y: .42, w: .08, h: .2}, false},
		"stands before it, nearer":        {box{x: .5, y: .65, w: .2, h: .5}, false},
		"a child that crouches before it": {box{x: .5, y: .65, w: .1, h: .1}, false},
	} {
		assert.Equal(t, c.want, rides(c.person, bike), name)
	}
}

// column is a column of riders, one behind the other, who come towards the camera
// and leave the picture at its side: at the given moment the k-th rider's box and
// that of the vehicle. Both grow as 1/distance.
func column(k int, at float64) (rider, bike geom.Box, visible bool) {
	distance := 14 + 5*float64(k) - 8*at // metres
	if distance < 2 {                  // hardly in the picture any more
		return rider, bike, false
	}
	scale := 1 / distance
	x, ground := .5+.6*scale, .35+1.1*scale
	rider = geom.Box{Min: geom.Point{X: x - .25*scale, Y: ground - 1.7*scale}, Max: geom.Point{X: x + .25*scale, Y: ground - .3*scale}}
	bike = geom.Box{Min: geom.Point{X: x - .3*scale, Y: ground - 1.1*scale}, Max: geom.Point{X: x + .3*scale, Y: ground}}
	clip := func(b geom.Box) geom.Box {
		b.Max.X, b.Max.Y, b.Min.Y = math.Min(b.Max.X, 1), math.Min(b.Max.Y, 1), math.Max(b.Min.Y, 0)
		return b
	}
	rider, bike = clip(rider), clip(bike)
	return rider, bike, rider.Area() > 0 && bike.Area() > 0 && rider.Min.X < .98
}

// TestRidersKeepTheirIdentity: at 5 looks a second every rider of a column is one
// track from the first look to the last, as its vehicle is.
func TestRidersKeepTheirIdentity(t *testing.T) {
	t.Parallel()
	tracker, err := New(Config{HighScore: .35})
	require.NoError(t, err)
	ids := map[string]map[int]map[uint64]bool{"person": {}, "motorcycle": {}}
	start := time.Date(2026, 1, 1, 7, 0, 0, 0, time.UTC)
	for i := range 20 {
		seconds := float64(i) / 5
		var dets []vision.Detection
		truth := map[string]map[int]geom.Box{"person": {}, "motorcycle": {}}
		for k := range 3 {
			if rider, bike, visible := column(k, seconds); visible {
				dets = append(dets, vision.Detection{Label: "person", Score: .8, Box: rider}, vision.Detection{Label: "motorcycle", Score: .8, Box: bike})
				truth["person"][k], truth["motorcycle"][k] = rider, bike
			}
		}
		tracks, _ := tracker.Update(start.Add(time.Duration(seconds*float64(time.Second))), dets)
		for j := range tracks {
			tr := &tracks[j]
			if tr.Coasting(start.Add(time.Duration(seconds * float64(time.Second)))) {
				continue
			}
			best, whose := 0.0, -1
			for k, b := range truth[tr.Label] {
				if o := b.IoU(tr.Box); o > best {
					best, whose = o, k
				}
			}
			if ids[tr.Label][whose] == nil {
				ids[tr.Label][whose] = map[uint64]bool{}
			}
			ids[tr.Label][whose][tr.ID] = true
		}
	}
	for label, of := range ids {
		assert.Len(t, of, 3, label)
		for k, set := range of {
			assert.Len(t, set, 1, "%s %d", label, k)
		}
	}
}

// A parked motorcycle does not make those who walk by swift for good.
func TestAgilityEndsWithTheRide(t *testing.T) {
	t.Parallel()
	tracker, err := New(Config{})
	require.NoError(t, err)
	start := time.Date(2026, 1, 1, 7, 0, 0, 0, time.UTC)
	bike := geom.Box{Min: geom.Point{X: .45, Y: .5}, Max: geom.Point{X: .55, Y: .7}}
	for i := range 30 {
		x := .3 + .012*float64(i)
		walker := geom.Box{Min: geom.Point{X: x - .04, Y: .35}, Max: geom.Point{X: x + .04, Y: .7}}
		tracker.Update(start.Add(time.Duration(i)*200*time.Millisecond), []vision.Detection{
			{Label: "person", Score: .8, Box: walker}, {Label: "motorcycle", Score: .8, Box: bike},
		})
		if len(tracker.tracks) == 2 && i > 2 {
			swift := tracker.tracks[0].agility > 1
			assert.Equal(t, math.Abs(x-.5) <= .05+1e-9, swift, "at %.3f", x)
		}
	}
	require.Len(t, tracker.tracks, 2)
}

package behaviour_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
)

// Someone cut off by the lower edge of the picture crosses a slanted line: the
// real foot, out of the picture, is over the line earlier or later than the
// one that is seen, which must not lose the crossing in either direction.
func TestCutOffCrossesInBothDirections(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"{from: [0.5,1], to: [0.9,0.4]}", "{from: [0.5,1], to: [0.1,0.4]}", "{from: [0,0.985], to: [1,0.985]}"} {
		for _, back := range []bool{false, true} {
			files, err := camera.Parse([]byte("camera: gate\nurl: rtsp://h/x\nlines: {v: " + line + "}\nrules:\n  - {name: r, kind: line_crossing, line: v, direction: any}\n"))
			require.NoError(t, err)
			built, err := files[0].WithDefaults().Build(camera.Options{Calendar: schedule.Calendar{Location: time.UTC}})
			require.NoError(t, err)
			crossed := 0
			const steps = 60
			for i := range steps + 1 {
				u := float64(i) / steps
				if back {
					u = 1 - u
				}
				x, y := .05+.9*u, .98
				if line == "{from: [0,0.985], to: [1,0.985]}" {
					x, y = .5, .9+.1*u
				}
				at := time.Unix(0, 0).Add(time.Duration(i) * 200 * time.Millisecond)
				box := geom.Box{Min: geom.Point{X: x - .05, Y: y - .5}, Max: geom.Point{X: x + .05, Y: y}}
				s := &vision.Scene{Camera: "gate", At: at, Tracks: []vision.Track{{ID: 1, Label: "person", Box: box, Prev: box, Seen: at}}}
				for _, b := range built.Behaviours {
					crossed += len(b.Observe(s))
				}
			}
			require.Equal(t, 1, crossed, "line %s, back %v", line, back)
		}
	}
}

// A parked car with its foot on the line, in a picture so still that it is
// looked at every 2 s, is found a little before the line and a little behind
// it. It goes nowhere.
func TestStandingOnTheLineIsNoCrossing(t *testing.T) {
	t.Parallel()
	files, err := camera.Parse([]byte("camera: gate\nurl: rtsp://h/x\nlines: {v: {from: [0,0.5], to: [1,0.5]}}\nrules:\n  - {name: r, kind: line_crossing, line: v, direction: any}\n"))
	require.NoError(t, err)
	built, err := files[0].WithDefaults().Build(camera.Options{Calendar: schedule.Calendar{Location: time.UTC}})
	require.NoError(t, err)
	crossed := 0
	for i := range 3000 {
		y := .5 + .03*.2
		if i/10%2 == 1 {
			y = .5 - .03*.2
		}
		at := time.Unix(0, 0).Add(time.Duration(i) * 200 * time.Millisecond)
		box := geom.Box{Min: geom.Point{X: .4, Y: y - .2}, Max: geom.Point{X: .6, Y: y}}
		s := &vision.Scene{
			Camera: "gate", At: at, Held: i%10 != 0,
			Tracks: []vision.Track{{ID: 1, Label: "car", Box: box, Prev: box, Seen: at}},
		}
		for _, b := range built.Behaviours {
			crossed += len(b.Observe(s))
		}
	}
	require.Zero(t, crossed)
}

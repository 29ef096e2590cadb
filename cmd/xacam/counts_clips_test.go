//go:build cgo

package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
)

// The counts below were made by a person who looked at every clip picture by
// picture, five a second, with the line drawn in, and counted what touches the
// ground on one side in one picture and on the other in the next.
//
// highway_27260 (11.2 s, a motorway from a bridge). Left carriageway, towards the
// camera: 11 cars. Right carriageway, away from the wall between them: a red
// hatchback at 4.5 s, a silver one at 8.0 s, a grey estate at 10.5 s and a silver
// SUV beside it at 10.6 s: 4 cars. The last two cross within the last half second
// of the clip, 0.3 s after they come out of the hedge; at 5 looks a second the
// tracker takes the one for the other and 3 are counted, at 10 looks 4.
//
// highway_320x240 (28.3 s): 27 vehicles, all towards the camera: 26 cars, SUVs
// and vans, and one box truck at 4.2 s, which yolox-nano takes for a car.
//
// vn_bridge (6.2 s): the camera swings and zooms all the time, so the line sweeps
// over the road. Towards the camera 10 motorcycles are seen to pass it, two of
// them with a passenger: a white scooter at 0.7 s, half of it behind another
// motorcycle; at 2.1, 2.6 and 2.6 s one each, the second behind a boy on a
// bicycle; at 3.1 s one with two behind the same boy; at 3.5 s the red one with
// two; at 4.5, 4.7, 4.8 and 5.4 s one each, that at 4.7 s with a passenger. One
// more passes behind others and is never seen on the line. Nobody walks, and no
// bicycle passes. yolox-nano does not find the four that are behind others until
// they have passed, if at all; what it finds must count once, riders never.
const (
	highwayLeft, highwayRight = 11, 4
	highwayOld                = 27
	bridgeMotorcycles         = 10
)

func TestCountsOnClips(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	count := func(t *testing.T, clip, config string) map[string]int {
		t.Helper()
		cam := writeFile(t, "cam.yaml", "camera: a\n"+config)
		out := filepath.Join(t.TempDir(), "counts")
		r := xacam(t, "replay", "--data", data, "--model", models.Default, "--camera", cam, "--counts", out, filepath.Join(assets, "clips", clip))
		require.Equal(t, exitOK, r.code, r.stderr)
		assert.Empty(t, r.stdout, "counting raises no events")
		got := make(map[string]int)
		for line := range strings.Lines(readFile(t, out)) {
			var c countLine
			require.NoError(t, json.Unmarshal([]byte(line), &c))
			got[strings.Join([]string{c.Line, c.Class, c.Direction}, " ")] += c.Count
		}
		t.Log(clip, got)
		return got
	}
	t.Run("highway_27260", func(t *testing.T) { //nolint:paralleltest // one runtime
		got := count(t, "highway_27260.mp4", `
detect: {fps: 10}
lines: {left: {from: [0.05,0.5], to: [0.9,0.5]}, right: {from: [0.82,0.3], to: [0.95,0.1]}}
rules:
  - {name: left, kind: traffic_count, line: left}
  - {name: right, kind: traffic_count, line: right}
`)
		assert.Equal(t, highwayLeft, got["left car a_to_b"])
		assert.Equal(t, highwayRight, got["right car a_to_b"])
		assert.Len(t, got, 2, "no other class or direction")
	})
	t.Run("highway_320x240", func(t *testing.T) { //nolint:paralleltest // one runtime
		got := count(t, "highway_320x240.avi", `
detect: {fps: 5}
lines: {vach: {from: [0.02,0.6], to: [0.98,0.6]}}
rules: [{name: dem, kind: traffic_count, line: vach}]
`)
		all := got["vach car a_to_b"] + got["vach truck a_to_b"] + got["vach bus a_to_b"]
		assert.InEpsilon(t, highwayOld, all, .05)
		assert.Subset(t, []string{"vach car a_to_b", "vach truck a_to_b", "vach bus a_to_b"}, keysOf(got))
	})
	t.Run("vn_bridge", func(t *testing.T) { //nolint:paralleltest // one runtime
		got := count(t, "vn_bridge.mp4", `
detect: {fps: 10}
lines: {vach: {from: [0.02,0.6], to: [0.98,0.6]}}
rules: [{name: dem, kind: traffic_count, line: vach, classes: [person, motorcycle, bicycle]}]
`)
		assert.Zero(t, got["vach person a_to_b"]+got["vach person b_to_a"], "riders are not counted beside their motorcycles")
		assert.Zero(t, got["vach bicycle a_to_b"])
		assert.LessOrEqual(t, got["vach motorcycle a_to_b"], bridgeMotorcycles)
		assert.GreaterOrEqual(t, got["vach motorcycle a_to_b"], 6, "of those that are not hidden")
	})
}

func keysOf(m map[string]int) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

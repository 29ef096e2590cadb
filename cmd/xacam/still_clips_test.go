//go:build cgo

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/vision/geom"
)

const stillRules = `
camera: cong-cho
detect: {fps: 5}
zones: {all: {area: [[0,0],[1,0],[1,1],[0,1]]}}
rules:
  - {name: do-rac, kind: dumping, zone: all}
  - {name: bo-lai, kind: abandoned_object, zone: all, dwell: 3}
  - {name: mat, kind: removed_object, zone: all, dwell: 3}
  - {name: rac, kind: waste_accumulated, zone: all, area: 0.01, hold: 5}
`

// bagBox returns where the thing lies that the event is about.
func bagBox(t *testing.T, e *wire.Event) geom.Box {
	t.Helper()
	thing, ok := e.Attributes["thing"].(map[string]any)
	require.True(t, ok)
	b, ok := thing["box"].([]any)
	require.True(t, ok)
	require.Len(t, b, 4)
	var v [4]float64
	for i := range b {
		v[i], ok = b[i].(float64)
		require.True(t, ok)
	}
	return geom.Box{Min: geom.Point{X: v[0], Y: v[1]}, Max: geom.Point{X: v[2], Y: v[3]}}
}

// TestStillClips: on a hand-held recording of somebody who leaves a bag there is
// exactly one event, with that person; on the others there is none.
func TestStillClips(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	cam := filepath.Join(t.TempDir(), "cam.yaml")
	require.NoError(t, os.WriteFile(cam, []byte(stillRules), 0o600))
	for clip, dumped := range map[string]bool{ //nolint:paralleltest // one ONNX Runtime at a time
		"vn_dumping_on_foot.mp4": true,
		"littering_portrait.mp4": false,
		"vn_bridge.mp4":          false,
		"highway_27260.mp4":      false,
		"retail_hevc_1080p.mp4":  false,
		"crowd_walking.mp4":      false,
		"car-detection.mp4":      false,
	} {
		path := filepath.Join(assets, "clips", clip)
		if _, err := os.Stat(path); err != nil {
			t.Logf("no %s", path)
			continue
		}
		t.Run(clip, func(t *testing.T) {
			r := xacam(t, "replay", "--data", data, "--camera", cam, path)
			require.Equal(t, exitOK, r.code, r.stderr)
			var raised []wire.Event
			for line := range strings.Lines(r.stdout) {
				var e wire.Event
				require.NoError(t, json.Unmarshal([]byte(line), &e))
				if e.State == "raised" {
					raised = append(raised, e)
				}
			}
			if !dumped {
				assert.Empty(t, raised, r.stdout)
				return
			}
			require.Len(t, raised, 1, r.stdout)
			assert.EqualValues(t, "dumping", raised[0].Kind)
			require.NotNil(t, raised[0].Subject)
			assert.Equal(t, "person", raised[0].Subject.Class)
			// The man with the bag is to the right of the other one and nearer.
			box := raised[0].Subject.Box
			assert.InDelta(t, .61, (box[0]+box[2])/2, .12, "his place at the contact")
			assert.InDelta(t, .47, box[3], .08)
			// The bag at 6.17 s, when the event is raised, as a person sees it.
			bag := geom.Box{Min: geom.Point{X: .536, Y: .539}, Max: geom.Point{X: .619, Y: .579}}
			thing := bagBox(t, &raised[0])
			assert.Greater(t, thing.IoU(bag), .5, "%v", thing)
		})
	}
}

//go:build cgo

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
)

// TestReid adds the embedding model as a user does, and replays a clip with it:
// who was hidden behind others for two seconds keeps the ID, the result is the
// same each time, and a model that is not there is told.
func TestReid(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the detector on 20 s of video three times")
	}
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	file := filepath.Join(assets, "models", "person-reidentification-retail-0248.onnx")
	if _, err := os.Stat(file); err != nil {
		t.Skip("no embedding model")
	}
	code, out, stderr := modelsAdd(t, data, file, "--name", "person-reid", "--licence", "Apache-2.0", "--write")
	require.Equal(t, exitOK, code, stderr)
	m, err := models.Parse([]byte(out))
	require.NoError(t, err)
	assert.Equal(t, "embedding", m.Family)
	assert.Equal(t, models.Labels{"person"}, m.Labels)
	assert.Equal(t, []int{128, 256}, []int{m.Input.Width, m.Input.Height})
	assert.Contains(t, stderr, "detect: {reid: person-reid}")

	run := func(detect string) (tracks, events string, r result) {
		cam := writeFile(t, "cam.yaml", "camera: a\n"+wholePicture+"detect: {"+detect+`}
rules: [{name: o-lai, kind: loitering, zone: z, dwell: 5}]`)
		out := filepath.Join(t.TempDir(), "tracks")
		r = xacam(t, "replay", "--data", data, "--no-gate", "--camera", cam, "--tracks", out, filepath.Join(assets, "clips", "retail_hevc_1080p.mp4"))
		if r.code == exitOK {
			tracks = readFile(t, out)
		}
		return tracks, r.stdout, r
	}
	tracks, evs, r := run("fps: 5, reid: person-reid")
	require.Equal(t, exitOK, r.code, r.stderr)
	again, evsAgain, _ := run("fps: 5, reid: person-reid")
	assert.Equal(t, tracks, again, "the same each time")
	assert.Equal(t, evs, evsAgain)
	off, _, _ := run("fps: 5")
	assert.Less(t, persons(t, tracks), persons(t, off))

	_, _, r = run("reid: nowhere")
	assert.Equal(t, exitUsage, r.code)
	assert.Contains(t, r.stderr, "nowhere")
	_, _, r = run("reid: " + models.Default)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, `its family is "yolox", not "embedding"`)
}

// persons returns the number of persons' IDs in a file of tracks.
func persons(t *testing.T, lines string) int {
	t.Helper()
	seen := map[string]bool{}
	for _, part := range strings.Split(lines, `{"id":`)[1:] {
		id, rest, _ := strings.Cut(part, ",")
		if strings.HasPrefix(rest, `"class":"person"`) {
			seen[id] = true
		}
	}
	return len(seen)
}

//go:build cgo

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
	"github.com/xacam/xacam/vision/ort/orttest"
)

// realModel returns the assets and puts the default model into a data folder,
// or skips the test where there is none.
func realModel(t *testing.T, data string) (assets string) {
	t.Helper()
	assets = orttest.Assets(t)
	b, err := os.ReadFile(filepath.Join(assets, "models", "yolox_nano.onnx"))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(modelDir(data), 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(modelDir(data), "yolox_nano.onnx"), b, 0o600))
	return assets
}

const corridor = `
camera: tru-so
detect: {fps: 5}
zones: {sanh: {area: [[0.3,0.1],[0.98,0.1],[0.98,0.98],[0.3,0.98]]}}
lines: {cua-vao: {from: [0.32,1], to: [0.32,0]}}
rules:
  - {name: dem-nguoi, kind: line_crossing, line: cua-vao, direction: any, classes: [person], severity: info}
  - {name: nguoi-trong-sanh, kind: intrusion, zone: sanh, classes: [person], severity: medium}
`

// TestServeRealModel: a recording of people, sent as a camera sends it, raises
// an event of a person through the real detector.
func TestServeRealModel(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	assets := realModel(t, db.data)
	useRuntime(t)
	path := filepath.Join(assets, "clips", "one-by-one-person-detection.mp4")
	cams := streamtest.Serve(t, sim.Config{
		Streams: map[string]func() (sim.Source, error){"corridor": func() (sim.Source, error) { return avdec.Open(path) }},
	})
	s := serve(t, db, nil)
	<-s.db.Ready()
	live := s.subscribe(t)
	apply(t, db, corridor+"url: "+cams.URL("corridor")+"\n")
	s.online(t, "tru-so")
	raised := live.wait(t, 30*time.Second, "tru-so", "intrusion", 1)
	assert.Equal(t, "person", raised.Subject.Class)
	assert.Greater(t, raised.Subject.Score, .35)
	body, _ := s.get(t, "/api/v1/events/"+raised.ID+"/snapshot")
	assert.Greater(t, len(body), 10_000)
	assert.Equal(t, models.Default, s.cameras(t)["tru-so"].Model)
}

// TestReplayTwice: the same recording gives the same bytes.
func TestReplayTwice(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	addToy(t, data, "toy", "toy.onnx", "")
	clip := func() string { return streamtest.Path(t, streamtest.H264) }
	model, rounds := "toy", 3
	t.Run("toy", func(t *testing.T) { replayTwice(t, data, model, clip(), rounds) }) //nolint:paralleltest // one runtime
	t.Run("real", func(t *testing.T) {                                               //nolint:paralleltest // one runtime
		assets := realModel(t, data)
		replayTwice(t, data, models.Default, filepath.Join(assets, "clips", "vn_bridge.mp4"), 2)
	})
}

func replayTwice(t *testing.T, data, model, clip string, rounds int) {
	t.Helper()
	useRuntime(t)
	dir := t.TempDir()
	cam := filepath.Join(dir, "cam.yaml")
	require.NoError(t, os.WriteFile(cam, []byte(`
camera: a
detect: {fps: 10}
zones: {all: {area: [[0.02,0.02],[0.98,0.02],[0.98,0.98],[0.02,0.98]]}}
lines: {middle: {from: [0.02,0.6], to: [0.98,0.6]}}
rules:
  - {name: inside, kind: intrusion, zone: all, after: 0.2}
  - {name: across, kind: line_crossing, line: middle, direction: any}
`), 0o600))
	var first string
	for i := range rounds {
		tracks, evs := filepath.Join(dir, "tracks"), filepath.Join(dir, "events")
		args := []string{"replay", "--data", data, "--camera", cam, "--model", model, "--tracks", tracks}
		if i%2 == 1 {
			args = append(args, "--events", evs) // to a file or to stdout, it is the same
		}
		r := xacam(t, append(args, clip)...)
		require.Equal(t, exitOK, r.code, r.stderr)
		out := r.stdout
		if i%2 == 1 {
			assert.Empty(t, out)
			out = readFile(t, evs)
		}
		got := out + readFile(t, tracks)
		if i == 0 {
			first = got
			checkReplay(t, out)
			assert.Contains(t, r.stderr, "inferences")
		}
		require.Equal(t, first, got, "run %d", i+1)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// checkReplay checks what every list of changes must keep to.
func checkReplay(t *testing.T, text string) {
	t.Helper()
	state := make(map[string]events.State)
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		var ev wire.Event
		require.NoError(t, json.Unmarshal(lines.Bytes(), &ev))
		switch ev.State {
		case events.StateRaised:
			assert.NotContains(t, state, ev.ID, "raised once")
		case events.StateCleared:
			assert.Equal(t, events.StateRaised, state[ev.ID], "cleared after it was raised")
		}
		state[ev.ID] = ev.State
		assert.True(t, strings.HasPrefix(ev.OccurredAt, "2026-01-01T00:"), "the time is the recording's: %s", ev.OccurredAt)
	}
	assert.NotEmpty(t, state)
}

// TestDetect: the form that tools which score detectors read.
func TestDetect(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	pictures, err := filepath.Glob(filepath.Join(assets, "stills", "voc2012_50", "*", "*.jpg"))
	if err == nil && len(pictures) == 0 {
		pictures, err = filepath.Glob(filepath.Join(assets, "stills", "voc2012_50", "*.jpg"))
	}
	require.NoError(t, err)
	require.NotEmpty(t, pictures)
	pictures = pictures[:4]
	out := filepath.Join(t.TempDir(), "out.json")
	r := xacam(t, append([]string{"detect", "--data", data, "--model", models.Default, "--out", out}, pictures...)...)
	require.Equal(t, exitOK, r.code, r.stderr)
	var found []struct {
		FileName string    `json:"file_name"`
		Category string    `json:"category"`
		BBox     []float64 `json:"bbox"`
		Score    float64   `json:"score"`
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(readFile(t, out))))
	dec.DisallowUnknownFields()
	require.NoError(t, dec.Decode(&found))
	seen, sure := make(map[string]bool), 0
	for _, d := range found {
		require.Len(t, d.BBox, 4)
		assert.Greater(t, d.BBox[2], 0.0)
		assert.Greater(t, d.BBox[3], 0.0)
		assert.GreaterOrEqual(t, d.Score, .01)
		assert.Contains(t, models.COCO(), d.Category)
		seen[filepath.Base(d.FileName)] = true
		if d.Score > .5 {
			sure++
		}
	}
	assert.Len(t, seen, 4)
	assert.Greater(t, sure, 1)

	bad := writeFile(t, "bad.jpg", "not a picture")
	r = xacam(t, "detect", "--data", data, bad)
	wellSaid(t, r, exitFailed, 1)
	assert.Contains(t, r.stderr, "bad.jpg")
}

// TestTrack: every line of the result is one of MOTChallenge, and an object
// has one box a frame.
func TestTrack(t *testing.T) {
	t.Parallel()
	det := filepath.Join(orttest.Assets(t), "mot", "TUD-Campus", "det", "det.txt")
	r := xacam(t, "track", "--det", det, "--fps", "25", "--size", "640x480")
	require.Equal(t, exitOK, r.code, r.stderr)
	seen, objects := make(map[string]bool), make(map[string]bool)
	for line := range strings.Lines(r.stdout) {
		f := strings.Split(strings.TrimSpace(line), ",")
		require.Len(t, f, 10, line)
		require.False(t, seen[f[0]+","+f[1]], "twice in a frame: %s", line)
		seen[f[0]+","+f[1]], objects[f[1]] = true, true
	}
	assert.InDelta(t, 300, len(seen), 100, "boxes; the truth has 359")
	assert.InDelta(t, 10, len(objects), 6, "objects; the truth has 8")
	again := xacam(t, "track", "--det", det, "--fps", "25", "--size", "640x480")
	assert.Equal(t, r.stdout, again.stdout)
}

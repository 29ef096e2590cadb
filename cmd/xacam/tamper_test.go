//go:build cgo

package main

import (
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/pipeline"
)

// tamperingFilters are what is done to a recording from 10 s to 30 s.
func tamperingFilters() map[string]string {
	return map[string]string{
		"":        "null",
		"covered": "drawbox=c=0x303030:t=fill:enable='between(t,10,30)'",
		"blurred": "gblur=sigma=8:enable='between(t,10,30)'",
		"moved":   "rotate=a='if(between(t,10,30),0.15,0)'",
		"dark":    "lutyuv=y='val*0.1':enable='between(t,10,30)'",
		"frozen":  "setpts='PTS+gte(T,10)*24/TB',fps=12",
	}
}

// TestTamperedRecordings: what the project renders itself, encoded and decoded,
// through the enricher, a rule and the lifecycle: one event for each tampering,
// with its end, and none for the untouched recording.
func TestTamperedRecordings(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	clips, err := renderClips(t.TempDir(), 1)
	require.NoError(t, err)
	for fault, filter := range tamperingFilters() {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "out.mp4")
			out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-stream_loop", "2", "-i", clips[0], "-vf", filter,
				"-t", "45", "-c:v", "libx264", "-preset", "ultrafast", "-g", "48", "-threads", "1", path).CombinedOutput()
			require.NoError(t, err, "%s", out)
			var kinds []string
			for _, c := range tamperEvents(t, path) {
				kinds = append(kinds, string(c.Event.State)+" "+c.Event.Object)
				if c.Event.State == events.StateRaised {
					at := c.Event.OccurredAt.Sub(time.Unix(0, 0))
					assert.InDelta(t, 20, at.Seconds(), 7)
				}
			}
			if fault == "" {
				assert.Empty(t, kinds)
				return
			}
			assert.Equal(t, []string{"raised " + fault, "cleared " + fault}, kinds)
		})
	}
}

// tamperEvents runs a rule of the kind on a recording, without any detector.
func tamperEvents(t *testing.T, path string) []events.Change {
	t.Helper()
	f := camera.File{
		Camera: "cam", URL: camera.NewSecret("rtsp://recording.invalid/"),
		Rules: []camera.Rule{{Name: "giu", Kind: "camera_tampered"}},
	}.WithDefaults()
	built, err := f.Build(camera.Options{})
	require.NoError(t, err, "the kind needs neither zone nor line")
	looks, err := (&plan{}).enrichers(built, false)
	require.NoError(t, err)
	engine, err := lifecycle.NewEngine(lifecycle.Config{Source: f.Source(), Rules: built.Delays})
	require.NoError(t, err)
	file, err := avdec.OpenFile(avdec.FileConfig{Path: path, Start: time.Unix(0, 0)})
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	var out []events.Change
	due := pipeline.NewGrid(f.Detect.FPS)
	for {
		frame, err := file.ReadFrame()
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		if due.Take(frame.PTS) {
			s := &vision.Scene{Camera: f.Camera, At: frame.Captured}
			for _, e := range looks {
				require.NoError(t, e.Enrich(t.Context(), frame, s))
			}
			out = append(out, engine.Step(s.At, built.Behaviours[0].Observe(s))...)
		}
		frame.Release()
	}
}

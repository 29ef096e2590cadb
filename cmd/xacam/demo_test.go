//go:build cgo

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgstore"
)

// TestDemo starts the demo twice on one data folder: the cameras of the first clips go.
func TestDemo(t *testing.T) {
	t.Parallel()
	eventstest.Database(t)                           // here or skipped: the demo starts its own with the same programs
	dir, err := os.MkdirTemp("", "xacam-demo-test-") // PostgreSQL's user may not pass through t.TempDir
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711))
	data := filepath.Join(dir, "xacam")
	require.NoError(t, makeDataDir(data))
	require.NoError(t, os.Mkdir(modelDir(data), 0o750))
	// Damaged, so that nothing is fetched: the cameras run without detection.
	require.NoError(t, os.WriteFile(filepath.Join(modelDir(data), "yolox_nano.onnx"), []byte("none"), 0o600))
	other := t.TempDir()
	_, err = renderClips(other, 1)
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(other, "demo-1.mp4"), filepath.Join(other, "cho.mp4")))

	ran := runDemo(t, data, "", func(base string) {
		waitForCameras(t, base, "demo-1", "demo-2", "demo-3", "demo-4")
	})
	assert.Contains(t, ran, "what the receiver of the demo got")
	assert.NotContains(t, ran, "connection refused")
	ran = runDemo(t, data, other, func(base string) {
		waitForCameras(t, base, "cho")
	})
	assert.NotContains(t, ran, "connection refused", "of cameras that are gone")
}

// runDemo runs the demo until look returns, and returns what it printed.
func runDemo(t *testing.T, data, clips string, look func(base string)) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out lockedBuffer
	code := make(chan int, 1)
	args := []string{"demo", "--data", data, "--listen", "127.0.0.1:0"}
	if clips != "" {
		args = append(args, "--clips", clips)
	}
	go func() { code <- execute(ctx, args, bytes.NewReader(nil), &out, &out) }()
	address := regexp.MustCompile(`(http://[0-9.:]+)/api/v1/events `)
	within(t, time.Minute, "the demo runs", func() bool { return address.MatchString(out.String()) || len(code) > 0 })
	require.Regexp(t, address, out.String())
	look(address.FindStringSubmatch(out.String())[1])
	cancel()
	assert.Equal(t, exitOK, <-code, out.String())
	return out.String()
}

// waitForCameras waits until these and no others are online.
func waitForCameras(t *testing.T, base string, want ...string) {
	t.Helper()
	api := &serving{base: base}
	within(t, 30*time.Second, "the cameras of the demo", func() bool {
		got := api.cameras(t)
		for _, slug := range want {
			if got[slug].State != "online" {
				return false
			}
		}
		return len(got) == len(want)
	})
}

func TestDemoKeepsWhatAPersonAdded(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	apply(t, db, "camera: cu\nurl: 'rtsp://demo:"+strings.ReplaceAll(demoPassword, "'", "''")+"@127.0.0.1:1/cu'\n---\n"+
		"camera: cua-toi\nurl: rtsp://demo:1@127.0.0.1:1/x\n")
	store, err := pgstore.Open(t.Context(), db.dsn, pgstore.Config{})
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, forgetDemoCameras(t.Context(), store, nil))
	left, err := store.Cameras(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, "cua-toi", left[0].Slug)
}

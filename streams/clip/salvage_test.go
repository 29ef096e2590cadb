package clip_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/clip"
	"github.com/xacam/xacam/streams/streamtest"
)

// However much of a clip a crash has left, salvaging gives a file that plays
// from its beginning, or none.
func TestSalvageOfAnyLength(t *testing.T) {
	t.Parallel()
	format, aus := units(t, streamtest.H264B)
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.mp4")
	write(t, whole, clip.Config{Format: format, Event: began}, aus)
	b, err := os.ReadFile(whole)
	require.NoError(t, err)
	want := pictures(t, whole)
	path := filepath.Join(dir, "clip.mp4")
	most := 0
	for n := 0; n <= len(b); n += 1 + len(b)/37 {
		left := append([]byte(nil), b[:n]...)
		if n%2 == 0 {
			left = append(left, make([]byte, 4096)...) // as file systems do after a power cut
		}
		require.NoError(t, os.WriteFile(path+clip.PartSuffix, left, 0o600))
		err := clip.Salvage(path)
		require.NoFileExists(t, path+clip.PartSuffix)
		if errors.Is(err, clip.ErrEmpty) {
			require.NoFileExists(t, path)
			continue
		}
		require.NoError(t, err)
		got := pictures(t, path)
		require.NotEmpty(t, got)
		require.Equal(t, want[:len(got)], got)
		most = max(most, len(got))
		require.NoError(t, os.Remove(path))
	}
	assert.GreaterOrEqual(t, most, 70)
	require.ErrorIs(t, clip.Salvage(path), fs.ErrNotExist)
}

const childFolder = "XACAM_CLIP_CHILD"

// TestKill kills a process that writes clips, at any moment: what is found is
// playable, or nothing.
func TestKill(t *testing.T) {
	if dir := os.Getenv(childFolder); dir != "" {
		writeForEver(t, dir)
	}
	t.Parallel()
	for i := range 12 {
		dir := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		child.Env = append(os.Environ(), childFolder+"="+dir)
		require.NoError(t, child.Start())
		path := filepath.Join(dir, "clip.mp4")
		require.Eventually(t, func() bool {
			_, err := os.Stat(path + clip.PartSuffix)
			return err == nil
		}, 20*time.Second, time.Millisecond)
		time.Sleep(time.Duration(i) * 9 * time.Millisecond)
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait())
		err := clip.Salvage(path)
		switch {
		case errors.Is(err, clip.ErrEmpty):
			require.NoFileExists(t, path)
		case errors.Is(err, fs.ErrNotExist): // it had got its name
			require.NotEmpty(t, pictures(t, path))
		default:
			require.NoError(t, err)
			n := len(pictures(t, path))
			t.Logf("killed after %d pictures", n)
			require.NotZero(t, n)
		}
	}
}

// writeForEver writes one clip slowly, and waits to be killed.
func writeForEver(t *testing.T, dir string) {
	t.Helper()
	format, aus := units(t, streamtest.H264)
	w, err := clip.Create(filepath.Join(dir, "clip.mp4"), clip.Config{Format: format, Event: began})
	require.NoError(t, err)
	for _, au := range aus {
		require.NoError(t, w.Add(au))
		time.Sleep(time.Millisecond)
	}
	_, err = w.Close()
	require.NoError(t, err)
	time.Sleep(time.Minute)
}

package tamper_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/tamper"
)

// looks decodes up to 40 s of a clip, one picture every 400 ms.
func looks(t *testing.T, path string) [][]byte {
	t.Helper()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-threads", "1", "-i", path, "-t", "40", "-an",
		"-vf", "fps=2.5,extractplanes=y,scale=384:216:flags=area", "-f", "rawvideo", "-")
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(t, cmd.Run(), problems.String())
	return slices.Collect(slices.Chunk(out.Bytes(), w*h))
}

// watch shows the pictures to a new watcher and returns what it reported at
// each.
func watch(t *testing.T, pictures [][]byte) []string {
	t.Helper()
	watcher, err := tamper.New(tamper.Config{})
	require.NoError(t, err)
	out := make([]string, len(pictures))
	for i, p := range pictures {
		require.NoError(t, watcher.Look(start().Add(time.Duration(i)*look), p))
		for _, f := range watcher.Faults() {
			if f.Score >= .5 {
				out[i] += f.Kind
			}
		}
	}
	return out
}

// TestClips: real cameras, untouched and tampered with from 8 s to 20 s.
func TestClips(t *testing.T) {
	t.Parallel()
	assets := os.Getenv("XACAM_ASSETS")
	if assets == "" {
		assets = filepath.Join("..", "..", "..", "shared", "assets")
	}
	clips, err := filepath.Glob(filepath.Join(assets, "clips", "*"))
	require.NoError(t, err)
	if len(clips) == 0 {
		t.Skip("no clips in " + assets)
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	const from, to, sure = 20, 50, 13 // looks; sure is when it must be reported at the latest
	for _, path := range clips {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			untouched := looks(t, path)
			for i, s := range watch(t, untouched) {
				assert.Empty(t, s, "untouched, look %d", i)
			}
			if len(untouched) < to+10 || plain(untouched[0]) {
				return
			}
			for want, edit := range map[string]edit{
				tamper.Covered: uniform(60), tamper.Blurred: blur(4), tamper.Moved: shifted(60, 25), tamper.Dark: light(.12, 14),
			} {
				pictures := slices.Clone(untouched)
				for i := from; i < to; i++ {
					pictures[i] = apply(edit, untouched[i])
				}
				got := watch(t, pictures)
				assert.Equal(t, want, got[from+sure], want)
				assert.Equal(t, want, got[to-1], want)
				assert.Empty(t, got[to+8], "after %s", want)
			}
			frozen := slices.Clone(untouched)
			for i := from; i < len(frozen); i++ {
				frozen[i] = untouched[from]
			}
			if len(frozen) >= from+45 {
				assert.Equal(t, tamper.Frozen, watch(t, frozen)[from+45])
			}
		})
	}
}

// plain reports whether a picture has hardly any edges: there is nothing to know
// the view by.
func plain(p []byte) bool {
	edges := 0
	for i := 1; i < len(p); i++ {
		if d := int(p[i]) - int(p[i-1]); d > 12 || d < -12 {
			edges++
		}
	}
	return edges < len(p)/100
}

func apply(e edit, gray []byte) []byte {
	p := make([]float64, len(gray))
	for i, v := range gray {
		p[i] = float64(v)
	}
	e(0, p)
	out := make([]byte, len(gray))
	for i, v := range p {
		out[i] = uint8(min(max(v, 0), 255))
	}
	return out
}

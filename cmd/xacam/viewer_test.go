//go:build cgo

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/vision/prep"
)

func markLines() []string {
	return []string{"BẢN SAO / COPY", "Nguyễn Văn Ấ · 28/11/2026 16:00:00 +07:00", "019a-event", "Hồ sơ 12/2026: đường Ừ"}
}

func TestViewingPicture(t *testing.T) {
	t.Parallel()
	const w, h = 640, 360
	pix := make([]byte, 3*w*h)
	for i := range pix { // stripes of 4 pixels
		pix[i] = byte(200 * (i / 12 % 2))
	}
	original, err := prep.EncodeJPEG(pix, w, h, 95)
	require.NoError(t, err)
	v, err := newViewer()
	require.NoError(t, err)
	got, err := v.Picture(original, markLines(), [][4]float64{{0.5, 0, 0.75, 0.5}})
	require.NoError(t, err)
	m, err := prep.Decode(got)
	require.NoError(t, err)
	defer m.Release()
	require.NoError(t, m.BGR(pix, w, h))
	if dir := os.Getenv("XACAM_KEEP"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "viewing.jpg"), got, 0o600))
	}
	contrast := func(x0, y0, x1, y1 int) int { // between neighbours 4 pixels apart
		sum := 0
		for y := y0; y < y1; y++ {
			for x := x0; x < x1-4; x++ {
				d := int(pix[3*(y*w+x)]) - int(pix[3*(y*w+x+4)])
				sum += max(d, -d)
			}
		}
		return sum / ((x1 - x0 - 4) * (y1 - y0))
	}
	assert.Greater(t, contrast(20, 5, 300, 120), 120, "outside the stripes are seen")
	assert.Less(t, contrast(325, 5, 475, 175), 40, "inside they are not")
	dark := 0
	for y := h - 30; y < h-4; y++ {
		if pix[3*(y*w+2)] < 90 {
			dark++
		}
	}
	assert.Greater(t, dark, 15, "the lower left corner has the label")
	_, err = v.Picture([]byte("no picture"), markLines(), nil)
	require.Error(t, err)
}

func TestViewingClip(t *testing.T) {
	t.Parallel()
	v, err := newViewer()
	require.NoError(t, err)
	for _, name := range []string{"box_h264.mp4", "box_h265.mp4"} {
		from, to := filepath.Join("..", "..", "testdata", "clips", name), filepath.Join(t.TempDir(), "copy.mp4")
		note, err := v.Clip(t.Context(), from, to, markLines(), nil)
		require.NoError(t, err)
		assert.Empty(t, note)
		n, w := countFrames(t, from)
		copied, copyWidth := countFrames(t, to)
		assert.InDelta(t, float64(n)*copyFPS/25, copied, 2)
		assert.Equal(t, min(w, longSide), copyWidth)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = v.Clip(ctx, filepath.Join("..", "..", "testdata", "clips", "box_h264.mp4"), filepath.Join(t.TempDir(), "copy.mp4"), markLines(), nil)
	require.ErrorIs(t, err, context.Canceled)
}

// A copy that goes wrong beyond expectation is one that cannot be made.
func TestPanicOfACopy(t *testing.T) {
	t.Parallel()
	v, err := newViewer()
	require.NoError(t, err)
	from := filepath.Join("..", "..", "testdata", "clips", "box_h264.mp4")
	for range 3 { // and the next one has its turn
		_, err = v.Clip(t.Context(), from, filepath.Join(t.TempDir(), "copy.mp4"), markLines(), func(time.Duration) ([][4]float64, bool) { panic("bad") })
		require.ErrorContains(t, err, "panic: bad")
	}
}

func countFrames(t *testing.T, path string) (n, width int) {
	t.Helper()
	f, err := avdec.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for {
		frame, err := f.ReadFrame()
		if errors.Is(err, io.EOF) {
			return n, width
		}
		require.NoError(t, err)
		width, _ = frame.Picture.Size()
		frame.Picture.Release()
		n++
	}
}

// TestBlurredClip makes a clip of stripes and has a part of it hidden for one
// second and everything for another.
func TestBlurredClip(t *testing.T) {
	t.Parallel()
	const w, h = 1400, 800
	from, to := filepath.Join(t.TempDir(), "clip.mp4"), filepath.Join(t.TempDir(), "copy.mp4")
	out, err := avdec.NewWriter(avdec.WriterConfig{Path: from, Width: w, Height: h, FPS: 10})
	require.NoError(t, err)
	pix := make([]byte, 3*w*h)
	for i := range pix { // stripes of 20 pixels
		pix[i] = byte(200 * (i / 60 % 2))
	}
	for i := range 31 {
		require.NoError(t, out.Write(pix, time.Duration(i)*100*time.Millisecond))
	}
	require.NoError(t, out.Close())
	before, err := os.ReadFile(from)
	require.NoError(t, err)
	v, err := newViewer()
	require.NoError(t, err)
	_, err = v.Clip(t.Context(), from, to, markLines(), func(at time.Duration) ([][4]float64, bool) {
		if at < time.Second {
			return nil, false
		}
		return [][4]float64{{0.5, 0, 1, 1}}, at >= 2*time.Second
	})
	require.NoError(t, err)
	after, err := os.ReadFile(from)
	require.NoError(t, err)
	assert.Equal(t, before, after, "the original stays as it is")
	f, err := avdec.Open(to)
	require.NoError(t, err)
	defer f.Close()
	seen := 0
	for {
		frame, err := f.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		fw, fh := frame.Picture.Size()
		require.Equal(t, [2]int{1260, 720}, [2]int{fw, fh})
		require.NoError(t, frame.Picture.BGR(pix, fw, fh))
		frame.Picture.Release()
		for half, hidden := range []bool{frame.PTS >= 2*time.Second-time.Millisecond, frame.PTS >= time.Second-time.Millisecond} {
			edges := 0 // in the lower half, where the label is not
			for y := fh / 2; y < fh; y++ {
				for x := half * fw / 2; x < (half+1)*fw/2-10; x++ {
					if d := int(pix[3*(y*fw+x)]) - int(pix[3*(y*fw+x+9)]); d > 130 || d < -130 {
						edges++
					}
				}
			}
			if hidden {
				assert.Less(t, edges, 2000, "half %d is hidden at %s", half, frame.PTS)
			} else {
				assert.Greater(t, edges, 50_000, "half %d is seen at %s", half, frame.PTS)
			}
		}
		seen++
	}
	assert.Equal(t, 31, seen)
}

func TestCopySize(t *testing.T) {
	t.Parallel()
	for in, want := range map[[2]int][2]int{
		{1920, 1080}: {1280, 720}, {1080, 1920}: {720, 1280}, {640, 480}: {640, 480}, {2560, 1920}: {960, 720}, {321, 241}: {320, 240}, {4000, 2}: {1280, 2},
	} {
		w, h := copySize(in[0], in[1])
		assert.Equal(t, want, [2]int{w, h}, in)
	}
}

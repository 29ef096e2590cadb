//go:build cgo

package avdec_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

// TestCropMatchesWhole cuts a part out of a picture and compares it with the
// same part of the whole picture, which libswscale converted.
func TestCropMatchesWhole(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		turn string
	}{
		"4:2:0":      {args: x264()},
		"4:4:4":      {args: x264("-pix_fmt", "yuv444p")},
		"10 bits":    {args: x264("-pix_fmt", "yuv420p10le")},
		"full range": {args: x264("-pix_fmt", "yuvj420p")},
		"gray":       {args: x264("-pix_fmt", "gray")},
		"BT.709":     {args: x264("-colorspace", "bt709")},
		"turned 90":  {args: x264(), turn: "90"},
		"turned 180": {args: x264(), turn: "180"},
		"turned 270": {args: x264(), turn: "270"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := clip(t, "a.mp4", "320x240", 3, tt.args...)
			if tt.turn != "" {
				turned := t.TempDir() + "/turned.mp4"
				ffmpeg(t, "-i", path, "-metadata:s:v", "rotate="+tt.turn, "-c", "copy", turned)
				path = turned
			}
			f, err := avdec.Open(path)
			require.NoError(t, err)
			defer func() { require.NoError(t, f.Close()) }()
			frame, err := f.ReadFrame()
			require.NoError(t, err)
			defer frame.Release()
			w, h := frame.Picture.Size()
			if tt.turn == "90" || tt.turn == "270" {
				require.Equal(t, []int{240, 320}, []int{w, h})
			}
			for _, k := range []int{1, 2, 5} { // as it is, to half, to a fifth
				checkCrop(t, frame.Picture, w, h, k)
			}
		})
	}
}

func checkCrop(t *testing.T, p media.Picture, w, h, k int) {
	t.Helper()
	whole := make([]byte, 3*(w/k)*(h/k))
	require.NoError(t, p.BGR(whole, w/k, h/k))
	a := media.Area{X: 40, Y: 60, W: 120, H: 80}
	cw, ch := int(a.W)/k, int(a.H)/k
	got := make([]byte, 3*cw*ch)
	require.NoError(t, media.Crop(p, got, a, cw, ch))
	var want []byte
	for y := range ch {
		from := 3 * ((int(a.Y)/k+y)*(w/k) + int(a.X)/k)
		want = append(want, whole[from:from+3*cw]...)
	}
	mean, _ := meanDiff(got, want)
	assert.Less(t, mean, 7+float64(k), "to 1/%d: the test picture is all edges, and filters differ", k)
	assert.Less(t, math.Abs(average(got)-average(want)), 1.5, "to 1/%d: the fast conversion rounds down", k)
}

func average(b []byte) float64 {
	sum := 0.
	for _, v := range b {
		sum += float64(v)
	}
	return sum / float64(len(b))
}

func TestCropEdges(t *testing.T) {
	t.Parallel()
	f, err := avdec.Open(clip(t, "a.mp4", "320x240", 3, x264()...))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	frame, err := f.ReadFrame()
	require.NoError(t, err)
	dst := make([]byte, 3*64*64)
	for _, a := range []media.Area{
		{X: -30, Y: -40, W: 64, H: 64},
		{X: 300, Y: 200, W: 64, H: 64},
		{X: 10.3, Y: 5.7, W: 3.1, H: 2.2},
		{X: -1000, Y: 0, W: 64, H: 64},
		{X: 0, Y: 0, W: 320, H: 240},
		{X: -100, Y: -100, W: 1200, H: 900},
		{X: 5, Y: 5, W: .01, H: .01},
	} {
		assert.NoError(t, media.Crop(frame.Picture, dst, a, 64, 64), fmt.Sprint(a))
	}
	for _, a := range []media.Area{{}, {W: -1, H: 3}, {X: math.NaN(), W: 1, H: 1}, {W: math.Inf(1), H: 1}, {X: 1e9, W: 1, H: 1}} {
		assert.Error(t, media.Crop(frame.Picture, dst, a, 64, 64), fmt.Sprint(a))
	}
	require.Error(t, media.Crop(frame.Picture, dst[:5], media.Area{W: 9, H: 9}, 64, 64))
	frame.Release()
	require.ErrorIs(t, media.Crop(frame.Picture, dst, media.Area{W: 9, H: 9}, 64, 64), avdec.ErrReleased)
}

func BenchmarkCrop(b *testing.B) {
	f, err := avdec.Open(clip(b, "a.mp4", "1920x1080", 3, x264()...))
	require.NoError(b, err)
	defer func() { require.NoError(b, f.Close()) }()
	frame, err := f.ReadFrame()
	require.NoError(b, err)
	defer frame.Release()
	dst := make([]byte, 3*64*64)
	for _, side := range []float64{32, 100, 300} {
		b.Run(fmt.Sprintf("%g pixels", side), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := media.Crop(frame.Picture, dst, media.Area{X: 401.5, Y: 300.2, W: side, H: side}, 64, 64); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

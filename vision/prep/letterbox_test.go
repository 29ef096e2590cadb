package prep_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/prep"
)

// plain is a picture of one colour.
type plain struct {
	w, h    int
	b, g, r byte
	err     error
}

func (p plain) Size() (width, height int) { return p.w, p.h }

func (p plain) BGR(dst []byte, w, h int) error {
	for i := 0; i < 3*w*h; i += 3 {
		dst[i], dst[i+1], dst[i+2] = p.b, p.g, p.r
	}
	return p.err
}

func (p plain) Gray([]byte, int, int) error { return p.err }
func (plain) Release()                      {}

func TestFill(t *testing.T) {
	t.Parallel()
	const pad = 114
	for name, c := range map[string]struct {
		in         models.Input
		p          plain
		x, y, w, h int // where the content lies
		inside     [3]float32
		outside    [3]float32
	}{
		"wide, top left": {
			models.Input{Width: 416, Height: 416, Scale: 1, Pad: pad},
			plain{w: 1920, h: 1080, b: 1, g: 2, r: 3},
			0, 0, 416, 234,
			[3]float32{1, 2, 3},
			[3]float32{pad, pad, pad},
		},
		"portrait, centred, RGB, normalised": {
			models.Input{
				Width: 64, Height: 32, Scale: 1. / 255, Channels: "rgb", Letterbox: "center", Pad: 255,
				Mean: []float64{0.5, 0.5, 0.5}, Std: []float64{0.5, 0.25, 1},
			},
			plain{w: 100, h: 200, b: 0, g: 51, r: 255},
			24, 0, 16, 32,
			[3]float32{1, -1.2, -0.5},
			[3]float32{1, 2, 0.5},
		},
		"exact": {
			models.Input{Width: 32, Height: 32, Scale: 1},
			plain{w: 32, h: 32, b: 9, g: 8, r: 7},
			0, 0, 32, 32,
			[3]float32{9, 8, 7},
			[3]float32{},
		},
		"stretched": {
			models.Input{Width: 64, Height: 32, Scale: 1, Letterbox: "stretch", Pad: pad},
			plain{w: 100, h: 900, b: 9, g: 8, r: 7},
			0, 0, 64, 32,
			[3]float32{9, 8, 7},
			[3]float32{},
		},
		"pixels together, RGB, centred": {
			models.Input{
				Width: 64, Height: 32, Layout: "nhwc", Channels: "rgb", Scale: 1, Letterbox: "center", Pad: pad,
				Mean: []float64{1, 2, 3},
			},
			plain{w: 100, h: 200, b: 9, g: 8, r: 7},
			24, 0, 16, 32,
			[3]float32{6, 6, 6},
			[3]float32{pad - 1, pad - 2, pad - 3},
		},
		"pixels together, BGR, int8": {
			models.Input{Width: 32, Height: 32, Layout: "nhwc", Channels: "bgr", Scale: 1, Pad: 0, Mean: []float64{128, 128, 128}},
			plain{w: 64, h: 32, b: 128, g: 0, r: 255},
			0, 0, 32, 16,
			[3]float32{0, -128, 127},
			[3]float32{-128, -128, -128},
		},
		"one pixel high": {
			models.Input{Width: 64, Height: 64, Scale: 1, Pad: pad},
			plain{w: 1000, h: 1, b: 9, g: 8, r: 7},
			0, 0, 64, 1,
			[3]float32{9, 8, 7},
			[3]float32{pad, pad, pad},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := prep.NewLetterbox(c.in)
			require.NoError(t, err)
			dst := make([]float32, 3*c.in.Width*c.in.Height)
			for range 2 { // the second time the padding is not written again
				g, err := l.Fill(dst, c.p)
				require.NoError(t, err)
				require.Equal(t, c.x, g.PadX)
				require.Equal(t, c.y, g.PadY)
				for ch := range 3 {
					for y := range c.in.Height {
						for x := range c.in.Width {
							want := c.outside[ch]
							if x >= c.x && x < c.x+c.w && y >= c.y && y < c.y+c.h {
								want = c.inside[ch]
							}
							at := (ch*c.in.Height+y)*c.in.Width + x
							if c.in.Layout == "nhwc" {
								at = (y*c.in.Width+x)*3 + ch
							}
							if v := dst[at]; v < want-1e-6 || v > want+1e-6 {
								t.Fatalf("plane %d at %d,%d: %v, want %v", ch, x, y, v, want)
							}
						}
					}
				}
				// The whole content maps back to the whole picture.
				b, ok := g.Box(float64(c.x), float64(c.y), float64(c.x+c.w), float64(c.y+c.h))
				require.True(t, ok)
				assert.InDelta(t, 1, b.Max.X, 0.01)
				assert.InDelta(t, 1, b.Max.Y, 0.01)
			}
		})
	}
}

func TestFillChangesGeometry(t *testing.T) {
	t.Parallel()
	l, err := prep.NewLetterbox(models.Input{Width: 32, Height: 32, Scale: 1, Pad: 7})
	require.NoError(t, err)
	dst := make([]float32, 3*32*32)
	for _, p := range []plain{{w: 32, h: 32, b: 200}, {w: 32, h: 8, b: 100}, {w: 8, h: 32, b: 50}} {
		_, err = l.Fill(dst, p)
		require.NoError(t, err)
	}
	require.InDelta(t, 50, dst[0], 0)
	require.InDelta(t, 7, dst[20], 0, "nothing is left of the pictures before")
}

func TestFillErrors(t *testing.T) {
	t.Parallel()
	_, err := prep.NewLetterbox(models.Input{})
	require.Error(t, err)
	l, err := prep.NewLetterbox(models.Input{Width: 32, Height: 32, Scale: 1})
	require.NoError(t, err)
	dst := make([]float32, 3*32*32)
	_, err = l.Fill(dst[1:], plain{w: 1, h: 1})
	require.ErrorContains(t, err, "3071 numbers")
	_, err = l.Fill(dst, plain{})
	require.ErrorContains(t, err, "0x0")
	gone := errors.New("gone")
	_, err = l.Fill(dst, plain{w: 1, h: 1, err: gone})
	require.ErrorIs(t, err, gone)
}

// BenchmarkFill pads and converts without scaling; budget 0.4 ms.
func BenchmarkFill(b *testing.B) {
	for name, c := range map[string]struct {
		p                 plain
		layout, letterbox string
	}{
		"1080p":           {plain{w: 1920, h: 1080}, "nchw", "top_left"},
		"square":          {plain{w: 416, h: 416}, "nchw", "top_left"},
		"1080p stretched": {plain{w: 1920, h: 1080}, "nchw", "stretch"},
		"1080p nhwc":      {plain{w: 1920, h: 1080}, "nhwc", "center"},
	} {
		b.Run(name, func(b *testing.B) {
			l, err := prep.NewLetterbox(models.Input{
				Width: 416, Height: 416, Scale: 1, Pad: 114, Layout: c.layout, Letterbox: c.letterbox,
			})
			require.NoError(b, err)
			p := c.p
			dst := make([]float32, 3*416*416)
			b.ReportAllocs()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			start := threadCPU(b)
			for b.Loop() {
				if _, err := l.Fill(dst, still{p}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64((threadCPU(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// still has a size but scales nothing.
type still struct{ plain }

func (still) BGR([]byte, int, int) error { return nil }

// threadCPU is the CPU time of the calling thread, which other load on the
// machine disturbs less than the clock.
func threadCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_THREAD, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

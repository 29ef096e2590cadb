//go:build unix

package detect_test

import (
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/ort/orttest"
	"github.com/xacam/xacam/vision/prep"
)

// BenchmarkInference is the floor: the model alone, yolox-nano at 416 pixels,
// with one and two callers. Budget 8 CPU-ms each on the machine of the design.
func BenchmarkInference(b *testing.B) {
	for name, callers := range map[string]int{"1": 1, "2": 2} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(orttest.Assets(b), "models", "yolox_nano.onnx")
			s, err := orttest.Runtime(b).Load(ort.Config{Path: path})
			require.NoError(b, err)
			buffers := make([]*ort.Buffers, callers)
			for i := range buffers {
				buffers[i], err = s.NewBuffers()
				require.NoError(b, err)
			}
			measure(b, callers, func(caller int) error {
				_, err := s.Run(buffers[caller])
				return err
			})
			for _, x := range buffers {
				x.Close()
			}
			require.NoError(b, s.Close())
		})
	}
}

// BenchmarkDetect is everything on a picture that is already scaled: the
// difference to BenchmarkInference is padding, conversion and decoding. Budget
// 5 % more.
func BenchmarkDetect(b *testing.B) {
	for name, callers := range map[string]int{"1": 1, "2": 2} {
		b.Run(name, func(b *testing.B) {
			det, assets := nano(b, detect.Config{Workers: callers})
			img, err := prep.Load(filepath.Join(assets, "stills", "voc2012_50", "images", "2007_000027.jpg"))
			require.NoError(b, err)
			defer img.Release()
			box, err := prep.NewLetterbox(det.Manifest().Input)
			require.NoError(b, err)
			in := det.Manifest().Input
			_, err = box.Fill(make([]float32, 3*in.Width*in.Height), img)
			require.NoError(b, err)
			p := scaled(b, img, in)
			measure(b, callers, func(int) error {
				_, err := det.Detect(b.Context(), &media.Frame{Picture: p})
				return err
			})
		})
	}
}

// still is a picture that was scaled before.
type still struct {
	canvas
	bgr []byte
}

func (s *still) BGR(dst []byte, _, _ int) error {
	copy(dst, s.bgr)
	return nil
}

func scaled(b *testing.B, img *prep.Image, in models.Input) *still {
	b.Helper()
	w, h := img.Size()
	s := &still{canvas: canvas{w: w, h: h}, bgr: make([]byte, 3*in.Width*in.Height)}
	scale := min(float64(in.Width)/float64(w), float64(in.Height)/float64(h))
	require.NoError(b, img.BGR(s.bgr, int(float64(w)*scale), int(float64(h)*scale)))
	return s
}

// measure calls f from several goroutines and reports the process's CPU time
// for one call.
func measure(b *testing.B, callers int, f func(caller int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	start := processCPU(b)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for i := c; i < b.N; i += callers {
				if err := f(c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((processCPU(b)-start).Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

func processCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

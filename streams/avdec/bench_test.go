//go:build cgo

package avdec_test

import (
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

// street is a 1080p clip at 12.5 frames/s, H.264 without B-frames at 4 Mbit/s,
// as a camera sends it.
func street(b *testing.B) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "street.mp4")
	ffmpeg(b, "-i", asset(b, "retail_hevc_1080p.mp4"), "-an", "-t", "16", "-r", "12.5", "-c:v", "libx264",
		"-preset", "veryfast", "-bf", "0", "-g", "50", "-b:v", "4M", "-pix_fmt", "yuv420p", path)
	return path
}

// cpu returns the CPU time the calling thread has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_THREAD, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perFrame reports the CPU time of n frames since before.
func perFrame(b *testing.B, before time.Duration, n int) {
	b.Helper()
	b.ReportMetric(float64(cpu(b)-before)/1e6/float64(n), "cpu-ms/frame")
}

// BenchmarkDecode is one access unit. The floor is 5.7 CPU-ms (DESIGN 8).
func BenchmarkDecode(b *testing.B) {
	path := street(b)
	for _, effort := range []avdec.Effort{avdec.Full, avdec.NoLoopFilter, avdec.KeyOnly} {
		b.Run(effort.String(), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			file := open(b, path)
			all := units(b, file, -1)
			d := newDecoder(b, avdec.Config{Format: file.Format(), Effort: effort})
			b.ReportAllocs()
			before, i := cpu(b), 0
			for b.Loop() {
				out, err := d.Decode(all[i%len(all)])
				require.NoError(b, err)
				release(out)
				i++
			}
			perFrame(b, before, i)
		})
	}
}

func benchmarkPicture(b *testing.B, use func(media.Picture) error) {
	b.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var frames []*media.Frame
	file := open(b, street(b))
	frames = pictures(b, file, 8) // enough not to stay in the cache
	defer release(frames)
	b.ReportAllocs()
	before, i := cpu(b), 0
	for b.Loop() {
		require.NoError(b, use(frames[i%len(frames)].Picture))
		i++
	}
	perFrame(b, before, i)
}

// BenchmarkBGR is 1080p to the detector's size; its budget is 2.5 CPU-ms.
// On the machine it was written on SWS_AREA with SWS_ACCURATE_RND takes 0.8
// CPU-ms, SWS_BILINEAR 1.4, SWS_FAST_BILINEAR 0.5 (which skips rows) and
// SWS_BITEXACT 0.5 more.
func BenchmarkBGR(b *testing.B) {
	dst := make([]byte, 3*416*234)
	benchmarkPicture(b, func(p media.Picture) error { return p.BGR(dst, 416, 234) })
}

// BenchmarkBGRFull is a whole picture for evidence.
func BenchmarkBGRFull(b *testing.B) {
	dst := make([]byte, 3*1920*1080)
	benchmarkPicture(b, func(p media.Picture) error { return p.BGR(dst, 1920, 1080) })
}

// BenchmarkGray is 1080p to the motion gate's size; its budget is 0.15 CPU-ms.
func BenchmarkGray(b *testing.B) {
	dst := make([]byte, 160*90)
	benchmarkPicture(b, func(p media.Picture) error { return p.Gray(dst, 160, 90) })
}

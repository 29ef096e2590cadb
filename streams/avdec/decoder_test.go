//go:build cgo

package avdec_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

// x264 returns ffmpeg's arguments for H.264 with a key picture at least every
// 12, and then args.
func x264(args ...string) []string {
	return append([]string{"-c:v", "libx264", "-preset", "veryfast", "-g", "12", "-threads", "1"}, args...)
}

func TestDecoderMatchesFFmpeg(t *testing.T) {
	t.Parallel()
	made := func(size string, args ...string) func(testing.TB) string {
		return func(tb testing.TB) string { tb.Helper(); return clip(tb, "a.mp4", size, 25, args...) }
	}
	given := func(name string) func(testing.TB) string {
		return func(tb testing.TB) string { tb.Helper(); return asset(tb, name) }
	}
	hevc := []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:frame-threads=1"}
	tests := map[string]struct {
		path          func(testing.TB) string
		width, height int     // upright
		w, h          int     // of the comparison
		mean          float64 // ffmpeg turns before it scales: chroma rows and columns change roles
		largest       int
	}{
		"B-frames":              {made("320x240", x264("-bf", "3")...), 320, 240, 160, 120, 0.02, 2},
		"no B-frames":           {made("320x240", x264("-bf", "0")...), 320, 240, 320, 240, 0.02, 2},
		"odd reduction":         {made("642x362", x264()...), 642, 362, 417, 233, 0.02, 2},
		"enlarged":              {made("160x120", x264()...), 160, 120, 416, 312, 0.02, 2},
		"full range":            {made("320x240", x264("-pix_fmt", "yuvj420p")...), 320, 240, 160, 120, 0.02, 2},
		"4:4:4":                 {made("320x240", x264("-pix_fmt", "yuv444p")...), 320, 240, 160, 120, 0.02, 2},
		"10 bits":               {made("320x240", x264("-pix_fmt", "yuv420p10le")...), 320, 240, 160, 120, 0.02, 2},
		"gray":                  {made("320x240", x264("-pix_fmt", "gray")...), 320, 240, 160, 120, 0.02, 2},
		"BT.709":                {made("320x240", x264("-colorspace", "bt709")...), 320, 240, 160, 120, 0.02, 2},
		"H.265":                 {made("320x240", hevc...), 320, 240, 160, 120, 0.02, 2},
		"H.265 10 bits":         {made("320x240", append(hevc, "-pix_fmt", "yuv420p10le")...), 320, 240, 160, 120, 0.02, 2},
		"interlaced":            {made("320x240", x264("-flags", "+ilme+ildct", "-x264-params", "interlaced=1")...), 320, 240, 160, 120, 0.02, 2},
		"real":                  {given("one-by-one-person-detection.mp4"), 768, 432, 416, 234, 0.02, 2},
		"real, H.265 1080p":     {given("retail_hevc_1080p.mp4"), 1920, 1080, 416, 234, 0.02, 2},
		"real, deep reordering": {given("highway_27260.mp4"), 1280, 720, 416, 234, 0.02, 2},
		"real, turned":          {given("vn_dumping_on_foot.mp4"), 480, 848, 236, 416, 0.6, 80},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tt.path(t)
			file := open(t, path)
			d := newDecoder(t, avdec.Config{Format: file.Format()})
			const n = 8
			frames := decode(t, d, units(t, file, n+17))
			require.GreaterOrEqual(t, len(frames), n)
			format := "bgr24"
			if tt.w == tt.width && tt.h == tt.height {
				format = "whole"
			}
			want := reference(t, path, format, tt.w, tt.h, n)
			gray := reference(t, path, "luma", tt.w/4, tt.h/4, n)
			got, size := make([]byte, 3*tt.w*tt.h), 3*tt.w*tt.h
			luma, lumaSize := make([]byte, (tt.w/4)*(tt.h/4)), (tt.w/4)*(tt.h/4)
			require.Len(t, want, n*size)
			for i, f := range frames[:n] {
				w, h := f.Picture.Size()
				require.Equal(t, []int{tt.width, tt.height}, []int{w, h})
				require.Equal(t, uint64(i+1), f.Seq)
				require.NoError(t, f.Picture.BGR(got, tt.w, tt.h))
				mean, largest := meanDiff(got, want[i*size:(i+1)*size])
				if !assert.LessOrEqual(t, mean, tt.mean, "frame %d", i) || !assert.LessOrEqual(t, largest, tt.largest, "frame %d", i) {
					break
				}
				require.NoError(t, f.Picture.Gray(luma, tt.w/4, tt.h/4))
				mean, _ = meanDiff(luma, gray[i*lumaSize:(i+1)*lumaSize])
				assert.LessOrEqual(t, mean, 4., "luma of frame %d", i)
			}
			assertOrdered(t, frames)
			release(frames)
			assert.Equal(t, 0, d.Stats().Live)
			assert.Zero(t, d.Stats().Errors)
			assert.Zero(t, d.Stats().Corrupt)
		})
	}
}

func assertOrdered(t *testing.T, frames []*media.Frame) {
	t.Helper()
	for i := 1; i < len(frames); i++ {
		require.Greater(t, frames[i].PTS, frames[i-1].PTS, "frame %d", i)
		require.Equal(t, frames[i].PTS-frames[i-1].PTS, frames[i].Captured.Sub(frames[i-1].Captured), "frame %d", i)
	}
}

func TestDecoderDelay(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args  []string
		delay int
	}{
		"none without B-frames":     {x264("-bf", "0"), 0},
		"reordering and no further": {x264("-bf", "1", "-b_strategy", "0"), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := open(t, clip(t, "a.mp4", "320x240", 40, tt.args...))
			d := newDecoder(t, avdec.Config{Format: file.Format()})
			var pts []time.Duration
			for i, au := range units(t, file, -1) {
				out, err := d.Decode(au)
				require.NoError(t, err)
				for _, f := range out {
					pts = append(pts, f.PTS)
				}
				release(out)
				assert.LessOrEqual(t, i+1-len(pts), tt.delay, "after unit %d", i)
			}
			for i, p := range pts {
				assert.InDelta(t, float64(i)*0.04, p.Seconds(), 1e-6)
			}
		})
	}
}

func TestDecoderChangesSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "both.h264")
	var both []byte
	for i, size := range []string{"320x240", "640x360", "160x120"} {
		one := filepath.Join(dir, strconv.Itoa(i)+".h264")
		ffmpeg(t, append(append([]string{"-f", "lavfi", "-i", "testsrc2=rate=25:size=" + size, "-frames:v", "20"}, x264()...), one)...)
		b, err := os.ReadFile(one)
		require.NoError(t, err)
		both = append(both, b...)
	}
	require.NoError(t, os.WriteFile(path, both, 0o600))
	file := open(t, path)
	d := newDecoder(t, avdec.Config{Format: media.Format{Codec: media.H264}})
	frames := decode(t, d, units(t, file, -1))
	sizes := map[int]int{}
	for _, f := range frames {
		w, h := f.Picture.Size()
		sizes[w]++
		require.NoError(t, f.Picture.BGR(make([]byte, 3*100*100), 100, 100))
		require.Positive(t, h)
	}
	release(frames)
	assert.Equal(t, map[int]int{320: 20, 640: 20, 160: 20}, sizes)
}

func TestDecoderStartsAtKey(t *testing.T) {
	t.Parallel()
	file := open(t, clip(t, "a.mp4", "320x240", 40, x264("-bf", "0", "-sc_threshold", "0")...))
	all := units(t, file, -1)
	d := newDecoder(t, avdec.Config{Format: file.Format()})
	frames := decode(t, d, all[5:])
	require.Len(t, frames, 28) // from unit 12 on
	assert.Equal(t, all[12].PTS, frames[0].PTS)
	assert.Equal(t, uint64(1), frames[0].Seq)
	assert.Equal(t, uint64(7), d.Stats().Skipped)
	release(frames)
}

func TestDecoderAfterLoss(t *testing.T) {
	t.Parallel()
	path := clip(t, "a.mp4", "320x240", 200, "-c:v", "libx264", "-preset", "veryfast", "-g", "100", "-bf", "0", "-sc_threshold", "0")
	lose := func(all []*media.AccessUnit) []*media.AccessUnit {
		lost := slices.Clone(slices.Delete(slices.Clone(all), 10, 12))
		next := *lost[10]
		next.Gap = true
		lost[10] = &next
		return lost
	}
	for name, tt := range map[string]struct {
		hold     time.Duration
		withheld uint64
	}{
		"withheld until the key picture": {time.Minute, 88},
		"two seconds at most":            {0, 50},
		"not at all":                     {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := open(t, path)
			d := newDecoder(t, avdec.Config{Format: file.Format(), Hold: tt.hold})
			frames := decode(t, d, lose(units(t, file, -1)))
			s := d.Stats()
			assert.Equal(t, tt.withheld, s.Withheld+s.Corrupt)
			assert.Equal(t, uint64(198), s.Frames+s.Withheld+s.Corrupt)
			assert.Equal(t, 199*40*time.Millisecond, frames[len(frames)-1].PTS)
			release(frames)
		})
	}
}

func TestDecoderSurvivesBrokenInput(t *testing.T) {
	t.Parallel()
	path := clip(t, "a.mp4", "320x240", 60, x264("-bf", "2")...)
	random := rand.New(rand.NewPCG(1, 2))
	breakers := map[string]func([]byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)*2/3] },
		"bits":      func(b []byte) []byte { b[len(b)/2] ^= 0x55; return b },
		"noise": func(b []byte) []byte {
			for i := 1; i < len(b); i++ {
				b[i] = byte(random.Uint32())
			}
			return b
		},
		"empty":     func([]byte) []byte { return nil },
		"one byte":  func(b []byte) []byte { return b[:1] },
		"oversized": func([]byte) []byte { return make([]byte, 9<<20) },
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for k := range breakers {
			if !yield(k) {
				return
			}
		}
	}) {
		file := open(t, path)
		d := newDecoder(t, avdec.Config{Format: file.Format()})
		all := units(t, file, -1)
		for i := 14; i < 22; i++ { // within the second group
			for j, u := range all[i].NALUs {
				all[i].NALUs[j] = breakers[name](slices.Clone(u))
			}
		}
		frames := decode(t, d, all)
		require.NotEmpty(t, frames, name)
		assertOrdered(t, frames)
		assert.Equal(t, 59*40*time.Millisecond, frames[len(frames)-1].PTS, "%s: the groups after it are whole", name)
		assert.GreaterOrEqual(t, len(frames), 44, name)
		s := d.Stats()
		assert.NotZero(t, s.Errors+s.Corrupt+s.Withheld, name)
		release(frames)
	}
}

func TestDecoderEffort(t *testing.T) {
	t.Parallel()
	file := open(t, clip(t, "a.mp4", "320x240", 60, x264("-bf", "2", "-sc_threshold", "0")...))
	all := units(t, file, -1)
	d := newDecoder(t, avdec.Config{Format: file.Format(), Effort: avdec.KeyOnly})
	var pts []time.Duration
	take := func(part []*media.AccessUnit) {
		for _, au := range part {
			out, err := d.Decode(au)
			require.NoError(t, err)
			for _, f := range out {
				pts = append(pts, f.PTS)
			}
			if au.Key && d.Stats().Skipped > 0 && len(out) > 0 {
				assert.Equal(t, au.PTS, out[len(out)-1].PTS, "a key picture is given at once")
			}
			release(out)
		}
	}
	take(all[:26])
	assert.Equal(t, []time.Duration{0, 480 * time.Millisecond, 960 * time.Millisecond}, pts)
	d.SetEffort(avdec.NoLoopFilter)
	take(all[26:36])
	assert.Len(t, pts, 3, "nothing before the next key picture")
	d.SetEffort(avdec.Full)
	pts = nil
	for _, f := range decode(t, d, all[36:]) {
		pts = append(pts, f.PTS)
		f.Release()
	}
	assert.Len(t, pts, 24)
	assert.Equal(t, 1440*time.Millisecond, pts[0])
	assert.Equal(t, 0, d.Stats().Live)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	h264 := media.Format{Codec: media.H264}
	for name, tt := range map[string]struct {
		cfg  avdec.Config
		want string
	}{
		"no codec":  {avdec.Config{}, "decoder: Codec(0) is not a codec of cameras"},
		"rotation":  {avdec.Config{Format: media.Format{Codec: media.H264, Rotation: 45}}, "decoder: rotation 45 is not 0, 90, 180 or 270"},
		"threads":   {avdec.Config{Format: h264, Threads: 17}, "decoder: 17 threads are not 1 to 16"},
		"effort":    {avdec.Config{Format: h264, Effort: 9}, "decoder: unknown effort 9"},
		"no effort": {avdec.Config{Format: h264, Effort: -1}, "decoder: unknown effort -1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := avdec.New(tt.cfg)
			assert.EqualError(t, err, tt.want)
		})
	}
}

// FuzzDecode feeds bytes as NAL units between good ones. Nothing may crash,
// and no frame may be lost track of.
func FuzzDecode(f *testing.F) {
	file := open(f, clip(f, "a.mp4", "64x64", 8, x264("-bf", "1")...))
	format := file.Format()
	good := units(f, file, -1)
	for _, au := range good {
		f.Add(au.NALUs[len(au.NALUs)-1], uint8(1), false)
	}
	f.Add(format.SPS, uint8(0), false)
	f.Add(format.PPS, uint8(2), true)
	f.Add([]byte{0x67, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, uint8(3), true)
	f.Add([]byte{}, uint8(0), false)
	f.Fuzz(func(t *testing.T, unit []byte, at uint8, h265 bool) {
		format := format
		if h265 {
			format = media.Format{Codec: media.H265}
		}
		d, err := avdec.New(avdec.Config{Format: format, MaxPixels: 1 << 20})
		require.NoError(t, err)
		var frames []*media.Frame
		for i, au := range good {
			if i == int(at)%len(good) {
				out, err := d.Decode(&media.AccessUnit{PTS: au.PTS, Key: at&8 != 0, NALUs: [][]byte{unit}})
				require.NoError(t, err)
				frames = append(frames, out...)
			}
			out, err := d.Decode(au)
			require.NoError(t, err)
			frames = append(frames, out...)
		}
		require.NoError(t, d.Close())
		for _, f := range frames {
			require.NoError(t, f.Picture.BGR(make([]byte, 3*32*32), 32, 32))
			require.NoError(t, f.Picture.Gray(make([]byte, 16*16), 16, 16))
			f.Release()
		}
		require.Equal(t, 0, d.Stats().Live)
	})
}

// TestRawPointer fails when a new go-astiav names its fields differently.
func TestRawPointer(t *testing.T) {
	t.Parallel()
	assert.Equal(t, [2]bool{true, true}, avdec.RawPointers())
}

//go:build cgo

package avdec_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

// pictures reads up to n frames; n < 0: all.
func pictures(tb testing.TB, f *avdec.File, n int) []*media.Frame {
	tb.Helper()
	var all []*media.Frame
	for n < 0 || len(all) < n {
		frame, err := f.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(tb, err)
		all = append(all, frame)
	}
	return all
}

func TestReadFrame(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		path   func(testing.TB) string
		codec  string
		frames int
		last   time.Duration
	}{
		"MPEG-4 part 2 in AVI": {func(tb testing.TB) string {
			tb.Helper()
			return clip(tb, "a.avi", "320x240", 30, "-c:v", "mpeg4", "-bf", "2")
		}, "mpeg4", 30, 1160 * time.Millisecond},
		"Motion JPEG": {func(tb testing.TB) string {
			tb.Helper()
			return clip(tb, "a.mkv", "320x240", 20, "-c:v", "mjpeg", "-pix_fmt", "yuvj422p")
		}, "mjpeg", 20, 760 * time.Millisecond},
		"packed RGB": {func(tb testing.TB) string {
			tb.Helper()
			return clip(tb, "a.nut", "320x240", 5, "-c:v", "rawvideo", "-pix_fmt", "rgb24")
		}, "rawvideo", 5, 160 * time.Millisecond},
		"H.264": {func(tb testing.TB) string {
			tb.Helper()
			return clip(tb, "a.mp4", "320x240", 30, x264("-bf", "3")...)
		}, "h264", 30, 1160 * time.Millisecond},
		"H.264 without times": {func(tb testing.TB) string {
			tb.Helper()
			return clip(tb, "a.h264", "320x240", 30, x264("-bf", "0")...)
		}, "h264", 30, 1160 * time.Millisecond},
		"H.264 in a transport stream": {func(tb testing.TB) string {
			tb.Helper()
			return clip(tb, "a.ts", "320x240", 30, x264("-bf", "3")...)
		}, "h264", 30, 1160 * time.Millisecond},
		"real": {func(tb testing.TB) string {
			tb.Helper()
			return asset(tb, "highway_320x240.avi")
		}, "mpeg4", 1699, 28334 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tt.path(t)
			f := open(t, path)
			assert.Equal(t, tt.codec, f.Codec())
			const n, w, h = 5, 160, 120
			frames := pictures(t, f, n)
			want := reference(t, path, "bgr24", w, h, n)
			got := make([]byte, 3*w*h)
			for i, frame := range frames {
				require.NoError(t, frame.Picture.BGR(got, w, h))
				mean, _ := meanDiff(got, want[i*len(got):][:len(got)])
				assert.LessOrEqual(t, mean, 0.02, "frame %d", i)
				require.NoError(t, frame.Picture.Gray(got[:40*30], 40, 30))
			}
			release(frames)
			count, last := len(frames), frames[len(frames)-1].PTS
			for {
				frame, err := f.ReadFrame()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				require.Greater(t, frame.PTS, last)
				require.Equal(t, time.Unix(0, 0).UTC().Add(frame.PTS), frame.Captured)
				count, last = count+1, frame.PTS
				frame.Release()
			}
			assert.Equal(t, tt.frames, count)
			assert.InDelta(t, tt.last.Seconds(), last.Seconds(), 0.002)
			_, err := f.ReadFrame()
			assert.ErrorIs(t, err, io.EOF, "again")
		})
	}
}

// TestRotation compares all four turns with ffmpeg's own.
func TestRotation(t *testing.T) {
	t.Parallel()
	plain := clip(t, "plain.mp4", "320x240", 3, x264("-bf", "0")...)
	for name, tt := range map[string]struct {
		rotation, w, h int
	}{
		"0":   {0, 320, 240},
		"90":  {270, 240, 320},
		"180": {180, 320, 240},
		"270": {90, 240, 320},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "turned.mp4")
			// FFmpeg 5.1 makes a display matrix of the tag rotate, counterclockwise.
			ffmpeg(t, "-i", plain, "-c", "copy", "-metadata:s:v", "rotate="+name, path)
			f := open(t, path)
			require.Equal(t, tt.rotation, f.Format().Rotation)
			frames := pictures(t, f, 1)
			w, h := frames[0].Picture.Size()
			require.Equal(t, []int{tt.w, tt.h}, []int{w, h})
			got := make([]byte, 3*w*h)
			require.NoError(t, frames[0].Picture.BGR(got, w, h))
			mean, _ := meanDiff(got, reference(t, path, "bgr24", w, h, 1))
			assert.Less(t, mean, 3., "chroma changes its place within the pixel")
			require.NoError(t, frames[0].Picture.Gray(got, w, h))
			mean, _ = meanDiff(got[:w*h], reference(t, path, "luma", w, h, 1))
			assert.Zero(t, mean, "luma is turned, not changed")
			release(frames)
		})
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	hevc := []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1:keyint=10"}
	for name, tt := range map[string]struct {
		file  string
		codec media.Codec
		args  []string
		sets  int
	}{
		"MP4":              {"a.mp4", media.H264, x264("-bf", "2"), 2},
		"Matroska":         {"a.mkv", media.H264, x264("-bf", "2"), 2},
		"transport stream": {"a.ts", media.H264, x264("-bf", "2"), 2},
		"AVI":              {"a.avi", media.H264, x264("-bf", "0"), 2},
		"H.265 MP4":        {"a.mp4", media.H265, hevc, 3},
		"H.265 Matroska":   {"a.mkv", media.H265, hevc, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := clip(t, tt.file, "320x240", 30, tt.args...)
			f, err := avdec.OpenFile(avdec.FileConfig{Path: path, Start: start})
			require.NoError(t, err)
			defer f.Close()
			format := f.Format()
			assert.Equal(t, tt.codec, format.Codec)
			assert.Equal(t, []int{320, 240, 0}, []int{format.Width, format.Height, format.Rotation})
			assert.InDelta(t, 25, format.FPS, 0.01)
			assert.NotEmpty(t, format.SPS)
			assert.InDelta(t, 1.2, f.Duration().Seconds(), 0.1)
			all := units(t, f, -1)
			require.Len(t, all, 30)
			assert.Zero(t, all[0].PTS)
			keys := 0
			for _, au := range all {
				assert.Equal(t, start.Add(au.PTS), au.Captured)
				assert.False(t, au.Gap)
				for _, u := range au.NALUs {
					assert.False(t, bytes.HasPrefix(u, []byte{0, 0, 1}) || bytes.HasPrefix(u, []byte{0, 0, 0, 1}))
				}
				if au.Key {
					keys++
					assert.True(t, slices.ContainsFunc(au.NALUs, func(u []byte) bool { return bytes.Equal(u, format.SPS) }))
				}
			}
			assert.GreaterOrEqual(t, keys, 3)
			// A decoder that knows nothing but the codec must do.
			frames := decode(t, newDecoder(t, avdec.Config{Format: media.Format{Codec: tt.codec}}), all)
			assert.Len(t, frames, 30)
			release(frames)

			require.NoError(t, f.Rewind())
			again := units(t, f, -1)
			require.Len(t, again, len(all))
			for i := range all {
				require.Equal(t, all[i], again[i])
			}
		})
	}
}

func TestFileIsDeterministic(t *testing.T) {
	t.Parallel()
	path := clip(t, "a.mp4", "640x360", 20, x264("-bf", "2")...)
	f := open(t, path)
	sum := func() [32]byte {
		h := sha256.New()
		b := make([]byte, 3*416*234)
		for _, frame := range pictures(t, f, -1) {
			require.NoError(t, frame.Picture.BGR(b, 416, 234))
			h.Write(b)
			require.NoError(t, frame.Picture.Gray(b[:160*90], 160, 90))
			h.Write(b[:160*90])
			frame.Release()
		}
		return [32]byte(h.Sum(nil))
	}
	first := sum()
	require.NoError(t, f.Rewind())
	assert.Equal(t, first, sum())
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o600))
		return path
	}
	audio := filepath.Join(dir, "audio.mp4")
	ffmpeg(t, "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", audio)
	whole, err := os.ReadFile(clip(t, "a.mp4", "320x240", 30, x264()...))
	require.NoError(t, err)
	for name, tt := range map[string]struct{ path, want string }{
		"missing":       {filepath.Join(dir, "missing.mp4"), "no such file or directory"},
		"folder":        {dir, "not a file"},
		"device":        {"/dev/zero", "not a file"},
		"empty":         {write("empty.mp4", nil), "the file is empty"},
		"text":          {write("text.mp4", bytes.Repeat([]byte("xã "), 1000)), "it is not a video, or it is damaged: "},
		"no index":      {write("cut.mp4", whole[:len(whole)/2]), "it is not a video, or it is damaged: "},
		"only sound":    {audio, "there is no video in it"},
		"names a url":   {write("list.m3u8", []byte("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n")), ""},
		"names another": {write("list.txt", []byte("ffconcat version 1.0\nfile /dev/zero\n")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := avdec.Open(tt.path)
			require.Error(t, err)
			assert.Contains(t, err.Error(), "open video "+tt.path+": "+tt.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestCutOffFile(t *testing.T) {
	t.Parallel()
	path := clip(t, "a.mp4", "320x240", 200, x264("-movflags", "faststart")...)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b[:len(b)/2], 0o600))
	f := open(t, path)
	n := 0
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			require.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.NotErrorIs(t, err, io.EOF)
			assert.Contains(t, err.Error(), "cut off at ")
			break
		}
		n++
		frame.Release()
	}
	assert.Greater(t, n, 50)
	require.NoError(t, f.Rewind())
	for {
		if _, err = f.Next(); err != nil {
			break
		}
	}
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	path := clip(t, "a.mp4", "320x240", 30, x264()...)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for at := 0; at < len(whole); at += max(1, len(whole)/40) {
		b := slices.Clone(whole)
		for i := at; i < min(at+8, len(b)); i++ {
			b[i] ^= 0xa5
		}
		require.NoError(t, os.WriteFile(path, b, 0o600))
		f, err := avdec.Open(path)
		if err != nil {
			continue
		}
		for range 100 {
			frame, err := f.ReadFrame()
			if err != nil {
				break
			}
			frame.Release()
		}
		require.NoError(t, f.Close())
		_, err = f.ReadFrame()
		require.ErrorIs(t, err, avdec.ErrClosed)
	}
}

func TestNextOfOtherCodec(t *testing.T) {
	t.Parallel()
	f := open(t, clip(t, "a.avi", "320x240", 3, "-c:v", "mpeg4"))
	_, err := f.Next()
	assert.ErrorContains(t, err, "mpeg4 is not a codec of cameras, only its pictures can be read")
}

func TestPictureTargets(t *testing.T) {
	t.Parallel()
	f := open(t, clip(t, "a.mp4", "320x240", 3, x264()...))
	p := pictures(t, f, 1)[0].Picture
	b := make([]byte, 3*16*16)
	assert.NoError(t, p.BGR(b, 16, 16))
	assert.NoError(t, p.Gray(b, 1, 1))
	assert.ErrorContains(t, p.BGR(b, 17, 16), "buffer of 768 bytes is too small for 816")
	assert.ErrorContains(t, p.Gray(b, 0, 16), "size 0×16 is not 1 to 16384 pixels")
	assert.ErrorContains(t, p.Gray(nil, -1, -1), "size -1×-1")
	p.Release()
	p.Release()
	assert.ErrorIs(t, p.BGR(b, 16, 16), avdec.ErrReleased)
	assert.ErrorIs(t, p.Gray(b, 16, 16), avdec.ErrReleased)
}

func TestWriter(t *testing.T) {
	t.Parallel()
	const w, h, n = 321, 241, 20
	path := filepath.Join(t.TempDir(), "out.mp4")
	writer, err := avdec.NewWriter(avdec.WriterConfig{Path: path, Width: w, Height: h, FPS: 10})
	require.NoError(t, err)
	source := open(t, clip(t, "a.mp4", "320x240", n, x264()...))
	var sent [][]byte
	for i, frame := range pictures(t, source, n) {
		b := make([]byte, 3*w*h)
		require.NoError(t, frame.Picture.BGR(b, w, h))
		require.NoError(t, writer.Write(b, time.Duration(i)*100*time.Millisecond))
		sent = append(sent, b)
		frame.Release()
	}
	require.ErrorContains(t, writer.Write(make([]byte, 10), 0), "10 bytes at 0s are not a picture of 321×241")
	require.NoError(t, writer.Close())
	require.NoError(t, writer.Close())
	require.ErrorIs(t, writer.Write(sent[0], 0), os.ErrClosed)

	f := open(t, path)
	assert.Equal(t, []int{320, 240}, []int{f.Format().Width, f.Format().Height})
	frames := pictures(t, f, -1)
	require.Len(t, frames, n)
	got := make([]byte, 3*(w-1)*(h-1))
	for i, frame := range frames {
		assert.Equal(t, time.Duration(i)*100*time.Millisecond, frame.PTS)
		require.NoError(t, frame.Picture.BGR(got, w-1, h-1))
		cropped := make([]byte, 0, len(got))
		for y := range h - 1 {
			cropped = append(cropped, sent[i][3*w*y:][:3*(w-1)]...)
		}
		mean, _ := meanDiff(got, cropped)
		assert.Less(t, mean, 8., "frame %d", i)
	}
	release(frames)
	for name, cfg := range map[string]avdec.WriterConfig{
		"folder: no such file or directory":     {Path: filepath.Join(t.TempDir(), "no", "a.mp4"), Width: 64, Height: 64},
		"0×64 at 25 frames/s cannot be encoded": {Path: path, Height: 64},
	} {
		_, err := avdec.NewWriter(cfg)
		assert.ErrorContains(t, err, name)
	}
}

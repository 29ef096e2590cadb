//go:build cgo

package avdec_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
)

func TestMain(m *testing.M) {
	avdec.QuietLog()
	os.Exit(m.Run()) //nolint:forbidigo // the way of TestMain
}

// asset returns a clip of the shared assets, or skips.
func asset(tb testing.TB, name string) string {
	tb.Helper()
	root := os.Getenv("XACAM_ASSETS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "assets")
	}
	path := filepath.Join(root, "clips", name)
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("no %s: set XACAM_ASSETS to the folder of shared assets", path)
	}
	return path
}

// ffmpeg runs the command line tool, the independent reference.
func ffmpeg(tb testing.TB, args ...string) []byte {
	tb.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		tb.Skip("no ffmpeg command")
	}
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error", "-nostdin", "-y", "-threads", "1"}, args...)...)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	require.NoError(tb, cmd.Run(), "ffmpeg %s: %s", strings.Join(args, " "), problems.String())
	return out.Bytes()
}

// clip renders a moving test picture into a new file of that name.
func clip(tb testing.TB, name, size string, frames int, args ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	all := append([]string{
		"-f", "lavfi", "-i", "testsrc2=rate=25:size=" + size, "-frames:v", strconv.Itoa(frames), "-bitexact",
	}, args...)
	ffmpeg(tb, append(all, path)...)
	return path
}

// reference returns ffmpeg's own pictures, upright, as packed rows. Format
// "luma" is the unchanged luma plane, "whole" bgr24 in the picture's own size,
// by the fast conversion that ffmpeg uses for it by default.
func reference(tb testing.TB, path, format string, w, h, frames int) []byte {
	tb.Helper()
	first, flags := "", ":flags=area+accurate_rnd"
	if format == "luma" {
		first, format = "extractplanes=y,", "gray"
		flags += ":in_range=full:out_range=full" // leave the values alone
	}
	if format == "whole" {
		flags, format = ":flags=bilinear", "bgr24"
	}
	scale := first + "scale=" + strconv.Itoa(w) + ":" + strconv.Itoa(h) + flags + ",format=" + format
	return ffmpeg(tb, "-i", path, "-frames:v", strconv.Itoa(frames), "-vsync", "passthrough", "-vf", scale,
		"-f", "rawvideo", "-")
}

func open(tb testing.TB, path string) *avdec.File {
	tb.Helper()
	f, err := avdec.Open(path)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, f.Close()) })
	return f
}

func newDecoder(tb testing.TB, cfg avdec.Config) *avdec.Decoder {
	tb.Helper()
	d, err := avdec.New(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, d.Close()) })
	return d
}

// units reads up to n access units; n < 0: all.
func units(tb testing.TB, f *avdec.File, n int) []*media.AccessUnit {
	tb.Helper()
	var all []*media.AccessUnit
	for n < 0 || len(all) < n {
		au, err := f.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(tb, err)
		all = append(all, au)
	}
	return all
}

// decode gives every access unit to d and returns all frames, flushed.
func decode(tb testing.TB, d *avdec.Decoder, all []*media.AccessUnit) []*media.Frame {
	tb.Helper()
	var frames []*media.Frame
	for _, au := range all {
		out, err := d.Decode(au)
		require.NoError(tb, err)
		frames = append(frames, out...)
	}
	out, err := d.Flush()
	require.NoError(tb, err)
	return append(frames, out...)
}

func release(frames []*media.Frame) {
	for _, f := range frames {
		f.Release()
	}
}

// meanDiff returns the mean absolute difference and the largest.
func meanDiff(a, b []byte) (mean float64, largest int) {
	sum := 0
	for i := range a {
		d := int(a[i]) - int(b[i])
		d = max(d, -d)
		sum += d
		largest = max(largest, d)
	}
	return float64(sum) / float64(len(a)), largest
}

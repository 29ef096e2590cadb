package clip_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/clip"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/streamtest"
)

var began = time.Date(2026, 11, 23, 15, 14, 0, 250e6, time.UTC) //nolint:gochecknoglobals // a constant

// units returns those of a clip of testdata, with capture times.
func units(t *testing.T, name string) (media.Format, []*media.AccessUnit) {
	t.Helper()
	c := streamtest.Open(t, name)
	var out []*media.AccessUnit
	for {
		au, err := c.Next()
		if err != nil {
			return c.Format(), out
		}
		u := *au
		u.Captured = began.Add(u.PTS)
		out = append(out, &u)
	}
}

// write makes a clip of the access units.
func write(t *testing.T, path string, cfg clip.Config, aus []*media.AccessUnit) clip.Info {
	t.Helper()
	w, err := clip.Create(path, cfg)
	require.NoError(t, err)
	for _, au := range aus {
		require.NoError(t, w.Add(au))
	}
	info, err := w.Close()
	require.NoError(t, err)
	return info
}

// tool runs ffmpeg or ffprobe and returns what it prints.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), errs.String())
	require.Empty(t, errs.String(), "%s %v", name, args)
	return out.String()
}

// pictures returns a sum of each picture as it is decoded, in the order in which
// they are shown.
func pictures(t *testing.T, path string) []string {
	t.Helper()
	out := tool(t, "ffmpeg", "-v", "error", "-xerror", "-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var sums []string
	for line := range strings.Lines(out) {
		if f := strings.Split(strings.TrimSpace(line), ","); len(f) == 6 && !strings.HasPrefix(line, "#") {
			sums = append(sums, strings.TrimSpace(f[5]))
		}
	}
	return sums
}

// probed is what ffprobe says of a clip.
type probed struct {
	Format struct {
		Duration string
		Tags     map[string]string
	}
	Streams  []struct{ Width, Height int }
	Chapters []struct {
		Start string `json:"start_time"`
		Tags  map[string]string
	}
	Packets []struct {
		PTS   string `json:"pts_time"`
		DTS   string `json:"dts_time"`
		Flags string
		Side  []map[string]any `json:"side_data_list"`
	}
}

func probe(t *testing.T, path string) probed {
	t.Helper()
	var p probed
	out := tool(t, "ffprobe", "-v", "error", "-show_format", "-show_streams", "-show_chapters", "-show_packets", "-of", "json", path)
	require.NoError(t, json.Unmarshal([]byte(out), &p))
	return p
}

func seconds(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	require.NoError(t, err)
	return v
}

// Every picture of the original is in the clip, bit for bit, at its time.
func TestClipIsTheOriginal(t *testing.T) {
	t.Parallel()
	for _, name := range []string{streamtest.H264, streamtest.H264B, streamtest.H265} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			format, aus := units(t, name)
			path := filepath.Join(t.TempDir(), "clip.mp4")
			event := began.Add(2345 * time.Millisecond)
			info := write(t, path, clip.Config{Format: format, Event: event, Label: "Xâm nhập", Comment: "event 0199"}, aus)
			assert.Equal(t, pictures(t, streamtest.Path(t, name)), pictures(t, path))
			require.NoFileExists(t, path+clip.PartSuffix)

			p := probe(t, path)
			assert.InDelta(t, 4, seconds(t, p.Format.Duration), .05)
			assert.InDelta(t, 4, info.Duration.Seconds(), .05)
			assert.Equal(t, began, info.Start)
			assert.Len(t, aus, info.Units)
			st, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, st.Size(), info.Bytes)
			require.Len(t, p.Packets, len(aus))
			last := -1.0
			keys := 0
			for i, k := range p.Packets {
				assert.InDelta(t, aus[i].PTS.Seconds(), seconds(t, k.PTS), 1e-4, "packet %d", i)
				dts := seconds(t, k.DTS)
				assert.Greater(t, dts, last, "packet %d", i)
				assert.LessOrEqual(t, dts, seconds(t, k.PTS)+1e-4, "packet %d", i)
				last = dts
				if strings.HasPrefix(k.Flags, "K") {
					keys++
				}
			}
			assert.Equal(t, 4, keys)

			require.Len(t, p.Chapters, 2)
			assert.InDelta(t, 2.345, seconds(t, p.Chapters[1].Start), .001, "the mark of the event")
			assert.Equal(t, "Xâm nhập", p.Chapters[1].Tags["title"])
			assert.Equal(t, "2026-11-23T15:14:00.000000Z", p.Format.Tags["creation_time"])
			assert.Equal(t, "2026-11-23T15:14:02.595Z", p.Format.Tags["date"])
			assert.Equal(t, "event 0199", p.Format.Tags["comment"])
		})
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	format, aus := units(t, streamtest.H264)
	for _, turn := range []int{90, 180, 270} {
		format.Rotation = turn
		path := filepath.Join(t.TempDir(), "clip.mp4")
		write(t, path, clip.Config{Format: format}, aus[:5])
		out := tool(t, "ffprobe", "-v", "error", "-show_entries", "stream_side_data=rotation", "-of", "csv=p=0", path)
		got, err := strconv.Atoi(strings.TrimSpace(strings.Trim(strings.TrimSpace(out), ",")))
		require.NoError(t, err)
		assert.Equal(t, 0, (got+turn)%360, "ffprobe counts the other way round: %d for %d", got, turn)
	}
}

// Parameter sets that travel in the stream alone are enough, and the time line
// goes on where a new session begins.
func TestSetsInTheStreamAndNewSession(t *testing.T) {
	t.Parallel()
	for _, name := range []string{streamtest.H264, streamtest.H265} {
		format, aus := units(t, name)
		first := *aus[0]
		for _, s := range [][]byte{format.PPS, format.SPS, format.VPS} {
			if len(s) > 0 {
				first.NALUs = append([][]byte{s}, first.NALUs...)
			}
		}
		all := append([]*media.AccessUnit{&first}, aus[1:]...)
		for _, au := range aus { // 3 s later PTS begins anew
			u := *au
			u.Captured = u.Captured.Add(7 * time.Second)
			all = append(all, &u)
		}
		path := filepath.Join(t.TempDir(), "clip.mp4")
		write(t, path, clip.Config{Format: media.Format{Codec: format.Codec}}, all)
		p := probe(t, path)
		require.Len(t, p.Packets, len(all))
		assert.InDelta(t, 7, seconds(t, p.Packets[len(aus)].PTS), .001)
		assert.Len(t, pictures(t, path), len(all))
	}
}

func TestBeginsWithAKey(t *testing.T) {
	t.Parallel()
	format, aus := units(t, streamtest.H264)
	path := filepath.Join(t.TempDir(), "clip.mp4")
	w, err := clip.Create(path, clip.Config{Format: format})
	require.NoError(t, err)
	require.ErrorIs(t, w.Add(aus[1]), clip.ErrNoKey)
	_, err = w.Close()
	require.ErrorIs(t, err, clip.ErrEmpty)
	require.NoFileExists(t, path)
	require.NoFileExists(t, path+clip.PartSuffix)
	_, err = clip.Create(path, clip.Config{})
	require.ErrorIs(t, err, clip.ErrFormat)
	_, err = clip.Create(filepath.Join(path, "x"), clip.Config{Format: format})
	require.Error(t, err)
}

// Whatever a broken camera sends, nothing panics, and what was taken is a file
// or an error.
func TestGarbage(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		path := filepath.Join(t.TempDir(), "clip.mp4")
		format := media.Format{Codec: media.Codec(1 + i%2), Rotation: rng.IntN(4) * 90}
		if i%3 == 0 {
			f, _ := units(t, []string{streamtest.H264, streamtest.H265}[i%2])
			format = f
		}
		w, err := clip.Create(path, clip.Config{Format: format, Event: began})
		require.NoError(t, err)
		for j := range 60 {
			au := &media.AccessUnit{Key: j == 0 || rng.IntN(5) == 0, PTS: time.Duration(rng.Int64N(1<<40) - 1<<20), Captured: began.Add(time.Duration(rng.Int64N(1 << 36)))}
			for range rng.IntN(5) {
				n := make([]byte, rng.IntN(40))
				for k := range n {
					n[k] = byte(rng.IntN(256))
				}
				au.NALUs = append(au.NALUs, n)
			}
			if err = w.Add(au); err != nil {
				break
			}
		}
		if err != nil {
			require.NoError(t, w.Abort())
			continue
		}
		if _, err := w.Close(); err == nil {
			require.FileExists(t, path)
		}
	}
}

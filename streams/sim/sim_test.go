package sim_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tool runs a program and returns what it wrote; it skips the test when the
// program is not installed.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(name, " is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// TestFFmpegReads uses ffmpeg as a client: past the loop, without a complaint.
func TestFFmpegReads(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{
		Streams: streamtest.Streams(t, map[string]string{"h264": streamtest.H264, "b": streamtest.H264B, "h265": streamtest.H265}),
		User:    "admin", Password: "secret",
	})
	for _, tt := range []struct{ name, transport string }{
		{"h264", "tcp"}, {"b", "tcp"}, {"h265", "tcp"}, {"h264", "udp"},
	} {
		t.Run(tt.name+"/"+tt.transport, func(t *testing.T) {
			t.Parallel()
			out := tool(t, "ffmpeg", "-hide_banner", "-nostats", "-rtsp_transport", tt.transport,
				"-i", "rtsp://admin:secret@"+srv.Addr()+"/"+tt.name, "-frames:v", "115", "-vf", "showinfo", "-f", "null", "-")
			times := regexp.MustCompile(`pts_time:([0-9.]+)`).FindAllStringSubmatch(out, -1)
			require.GreaterOrEqual(t, len(times), 108, "more than one loop")
			last := -1.0
			for i, m := range times[:108] {
				pts, err := strconv.ParseFloat(m[1], 64)
				require.NoError(t, err)
				// ffmpeg gives the first two frames the same time.
				require.True(t, i < 2 || pts > last && pts-last < 0.1, "frame %d at %v after %v", i, pts, last)
				last = pts
			}
			assert.NotContains(t, out, "error")
		})
	}
}

func TestGStreamerReads(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"h264": streamtest.H264, "h265": streamtest.H265})})
	for _, tt := range []struct{ name, transport, depay string }{
		{"h264", "tcp", "rtph264depay"}, {"h265", "udp", "rtph265depay"},
	} {
		t.Run(tt.name+"/"+tt.transport, func(t *testing.T) {
			t.Parallel()
			out := tool(t, "gst-launch-1.0", "-q", "rtspsrc", "location="+srv.URL(tt.name), "protocols="+tt.transport, "!", tt.depay, "!",
				"identity", "eos-after=60", "!", "fakesink", "sync=false")
			assert.NotContains(t, out, "ERROR")
		})
	}
}

var errBroken = errors.New("broken clip")

func TestSourceFails(t *testing.T) {
	t.Parallel()
	s, err := sim.New(sim.Config{Listen: "127.0.0.1:0", Streams: map[string]func() (sim.Source, error){
		"a": func() (sim.Source, error) { return nil, errBroken },
	}})
	require.NoError(t, err)
	err = s.Run(context.Background())
	require.ErrorIs(t, err, errBroken)
	assert.ErrorContains(t, err, `simulated camera "a"`)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	open := func() (sim.Source, error) { return nil, io.EOF }
	for name, cfg := range map[string]sim.Config{
		"no streams": {},
		"empty name": {Streams: map[string]func() (sim.Source, error){"": open}},
		"odd name":   {Streams: map[string]func() (sim.Source, error){"a b": open}},
		"no port":    {Listen: "127.0.0.1", Streams: map[string]func() (sim.Source, error){"a": open}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := sim.New(cfg)
			require.Error(t, err)
		})
	}
}

func TestSwitchWantsTheSameCodec(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
	require.Error(t, srv.Stream("a").Switch(streamtest.Open(t, streamtest.H265)))
	require.Nil(t, srv.Stream("b"))
	assert.Zero(t, srv.Stream("a").Readers())
	assert.False(t, bytes.Contains([]byte(srv.URL("a")), []byte("@")))
}

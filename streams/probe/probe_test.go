package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/probe"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{
		Streams: streamtest.Streams(t, map[string]string{"h264": streamtest.H264, "b": streamtest.H264B, "h265": streamtest.H265}),
		User:    "admin", Password: "s3cret",
	})
	srv.Stream("h265").SetClock(-2 * time.Hour)
	tests := map[string]struct {
		codec, profile string
		bframes        bool
		advice         []string
	}{
		"h264": {codec: "H.264", profile: "Constrained Baseline, level 1.3", advice: []string{"more than detection needs"}},
		"b":    {codec: "H.264", profile: "Main, level 1.3", bframes: true, advice: []string{"B-frames"}},
		"h265": {codec: "H.265", profile: "Main, level 2.0", advice: []string{"wrong by 2 h", "H.265 costs more"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var group []*media.AccessUnit
			r, err := probe.Run(context.Background(), probe.Config{
				URL: "rtsp://admin:s3cret@" + srv.Addr() + "/" + name, Duration: 2500 * time.Millisecond,
				Decode: func(_ media.Format, u []*media.AccessUnit) error {
					group = u
					return nil
				},
			})
			require.NoError(t, err)
			assert.Equal(t, tt.codec, r.Codec)
			assert.Equal(t, tt.profile, r.Profile)
			assert.Equal(t, [2]int{320, 240}, [2]int{r.Width, r.Height})
			assert.InDelta(t, 25, r.FPS, 1)
			assert.InDelta(t, 1, r.KeyInterval, 0.05)
			assert.Equal(t, tt.bframes, r.BFrames)
			assert.Greater(t, r.BitRate, 10_000.0)
			assert.Less(t, r.FirstFrame, 2.0)
			assert.True(t, r.SenderReports)
			require.Len(t, group, 25)
			assert.True(t, group[0].Key)
			text := r.Text()
			for _, a := range tt.advice {
				assert.Contains(t, strings.Join(r.Advice, "\n"), a)
				assert.Contains(t, text, a)
			}
			b, err := json.Marshal(r)
			require.NoError(t, err)
			assert.NotContains(t, string(b)+text, "s3cret")
		})
	}
}

func TestDecodeFails(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
	r, err := probe.Run(context.Background(), probe.Config{
		URL: srv.URL("a"), Duration: 200 * time.Millisecond,
		Decode: func(media.Format, []*media.AccessUnit) error { return errors.New("no picture") },
	})
	require.NoError(t, err)
	assert.Equal(t, "no picture", r.SnapshotError)
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln.Close()
	_, err = probe.Run(context.Background(), probe.Config{URL: "rtsp://u:s3cret@" + ln.Addr().String() + "/"})
	assert.Equal(t, rtsp.Unreachable, rtsp.ReasonOf(err))
	assert.NotContains(t, err.Error(), "s3cret")
	_, err = probe.Run(context.Background(), probe.Config{URL: "http://x"})
	require.Error(t, err)
}

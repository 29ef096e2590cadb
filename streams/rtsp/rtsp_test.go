package rtsp_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a rtsp.Handler that keeps everything.
type recorder struct {
	streamtest.Recorder
	mu     sync.Mutex
	states []rtsp.State
	change chan rtsp.State
}

func newRecorder() *recorder { return &recorder{change: make(chan rtsp.State, 1000)} }

func (r *recorder) OnState(s rtsp.State) {
	r.mu.Lock()
	r.states = append(r.states, s)
	r.mu.Unlock()
	r.change <- s
}

// until waits for a phase and returns the state.
func (r *recorder) until(tb testing.TB, p rtsp.Phase, limit time.Duration) rtsp.State {
	tb.Helper()
	end := time.After(limit)
	for {
		select {
		case s := <-r.change:
			if s.Phase == p {
				return s
			}
		case <-end:
			require.Fail(tb, "timeout", "not %s after %s", p, limit)
		}
	}
}

// start runs a client until the test ends.
func start(tb testing.TB, cfg rtsp.Config) (*rtsp.Client, *recorder) {
	tb.Helper()
	rec := newRecorder()
	if cfg.Handler == nil {
		cfg.Handler = rec
	}
	c, err := rtsp.New(cfg)
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			require.NoError(tb, err)
		case <-time.After(5 * time.Second):
			require.Fail(tb, "Run does not end")
		}
	})
	return c, rec
}

// checkUnits checks what holds for every stream.
// late is the most that arrival may differ from Captured.
func checkUnits(tb testing.TB, codec media.Codec, units []streamtest.Received, late time.Duration) {
	tb.Helper()
	require.NotEmpty(tb, units)
	require.True(tb, units[0].Key, "first is key")
	for i, u := range units {
		if u.Key {
			require.Equal(tb, sets(codec), types(codec, u.NALUs)[:len(sets(codec))], "key unit %d carries its parameter sets", i)
		}
		require.Less(tb, u.At.Sub(u.Captured).Abs(), late, "Captured of unit %d", i)
	}
}

func sets(c media.Codec) []int {
	if c == media.H265 {
		return []int{32, 33, 34}
	}
	return []int{7, 8}
}

// types lists the NAL unit types but for delimiters.
func types(c media.Codec, nalus [][]byte) []int {
	var out []int
	for _, n := range nalus {
		t := int(n[0] & 0x1f)
		if c == media.H265 {
			t = int(n[0] >> 1 & 0x3f)
		}
		if t != 9 && t != 35 {
			out = append(out, t)
		}
	}
	return out
}

func TestStreams(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{
		"h264": streamtest.H264, "h264b": streamtest.H264B, "h265": streamtest.H265, "raw265": streamtest.H265Raw,
	})})
	for _, name := range []string{"h264", "h264b", "h265", "raw265"} {
		for _, transport := range []rtsp.Transport{rtsp.TCP, rtsp.UDP} {
			c, rec := start(t, rtsp.Config{URL: srv.URL(name), Transport: transport}) // all at once
			t.Run(name+"/"+string(transport), func(t *testing.T) {
				t.Parallel()
				checkStream(t, c, rec)
			})
		}
	}
}

// checkStream checks one of the clips, received for more than one loop.
func checkStream(t *testing.T, c *rtsp.Client, rec *recorder) {
	t.Helper()
	rec.Wait(t, 15*time.Second, "more than one loop", streamtest.AtLeast(115))
	units := rec.Units()[:115]
	codec := rec.Formats()[0].Codec
	checkUnits(t, codec, units, 2*time.Second)
	require.Len(t, rec.Formats(), 1)
	assert.Equal(t, [2]int{320, 240}, [2]int{rec.Formats()[0].Width, rec.Formats()[0].Height})
	var maxPTS time.Duration
	for i, u := range units {
		require.False(t, u.Gap, "gap before unit %d", i)
		require.Equal(t, i%25 == 0, u.Key, "unit %d", i)
		maxPTS = max(maxPTS, u.PTS)
	}
	assert.InDelta(t, 114*0.04, maxPTS.Seconds(), 0.09, "PTS goes on over the loop")
	st := c.Stats()
	assert.True(t, st.Reports)
	assert.True(t, st.ByReport)
	assert.Less(t, st.ClockOffset.Abs(), 2*time.Second, "NTP of the sender reports")
	assert.Zero(t, st.Lost)
}

func TestLogIn(t *testing.T) {
	t.Parallel()
	const password = "p@ss:w%rd#1"
	for _, auth := range []sim.Auth{sim.Digest, sim.DigestSHA256, sim.Basic} {
		srv := streamtest.Serve(t, sim.Config{
			Streams: streamtest.Streams(t, map[string]string{"cam/main": streamtest.H264}),
			User:    "user", Password: password, Auth: auth,
		})
		for name, login := range map[string]string{
			"literal": "user:" + password + "@", "escaped": "user:p%40ss%3Aw%25rd%231@",
		} {
			_, rec := start(t, rtsp.Config{URL: "rtsp://" + login + srv.Addr() + "/cam/main"})
			t.Run(string(auth)+"/"+name, func(t *testing.T) {
				t.Parallel()
				rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(1))
			})
		}
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	cfg := sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})}
	other := streamtest.Serve(t, cfg)
	_, undisturbed := start(t, rtsp.Config{URL: other.URL("a")})

	first := streamtest.Serve(t, cfg)
	_, rec := start(t, rtsp.Config{URL: first.URL("a")})
	rec.until(t, rtsp.Online, 5*time.Second)
	undisturbed.until(t, rtsp.Online, 5*time.Second)
	rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(10))

	killed := time.Now()
	first.Kill()
	s := rec.until(t, rtsp.Offline, 10*time.Second)
	assert.Less(t, time.Since(killed), 2*time.Second, "noticed")
	assert.Equal(t, rtsp.Closed, rtsp.ReasonOf(s.Err))
	for range 2 { // let it be refused a few times
		s = rec.until(t, rtsp.Offline, 10*time.Second)
		assert.Equal(t, rtsp.Unreachable, rtsp.ReasonOf(s.Err))
	}
	had := len(rec.Units())
	cfg.Listen = first.Addr()
	back := time.Now()
	streamtest.Serve(t, cfg)
	rec.Wait(t, 5*time.Second, "video within 5 s of its return", streamtest.AtLeast(had+1))
	t.Logf("offline noticed, video again %s after the return", time.Since(back).Round(time.Millisecond))
	assert.True(t, rec.Units()[had].Key)
	rec.until(t, rtsp.Online, time.Second)
	checkSteady(t, undisturbed.Units(), 500*time.Millisecond)
}

// checkSteady checks that no unit came much later than the one before it.
func checkSteady(tb testing.TB, units []streamtest.Received, limit time.Duration) {
	tb.Helper()
	for i := 1; i < len(units); i++ {
		require.Less(tb, units[i].At.Sub(units[i-1].At), limit, "unit %d", i)
		require.False(tb, units[i].Gap, "unit %d", i)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	serve := func(t *testing.T) (*sim.Server, *sim.Stream) {
		t.Helper()
		s := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
		return s, s.Stream("a")
	}
	t.Run("stall", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		_, rec := start(t, rtsp.Config{URL: srv.URL("a"), StallTimeout: time.Second})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(5))
		cam.Stall(true)
		s := rec.until(t, rtsp.Offline, 5*time.Second)
		assert.Equal(t, rtsp.Stalled, rtsp.ReasonOf(s.Err))
		cam.Stall(false)
		rec.until(t, rtsp.Online, 5*time.Second)
	})
	t.Run("freeze", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		_, rec := start(t, rtsp.Config{URL: srv.URL("a")})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(5))
		cam.Freeze(true)
		n := len(rec.Units())
		rec.Wait(t, 5*time.Second, "the same picture", func(u []streamtest.Received) bool {
			return len(u) > n+5 && u[len(u)-1].Key && u[len(u)-2].Key
		})
	})
	t.Run("loss", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		c, rec := start(t, rtsp.Config{URL: srv.URL("a")})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(10))
		cam.Drop(3)
		rec.Wait(t, 5*time.Second, "a gap", func(u []streamtest.Received) bool {
			return slices.ContainsFunc(u, func(r streamtest.Received) bool { return r.Gap })
		})
		assert.EqualValues(t, 3, c.Stats().Lost)
	})
	t.Run("timestamp jump", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		c, rec := start(t, rtsp.Config{URL: srv.URL("a")})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(10))
		cam.Jump(-10 * time.Hour)
		rec.Wait(t, 5*time.Second, "more", streamtest.AtLeast(40))
		assert.EqualValues(t, 1, c.Stats().Jumps)
		u := rec.Units()
		checkUnits(t, media.H264, u, 2*time.Second)
		for i := 1; i < len(u); i++ {
			d := u[i].PTS - u[i-1].PTS
			require.True(t, d > 0 && d < 5*time.Second, "PTS moves by %s before unit %d", d, i)
		}
	})
	t.Run("garbage", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		_, rec := start(t, rtsp.Config{URL: srv.URL("a")})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(10))
		cam.Garbage(30) // a key frame and its parameter sets are among them
		rec.Wait(t, 6*time.Second, "more", streamtest.AtLeast(70))
		assert.Equal(t, 320, rec.Formats()[len(rec.Formats())-1].Width, "a broken SPS does not replace a good one")
	})
	t.Run("other parameter sets", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		_, rec := start(t, rtsp.Config{URL: srv.URL("a")})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(10))
		require.NoError(t, cam.Switch(streamtest.Open(t, streamtest.H264B)))
		rec.Wait(t, 5*time.Second, "a second format", func([]streamtest.Received) bool { return len(rec.Formats()) == 2 })
		n := len(rec.Units())
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(n+5))
	})
	t.Run("clock wrong by years", func(t *testing.T) {
		t.Parallel()
		srv, cam := serve(t)
		cam.SetClock(-30 * 365 * 24 * time.Hour)
		c, rec := start(t, rtsp.Config{URL: srv.URL("a")})
		rec.Wait(t, 5*time.Second, "video", streamtest.AtLeast(10))
		checkUnits(t, media.H264, rec.Units(), 2*time.Second)
		assert.True(t, c.Stats().Reports)
		assert.False(t, c.Stats().ByReport)
	})
}

// panicky panics where told.
type panicky struct {
	recorder
	on string
}

func (p *panicky) OnAccessUnit(au *media.AccessUnit) {
	if p.on == "unit" {
		panic("unit with secret s3cret")
	}
	p.recorder.OnAccessUnit(au)
}

func (p *panicky) OnState(s rtsp.State) {
	p.recorder.OnState(s)
	if p.on == "state" {
		panic("state")
	}
}

func TestHandlerPanics(t *testing.T) {
	t.Parallel()
	srv := streamtest.Serve(t, sim.Config{
		Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264}), User: "u", Password: "s3cret",
	})
	url := "rtsp://u:s3cret@" + srv.Addr() + "/a"
	unit := &panicky{recorder: recorder{change: make(chan rtsp.State, 1000)}, on: "unit"}
	start(t, rtsp.Config{URL: url, Handler: unit})
	s := unit.until(t, rtsp.Offline, 5*time.Second)
	assert.Equal(t, rtsp.Internal, rtsp.ReasonOf(s.Err))
	assert.NotContains(t, s.Err.Error(), "s3cret")
	state := &panicky{recorder: recorder{change: make(chan rtsp.State, 1000)}, on: "state"}
	start(t, rtsp.Config{URL: url, Handler: state})
	state.Wait(t, 5*time.Second, "video all the same", streamtest.AtLeast(5))
}

package streamtest

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/sim"
)

// Clips of testdata/clips, all 320×240 and 25 frames a second, 4 s, a key
// frame every second.
const (
	H264    = "box_h264.mp4"
	H264B   = "box_h264_bframes.mp4" // main profile with B-frames
	H265    = "box_h265.mp4"
	H264Raw = "box_h264.h264" // Annex B
	H265Raw = "box_h265.h265" // Annex B
)

// Path returns the path of a clip, wherever the test runs.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	_, file, _, ok := runtime.Caller(0)
	require.True(tb, ok)
	return filepath.Join(filepath.Dir(file), "..", "..", "testdata", "clips", name)
}

// Open returns a clip of testdata/clips.
func Open(tb testing.TB, name string) *Clip {
	tb.Helper()
	c, err := open(Path(tb, name))
	require.NoError(tb, err)
	return c
}

func open(path string) (*Clip, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(path, ".h264"):
		return ParseAnnexB(b, media.H264, 25)
	case strings.HasSuffix(path, ".h265"):
		return ParseAnnexB(b, media.H265, 25)
	}
	return ParseMP4(b)
}

// Streams maps stream names to clips for sim.Config.
func Streams(tb testing.TB, clips map[string]string) map[string]func() (sim.Source, error) {
	tb.Helper()
	out := map[string]func() (sim.Source, error){}
	for name, clip := range clips {
		path := Path(tb, clip)
		out[name] = func() (sim.Source, error) { return open(path) }
	}
	return out
}

// Serve runs a server until the test ends and returns it when it is ready. An
// empty Listen picks a port.
func Serve(tb testing.TB, cfg sim.Config) *sim.Server {
	tb.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	s, err := sim.New(cfg)
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		cancel()
		require.NoError(tb, err)
	case <-time.After(5 * time.Second):
		cancel()
		require.Fail(tb, "simulated cameras are not ready after 5 s")
	}
	tb.Cleanup(func() {
		cancel()
		require.NoError(tb, <-done)
	})
	return s
}

// Received is an access unit and when it came.
type Received struct {
	*media.AccessUnit
	At time.Time
}

// Recorder keeps what a client hands out. Its methods fit rtsp.Handler but
// for OnState. It is safe for concurrent use.
type Recorder struct {
	mu      sync.Mutex
	formats []media.Format
	units   []Received
	more    chan struct{} // closed and replaced with each unit
}

// OnFormat keeps f.
func (r *Recorder) OnFormat(f media.Format) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.formats = append(r.formats, f)
}

// OnAccessUnit keeps au.
func (r *Recorder) OnAccessUnit(au *media.AccessUnit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.units = append(r.units, Received{AccessUnit: au, At: time.Now()})
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// Units returns what came so far.
func (r *Recorder) Units() []Received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Received(nil), r.units...)
}

// Formats returns the formats so far.
func (r *Recorder) Formats() []media.Format {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]media.Format(nil), r.formats...)
}

// Wait waits until ok likes what came, and fails the test after limit.
func (r *Recorder) Wait(tb testing.TB, limit time.Duration, what string, ok func([]Received) bool) {
	tb.Helper()
	end := time.After(limit)
	for {
		r.mu.Lock()
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more, units := r.more, r.units
		r.mu.Unlock()
		if ok(units) {
			return
		}
		select {
		case <-more:
		case <-end:
			require.Fail(tb, "timeout", "%s: not after %s, %d access units", what, limit, len(units))
		}
	}
}

// AtLeast is a condition for Wait.
func AtLeast(n int) func([]Received) bool {
	return func(u []Received) bool { return len(u) >= n }
}

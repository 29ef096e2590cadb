package pipeline_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/pipeline"
)

// slowDecoder needs cost for each access unit and gives one frame for each.
type slowDecoder struct {
	cost   time.Duration
	closed *int
}

func (d slowDecoder) Decode(au *media.AccessUnit) ([]*media.Frame, error) {
	time.Sleep(d.cost)
	if len(au.NALUs) > 0 {
		return nil, errors.New("garbage")
	}
	return []*media.Frame{{PTS: au.PTS, Captured: au.Captured}}, nil
}

func (d slowDecoder) Close() { *d.closed++ }

// sink keeps the frames that a feed delivers.
type sink struct {
	mu     sync.Mutex
	frames []*media.Frame
}

func (s *sink) deliver(f *media.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, f)
}

func (s *sink) all() []*media.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.frames)
}

func runFeed(t *testing.T, cost time.Duration, cfg pipeline.FeedConfig) (f *pipeline.Feed, frames *sink, closed *int) {
	t.Helper()
	frames, closed = &sink{}, new(int)
	cfg.NewDecoder = func(media.Format) (pipeline.Decoder, error) { return slowDecoder{cost, closed}, nil }
	cfg.Deliver = frames.deliver
	f = pipeline.NewFeed(cfg)
	runUntilEnd(t, f.Run)
	return f, frames, closed
}

func TestFeedChoosesFramesOnAGrid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in, want float64
		jitter   time.Duration
	}{
		"25 to 5":              {25, 5, 0},
		"12.5 to 5":            {12.5, 5, 0},
		"12.5 to 5 jittery":    {12.5, 5, 15 * time.Millisecond},
		"slower than wanted":   {3, 5, 0},
		"the same rate jitter": {5, 5, 30 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f, frames, _ := runFeed(t, 0, pipeline.FeedConfig{FPS: c.want})
				f.SetFormat(media.Format{Codec: media.H264})
				t0 := time.Now()
				for i := range int(20 * c.in) {
					pts := time.Duration(float64(i) / c.in * float64(time.Second))
					if i%2 == 1 {
						pts += c.jitter
					}
					f.Put(&media.AccessUnit{PTS: pts, Captured: t0.Add(pts), Key: i == 0})
					time.Sleep(time.Duration(float64(time.Second) / c.in))
				}
				synctest.Wait()
				require.InDelta(t, 20*min(c.in, c.want), len(frames.all()), 2)
			})
		})
	}
}

// A decoder that needs twice the time there is must not fall behind for ever.
func TestFeedBoundsTheDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := pipeline.NewMetrics(nil)
		f, frames, _ := runFeed(t, 80*time.Millisecond, pipeline.FeedConfig{Metrics: m, Camera: "gate"})
		f.SetFormat(media.Format{Codec: media.H264})
		sent, seen := 0, 0
		for i := range 500 { // 20 s at 25 frames a second, a key frame each second
			f.Put(&media.AccessUnit{PTS: time.Duration(i) * 40 * time.Millisecond, Captured: time.Now(), Key: i%25 == 0})
			sent++
			time.Sleep(40 * time.Millisecond)
			synctest.Wait()
			for ; seen < len(frames.all()); seen++ {
				require.LessOrEqual(t, time.Since(frames.all()[seen].Captured), 1400*time.Millisecond)
			}
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, sent, len(frames.all())+int(m.Counts("gate").Dropped), "every picture decoded or counted")
		require.Greater(t, len(frames.all()), 200)
	})
}

func TestFeedStartsAtAKeyFrame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := pipeline.NewMetrics(nil)
		f, frames, closed := runFeed(t, 0, pipeline.FeedConfig{Metrics: m, Camera: "gate"})
		f.SetFormat(media.Format{Codec: media.H264})
		f.Put(&media.AccessUnit{})
		f.Put(&media.AccessUnit{Key: true})
		f.Put(&media.AccessUnit{NALUs: [][]byte{{1}}})
		f.Put(&media.AccessUnit{PTS: 1})
		synctest.Wait()
		require.Len(t, frames.all(), 2)
		require.Equal(t, pipeline.Counts{Decoded: 2, Errors: 1, Dropped: 1}, m.Counts("gate"))
		f.SetFormat(media.Format{Codec: media.H265})
		f.Put(&media.AccessUnit{Key: true})
		synctest.Wait()
		require.Len(t, frames.all(), 3)
		require.Equal(t, 1, *closed, "a new format closes the old decoder")
	})
}

func TestFeedSaysThatThereIsNoDecoder(t *testing.T) {
	t.Parallel()
	f := pipeline.NewFeed(pipeline.FeedConfig{
		NewDecoder: func(media.Format) (pipeline.Decoder, error) { return nil, errors.New("built without cgo") },
	})
	f.SetFormat(media.Format{Codec: media.H265})
	require.ErrorContains(t, f.Run(t.Context()), "decoder for H.265: built without cgo")
}

// After a pause of the network everything comes at once. A decoder that can
// catch up must get it all.
func TestFeedKeepsABurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := pipeline.NewMetrics(nil)
		f, frames, _ := runFeed(t, 10*time.Millisecond, pipeline.FeedConfig{Metrics: m, Camera: "gate"})
		f.SetFormat(media.Format{Codec: media.H264})
		t0 := time.Now()
		for i := range 75 { // 3 s of video
			pts := time.Duration(i) * 40 * time.Millisecond
			f.Put(&media.AccessUnit{PTS: pts, Captured: t0.Add(pts), Key: i == 0})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, frames.all(), 75)
		require.Zero(t, m.Counts("gate").Dropped)
	})
}

// With one turn for all, feeds decode one after the other.
func TestFeedsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := semaphore.NewWeighted(1)
		start := time.Now()
		var sinks []*sink
		for range 4 {
			f, frames, _ := runFeed(t, 100*time.Millisecond, pipeline.FeedConfig{Turns: turns})
			sinks = append(sinks, frames)
			f.SetFormat(media.Format{Codec: media.H264})
			f.Put(&media.AccessUnit{Key: true})
		}
		time.Sleep(250*time.Millisecond - time.Since(start))
		synctest.Wait()
		n := 0
		for _, s := range sinks {
			n += len(s.all())
		}
		require.Equal(t, 2, n)
	})
}

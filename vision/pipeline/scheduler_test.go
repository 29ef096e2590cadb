package pipeline_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/pipeline"
)

// picture counts its releases.
type picture struct {
	mu       sync.Mutex
	released int
}

func (*picture) Size() (int, int)            { return 1, 1 }
func (*picture) BGR([]byte, int, int) error  { return nil }
func (*picture) Gray([]byte, int, int) error { return nil }
func (p *picture) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.released++
}

func (p *picture) releases() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.released
}

func runScheduler(t *testing.T, workers int) *pipeline.Scheduler {
	t.Helper()
	s := pipeline.NewScheduler(workers)
	runUntilEnd(t, s.Run)
	return s
}

// runUntilEnd runs something beside the test, and stops it with the test.
func runUntilEnd(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(t, run(ctx))
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

// Two workers need 100 ms a frame and six cameras send between 5 and 25 frames
// a second: three times too much. Each must get its equal share, see its newest
// frame, and account for every one it lost.
func TestOverloadIsSharedFairly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := runScheduler(t, 2)
		type cam struct {
			lane   *pipeline.Lane
			sent   int
			looked int
			worst  time.Duration
			pics   []*picture
		}
		cams := make([]*cam, 6)
		for i := range cams {
			c := &cam{}
			c.lane = s.NewLane(pipeline.LaneConfig{Step: func(_ context.Context, f *media.Frame) error {
				c.worst = max(c.worst, time.Since(f.Captured))
				time.Sleep(100 * time.Millisecond)
				c.looked++
				return nil
			}})
			cams[i] = c
		}
		var wg sync.WaitGroup
		for i, c := range cams {
			interval := time.Second / time.Duration(5+4*i)
			wg.Go(func() {
				for range int(10 * time.Second / interval) {
					p := &picture{}
					c.pics = append(c.pics, p)
					c.lane.Offer(&media.Frame{Captured: time.Now(), Picture: p})
					c.sent++
					time.Sleep(interval)
				}
			})
		}
		wg.Wait()
		for _, c := range cams {
			c.lane.Close()
		}
		for i, c := range cams {
			assert.InDelta(t, 10*20/6, c.looked, 4, "camera %d of equal shares", i)
			assert.Equal(t, c.sent, c.looked+int(c.lane.Dropped()), "camera %d: every frame looked at or counted as dropped", i)
			assert.LessOrEqual(t, c.worst, 500*time.Millisecond, "camera %d: the newest frame is looked at", i)
			for _, p := range c.pics {
				assert.Equal(t, 1, p.releases())
			}
		}
	})
}

func TestPanicEndsOneLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := runScheduler(t, 1)
		var failures []error
		bad := s.NewLane(pipeline.LaneConfig{
			Step:   func(context.Context, *media.Frame) error { panic("index out of range") },
			Failed: func(err error) { failures = append(failures, err) },
		})
		looked := 0
		good := s.NewLane(pipeline.LaneConfig{Step: func(context.Context, *media.Frame) error { looked++; return nil }})
		for range 3 {
			bad.Offer(&media.Frame{})
			good.Offer(&media.Frame{})
			synctest.Wait()
		}
		require.Len(t, failures, 1, "told once")
		require.ErrorIs(t, failures[0], pipeline.ErrPanic)
		require.ErrorContains(t, failures[0], "index out of range")
		require.Equal(t, 3, looked)
		bad.Close()
		good.Close()
	})
}

func TestCloseWaitsForTheStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := runScheduler(t, 1)
		ended := false
		l := s.NewLane(pipeline.LaneConfig{Step: func(context.Context, *media.Frame) error {
			time.Sleep(time.Second)
			ended = true
			return errors.New("late")
		}})
		l.Offer(&media.Frame{})
		synctest.Wait()
		l.Close()
		require.True(t, ended)
		p := &picture{}
		l.Offer(&media.Frame{Picture: p})
		require.Equal(t, 1, p.releases(), "a closed lane takes nothing")
		l.Close()
	})
}

package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/pipeline"
)

// pairDecoder gives two frames for each access unit and panics on request.
type pairDecoder struct{ made *[]*picture }

func (d pairDecoder) Decode(au *media.AccessUnit) ([]*media.Frame, error) {
	var out []*media.Frame
	for i := range 2 {
		p := &picture{}
		*d.made = append(*d.made, p)
		out = append(out, &media.Frame{PTS: au.PTS + time.Duration(i)*time.Millisecond, Picture: p})
	}
	return out, errors.New("damaged")
}

func (pairDecoder) Close() {}

// Every picture is released once, whatever becomes of it: not due, replaced,
// looked at, failed, offered to a lane that failed or was closed, or waiting
// when everything ends; also when somebody panics.
func TestEveryPictureIsReleased(t *testing.T) {
	t.Parallel()
	fails := func(n int) error {
		if n == 5 {
			return errors.New("no")
		}
		return nil
	}
	panics := func(n int) error {
		if n == 5 {
			panic("index out of range")
		}
		return nil
	}
	for name, c := range map[string]struct{ step, deliver func(n int) error }{
		"all is well":         {},
		"the step fails":      {step: fails},
		"the step panics":     {step: panics},
		"the receiver panics": {deliver: panics},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := runScheduler(t, 1)
				looked := 0
				lane := s.NewLane(pipeline.LaneConfig{Step: func(context.Context, *media.Frame) error {
					time.Sleep(100 * time.Millisecond)
					looked++
					if c.step != nil {
						return c.step(looked)
					}
					return nil
				}})
				var made []*picture
				turns, offered := semaphore.NewWeighted(1), 0
				feed := pipeline.NewFeed(pipeline.FeedConfig{
					FPS: 20, Turns: turns,
					NewDecoder: func(media.Format) (pipeline.Decoder, error) { return pairDecoder{&made}, nil },
					Deliver: func(f *media.Frame) {
						defer lane.Offer(f)
						if offered++; c.deliver != nil {
							assert.NoError(t, c.deliver(offered))
						}
					},
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					if err := feed.Run(ctx); err != nil {
						assert.ErrorIs(t, err, pipeline.ErrPanic)
					}
				}()
				feed.SetFormat(media.Format{Codec: media.H264})
				for i := range 100 {
					feed.Put(&media.AccessUnit{PTS: time.Duration(i) * 40 * time.Millisecond, Key: true})
					time.Sleep(40 * time.Millisecond)
				}
				cancel()
				<-done
				lane.Close()
				require.NotEmpty(t, made)
				for i, p := range made {
					assert.Equal(t, 1, p.releases(), "picture %d of %d", i, len(made))
				}
				require.True(t, turns.TryAcquire(1), "nobody keeps a turn")
			})
		})
	}
}

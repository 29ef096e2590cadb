// Package pipeline runs the analysis of cameras: access units are decoded,
// the due frames wait in a mailbox where the newest wins, and a few workers
// shared fairly by all cameras look at them, follow what they find and hand
// out events.
//
// One Camera holds the state of one camera. Feed is its decoding goroutine,
// Scheduler the workers of the process. Nothing here knows RTSP, libavcodec or
// a database: they come in through the interfaces declared beside their use.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/xacam/xacam/streams/media"
)

// Scheduler shares a fixed number of workers between lanes, one lane a camera.
// A lane with a waiting frame stands once in a first-in first-out queue, so
// that under overload every camera gets the same number of looks whatever its
// frame rate. Use New… functions; the zero value is not usable.
type Scheduler struct {
	workers int

	mu    sync.Mutex
	cond  *sync.Cond
	queue []*Lane
	done  bool
}

// NewScheduler returns a scheduler with the given number of workers, at least
// one. It starts nothing.
func NewScheduler(workers int) *Scheduler {
	s := &Scheduler{workers: max(1, workers)}
	s.cond = sync.NewCond(&s.mu)
	return s
}

// Lane is one camera's place in the schedule. Offer may be called from one
// goroutine while the scheduler works.
type Lane struct {
	s   *Scheduler
	cfg LaneConfig

	latest media.Latest

	// Guarded by s.mu.
	queued  bool // stands in the queue
	running bool // a worker is in step
	closed  bool
	idle    chan struct{} // closed when closed and not running; made by Close
}

// LaneConfig configures a Lane.
type LaneConfig struct {
	// Step looks at a frame. It is called by one worker at a time and has the
	// frame only until it returns; the scheduler releases it.
	Step func(context.Context, *media.Frame) error
	// Failed hears of the error or panic of Step that closed the lane, once.
	Failed func(error)
	// Dropped is called for each frame replaced before a worker came; it must
	// not block. Nil counts nowhere but in Lane.Dropped.
	Dropped func()
}

// NewLane adds a camera.
func (s *Scheduler) NewLane(cfg LaneConfig) *Lane { return &Lane{s: s, cfg: cfg} }

// Offer hands over the newest frame, and with it the ownership. It never
// blocks: a frame still waiting is dropped and counted.
func (l *Lane) Offer(f *media.Frame) {
	l.s.mu.Lock()
	if l.closed || l.s.done {
		l.s.mu.Unlock()
		f.Release()
		return
	}
	if empty := l.latest.Put(f); !empty && l.cfg.Dropped != nil {
		l.cfg.Dropped()
	}
	if !l.queued && !l.running {
		l.queued = true
		l.s.queue = append(l.s.queue, l)
		l.s.cond.Signal()
	}
	l.s.mu.Unlock()
}

// Dropped returns how many frames were replaced before a worker came.
func (l *Lane) Dropped() uint64 { return l.latest.Dropped() }

// Close takes the lane out of the schedule and returns when no worker is in
// its step any more. It is safe to call twice, but not from step itself.
func (l *Lane) Close() {
	l.s.mu.Lock()
	l.closed, l.queued = true, false
	l.s.queue = slices.DeleteFunc(l.s.queue, func(q *Lane) bool { return q == l })
	if l.idle == nil {
		l.idle = make(chan struct{})
		if !l.running {
			close(l.idle)
		}
	}
	idle := l.idle
	l.s.mu.Unlock()
	<-idle
	if l.latest.Clear() && l.cfg.Dropped != nil {
		l.cfg.Dropped()
	}
}

// Run works until ctx is done and then waits for the steps in progress.
func (s *Scheduler) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.done = true
		s.mu.Unlock()
		s.cond.Broadcast()
	})
	defer stop()
	var g errgroup.Group
	for range s.workers {
		g.Go(func() error {
			for {
				l := s.next()
				if l == nil {
					return nil
				}
				s.work(ctx, l)
			}
		})
	}
	return g.Wait()
}

// next waits for a lane with a frame; nil means that the scheduler is done.
func (s *Scheduler) next() *Lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && !s.done {
		s.cond.Wait()
	}
	if s.done {
		return nil
	}
	l := s.queue[0]
	s.queue = append(s.queue[:0], s.queue[1:]...)
	l.queued, l.running = false, true
	return l
}

func (s *Scheduler) work(ctx context.Context, l *Lane) {
	var err error
	if f := l.latest.Take(); f != nil {
		err = guard(func() error { return l.cfg.Step(ctx, f) })
		f.Release()
	}
	s.mu.Lock()
	first := err != nil && !l.closed
	if err != nil {
		l.closed = true
	}
	l.running = false
	if l.closed && l.idle != nil {
		close(l.idle)
	} else if !l.closed && l.latest.Waiting() {
		l.queued = true
		s.queue = append(s.queue, l)
		s.cond.Signal()
	}
	s.mu.Unlock()
	if first && l.cfg.Failed != nil && ctx.Err() == nil {
		l.cfg.Failed(err)
	}
}

// ErrPanic marks the error of a step that panicked: a fault in xacam, which
// ends the one camera and not the process.
var ErrPanic = errors.New("internal fault")

// guard turns a panic into an error that carries the stack, for the log.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", ErrPanic, p, debug.Stack())
		}
	}()
	return f()
}

// Package sim serves video over RTSP like a camera does: for demonstrations,
// for tests of everything that reads cameras, and for their faults.
package sim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/xacam/xacam/streams/media"
)

// Source is a clip. It is used by one goroutine.
type Source interface {
	// Format describes the clip.
	Format() media.Format
	// Next returns access units in decoding order, the first one Key, with PTS
	// from the start of the clip, and io.EOF at the end.
	Next() (*media.AccessUnit, error)
	// Rewind makes Next start again.
	Rewind() error
	// Close ends the use.
	Close() error
}

const (
	lookahead = 16                     // access units read ahead, to find the sending order of B-frames
	oneFrame  = 40 * time.Millisecond  // distance of frames in a clip of one
	maxFrame  = time.Second            // longest believable distance of the last frame to the loop
	maxClip   = 1000 * time.Hour       // a source with wilder timestamps is broken
	minFrame  = 500 * time.Microsecond // shortest distance of frames
)

var errEmpty = errors.New("the clip has no picture")

// timed is an access unit on the endless time line of a looped clip.
type timed struct {
	au   *media.AccessUnit
	pts  time.Duration // since the first loop began; never starts over
	send time.Duration // when a camera would have sent it
}

// looper reads a source for ever.
type looper struct {
	src    Source
	queue  []timed
	order  []time.Duration // PTS not yet given out as a sending time, ascending
	base   time.Duration   // added to the PTS of this loop
	first  time.Duration   // least PTS of the clip
	last   time.Duration   // greatest PTS so far in this loop
	step   time.Duration   // frame distance
	count  int             // access units in this loop
	reord  time.Duration   // greatest lead of PTS over sending order
	primed bool
}

// newLooper starts src from its beginning at time line position at.
func newLooper(src Source, at time.Duration) (*looper, error) {
	if err := src.Rewind(); err != nil {
		return nil, fmt.Errorf("rewind the clip: %w", err)
	}
	l := &looper{src: src, base: at, step: oneFrame}
	if fps := src.Format().FPS; fps > 0 && fps < 1000 {
		l.step = time.Duration(float64(time.Second) / fps)
	}
	return l, nil
}

// next returns the next access unit in sending order.
func (l *looper) next() (timed, error) {
	for len(l.queue) < lookahead {
		if err := l.read(); err != nil {
			return timed{}, err
		}
	}
	if !l.primed {
		l.primed = true
		for i, t := range l.queue {
			l.reord = max(l.reord, t.pts-l.order[i])
		}
	}
	t := l.queue[0]
	l.queue = l.queue[1:]
	t.send = l.order[0] + l.reord
	l.order = l.order[1:]
	return t, nil
}

func (l *looper) read() error {
	au, err := l.src.Next()
	if errors.Is(err, io.EOF) {
		if l.count == 0 {
			return errEmpty
		}
		l.base += l.last - l.first + l.step
		l.count, l.last = 0, 0
		if err := l.src.Rewind(); err != nil {
			return fmt.Errorf("rewind the clip: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the clip: %w", err)
	}
	if au.PTS > maxClip || au.PTS < -maxClip {
		return errors.New("the clip has impossible timestamps")
	}
	if l.count == 0 {
		l.first, l.last = au.PTS, au.PTS
	}
	if d := au.PTS - l.last; d >= minFrame && d < maxFrame && l.src.Format().FPS <= 0 {
		l.step = d
	}
	l.count++
	l.last = max(l.last, au.PTS)
	pts := l.base + au.PTS - l.first
	i, _ := slices.BinarySearch(l.order, pts)
	l.order = slices.Insert(l.order, i, pts)
	l.queue = append(l.queue, timed{au: au, pts: pts})
	return nil
}

// Package ration hands out the looks that a second model takes at crops of
// tracks: so many a second of a camera's time, so much time of the processor for
// all cameras, and every look that was wanted is counted by what came of it.
package ration

import (
	"sync"
	"time"
)

// Budget limits what all cameras together spend on crops. Unlike all
// else it counts real time, as the processor does: a recording is analysed
// without one, so that it gives the same twice. It is safe for concurrent use;
// a nil *Budget allows everything.
type Budget struct {
	share float64 // seconds spent a second
	now   func() time.Time

	mu   sync.Mutex
	left float64 // seconds; below zero after expensive work
	last time.Time
}

// burst is how long a budget may be saved up.
const burst = time.Second

// NewBudget allows perSecond of work in each second. now is the monotonic
// clock.
func NewBudget(perSecond time.Duration, now func() time.Time) *Budget {
	return &Budget{share: perSecond.Seconds(), now: now, left: perSecond.Seconds() * burst.Seconds(), last: now()}
}

// Allow reports whether there is something left to spend.
func (b *Budget) Allow() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if gone := now.Sub(b.last).Seconds(); gone > 0 {
		b.left = min(b.left+gone*b.share, b.share*burst.Seconds())
	}
	b.last = now
	return b.left > 0
}

// Time does some work, spends the time it took and returns it. Where the
// processor is overloaded that is more than the work itself, so that there are
// fewer looks. A nil *Budget measures nothing.
func (b *Budget) Time(work func() error) (time.Duration, error) {
	if b == nil {
		return 0, work()
	}
	begin := b.now()
	err := work()
	spent := b.now().Sub(begin)
	b.mu.Lock()
	b.left -= spent.Seconds()
	b.mu.Unlock()
	return spent, err
}

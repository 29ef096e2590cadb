package media

import "sync"

// Latest hands frames from one producer to one consumer and keeps only the
// newest: a consumer that falls behind skips frames instead of lagging. The
// zero value is empty and ready. It is safe for concurrent use.
type Latest struct {
	mu      sync.Mutex
	frame   *Frame
	dropped uint64
}

// Put replaces the waiting frame, if any, and releases it. It never blocks and
// reports whether the mailbox was empty before.
func (l *Latest) Put(f *Frame) (wasEmpty bool) {
	l.mu.Lock()
	old := l.frame
	l.frame = f
	if old != nil {
		l.dropped++
	}
	l.mu.Unlock()
	old.Release()
	return old == nil
}

// Take returns the waiting frame, which the caller then owns, or nil.
func (l *Latest) Take() *Frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.frame
	l.frame = nil
	return f
}

// Clear drops the waiting frame, if any, and reports whether there was one.
func (l *Latest) Clear() bool {
	l.mu.Lock()
	old := l.frame
	l.frame = nil
	if old != nil {
		l.dropped++
	}
	l.mu.Unlock()
	old.Release()
	return old != nil
}

// Waiting reports whether a frame waits.
func (l *Latest) Waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frame != nil
}

// Dropped returns how many frames were replaced before anyone took them.
func (l *Latest) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

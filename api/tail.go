package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sort"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
)

// storeBatch is how many changes are read from the store at once.
const storeBatch = 200

// entry is one change, ready to be written to any stream.
type entry struct {
	event *events.Event // for the filters; never written
	frame []byte        // empty when the event has no JSON form, or the reader does not want it
}

func (e entry) sequence() int64 { return e.event.Sequence }

// tail follows the change log once for all streams and keeps its newest part
// in memory, encoded. Streams pull from it with a position of their own, so a
// slow one holds up nobody and needs no queue: when it falls behind the part
// in memory, it reads the store. While no stream is open nothing is read.
type tail struct {
	changes ChangeReader
	poll    time.Duration
	timeout time.Duration // of one read
	keep    int           // entries kept, at least
	places  int           // streams open at once
	log     *slog.Logger
	metrics *metrics
	encode  func(*events.Event) []byte

	wakeup  chan struct{} // one place: many wakes before a look are one
	stopped chan struct{} // closed when run has ended

	mu      sync.Mutex
	running bool
	streams int
	entries []entry       // every change after floor, by sequence; readers hold sub-slices, so it only grows or is replaced
	floor   int64         // -1 while nothing is known
	news    chan struct{} // closed and replaced when entries or floor change
}

func newTail(cfg *Config, m *metrics, encode func(*events.Event) []byte) *tail {
	return &tail{
		changes: cfg.Events, poll: cfg.Poll, timeout: cfg.RequestTimeout,
		keep: cfg.Tail, places: cfg.MaxStreams, log: cfg.Log, metrics: m, encode: encode,
		wakeup: make(chan struct{}, 1), stopped: make(chan struct{}), floor: -1, news: make(chan struct{}),
	}
}

// open lets streams in. run must follow.
func (t *tail) open() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running = true
}

// run follows the log until ctx ends and then ends every stream.
func (t *tail) run(ctx context.Context) {
	defer func() {
		t.mu.Lock()
		t.running = false
		t.mu.Unlock()
		close(t.stopped)
	}()
	timer := time.NewTimer(t.poll)
	defer timer.Stop()
	var down bool
	for ctx.Err() == nil {
		if t.forgetIfIdle() {
			select {
			case <-ctx.Done():
			case <-t.wakeup:
			}
			continue
		}
		err := t.advance(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			t.metrics.tailErrors.Inc()
		}
		switch { // once for each outage
		case err != nil && !down:
			t.log.WarnContext(ctx, "event streams wait for the store", "err", err)
		case err == nil && down:
			t.log.InfoContext(ctx, "event streams go on")
		}
		down = err != nil
		timer.Reset(t.poll)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-t.wakeup:
		}
	}
}

// wake makes run look for changes soon. It never blocks.
func (t *tail) wake() {
	select {
	case t.wakeup <- struct{}{}:
	default:
	}
}

// forgetIfIdle drops what is in memory when no stream is open, and reports
// whether that is so.
func (t *tail) forgetIfIdle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.streams > 0 {
		return false
	}
	t.entries, t.floor = nil, -1
	return true
}

// advance reads what was committed since the last call.
func (t *tail) advance(ctx context.Context) error {
	t.mu.Lock()
	head := t.floor
	if n := len(t.entries); n > 0 {
		head = t.entries[n-1].sequence()
	}
	t.mu.Unlock()
	if head < 0 {
		last, err := t.last(ctx)
		if err != nil {
			return err
		}
		t.publish(nil, last)
		head = last
	}
	for {
		batch, full, err := t.read(ctx, head, &events.Filter{})
		if err != nil {
			return err
		}
		if len(batch) > 0 {
			t.publish(batch, -1)
			head = batch[len(batch)-1].sequence()
		}
		if !full {
			return nil
		}
	}
}

// publish appends batch, or with a floor from 0 starts anew from there, and
// wakes the streams.
func (t *tail) publish(batch []entry, floor int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if floor >= 0 {
		t.entries, t.floor = nil, floor
	}
	t.entries = append(t.entries, batch...)
	if n := len(t.entries); n >= 2*t.keep { // a copy now and then instead of one for each change
		t.floor = t.entries[n-t.keep-1].sequence()
		t.entries = append(make([]entry, 0, 2*t.keep), t.entries[n-t.keep:]...)
	}
	close(t.news)
	t.news = make(chan struct{})
}

// last returns the newest sequence.
func (t *tail) last(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	last, err := t.changes.LastSequence(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the newest sequence: %w", err)
	}
	return last, nil
}

// read returns the changes after sequence from the store, encoded where f
// selects them; full says that there may be more.
func (t *tail) read(ctx context.Context, sequence int64, f *events.Filter) (batch []entry, full bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	found, err := t.changes.ChangesSince(ctx, sequence, storeBatch)
	if err != nil {
		return nil, false, fmt.Errorf("read changes: %w", err)
	}
	batch = make([]entry, len(found))
	for i := range found {
		if found[i].Sequence <= sequence { // would be sent twice, or for ever
			return nil, false, fmt.Errorf("read changes: sequence %d came after %d", found[i].Sequence, sequence)
		}
		sequence = found[i].Sequence
		batch[i].event = &found[i]
		if matches(f, &found[i]) {
			batch[i].frame = t.encode(&found[i])
		}
	}
	return batch, len(found) == storeBatch, nil
}

// view is what the memory has for one position of the log.
type view struct {
	entries []entry         // the changes after the position, when known
	known   bool            // false: the memory does not reach back so far
	floor   int64           // every change up to here was visible at the time of the view; -1: nothing is known
	news    <-chan struct{} // closed when there is more
}

// after returns what is in memory after position. The entries must not be
// changed.
func (t *tail) after(position int64) view {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := view{floor: t.floor, news: t.news, known: t.floor >= 0 && position >= t.floor}
	if v.known {
		i := sort.Search(len(t.entries), func(i int) bool { return t.entries[i].sequence() > position })
		v.entries = t.entries[i:len(t.entries):len(t.entries)]
	}
	return v
}

// join takes a place for a stream, or says why there is none. Each join
// without an error needs one leave.
func (t *tail) join() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.running:
		return &refusal{Status: http.StatusServiceUnavailable, Detail: "the server is not serving event streams now; try again"}
	case t.streams >= t.places:
		return &refusal{
			Status: http.StatusServiceUnavailable,
			Detail: fmt.Sprintf("all %d event streams of this server are in use; try again later", t.places),
		}
	}
	t.streams++
	t.metrics.streams.Set(float64(t.streams))
	t.wake()
	return nil
}

// leave gives the place back.
func (t *tail) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams--
	t.metrics.streams.Set(float64(t.streams))
}

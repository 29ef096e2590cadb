// Package spool stands between the pipelines and the store. It takes changes
// at any time, commits them in order and keeps them on disk while the store is
// away.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/events"
)

// Store is where changes end up.
type Store interface {
	// Commit stores all of the changes or none. Committing one twice is
	// harmless. An error that wraps events.ErrUnavailable may pass; any other
	// says that the store refuses some change of the batch.
	Commit(ctx context.Context, changes []events.Change) error
}

// Config tunes a Spool. Dir and Store are required.
type Config struct {
	Dir   string
	Store Store
	Batch int // changes in one commit at most; default 256
	// CommitTimeout is how long a commit may take before the store counts as
	// away; default 2s. For changes on disk it doubles each time it passes, up
	// to 30s: a slow store is better than none.
	CommitTimeout time.Duration
	SegmentBytes  int64         // size at which a file is closed; default 4 MiB
	MinWait       time.Duration // before a commit is tried again, at first; default 100ms
	MaxWait       time.Duration // and at last; default 5s
	// OnCommit, if set, is called after each commit with its changes, in order,
	// from one goroutine. It must not block or keep the slice. After a crash
	// changes may come again.
	OnCommit   func([]events.Change)
	Log        *slog.Logger          // default discards
	Registerer prometheus.Registerer // default: metrics are kept but not registered
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("event spool: Dir is empty")
	}
	if c.Store == nil {
		return c, errors.New("event spool: Store is nil")
	}
	if c.Batch <= 0 {
		c.Batch = 256
	}
	if c.CommitTimeout <= 0 {
		c.CommitTimeout = 2 * time.Second
	}
	if c.SegmentBytes <= 0 {
		c.SegmentBytes = 4 << 20
	}
	if c.MinWait <= 0 {
		c.MinWait = 100 * time.Millisecond
	}
	if c.MaxWait < c.MinWait {
		c.MaxWait = max(5*time.Second, c.MinWait)
	}
	if c.OnCommit == nil {
		c.OnCommit = func([]events.Change) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Spool is a queue that drops nothing. Policy: while the store answers, changes
// wait in memory for the commit in progress and then go together, without
// added delay. Once a commit fails because the store is away, everything goes
// to files in Dir, synced, and new changes queue up behind; memory holds no
// more than what came in during one commit or one write. The files are
// committed oldest first when the store is back, and only when none is left is
// memory used again. A change that the store refuses is put aside in
// Dir/rejected with the reason, and the others go on. Where the disk does not
// take a change either, it stays in memory and both are tried again.
//
// A change is safe from a crash of the process when it was committed or
// spooled, which takes one commit timeout and one disk sync at most. Its
// methods are safe for concurrent use.
type Spool struct {
	cfg     Config
	metrics *metrics

	mu       sync.Mutex
	changed  *sync.Cond      // something below changed, or the context ended
	memory   []events.Change // waiting, oldest first
	spooling bool            // changes go to disk
	spilling bool            // the first of memory are being written to disk
	inFlight int             // changes from memory that are being committed
	ended    bool            // Run has returned: Submit writes to disk
	away     error           // why the store did not take the last commit; nil when it did

	disk     *disk
	patience time.Duration // of the next commit from disk; used by Run alone
	size     int           // of the next batch; smaller while a refused change is looked for; used by Run alone
}

// Status describes the spool for a health page.
type Status struct {
	Memory int   // changes waiting in memory, with the commit in progress
	Disk   int   // changes waiting on disk
	Bytes  int64 // size of the waiting files
	Away   error // why the store does not take changes; nil when it does
}

// New makes the folder and finds what an earlier run left in it, but commits
// nothing before Run. One process at a time may use a folder.
func New(cfg Config) (*Spool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, rejectedDir), 0o700); err != nil {
		return nil, fmt.Errorf("event spool: %w", err)
	}
	d, err := openDisk(cfg.Dir, cfg.SegmentBytes, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("event spool: %w", err)
	}
	s := &Spool{cfg: cfg, disk: d, spooling: d.depth() > 0, patience: cfg.CommitTimeout, size: cfg.Batch}
	s.changed = sync.NewCond(&s.mu)
	s.metrics = newMetrics(cfg.Registerer, s)
	return s, nil
}

// Submit takes changes over, to be committed after all that were submitted
// before. It never waits for the store and drops nothing. The caller must not
// modify what the changes point to afterwards. After Run has returned it
// writes to disk, for the next start.
func (s *Spool) Submit(changes ...events.Change) {
	if len(changes) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = append(s.memory, changes...)
	s.changed.Broadcast()
	if !s.ended {
		return
	}
	if err := s.flushLocked(); err != nil {
		s.cfg.Log.Error("event spool: cannot save a change after the end", "error", err, "changes", len(s.memory))
	}
}

// Depth returns the number of changes that are not committed yet.
func (s *Spool) Depth() int {
	st := s.Status()
	return st.Memory + st.Disk
}

// Status returns a picture of the queue. What is on its way from memory to
// disk may be counted twice.
func (s *Spool) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Memory: s.inFlight + len(s.memory), Disk: s.disk.depth(), Bytes: s.disk.bytes(), Away: s.away}
}

// Run commits until ctx ends. Then it lets the commit in progress finish, tries
// once more with what waits in memory, and writes to disk what remains. It
// returns an error only if that was not possible.
func (s *Spool) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	defer stop()
	var spiller sync.WaitGroup
	spiller.Go(func() { s.spill(ctx) })
	s.drain(ctx)
	spiller.Wait()
	return s.finish(ctx)
}

// drain commits batch after batch.
func (s *Spool) drain(ctx context.Context) {
	wait := backoff{first: s.cfg.MinWait, last: s.cfg.MaxWait}
	for {
		b, err := s.next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = s.settle(ctx, b)
		}
		if err == nil {
			wait.reset()
			continue
		}
		select {
		case <-time.After(wait.next()):
		case <-ctx.Done():
			return
		}
	}
}

// batch is what is committed together, all from memory or all from disk.
type batch struct {
	changes []events.Change
	records []position // where each change ends on disk; nil when from memory
}

// next waits for changes and returns the oldest. Those from memory are taken
// out of it; those on disk stay there until they are settled.
func (s *Spool) next(ctx context.Context) (batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return batch{}, ctx.Err()
		case s.disk.depth() > 0:
			s.mu.Unlock() // reading needs no lock: this goroutine alone reads
			b, err := s.disk.read(s.size)
			s.mu.Lock()
			if err != nil {
				s.cfg.Log.ErrorContext(ctx, "event spool: cannot read a file", "error", err)
				return batch{}, err
			}
			if len(b.changes) > 0 {
				return b, nil
			}
			// The rest of the files was damaged and is put aside: look again.
		case s.spilling:
			s.changed.Wait() // it will be on disk in a moment
		case len(s.memory) > 0:
			s.spooling = false
			n := min(len(s.memory), s.size)
			b := batch{changes: s.memory[:n:n]}
			s.memory, s.inFlight = s.memory[n:], n
			return b, nil
		default:
			s.spooling = false
			s.changed.Wait()
		}
	}
}

// settle commits a batch. What the store did not take stays, or goes to disk.
func (s *Spool) settle(ctx context.Context, b batch) error {
	done, err := s.commit(ctx, b)
	rest := b.changes[done:]
	var diskErr error
	switch {
	case b.records == nil && len(rest) > 0:
		// Older than anything in memory, and nothing is on disk, where nobody
		// else writes before spooling is set below.
		diskErr = s.disk.append(rest)
	case b.records != nil && done > 0:
		diskErr = s.disk.advance(b.records[done-1], done)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight = 0
	switch {
	case b.records != nil || len(rest) == 0:
	case diskErr != nil: // back to where they were
		s.memory = append(rest[:len(rest):len(rest)], s.memory...)
	default:
		s.spooling = true
		s.metrics.spooled.Add(float64(len(rest)))
	}
	s.noteAway(ctx, err)
	if diskErr != nil {
		s.cfg.Log.ErrorContext(ctx, "event spool: the disk does not work", "error", diskErr)
	}
	s.changed.Broadcast()
	return errors.Join(err, diskErr)
}

// noteAway logs when the store goes away and when it is back.
func (s *Spool) noteAway(ctx context.Context, err error) {
	switch {
	case err != nil && s.away == nil:
		s.cfg.Log.WarnContext(ctx, "event store is away, events go to disk", "error", err)
	case err == nil && s.away != nil:
		s.cfg.Log.InfoContext(ctx, "event store is back", "on_disk", s.disk.depth())
	}
	s.away = err
}

// spill moves memory to disk while the store is away, so that memory does not
// grow with the length of an outage.
func (s *Spool) spill(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ctx.Err() == nil {
		if !s.spooling || len(s.memory) == 0 {
			s.changed.Wait()
			continue
		}
		n := min(len(s.memory), maxSpill)
		s.spilling = true
		first := s.memory[:n:n]
		s.mu.Unlock()
		err := s.disk.append(first)
		s.mu.Lock()
		s.spilling = false
		if err == nil {
			s.memory = append([]events.Change(nil), s.memory[n:]...) // let go of what was written
			s.metrics.spooled.Add(float64(n))
		}
		s.changed.Broadcast()
		if err != nil {
			s.cfg.Log.ErrorContext(ctx, "event spool: cannot write to disk, events stay in memory", "error", err, "waiting", len(s.memory))
			s.mu.Unlock()
			select {
			case <-time.After(s.cfg.MaxWait):
			case <-ctx.Done():
			}
			s.mu.Lock()
		}
	}
}

// maxSpill bounds one write to disk.
const maxSpill = 4096

// finish is the end of Run: the last attempt, then everything to disk.
func (s *Spool) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.CommitTimeout)
	defer cancel()
	for ctx.Err() == nil {
		s.mu.Lock()
		n := min(len(s.memory), s.size)
		if n == 0 || s.away != nil || s.disk.depth() > 0 {
			s.mu.Unlock()
			break
		}
		b := batch{changes: s.memory[:n:n]}
		s.memory, s.inFlight = s.memory[n:], n
		s.mu.Unlock()
		if err := s.settle(ctx, b); err != nil {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return s.flushLocked()
}

// flushLocked writes all of memory to disk and closes the open file.
func (s *Spool) flushLocked() error {
	if len(s.memory) > 0 {
		if err := s.disk.append(s.memory); err != nil {
			return fmt.Errorf("event spool: save %d changes: %w", len(s.memory), err)
		}
		s.metrics.spooled.Add(float64(len(s.memory)))
		s.memory = nil
	}
	if err := s.disk.seal(); err != nil {
		return fmt.Errorf("event spool: %w", err)
	}
	return nil
}

// backoff is the series of waits between two attempts.
type backoff struct{ first, last, wait time.Duration }

// next doubles the wait up to the last one and takes up to a quarter off at
// random.
func (b *backoff) next() time.Duration {
	b.wait = min(max(2*b.wait, b.first), b.last)
	return b.wait - rand.N(b.wait/4+1) //nolint:gosec // jitter is no secret
}

func (b *backoff) reset() { b.wait = 0 }

package tracklog

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/vision"
)

// Config tunes a Log. Dir is required.
type Config struct {
	Dir      string        // folder of the cameras' folders; made when it is missing
	MaxAge   time.Duration // older hours are deleted; default 30 days
	MaxBytes int64         // of all cameras together, beyond which the oldest hours are deleted; default 2 GB
	// MinFree is how many bytes must be free on the disk for tracks to be
	// written: events matter more. Default 256 MB; below 0 none.
	MinFree int64

	BlockAge   time.Duration // a block is closed when it spans this much, or was begun this long ago; default 2m
	BlockBytes int           // or has this many bytes before it is deflated; default 256 KiB
	Queue      int           // blocks that wait for the disk; more are dropped and counted; default 64

	Log        *slog.Logger          // default discards
	Registerer prometheus.Registerer // nil counts nowhere
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("tracklog: a folder is required")
	}
	if c.MaxAge <= 0 {
		c.MaxAge = 30 * 24 * time.Hour
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 2_000_000_000
	}
	if c.MinFree == 0 {
		c.MinFree = 256_000_000
	}
	if c.BlockAge <= 0 {
		c.BlockAge = 2 * time.Minute
	}
	if c.BlockBytes <= 0 {
		c.BlockBytes = 256 << 10
	}
	c.BlockBytes = min(c.BlockBytes, maxRaw/4)
	if c.Queue <= 0 {
		c.Queue = 64
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Log writes the scenes of all cameras of this process. It is safe for concurrent
// use, and nothing of it waits for the disk but Run and Sync. One Log at a time
// may write into a folder; any number of Readers may read there.
type Log struct {
	cfg     Config
	metrics *metrics
	jobs    chan job

	mu    sync.Mutex
	tapes map[*Tape]struct{}
}

// job is work for Run: a block, the end of a camera's tape, or a question
// whether everything before it is written.
type job struct {
	camera string
	run    *Run
	block  *sealed
	end    bool
	ack    chan<- struct{}
}

// New checks cfg. It starts nothing and writes nothing.
func New(cfg Config) (*Log, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Log{
		cfg: cfg, metrics: newMetrics(cfg.Registerer), jobs: make(chan job, cfg.Queue), tapes: make(map[*Tape]struct{}),
	}, nil
}

// Run writes what the tapes hand over until ctx is done, and then what there is.
// Tapes should be closed before. It keeps to the limits on age and size. It
// returns nil: what cannot be written is counted and lost, and so is what comes
// before Run and after it.
func (l *Log) Run(ctx context.Context) error {
	d := newDisk(l)
	defer d.close()
	d.tidy(ctx, time.Now())
	age := time.NewTicker(l.cfg.BlockAge / 4)
	defer age.Stop()
	tidy := time.NewTicker(10 * time.Minute)
	defer tidy.Stop()
	for {
		select {
		case j := <-l.jobs:
			d.do(ctx, j)
		case <-age.C:
			l.seal("", time.Now())
		case <-tidy.C:
			d.tidy(ctx, time.Now())
		case <-ctx.Done():
			l.seal("", time.Time{})
			for {
				select {
				case j := <-l.jobs:
					d.do(ctx, j)
				default:
					return nil
				}
			}
		}
	}
}

// seal hands over the blocks that a camera's tapes, or all for "", began a
// BlockAge before now or earlier; all of them when now is zero.
func (l *Log) seal(camera string, now time.Time) {
	l.mu.Lock()
	tapes := make([]*Tape, 0, len(l.tapes))
	for t := range l.tapes {
		if camera == "" || t.camera == camera {
			tapes = append(tapes, t)
		}
	}
	l.mu.Unlock()
	for _, t := range tapes {
		t.mu.Lock()
		if t.enc.scenes > 0 && (now.IsZero() || now.Sub(t.begun) >= l.cfg.BlockAge) {
			t.seal()
		}
		t.mu.Unlock()
	}
}

// Sync returns when everything that was added for the camera before is written,
// or given up. It needs a Run; the error is that of ctx.
func (l *Log) Sync(ctx context.Context, camera string) error {
	l.seal(camera, time.Time{})
	done := make(chan struct{})
	select {
	case l.jobs <- job{ack: done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Dir returns the folder of the log.
func (l *Log) Dir() string { return l.cfg.Dir }

// Tape takes the scenes of one run of a camera, in the order of their time. Add
// is used by one goroutine at a time.
type Tape struct {
	log    *Log
	camera string
	run    *Run

	mu    sync.Mutex
	enc   encoder
	begun time.Time // when the block was begun, by this machine's clock
	seq   uint64
	done  bool
}

// Tape begins a run of the camera, which is the name of a folder; see
// ValidCamera. The caller closes it.
func (l *Log) Tape(camera string, run Run) *Tape {
	run.Started = run.Started.UTC().Truncate(time.Millisecond)
	run.Needs = slices.Sorted(slices.Values(run.Needs))
	t := &Tape{log: l, camera: camera, run: &run}
	l.metrics.add(camera)
	l.mu.Lock()
	l.tapes[t] = struct{}{}
	l.mu.Unlock()
	return t
}

// Add keeps the scene. It never waits: while the disk does not keep up, whole
// blocks are dropped and counted. It keeps nothing of s.
func (t *Tape) Add(s *vision.Scene) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return
	}
	t.enc.next.take(s)
	if !t.enc.next.keepable() {
		t.log.metrics.drop(t.camera, dropSize, 1)
		return
	}
	if at := t.enc.next.at; t.enc.scenes > 0 && t.endsBefore(at) {
		t.seal()
	}
	if t.enc.scenes == 0 {
		t.begun = time.Now()
	}
	t.enc.add()
}

// endsBefore reports whether a scene at that time belongs into another block.
func (t *Tape) endsBefore(at int64) bool {
	e := &t.enc
	return at < e.prev.at || at-e.first >= t.log.cfg.BlockAge.Milliseconds() || hourOf(at) != hourOf(e.first) ||
		e.size() >= t.log.cfg.BlockBytes || e.work+t.enc.next.work() > maxWork
}

// seal hands over the block and begins another. The caller holds t.mu, and there
// are scenes.
func (t *Tape) seal() {
	e := &t.enc
	raw, lengths := joinColumns(e.col)
	b := &sealed{sceneHeader{
		run: t.run.Started.UnixMilli(), seq: t.seq, first: e.first, last: e.prev.at,
		scenes: uint64(e.scenes), lengths: lengths, //nolint:gosec // a count
	}, raw}
	t.seq++
	e.reset()
	select {
	case t.log.jobs <- job{camera: t.camera, run: t.run, block: b}:
	default:
		t.log.metrics.drop(t.camera, dropQueue, b.scenes)
	}
}

// Close hands over what is left. It does not wait, and is safe to call twice.
func (t *Tape) Close() {
	t.mu.Lock()
	if !t.done && t.enc.scenes > 0 {
		t.seal()
	}
	t.done = true
	t.mu.Unlock()
	l := t.log
	l.mu.Lock()
	delete(l.tapes, t)
	l.mu.Unlock()
	select {
	case l.jobs <- job{camera: t.camera, end: true}:
	default: // the file stays open until the end, which harms nobody
	}
}

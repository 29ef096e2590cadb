package tracklog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
)

// Stats says how whole what was read is.
type Stats struct {
	Scenes  uint64 // given out
	Blocks  uint64 // of them
	Bytes   int64  // read
	Damaged uint64 // bytes that are no block, and blocks that cannot be read
	Missing uint64 // blocks of a run that were never written
}

// Reader reads a camera's scenes of a time range in their order, also while they
// are being written. It is used by one goroutine, which closes it.
type Reader struct {
	dir      string
	camera   string
	from, to int64
	files    []hourFile

	ended  func() error // why nobody wants more; nil while somebody does
	cancel context.CancelFunc
	blocks <-chan loaded // in order; closed by the loading goroutine, which Close waits for
	free   chan []byte   // memory of blocks that were used up

	run    Run
	dec    decoder
	raw    []byte
	buf    buffers
	scene  vision.Scene
	stats  Stats
	runMs  int64
	seq    uint64 // that comes next
	begun  bool   // a block was read
	failed error
}

// loaded is one inflated block, or an error that ends everything.
type loaded struct {
	run     *Run
	head    sceneHeader
	col     [columns][]byte
	raw     []byte
	bytes   int64
	damaged uint64
	err     error
}

// ahead is how many blocks are inflated before they are needed.
const ahead = 8

// Open begins to read the scenes with from ≤ time < to of the camera in the
// folder of a Log. No scenes is no error. It reads until ctx is done, after which
// Next gives ctx's error.
func Open(ctx context.Context, dir, camera string, from, to time.Time) (*Reader, error) {
	if !ValidCamera(camera) {
		return nil, fmt.Errorf("read tracks: %q is not the name of a camera", camera)
	}
	files, err := hours(dir, camera)
	if err != nil {
		return nil, err
	}
	r := &Reader{dir: dir, camera: camera, from: ceilMs(from), to: ceilMs(to)}
	r.files = slices.DeleteFunc(files, func(f hourFile) bool {
		return f.hour < hourOf(r.from) || f.hour*hourMs >= r.to
	})
	r.ended = ctx.Err
	ctx, cancel := context.WithCancel(ctx)
	blocks := make(chan loaded, ahead)
	r.cancel, r.blocks, r.free = cancel, blocks, make(chan []byte, ahead+2)
	go func() {
		defer close(blocks)
		r.load(func(l loaded) bool {
			select {
			case blocks <- l:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	return r, nil
}

// ceilMs returns the first millisecond that is not before at.
func ceilMs(at time.Time) int64 { return at.Add(time.Millisecond - 1).UnixMilli() }

// Close ends the reading.
func (r *Reader) Close() {
	r.cancel()
	for range r.blocks { //nolint:revive // until the goroutine has ended
	}
}

// Run describes the analysis that the scene given last belongs to. It changes
// when the camera's analysis was made anew; then the tracks have other IDs.
func (r *Reader) Run() Run { return r.run }

// Stats says what was read so far.
func (r *Reader) Stats() Stats { return r.stats }

// Next returns the next scene, which is valid until the next call; io.EOF after
// the last. What is damaged is left out and counted.
func (r *Reader) Next() (*vision.Scene, error) {
	for {
		if r.dec.more() {
			q, err := r.dec.scene()
			if err != nil {
				r.stats.Damaged++
				continue
			}
			if q.at < r.from || q.at >= r.to {
				continue
			}
			r.stats.Scenes++
			q.give(&r.scene, &r.buf)
			r.scene.Camera = r.camera
			return &r.scene, nil
		}
		if r.failed != nil {
			return nil, r.failed
		}
		b, ok := <-r.blocks
		if !ok {
			if b.err = r.ended(); b.err == nil {
				b.err = io.EOF
			}
		}
		r.stats.Damaged += b.damaged
		r.stats.Bytes += b.bytes
		if b.err != nil {
			r.failed = b.err
			continue
		}
		if b.raw != nil {
			r.enter(&b)
		}
	}
}

// enter goes on with the next block.
func (r *Reader) enter(b *loaded) {
	select {
	case r.free <- r.raw:
	default:
	}
	r.raw = b.raw
	if b.run != nil {
		r.run = *b.run
	} else {
		r.run = Run{Started: time.UnixMilli(b.head.run).UTC()}
	}
	if r.begun && b.head.run == r.runMs && b.head.seq > r.seq {
		r.stats.Missing += b.head.seq - r.seq
	}
	r.begun, r.runMs, r.seq = true, b.head.run, b.head.seq+1
	r.stats.Blocks++
	r.dec.reset(b.head.first, b.col)
}

// load reads the files one after the other and gives their blocks to to, until
// that says that nobody wants more.
func (r *Reader) load(to func(loaded) bool) {
	var z inflater
	for _, f := range r.files {
		b, err := os.ReadFile(f.path(r.dir))
		switch {
		case errors.Is(err, fs.ErrNotExist): // its time came
			continue
		case err == nil && len(b) > maxHour:
			err = fmt.Errorf("%s is too large", hourName(f.hour))
		}
		if err != nil {
			to(loaded{err: fmt.Errorf("read tracks: %w", err)})
			return
		}
		if !r.loadHour(to, &z, b) {
			return
		}
	}
}

// loadHour hands out the blocks of one file that are in the range. It reports
// whether to go on.
func (r *Reader) loadHour(to func(loaded) bool, z *inflater, b []byte) bool {
	var run *Run
	for len(b) > 0 {
		body, skipped, rest := nextBlock(b)
		l := loaded{bytes: int64(len(b) - len(rest)), damaged: uint64(skipped)} //nolint:gosec // a length
		b = rest
		if body == nil {
			return to(l)
		}
		if parsed, err := parseRun(body); err == nil {
			run = parsed
		} else if !r.inflate(z, &l, body) {
			l.raw = nil
			l.damaged++
		}
		if run != nil && l.head.run == run.Started.UnixMilli() {
			l.run = run
		}
		if (l.raw != nil || l.damaged > 0) && !to(l) {
			return false
		}
	}
	return true
}

// inflate unpacks a block of scenes into l, unless it is outside of the range.
// It reports whether the block is sound.
func (r *Reader) inflate(z *inflater, l *loaded, body []byte) bool {
	head, packed, err := parseHeader(body)
	if err != nil {
		return false
	}
	if head.last < r.from || head.first >= r.to {
		return true
	}
	select {
	case l.raw = <-r.free:
	default:
	}
	l.head = head
	l.raw, l.col, err = z.columns(l.raw, &head, packed)
	return err == nil
}

package pipeline

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/xacam/xacam/streams/media"
)

// Decoder turns access units into frames. It is used by one goroutine.
type Decoder interface {
	// Decode returns the frames that are ready, in presentation order, and
	// hands over their ownership. An error is about this access unit only.
	Decode(*media.AccessUnit) ([]*media.Frame, error)
	Close()
}

// FeedConfig configures a Feed.
type FeedConfig struct {
	NewDecoder func(media.Format) (Decoder, error) // required
	FPS        float64                             // frames a second to hand on; 0 is all
	MaxDelay   time.Duration                       // that access units wait to be decoded; default 1s
	Now        func() time.Time                    // for that delay only; default time.Now
	Deliver    func(*media.Frame)                  // required; takes ownership; must not block
	// Turns limits how many feeds decode at a time, first come first served;
	// nil limits nothing. Without it, many decoding threads would leave the few
	// that read from the network no time, and everything would be late.
	Turns   *semaphore.Weighted
	Metrics *Metrics // nil counts nothing
	Camera  string   // label of the metrics
}

// Feed decodes one camera's access units in its own goroutine and hands on the
// frames that are due.
//
// A decoder cannot skip what later pictures refer to. So when it falls behind
// by more than MaxDelay, everything up to the newest key frame is dropped and
// counted, which keeps the delay bounded.
//
// A camera that is calm, as SetMood says, is mostly not decoded; see dozer.
type Feed struct {
	cfg FeedConfig

	mu      sync.Mutex
	wake    chan struct{} // capacity 1
	queue   []item
	waitKey bool // everything up to the next key frame is useless

	mood   atomic.Int32
	waking atomic.Bool // from a waking until the queue is empty again
	grid   *Grid
	doze   dozer
}

type item struct {
	au     *media.AccessUnit
	since  time.Time     // when it came; a burst after a pause of the network is not late yet
	format *media.Format // set instead of au when the format changed
}

// maxQueued bounds the queue whatever the timestamps say.
const maxQueued = 512

// NewFeed returns a feed that starts nothing.
func NewFeed(cfg FeedConfig) *Feed {
	if cfg.MaxDelay <= 0 {
		cfg.MaxDelay = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Feed{cfg: cfg, wake: make(chan struct{}, 1), waitKey: true, grid: NewGrid(cfg.FPS)}
}

// SetFormat announces the format of the access units that follow: at the start
// of each session and when it changes. It never blocks.
func (f *Feed) SetFormat(format media.Format) {
	f.mu.Lock()
	// What waits belongs to a session that is over or cannot be joined to
	// what follows.
	f.drop(len(f.queue))
	f.queue = append(f.queue, item{format: &format})
	f.waitKey = true
	f.mu.Unlock()
	f.signal()
}

// SetMood says what the newest picture showed. It may be called from any
// goroutine. Without it every picture is decoded.
func (f *Feed) SetMood(m Mood) { f.mood.Store(int32(m)) }

// Put queues an access unit. It never blocks.
func (f *Feed) Put(au *media.AccessUnit) {
	f.mu.Lock()
	defer f.signal()
	defer f.mu.Unlock()
	if f.waitKey && !au.Key {
		f.cfg.Metrics.dropped(f.cfg.Camera, dropDecode, 1)
		return
	}
	f.waitKey = false
	f.queue = append(f.queue, item{au: au, since: f.cfg.Now()})
	if !f.late() {
		return
	}
	// Too far behind: start over at the newest key frame, if there is one
	// besides the one in work.
	for i := len(f.queue) - 1; i > 0; i-- {
		if q := f.queue[i]; q.format == nil && q.au.Key {
			f.drop(i)
			return
		}
	}
	f.drop(len(f.queue))
	f.waitKey = true
}

// late reports whether something waits for longer than MaxDelay.
func (f *Feed) late() bool {
	if len(f.queue) > maxQueued {
		return true
	}
	limit := f.cfg.MaxDelay
	if f.waking.Load() { // what was kept takes a moment, and is what it is about
		limit += longestGOP
	}
	first, last := f.queue[0], f.queue[len(f.queue)-1]
	return first.format == nil && last.since.Sub(first.since) > limit
}

// drop removes the first n items but keeps the latest format among them.
func (f *Feed) drop(n int) {
	var format *media.Format
	lost := 0
	for _, it := range f.queue[:n] {
		if it.format != nil {
			format = it.format
		} else {
			lost++
		}
	}
	rest := f.queue[n:]
	f.queue = f.queue[:0]
	if format != nil {
		f.queue = append(f.queue, item{format: format})
	}
	f.queue = append(f.queue, rest...)
	f.cfg.Metrics.dropped(f.cfg.Camera, dropDecode, lost)
}

func (f *Feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *Feed) take() (item, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return item{}, false
	}
	it := f.queue[0]
	f.queue[0] = item{}
	f.queue = f.queue[1:]
	return it, true
}

// Run decodes until ctx is done. It returns an error only when no decoder can
// be made for the format, or after a panic.
func (f *Feed) Run(ctx context.Context) error {
	var dec Decoder
	defer func() {
		if dec != nil {
			dec.Close()
		}
	}()
	for {
		it, ok := f.take()
		switch {
		case ctx.Err() != nil:
			return nil
		case !ok:
			f.waking.Store(false)
			select {
			case <-f.wake:
			case <-ctx.Done():
			}
		case it.format != nil:
			if dec != nil {
				dec.Close()
				dec = nil
			}
			d, err := f.cfg.NewDecoder(*it.format)
			if err != nil {
				return fmt.Errorf("decoder for %s: %w", it.format.Codec, err)
			}
			dec = d
			f.grid, f.doze = NewGrid(f.cfg.FPS), dozer{codec: it.format.Codec}
		case dec != nil:
			if err := f.decodeDue(ctx, dec, it.au); err != nil || ctx.Err() != nil {
				return err
			}
		}
	}
}

// turn waits for leave to decode; false means that ctx is done.
func (f *Feed) turn(ctx context.Context) bool {
	return f.cfg.Turns == nil || f.cfg.Turns.Acquire(ctx, 1) == nil
}

// decodeDue decodes the unit, unless the camera dozes, or everything since it
// began to. Of many at once only the newest frames are looked at.
func (f *Feed) decodeDue(ctx context.Context, dec Decoder, au *media.AccessUnit) error {
	due := f.doze.next(au, Mood(f.mood.Load()))
	f.cfg.Metrics.dozed(f.cfg.Camera, f.doze.takeSkipped())
	if len(due) > 1 {
		f.waking.Store(true)
	}
	for i, au := range due {
		if !f.turn(ctx) {
			return nil
		}
		err := guard(func() error { f.decode(dec, au, i >= len(due)-freshlyAwoken); return nil })
		if f.cfg.Turns != nil {
			f.cfg.Turns.Release(1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Feed) decode(dec Decoder, au *media.AccessUnit, fresh bool) {
	frames, err := dec.Decode(au)
	if err != nil {
		f.cfg.Metrics.decodeError(f.cfg.Camera)
	}
	f.doze.decoded(au, frames)
	next := 0
	defer func() { // only after a panic is there anything left
		for _, fr := range frames[next:] {
			fr.Release()
		}
	}()
	for _, fr := range frames {
		next++
		f.cfg.Metrics.decodedFrame(f.cfg.Camera)
		if fresh && f.grid.Take(fr.PTS) {
			f.cfg.Deliver(fr)
		} else {
			fr.Release()
		}
	}
}

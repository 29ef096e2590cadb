package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/still"
	"github.com/xacam/xacam/vision/tracklog"
)

// runner is one camera in this process: its session, decoder, analysis and the
// watch over its connection. It is made anew when the camera's configuration
// changes.
type runner struct {
	plan    *plan
	deps    *deps
	log     *slog.Logger
	client  *rtsp.Client
	tape    *rtsp.Client // of the main stream; nil when that is looked at itself
	deck    *deck        // the latest seconds of the main stream
	sight   *sight       // for evidence
	feed    *pipeline.Feed
	offline *lifecycle.Engine

	mu      sync.Mutex
	state   rtsp.State
	format  media.Format
	last    time.Time // arrival of the newest access unit
	broken  time.Time // latest fault of the analysis; zero when there was none
	fault   error     // why there is no analysis; nil when there is
	units   rate
	looks   rate
	started time.Time
	keyAt   time.Time // arrival of the newest key unit of this format; zero when there is none
	ended   time.Time // when the latest analysis ended; zero when there was none

	known     chan struct{} // closed when the format is known
	knownOnce sync.Once
}

// deps is what all runners share.
type deps struct {
	scheduler   *pipeline.Scheduler
	decoding    *semaphore.Weighted // one decoding thread a core
	metrics     *pipeline.Metrics
	rtspMetrics *rtsp.Metrics
	record      *recorder
	keep        time.Duration        // of the main stream, in memory
	counted     func([]events.Count) // nil counts nothing
	tracks      *tracklog.Log        // nil keeps none
	now         func() time.Time
	log         *slog.Logger
}

// How long a camera may be away before its event is raised. With the 5 s after
// which a silent session counts as stalled this stays below 10 s.
const (
	offlineHold  = 2 * time.Second
	connectGrace = 8 * time.Second // for the first connection after a start
	// offlineClear is how long a camera must be back. It is also what lets its
	// event go on after a restart.
	offlineClear = time.Second
)

func newRunner(p *plan, d *deps) (*runner, error) {
	r := &runner{
		plan: p, deps: d, log: d.log.With("camera", p.slug), started: d.now(),
		deck: newDeck(d.keep), fault: p.fault, known: make(chan struct{}),
	}
	var err error
	r.client, err = rtsp.New(rtsp.Config{
		URL: p.detectURL, Camera: p.slug, Transport: rtsp.Transport(p.transport),
		Metrics: d.rtspMetrics, Log: d.log, Handler: r,
	})
	if err != nil {
		return nil, err
	}
	if p.mainURL != "" {
		r.tape, err = rtsp.New(rtsp.Config{
			URL: p.mainURL, Camera: p.slug, Transport: rtsp.Transport(p.transport), Log: d.log, Handler: r.deck,
		})
		if err != nil {
			return nil, err
		}
	}
	r.offline, err = lifecycle.NewEngine(lifecycle.Config{
		Source: p.source, Place: p.place,
		Rules: lifecycle.Rules{{Kind: events.KindCameraOffline}: {Hold: offlineHold, Clear: offlineClear}},
	})
	if err != nil {
		return nil, err
	}
	main := r.client
	if r.tape != nil {
		main = r.tape
	}
	r.sight = &sight{plan: p, deck: r.deck, separate: r.tape != nil, stats: main.Stats, keep: max(d.keep, 10*time.Second)}
	if r.tape != nil {
		r.sight.looked = r.client.Stats
	}
	d.metrics.Add(p.slug)
	return r, nil
}

// Run watches the camera until ctx is done.
func (r *runner) Run(ctx context.Context) error {
	r.resume()
	defer r.deps.record.evidence.Watch(r.sight)()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.client.Run(ctx) })
	if r.tape != nil {
		g.Go(func() error { return r.tape.Run(ctx) })
	}
	g.Go(func() error { r.watch(ctx); return nil })
	g.Go(func() error { r.analyseForEver(ctx); return nil })
	return g.Wait()
}

// resume takes over the camera's offline event, if there is one.
func (r *runner) resume() {
	r.offline.Restore(r.plan.openOf(func(k events.Kind) bool { return k == events.KindCameraOffline }), r.deps.now())
}

// analyseForEver keeps an analysis going: a fault ends only this camera's,
// stands in the log, in the camera's health and in an event, and is tried again
// after a pause.
func (r *runner) analyseForEver(ctx context.Context) {
	if r.plan.detector == nil {
		return // what is missing stands in the camera's health
	}
	for ctx.Err() == nil {
		err := r.analyse(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		r.log.ErrorContext(ctx, "analysis of the camera ended, it starts again in 10 s", "err", err)
		r.setFault(errors.New("the analysis stopped for an internal fault and starts again; see the log"))
		r.setBroken(r.deps.now())
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
		}
		r.setFault(nil)
	}
}

// analyse runs one decoder and one analysis until ctx is done or one of them
// fails.
func (r *runner) analyse(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	select {
	case <-r.known:
	case <-ctx.Done():
		return nil
	}
	var feed *pipeline.Feed
	began := r.deps.now()
	tape := r.plan.newTape(r.deps.tracks, began)
	if tape != nil {
		defer tape.Close()
	}
	var things *still.Analyzer
	cam, err := r.plan.newCamera(analysis{
		things:  func(a *still.Analyzer) { things = a },
		mood:    func(m pipeline.Mood) { feed.SetMood(m) },
		trouble: r.troubled(ctx),
		record:  r.deps.record.Record, counted: r.deps.counted, run: rand.Text(), look: r.looked(tape, func() *still.Analyzer { return things }), metrics: r.deps.metrics, now: r.deps.now, aspect: r.aspect(),
	}, r.plan.openOf(func(k events.Kind) bool { return k != events.KindCameraOffline }), began)
	if err != nil {
		return err
	}
	lane := r.deps.scheduler.NewLane(pipeline.LaneConfig{
		Step: tolerant(cam.Step, func(err error) {
			r.log.WarnContext(ctx, "a picture could not be analysed", "err", err)
		}),
		Failed:  cancel,
		Dropped: func() { r.deps.metrics.DroppedLook(r.plan.slug) },
	})
	defer lane.Close()
	feed = pipeline.NewFeed(pipeline.FeedConfig{
		NewDecoder: newDecoder, FPS: r.plan.fps, Deliver: lane.Offer, Turns: r.deps.decoding,
		Metrics: r.deps.metrics, Camera: r.plan.slug,
	})
	r.setFeed(feed)
	defer r.setFeed(nil)
	if err := feed.Run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// troubled tells of closer looks that fail, once a minute.
func (r *runner) troubled(ctx context.Context) func(error) {
	var last time.Time
	return func(err error) {
		if now := r.deps.now(); now.Sub(last) >= time.Minute {
			last = now
			r.log.WarnContext(ctx, "a closer look at a picture failed", "err", err)
		}
	}
}

// failuresInARow is how many pictures one after the other may not be analysed
// before the analysis is made anew.
const failuresInARow = 10

// tolerant lets single pictures fail. The first of a series is told.
func tolerant(step func(context.Context, *media.Frame) error, told func(error)) func(context.Context, *media.Frame) error {
	failures := 0
	return func(ctx context.Context, f *media.Frame) error {
		err := step(ctx, f)
		if err == nil {
			failures = 0
			return nil
		}
		if failures++; failures == 1 && ctx.Err() == nil {
			told(err)
		}
		if failures < failuresInARow {
			return nil
		}
		return err
	}
}

// newDecoder implements pipeline.FeedConfig.NewDecoder.
func newDecoder(f media.Format) (pipeline.Decoder, error) {
	d, err := avdec.New(avdec.Config{Format: f})
	if err != nil {
		return nil, err
	}
	return decoder{d}, nil
}

type decoder struct{ *avdec.Decoder }

// Close implements pipeline.Decoder; freeing a decoder cannot fail in a way
// that anyone could mend.
func (d decoder) Close() { _ = d.Decoder.Close() }

func (r *runner) setFeed(f *pipeline.Feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.feed = f
	if f == nil {
		r.ended = r.deps.now()
		return
	}
	if r.format.Codec != 0 {
		f.SetFormat(r.format)
		// What an analysis that failed has seen must not be seen again.
		if r.tape == nil && r.keyAt.After(r.ended) {
			for _, au := range r.deck.SinceKey() {
				f.Put(au)
			}
		}
	}
}

func (r *runner) aspect() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.format.Width <= 0 || r.format.Height <= 0 {
		return 0
	}
	return float64(r.format.Width) / float64(r.format.Height)
}

func (r *runner) setFault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = err
}

// looked returns what hears of each look; tape may be nil.
func (r *runner) looked(tape *tracklog.Tape, things func() *still.Analyzer) func(*pipeline.Look) error {
	return func(l *pipeline.Look) error {
		if tape != nil {
			tape.Add(l.Scene)
		}
		var pictures func(uint64) (still.Pictures, bool)
		if a := things(); a != nil {
			pictures = a.Pictures
		}
		r.sight.see(l, pictures)
		if !l.Held {
			r.mu.Lock()
			r.looks.add(r.deps.now())
			r.mu.Unlock()
		}
		return nil
	}
}

// OnFormat implements rtsp.Handler.
func (r *runner) OnFormat(f media.Format) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.format, r.keyAt = f, time.Time{}
	if r.tape == nil {
		r.deck.OnFormat(f)
	}
	r.knownOnce.Do(func() { close(r.known) })
	if r.feed != nil {
		r.feed.SetFormat(f)
	}
}

// OnAccessUnit implements rtsp.Handler.
func (r *runner) OnAccessUnit(au *media.AccessUnit) {
	now := r.deps.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tape == nil {
		r.deck.OnAccessUnit(au)
	}
	r.last = now
	if au.Key {
		r.keyAt = now
	}
	r.units.add(now)
	if r.feed != nil {
		r.feed.Put(au)
	}
}

// OnState implements rtsp.Handler.
func (r *runner) OnState(s rtsp.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
}

// rate measures events a second over the last seconds.
type rate struct {
	second [6]int64
	count  [6]int
}

func (r *rate) add(now time.Time) {
	s := now.Unix()
	i := s % int64(len(r.second))
	if r.second[i] != s {
		r.second[i], r.count[i] = s, 0
	}
	r.count[i]++
}

// perSecond is the mean of the last five whole seconds.
func (r *rate) perSecond(now time.Time) float64 {
	n := 0
	for i, s := range r.second {
		if age := now.Unix() - s; age >= 1 && age <= 5 {
			n += r.count[i]
		}
	}
	return float64(n) / 5
}

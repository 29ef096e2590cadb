// Package rtsp receives the video of cameras: it connects, reconnects, turns
// RTP packets into access units that a decoder can use, and gives each of them
// the time it was captured. streams/TIME.md explains the times.
//
// gortsplib does the protocol. This package adds what a server that runs for
// years beside bad cameras needs: every wait and every buffer is bounded, no
// connection leaves the camera's host, one camera's failure (a panic included)
// ends only its own session, and no password ever appears in an error, a log
// or a state.
package rtsp

import (
	"context"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Client receives the stream of one camera.
type Client struct {
	cfg     Config
	url     *URL
	metrics cameraMetrics
	stats   counters

	mu    sync.Mutex
	state State
}

// New checks cfg and opens no connection.
func New(cfg Config) (*Client, error) {
	cfg, u, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, url: u, metrics: cfg.Metrics.camera(cfg.Camera)}, nil
}

// URL returns the address of the stream; printing it hides the password.
func (c *Client) URL() *URL { return c.url }

// State returns the latest state. It is safe for concurrent use.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Stats are totals since New, and the camera's clock.
type Stats struct {
	AccessUnits uint64 // handed out
	Bytes       uint64 // of them
	Lost        uint64 // RTP packets
	Gaps        uint64 // access units with Gap
	Jumps       uint64 // RTP timestamps replaced
	Waiting     uint64 // access units dropped because no key frame had come yet

	Reports     bool          // the camera sends RTCP sender reports
	ByReport    bool          // Captured comes from them, not from arrival
	ClockOffset time.Duration // the camera's clock − ours, from the last report
	Ahead       time.Duration // Captured − what the fastest arrivals would have it be, now
}

type counters struct {
	units, bytes, lost, gaps, jumps, waiting atomic.Uint64
	reports, byReport                        atomic.Bool
	offset, ahead                            atomic.Int64
}

func (c *counters) clock(k *clock) {
	c.reports.Store(k.seen)
	c.byReport.Store(k.byReport)
	c.offset.Store(int64(k.offset))
	c.ahead.Store(int64(k.ahead()))
}

// Stats returns a snapshot. It is safe for concurrent use.
func (c *Client) Stats() Stats {
	s := &c.stats
	return Stats{
		AccessUnits: s.units.Load(), Bytes: s.bytes.Load(), Lost: s.lost.Load(), Gaps: s.gaps.Load(),
		Jumps: s.jumps.Load(), Waiting: s.waiting.Load(), Reports: s.reports.Load(), ByReport: s.byReport.Load(),
		ClockOffset: time.Duration(s.offset.Load()), Ahead: time.Duration(s.ahead.Load()),
	}
}

// Run keeps a session to the camera until ctx ends; it then returns nil, after
// everything it started has ended.
func (c *Client) Run(ctx context.Context) error {
	r := run{c: c, log: outageLog{log: c.cfg.Log}}
	c.set(State{Phase: Connecting, Since: time.Now()})
	for ctx.Err() == nil {
		began := time.Now()
		r.onlineSince = time.Time{}
		err := c.Session(ctx, r.online)
		if ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(r.failed(ctx, err, began)):
		}
	}
	c.metrics.online.Set(0)
	return nil //nolint:nilerr // sessions fail for ever; only ctx ends Run
}

func (c *Client) set(s State) {
	c.mu.Lock()
	c.state = s
	c.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			c.cfg.Log.Error("camera state handler panicked", "stack", c.url.scrub(string(debug.Stack())))
		}
	}()
	c.cfg.Handler.OnState(s)
}

// run is the state of one Run.
type run struct {
	c           *Client
	log         outageLog
	failures    int       // in a row
	outage      time.Time // when the first of them happened
	onlineSince time.Time // zero while no video came in this session
}

// online notes the first access unit of a session.
func (r *run) online() {
	r.onlineSince = time.Now()
	r.c.metrics.online.Set(1)
	r.log.online(r.c.State(), r.onlineSince)
	r.c.set(State{Phase: Online, Since: r.onlineSince})
}

// failed notes the end of a session and returns how long to wait.
func (r *run) failed(ctx context.Context, err error, began time.Time) time.Duration {
	now := time.Now()
	b := r.c.cfg.Backoff
	if r.failures == 0 || !r.onlineSince.IsZero() && now.Sub(r.onlineSince) >= b.Reset {
		r.failures, r.outage = 0, now
	}
	r.failures++
	reason := ReasonOf(err)
	d := b.wait(r.failures, reason, now.Sub(r.outage), rand.Float64()) //nolint:gosec // jitter, not a secret
	st := State{Phase: Offline, Since: began, Err: err, Retries: r.failures, Next: now.Add(d)}
	if !r.onlineSince.IsZero() {
		st.Since = now
	} else if old := r.c.State(); old.Phase == Offline {
		st.Since = old.Since
	}
	r.c.metrics.online.Set(0)
	if f, ok := r.c.metrics.failures[reason]; ok {
		f.Inc()
	}
	r.log.failed(ctx, err, st, now)
	r.c.set(st)
	return d
}

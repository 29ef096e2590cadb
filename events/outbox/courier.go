package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// courier delivers to one endpoint. All its state belongs to the goroutine of
// run; attempts run beside it and come back through results.
type courier struct {
	cfg     *Config
	e       Endpoint
	log     *slog.Logger
	metrics *endpointMetrics
	wake    <-chan struct{}

	epoch        int64
	foreign      bool      // somebody else had the lease, so health is to be read again
	leased       time.Time // until then nobody else delivers
	renewAt      time.Time
	storeAt      time.Time // no question to the store before: it was away
	storeErr     string    // what was logged last
	expireAt     time.Time
	backlogAt    time.Time
	pollAt       time.Time
	backlog      int64
	lanes        lanes
	parked       []*entry
	parkedSentAt time.Time
	bucket       bucket

	health    Health
	failedAt  time.Time // of the last failure that counted
	asked     bool      // the receiver itself said when to come again
	refusals  int       // of different messages in a row
	lastPark  time.Time
	suspect   suspicion
	tries     map[int64]int // of messages that fail or are refused on their own
	confirmed bool          // an alarm of before was taken back

	flying    int
	results   chan flight
	unsettled Settlement
	since     time.Time // of the first unsettled outcome
	ended     bool      // the endpoint is gone
	deaf      bool      // it answers heartbeats, but not with 2xx
	stopping  bool
}

// flight is an attempt that has come back.
type flight struct {
	entry  *entry // nil for a heartbeat
	id     string
	result Result
}

// suspicion is about a message that keeps failing: is it the message, or the
// endpoint? Another message tells.
type suspicion struct {
	sequence int64
	failures int
	phase    phase
	due      bool // there was no other to compare it with; the first that comes tells
}

type phase int

const (
	phaseNone  phase = iota
	phaseOther       // another message goes next
	phaseAgain       // the other one passed: the suspect goes next
)

func newCourier(w *Worker, e Endpoint, wake <-chan struct{}) *courier {
	now := time.Now()
	c := &courier{
		cfg: &w.cfg, e: e, log: w.cfg.Log.With("endpoint", e.Name), metrics: w.metrics.of(e.Name), wake: wake,
		bucket: newBucket(e.Rate, now), tries: make(map[int64]int),
		results: make(chan flight, e.Concurrency),
	}
	c.lanes.bySource = e.Concurrency > 1
	c.lanes.reset()
	c.know(e.Health, now)
	return c
}

// know begins with what was learnt of the endpoint before.
func (c *courier) know(h Health, now time.Time) {
	c.health, c.failedAt, c.asked = h, h.LastAttempt, h.RetryAt.Sub(now) > maxRetry
	c.suspect, c.refusals, c.confirmed = suspicion{}, 0, false
}

// run delivers until ctx ends or the endpoint is gone.
func (c *courier) run(ctx context.Context) {
	attempts, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	if c.health.Failures >= failuresToAlarm {
		c.alarm(ctx, true)
	}
	for ctx.Err() == nil && (!c.ended || !c.since.IsZero()) {
		c.keepStore(ctx)
		c.launch(ctx, attempts)
		c.wait(ctx)
	}
	c.finish(ctx, cancel)
}

// launch starts what may go now.
func (c *courier) launch(ctx, attempts context.Context) {
	for c.mayLaunch(time.Now()) {
		now := time.Now()
		if now.Before(c.mayAt()) || c.bucket.wait(now) > 0 {
			return
		}
		if c.health.Failures == 0 && c.heartbeatDue(now) {
			c.beat(ctx, attempts, now)
			continue
		}
		e := c.pick(now)
		switch {
		case e != nil && e.Lane != LaneReplay && now.Sub(e.Queued) > c.e.ExpireAfter:
			c.drop(ctx, e, "waited too long")
		case e != nil:
			c.send(attempts, e)
		case c.probesByHeartbeat():
			c.beat(ctx, attempts, now)
		case c.suspect.phase == phaseNone:
			return
		}
	}
}

// mayLaunch reports whether there is room for a request: in the endpoint's
// limit, in the outcomes that the store has to take, and in the lease.
func (c *courier) mayLaunch(now time.Time) bool {
	return !c.ended && c.flying < c.limit() && len(c.unsettled.Attempts) < unsettledAtMost &&
		c.leased.Sub(now) >= c.e.Timeout+5*time.Second
}

// limit is how many requests may run: one while it is not known whether the
// endpoint takes them.
func (c *courier) limit() int {
	if c.health.Failures > 0 || c.suspect.phase != phaseNone {
		return 1
	}
	return c.e.Concurrency
}

// mayAt is when the next request may go. A critical alarm does not wait as
// long as a backlog does, unless the receiver named the time.
func (c *courier) mayAt() time.Time {
	t := c.health.RetryAt
	if c.suspect.phase != phaseNone && !c.asked {
		return time.Time{}
	}
	if urgent := c.failedAt.Add(maxUrgent); !c.asked && len(c.lanes.lane[LaneUrgent].waiting) > 0 && urgent.Before(t) {
		return urgent
	}
	return t
}

func (c *courier) pick(now time.Time) *entry {
	switch c.suspect.phase {
	case phaseOther:
		if s := c.lanes.find(c.suspect.sequence); s != nil {
			if e := c.lanes.other(&s.Message.Event); e != nil {
				return e
			}
		}
		c.suspect.phase = phaseNone
		if !c.health.RetryAt.IsZero() && now.Before(c.mayAt()) {
			return nil // the pause holds again
		}
	case phaseAgain:
		if s := c.lanes.find(c.suspect.sequence); s != nil && !s.flying {
			return s
		}
		c.suspect = suspicion{}
	case phaseNone:
	}
	if c.health.Failures > 0 {
		if e := c.lanes.probe(); e != nil || c.probesByHeartbeat() {
			return e
		}
		return c.nextParked()
	}
	if now.Sub(c.parkedSentAt) >= parkedAtMost {
		if e := c.nextParked(); e != nil {
			c.parkedSentAt = now
			return e
		}
	}
	return c.lanes.next()
}

func (c *courier) nextParked() *entry {
	for _, e := range c.parked {
		if !e.flying {
			return e
		}
	}
	return nil
}

func (c *courier) heartbeatDue(now time.Time) bool {
	return c.e.Heartbeat > 0 && !now.Before(c.health.HeartbeatAt.Add(c.e.Heartbeat))
}

// probesByHeartbeat: where nothing waits, a heartbeat finds out whether an
// endpoint is back.
func (c *courier) probesByHeartbeat() bool {
	return c.e.Heartbeat > 0 && !c.deaf && c.health.Failures > 0 && c.flying == 0 && c.lanes.empty()
}

// send starts an attempt; it comes back through results.
func (c *courier) send(ctx context.Context, e *entry) {
	e.flying = true
	m := e.Message
	c.fly(ctx, e, m.ID, func(ctx context.Context) Result { return c.cfg.Deliverer.Deliver(ctx, c.e, m) })
}

func (c *courier) beat(ctx, attempts context.Context, now time.Time) {
	c.health.HeartbeatAt = now
	h := c.cfg.Heartbeat(ctx)
	h.At, h.Backlog = now, c.backlog
	id := fmt.Sprintf("heartbeat-%s-%d", c.e.Name, now.UnixMilli())
	c.fly(attempts, nil, id, func(ctx context.Context) Result { return c.cfg.Deliverer.Heartbeat(ctx, c.e, id, h) })
}

func (c *courier) fly(ctx context.Context, e *entry, id string, attempt func(context.Context) Result) {
	c.flying++
	c.bucket.take()
	started := time.Now()
	go func() { // ends with the attempt, which ends with ctx; finish waits
		f := flight{entry: e, id: id}
		defer func() {
			if p := recover(); p != nil {
				f.result = Result{Outcome: Retry, Err: fmt.Errorf("the attempt broke down: %v", p)}
			}
			if f.result.Started.IsZero() {
				f.result.Started, f.result.Took = started, time.Since(started)
			}
			c.results <- f
		}()
		f.result = attempt(ctx)
	}()
}

// wait sleeps until something may have to be done.
func (c *courier) wait(ctx context.Context) {
	t := time.NewTimer(c.pause(time.Now()))
	defer t.Stop()
	select {
	case f := <-c.results:
		c.take(ctx, f)
	case <-c.wake:
		for i := range c.lanes.lane {
			c.lanes.lane[i].more = true
		}
	case <-t.C:
	case <-ctx.Done():
	}
}

// pause is how long nothing has to be done unless something happens.
func (c *courier) pause(now time.Time) time.Duration {
	next := later(c.pollAt, c.storeAt)
	until := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	until(later(c.renewAt, c.storeAt))
	if c.epoch != 0 && !c.since.IsZero() {
		until(later(c.since.Add(settleAfter), c.storeAt))
	}
	for i := range c.lanes.lane {
		if l := &c.lanes.lane[i]; c.wantsLoad(l) {
			until(later(l.loaded.Add(loadPause(Lane(i))), c.storeAt))
		}
	}
	if c.mayLaunch(now) {
		may := later(c.mayAt(), now.Add(c.bucket.wait(now)))
		switch {
		case c.lanes.ready() || c.suspect.phase != phaseNone || c.probesByHeartbeat():
			until(may)
		case c.nextParked() != nil:
			until(later(may, c.parkedSentAt.Add(parkedAtMost)))
		}
		if c.e.Heartbeat > 0 && c.health.Failures == 0 {
			until(later(may, c.health.HeartbeatAt.Add(c.e.Heartbeat)))
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// finish waits for the requests in progress, ends those that take too long and
// stores all outcomes.
func (c *courier) finish(ctx context.Context, cancel context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	grace := time.NewTimer(c.cfg.Grace)
	defer grace.Stop()
	for c.flying > 0 {
		select {
		case f := <-c.results:
			c.take(ctx, f)
		case <-grace.C:
			c.stopping = true
			cancel()
		}
	}
	c.settle(ctx)
	if n := len(c.unsettled.Attempts); n > 0 {
		c.log.WarnContext(ctx, "outcomes could not be stored; these messages are sent again", "attempts", n)
	}
}

// alarm tells whether the endpoint fails.
func (c *courier) alarm(ctx context.Context, failing bool) {
	c.metrics.failing.Set(map[bool]float64{true: 1}[failing])
	c.cfg.Alarm(ctx, Alarm{
		Endpoint: c.e.Name, Failing: failing, Gone: c.ended, Failures: c.health.Failures,
		Since: c.health.FailingSince, At: time.Now(), Error: c.health.LastError,
	})
}

// storeFailed notes that the store did not answer, and reports whether it is
// the lease that is lost.
func (c *courier) storeFailed(ctx context.Context, what string, err error) {
	now := time.Now()
	if !away(err) {
		if c.epoch != 0 {
			c.log.WarnContext(ctx, "another server delivers to this endpoint now", "error", err)
		}
		c.foreign = true
		c.epoch, c.leased, c.unsettled, c.since = 0, time.Time{}, Settlement{}, time.Time{}
		c.lanes.reset()
		c.parked = nil
		c.renewAt = now.Add(c.cfg.Poll)
		return
	}
	c.storeAt = now.Add(storeRetry)
	if text := err.Error(); ctx.Err() == nil && text != c.storeErr && !errors.Is(err, context.Canceled) {
		c.storeErr = text
		c.log.WarnContext(ctx, "the store of deliveries is away, what is in memory goes on", "doing", what, "error", err)
	}
}

// tried counts the tries of a message that fails on its own.
func (c *courier) tried(d *Delivery) int {
	n, ok := c.tries[d.Message.Sequence]
	if !ok && d.Parked { // parked before a restart
		n = max(0, min(d.Attempts-failuresToTest-1, len(parkedSchedule())-1))
	}
	n++
	if len(c.tries) < maxTries || ok {
		c.tries[d.Message.Sequence] = n
	}
	return n
}

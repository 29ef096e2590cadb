package outbox

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// take notes how an attempt ended.
func (c *courier) take(ctx context.Context, f flight) {
	c.flying--
	r := &f.result
	r.RetryAfter = min(max(0, r.RetryAfter), maxRetryAfter)
	c.note(f)
	if f.entry != nil {
		f.entry.flying = false
	}
	if c.stopping && r.Outcome == Retry { // it was us who ended it
		if f.entry != nil {
			c.unsettled.Failed = append(c.unsettled.Failed, f.entry.Message.Sequence)
		}
		return
	}
	c.health.LastAttempt = r.Started.Add(r.Took)
	if r.Err != nil {
		c.health.LastError = r.Err.Error()
	}
	switch {
	case r.Outcome == Gone:
		c.gone(ctx, f.entry)
	case f.entry == nil:
		c.takeHeartbeat(ctx, r)
	case r.Outcome == Delivered:
		c.takeDelivered(ctx, f.entry, r)
	default:
		c.takeFailed(ctx, f.entry, r)
	}
}

// note adds the attempt to the log that the store will get.
func (c *courier) note(f flight) {
	if c.since.IsZero() {
		c.since = time.Now()
	}
	a := Attempt{Endpoint: c.e.Name, Kind: KindHeartbeat, MessageID: f.id, Number: 1, Result: f.result}
	var d *Delivery
	if f.entry != nil {
		d = &f.entry.Delivery
		a.Kind, a.Sequence, a.Number = KindDelivery, d.Message.Sequence, d.Attempts+1
		if d.Lane == LaneReplay {
			a.Kind = KindReplay
		}
	}
	c.metrics.observe(&f.result, d)
	c.unsettled.Attempts = append(c.unsettled.Attempts, a)
	if d != nil {
		d.Attempts++
	}
}

func (c *courier) takeDelivered(ctx context.Context, e *entry, r *Result) {
	c.unsettled.Delivered = append(c.unsettled.Delivered, e.Message.Sequence)
	c.remove(e)
	c.refusals = 0
	delete(c.tries, e.Message.Sequence)
	if c.suspect.sequence == e.Message.Sequence {
		c.suspect = suspicion{}
	} else if c.suspect.phase == phaseOther {
		c.suspect.phase = phaseAgain
	}
	c.succeeded(ctx, r)
}

func (c *courier) takeFailed(ctx context.Context, e *entry, r *Result) {
	seq := e.Message.Sequence
	switch {
	case e.parked && perhapsItself(r) && c.health.Failures == 0:
		c.repark(ctx, e, r)
		return
	case e.parked: // the endpoint is away, which says nothing about the message
		c.fail(ctx, r)
		c.park(e, c.health.RetryAt)
		return
	case r.Outcome == Refused && c.suspect.phase == phaseNone && c.refusals < refusalsToAway:
		c.refusals++
		c.repark(ctx, e, r)
		return
	case c.suspect.phase == phaseAgain && c.suspect.sequence == seq && perhapsItself(r):
		c.suspect = suspicion{}
		c.lastPark = time.Now()
		c.repark(ctx, e, r)
		return
	}
	c.unsettled.Failed = append(c.unsettled.Failed, seq)
	c.fail(ctx, r)
	if !perhapsItself(r) || c.suspect.phase != phaseNone {
		c.suspect = suspicion{}
		return
	}
	if c.suspect.sequence != seq {
		c.suspect = suspicion{sequence: seq}
	}
	c.suspect.failures++
	if c.suspect.due || c.suspect.failures >= failuresToTest || !c.lastPark.IsZero() && time.Since(c.lastPark) < parkedRecently {
		c.suspect.due, c.suspect.phase = true, phaseOther
	}
}

// compare lets what was just loaded be compared with a suspect that had nothing
// beside it so far.
func (c *courier) compare() {
	if !c.suspect.due || c.suspect.phase != phaseNone {
		return
	}
	if s := c.lanes.find(c.suspect.sequence); s != nil && !s.flying && c.lanes.other(&s.Message.Event) != nil {
		c.suspect.phase = phaseOther
	}
}

// repark gives a message that fails on its own its next try, or gives it up.
func (c *courier) repark(ctx context.Context, e *entry, r *Result) {
	schedule := parkedSchedule()
	if r.Outcome == Refused {
		schedule = refusedSchedule()
	}
	n := c.tried(&e.Delivery)
	if n > len(schedule) {
		c.drop(ctx, e, cmp.Or(c.health.LastError, "refused"))
		return
	}
	pause := time.Duration(float64(schedule[n-1]) * (1 + jitter()/10))
	c.log.WarnContext(ctx, "a message is refused or fails while others pass; it is tried on its own", "message", e.Message.ID,
		"status", r.Status, "tries", n, "next_in", pause.Round(time.Second).String())
	c.park(e, time.Now().Add(max(pause, r.RetryAfter)))
}

func (c *courier) park(e *entry, at time.Time) {
	if c.unsettled.Park == nil {
		c.unsettled.Park = make(map[int64]time.Time)
	}
	c.unsettled.Park[e.Message.Sequence] = at
	c.remove(e)
}

// drop gives a message up. It can be replayed.
func (c *courier) drop(ctx context.Context, e *entry, why string) {
	if c.since.IsZero() {
		c.since = time.Now()
	}
	c.unsettled.Dead = append(c.unsettled.Dead, e.Message.Sequence)
	c.metrics.dead.Inc()
	c.log.ErrorContext(ctx, "a message was given up; it can be replayed", "message", e.Message.ID, "why", why,
		"kind", string(e.Message.Event.Kind), "source", e.Message.Event.Source.ID)
	delete(c.tries, e.Message.Sequence)
	c.remove(e)
}

// remove forgets a delivery that waits no longer.
func (c *courier) remove(e *entry) {
	if e.parked {
		c.parked = slices.DeleteFunc(c.parked, func(p *entry) bool { return p == e })
		return
	}
	c.lanes.lane[e.Lane].remove(e.Message.Sequence)
}

// takeHeartbeat: a receiver that does not know heartbeats may still take
// events, so an answer that is not 2xx says nothing, but for when to come again.
func (c *courier) takeHeartbeat(ctx context.Context, r *Result) {
	c.deaf = r.Outcome != Delivered && r.Status != 0
	switch {
	case r.Outcome == Delivered && (c.health.Failures == 0 || c.lanes.empty()):
		c.succeeded(ctx, r)
	case r.Outcome == Delivered:
	case r.Status == 0 || r.RetryAfter > 0 || c.health.Failures > 0:
		c.fail(ctx, r)
	}
}

// succeeded notes that the endpoint takes what it gets. What was on its way when
// another request failed does not prove that it does so still.
func (c *courier) succeeded(ctx context.Context, r *Result) {
	h := &c.health
	h.LastSuccess = h.LastAttempt
	if h.Failures > 0 && r.Started.Before(c.failedAt) {
		return
	}
	if h.Failures > 0 {
		c.log.InfoContext(ctx, "the endpoint takes deliveries again", "failures", h.Failures)
	}
	h.Failures, h.FailingSince, h.RetryAt, h.LastError, c.asked = 0, time.Time{}, time.Time{}, "", false
	if !c.confirmed {
		c.confirmed = true
		c.alarm(ctx, false)
	}
}

// fail notes that the endpoint is away. Requests that were on their way
// together count once.
func (c *courier) fail(ctx context.Context, r *Result) {
	now, h := time.Now(), &c.health
	if r.RetryAfter > 0 {
		c.asked = true
		h.RetryAt = later(h.RetryAt, now.Add(r.RetryAfter))
	}
	if h.Failures > 0 && r.Started.Before(c.failedAt) {
		return
	}
	c.failedAt = now
	h.Failures++
	if h.FailingSince.IsZero() {
		h.FailingSince = r.Started
	}
	pause := backoff(h.Failures, jitter())
	c.asked = r.RetryAfter > 0
	h.RetryAt = now.Add(max(pause, r.RetryAfter))
	if h.Failures == 1 {
		c.log.WarnContext(ctx, "the endpoint does not take deliveries", "status", r.Status, "error", h.LastError,
			"next_in", h.RetryAt.Sub(now).Round(time.Second).String())
	}
	if h.Failures == failuresToAlarm {
		c.confirmed = false
		c.alarm(ctx, true)
	}
}

// gone: 410 says that the receiver wants nothing any more. What waits stays.
func (c *courier) gone(ctx context.Context, e *entry) {
	if e != nil {
		c.unsettled.Failed = append(c.unsettled.Failed, e.Message.Sequence)
	}
	c.unsettled.Disable = "gone"
	c.log.ErrorContext(ctx, "the endpoint answered 410 Gone and is disabled; enable it when that is settled")
	c.health.Failures++
	c.ended = true // no more requests
	c.alarm(ctx, true)
}

package outbox

import (
	"context"
	"slices"
	"time"
)

// keepStore does what is due with the store: renews the lease, stores outcomes
// and loads what comes next. While the store is away nothing of it is tried.
func (c *courier) keepStore(ctx context.Context) {
	now := time.Now()
	if now.Before(c.storeAt) {
		return
	}
	poll := !now.Before(c.pollAt)
	if poll {
		c.pollAt = now.Add(c.cfg.Poll)
	}
	if !now.Before(c.renewAt) && !c.renew(ctx) || c.epoch == 0 {
		return
	}
	if c.settleDue(now) && !c.settle(ctx) {
		return
	}
	if !now.Before(c.expireAt) && !c.expire(ctx, now) {
		return
	}
	if poll && !c.look(ctx, now) {
		return
	}
	c.load(ctx, now)
}

// renew takes or keeps the lease. When it has run out in between, somebody else
// may have delivered: what was loaded is loaded again.
func (c *courier) renew(ctx context.Context) bool {
	asked, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	now := time.Now()
	epoch, err := c.cfg.Queue.Lease(asked, c.e.Name, c.cfg.Owner, c.cfg.Lease)
	if err != nil {
		c.storeFailed(ctx, "renewing the lease", err)
		return false
	}
	if (c.foreign || c.epoch != 0 && epoch != c.epoch) && !c.relearn(ctx) {
		return false
	}
	if now.After(c.leased) {
		c.lanes.reset()
		c.parked = nil
		c.expireAt, c.backlogAt = now, now
	}
	c.epoch, c.leased, c.renewAt = epoch, now.Add(c.cfg.Lease), now.Add(c.cfg.Lease/3)
	c.storeErr = ""
	return true
}

// relearn reads what another server learnt of the endpoint while it had the lease.
func (c *courier) relearn(ctx context.Context) bool {
	asked, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c.foreign = true // until it is read
	list, err := c.cfg.Queue.Endpoints(asked)
	if err != nil {
		c.storeFailed(ctx, "reading what is known of the endpoint", err)
		return false
	}
	if i := slices.IndexFunc(list, func(e Endpoint) bool { return e.Name == c.e.Name }); i >= 0 {
		c.know(list[i].Health, time.Now())
		if c.health.Failures >= failuresToAlarm {
			c.alarm(ctx, true)
		}
	}
	c.foreign = false
	return true
}

// settleDue reports whether outcomes should be stored now: when there are many,
// when they are old, or when there is nothing else to do.
func (c *courier) settleDue(now time.Time) bool {
	if c.since.IsZero() {
		return false
	}
	idle := c.flying == 0 && (c.lanes.empty() || c.health.Failures > 0 || c.bucket.wait(now) > 0)
	return idle || len(c.unsettled.Attempts) >= settleAt || now.Sub(c.since) >= settleAfter
}

// settle stores the outcomes.
func (c *courier) settle(ctx context.Context) bool {
	if c.since.IsZero() {
		return true
	}
	if c.epoch == 0 {
		return false
	}
	asked, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	s := c.unsettled
	s.Endpoint, s.Epoch, s.Health = c.e.Name, c.epoch, c.health
	if err := c.cfg.Queue.Settle(asked, s); err != nil {
		c.storeFailed(ctx, "storing outcomes", err)
		return false
	}
	c.unsettled, c.since = Settlement{}, time.Time{}
	return true
}

func (c *courier) expire(ctx context.Context, now time.Time) bool {
	asked, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	n, err := c.cfg.Queue.Expire(asked, c.e.Name, c.epoch, now.Add(-c.e.ExpireAfter))
	if err != nil {
		c.storeFailed(ctx, "giving up what waited too long", err)
		return false
	}
	c.expireAt = now.Add(expireEvery)
	if n > 0 {
		c.metrics.dead.Add(float64(n))
		c.log.ErrorContext(ctx, "deliveries were given up: they waited too long", "deliveries", n, "limit", c.e.ExpireAfter.String())
	}
	return true
}

// look counts what waits, loads what is parked and lets the lanes be read from
// their beginning again.
func (c *courier) look(ctx context.Context, now time.Time) bool {
	asked, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if !now.Before(c.backlogAt) {
		n, err := c.cfg.Queue.Backlog(asked, c.e.Name)
		if err != nil {
			c.storeFailed(ctx, "counting what waits", err)
			return false
		}
		c.backlog, c.backlogAt = n, now.Add(backlogEvery)
		c.metrics.backlog.Set(float64(n))
	}
	c.metrics.setOldest(c.lanes.oldest(), now)
	for i := range c.lanes.lane {
		l := &c.lanes.lane[i]
		l.more = true
		if len(l.waiting) == 0 && c.since.IsZero() {
			l.after = 0
		}
	}
	if len(c.parked) > 0 || !c.since.IsZero() || c.health.Failures > 0 && !c.lanes.empty() {
		return true
	}
	list, err := c.cfg.Queue.Parked(asked, c.e.Name, now, c.cfg.Page)
	if err != nil {
		c.storeFailed(ctx, "loading parked deliveries", err)
		return false
	}
	for _, d := range list {
		d.Parked = true
		c.parked = append(c.parked, &entry{Delivery: d, parked: true})
	}
	return true
}

// wantsLoad reports whether a lane is short of what the store may have.
func (c *courier) wantsLoad(l *lane) bool {
	return c.epoch != 0 && l.more && len(l.waiting) <= c.cfg.Page/2
}

func loadPause(l Lane) time.Duration {
	if l == LaneReplay {
		return replayLoadAtMost
	}
	return loadAtMost
}

// load fills the lanes.
func (c *courier) load(ctx context.Context, now time.Time) {
	asked, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for i := range c.lanes.lane {
		l := &c.lanes.lane[i]
		if !c.wantsLoad(l) || now.Sub(l.loaded) < loadPause(Lane(i)) {
			continue
		}
		list, err := c.cfg.Queue.Pending(asked, c.e.Name, Lane(i), l.after, c.cfg.Page)
		if err != nil {
			c.storeFailed(ctx, "loading deliveries", err)
			return
		}
		l.add(list, c.cfg.Page)
		l.loaded = now
		c.storeErr = ""
		c.compare()
	}
}

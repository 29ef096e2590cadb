package rtsp

import "time"

// clockRate is the RTP clock of H.264 and H.265 video in hertz (RFC 6184,
// 5.1; RFC 7798, 4.1).
const clockRate = 90000

// Limits of the clock mapping; streams/TIME.md gives the reasons.
const (
	maxBack     = 2 * time.Second        // reordering never takes a timestamp further back
	maxAhead    = 2 * time.Second        // a timestamp runs no further ahead of arrival, once settled
	maxLate     = 8 * time.Second        // nor further behind it
	settle      = 5 * time.Second        // a server may send a buffered burst at the start
	aheadStart  = 30 * time.Second       // allowed ahead while settling
	clockTrust  = 10 * time.Second       // a camera's clock is believed within this distance of ours
	clockKeep   = 12 * time.Second       // and given up beyond this one
	sameLine    = 3 * time.Second        // a report speaks of this time line when it is this near
	stepOurs    = time.Second            // our own clock was set when it moved more than this at once
	reportFresh = 10 * time.Minute       // a sender report is used this long
	defaultStep = 40 * time.Millisecond  // frame interval before one was measured
	minStep     = time.Millisecond       // smallest advance after a jump
	driftRate   = 1000                   // the fastest clock drift followed: 1 part in driftRate
	fallRate    = 20                     // once settled, the delay falls no faster than 1/fallRate of real time
	slewRate    = 2                      // a wall clock set back is reached at 1/slewRate of real time
	ntpEpoch    = 2208988800             // seconds from 1900 to 1970 (RFC 3550, 4)
	wrapHalf    = int64(1) << 31         // half the range of an RTP timestamp
	stepWindow  = 500 * time.Millisecond // longest plausible frame interval
)

// clock turns RTP timestamps into the two times of an access unit. It is
// pure: arrival times are inputs. It must not be used from two goroutines.
//
// PTS follows the RTP timestamps as long as they agree with the time of
// arrival, and arrival where they do not, so a wrap, a jump or a camera that
// starts over never shows. Captured is PTS plus an offset that comes from the
// RTCP sender reports when the camera's clock is near ours, else from the
// fastest arrivals.
type clock struct {
	started bool
	first   time.Duration // arrival of the first access unit
	lastTS  uint32        // RTP timestamp of the last one, in decoding order
	lastPTS time.Duration
	maxPTS  time.Duration
	lastRel time.Duration // arrival of the last one, since first, monotonic
	delay   time.Duration // least (arrival − PTS) seen, leaking upwards
	step    time.Duration // usual distance of two timestamps

	pending   *report
	reportSet bool
	reportM   time.Time     // wall time of PTS 0 by the camera's clock
	reportRel time.Duration // when the last good report came
	base      time.Time     // wall time of arrival 0; follows steps of our own clock
	mapping   time.Time     // wall time of PTS 0 as handed out
	mapped    bool
	byReport  bool
	offset    time.Duration // camera clock − ours, from the last report that could be read
	seen      bool          // any sender report was read
	jumps     uint64
}

// instant is a moment by our two clocks: the wall clock, which may be set, and
// the monotonic one.
type instant struct {
	wall time.Time     // UTC
	mono time.Duration // since any fixed moment of this session
}

// report is one RTCP sender report with its arrival.
type report struct {
	ntp     uint64
	rtp     uint32
	arrival instant
}

// times are what clock knows of one access unit.
type times struct {
	PTS      time.Duration
	Captured time.Time
	Jumped   bool // the timestamp did not fit and was replaced
}

// ticks converts a difference of RTP timestamps.
func ticks(d int32) time.Duration {
	return time.Duration(int64(d) * int64(time.Second) / clockRate)
}

// ntpTime converts a 64-bit NTP time; ok is false for zero, which means that
// the sender has no clock. Times before 1968 belong to the era that begins in 2036
// (RFC 5905, 6).
func ntpTime(v uint64) (t time.Time, ok bool) {
	if v == 0 {
		return time.Time{}, false
	}
	sec := int64(v >> 32)
	if sec < wrapHalf {
		sec += 1 << 32
	}
	sec -= ntpEpoch
	return time.Unix(sec, int64((v&0xffffffff)*uint64(time.Second)>>32)).UTC(), true
}

// observe gives the times of the access unit with RTP timestamp ts, complete
// at arrival. Access units come in decoding order.
func (c *clock) observe(ts uint32, arrival instant) times {
	if !c.started {
		*c = clock{started: true, first: arrival.mono, lastTS: ts, step: defaultStep, pending: c.pending, offset: c.offset, seen: c.seen}
		c.base = arrival.wall
		return c.finish(false, false, 0)
	}
	rel := max(arrival.mono-c.first, c.lastRel)
	base := arrival.wall.Add(-rel)
	setBack := c.base.Sub(base) > stepOurs
	c.base = base
	elapsed := rel - c.lastRel
	d := ticks(int32(ts - c.lastTS)) //nolint:gosec // wrap-around is the point
	pts := c.lastPTS + d
	jumped := c.unfit(pts, rel)
	if jumped {
		c.jumps++
		pts = max(rel-c.delay, c.maxPTS+max(min(c.step, elapsed), minStep))
	} else {
		c.follow(rel-pts, elapsed, rel < settle)
		if d > 0 && d < stepWindow {
			c.step += (d - c.step) / 16
		}
	}
	c.lastTS, c.lastPTS, c.lastRel = ts, pts, rel
	advance := pts - c.maxPTS
	c.maxPTS = max(c.maxPTS, pts)
	if advance < 0 {
		advance = 0
	}
	return c.finish(jumped, setBack, advance)
}

// follow moves delay towards the least delay seen: at once while settling,
// later so slowly that one wild timestamp does not move it.
func (c *clock) follow(seen, elapsed time.Duration, settling bool) {
	c.delay += elapsed / driftRate
	if seen >= c.delay {
		return
	}
	if settling {
		c.delay = seen
		return
	}
	c.delay = max(seen, c.delay-elapsed/fallRate)
}

// unfit reports whether a timestamp that stands for pts contradicts an
// arrival at rel.
func (c *clock) unfit(pts, rel time.Duration) bool {
	late := rel - pts - c.delay
	ahead := maxAhead
	if rel < settle {
		ahead = aheadStart
	}
	return pts < c.maxPTS-maxBack || late < -ahead || late > maxLate
}

// finish settles the wall time after PTS moved on by advance. With setBack our
// own clock was set back just now.
func (c *clock) finish(jumped, setBack bool, advance time.Duration) times {
	if c.pending != nil {
		r := *c.pending
		c.pending = nil
		c.apply(r)
	}
	byArrival := c.base.Add(c.delay)
	target := byArrival
	c.byReport = false
	if c.reportSet {
		switch diff := c.reportM.Sub(byArrival).Abs(); {
		case c.lastRel-c.reportRel > reportFresh, diff > clockKeep:
			c.reportSet = false
		default:
			target, c.byReport = c.reportM, true
		}
	}
	back := c.mapping.Sub(target)
	switch {
	case !c.mapped, back <= 0, setBack && !c.byReport:
		c.mapping, c.mapped = target, true
	case c.lastRel < settle:
		c.mapping = c.mapping.Add(-min(back, advance))
	default: // Captured must not go back: walk there
		c.mapping = c.mapping.Add(-min(back, advance/slewRate))
	}
	return times{PTS: c.lastPTS, Captured: c.mapping.Add(c.lastPTS), Jumped: jumped}
}

// ahead returns by how much the wall times handed out are ahead of those by
// arrival. Two streams of one camera differ by the difference of theirs.
func (c *clock) ahead() time.Duration { return c.mapping.Sub(c.base.Add(c.delay)) }

// senderReport takes one RTCP sender report (RFC 3550, 6.4.1). It counts from
// the next access unit on: only that one shows whether timestamps jumped.
func (c *clock) senderReport(ntp uint64, rtp uint32, arrival instant) {
	c.pending = &report{ntp: ntp, rtp: rtp, arrival: arrival}
}

func (c *clock) apply(r report) {
	t, ok := ntpTime(r.ntp)
	if !ok {
		return
	}
	c.seen = true
	c.offset = t.Sub(r.arrival.wall)
	pts := c.lastPTS + ticks(int32(r.rtp-c.lastTS)) //nolint:gosec // wrap-around is the point
	rel := max(r.arrival.mono-c.first, 0)
	if (rel - c.delay - pts).Abs() > sameLine {
		return // speaks of another time line: from before a jump, or garbage
	}
	m := t.Add(-pts)
	if m.Sub(c.base.Add(c.delay)).Abs() > clockTrust {
		c.reportSet = false // the camera's clock is not set
		return
	}
	c.reportM, c.reportSet, c.reportRel = m, true, rel
}

package backtest

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// maxGaps is how many gaps are listed.
const maxGaps = 20

// shortestGap is from when on a gap is listed.
const shortestGap = time.Minute

// coverage measures for how much of a range there are scenes. Between two scenes
// that are closer than gap the camera was watched.
type coverage struct {
	from, to time.Time
	gap      time.Duration
	last     time.Time // latest scene, or from
	seen     bool      // last is a scene
	recorded time.Duration
	gaps     []Gap
	days     []Day
	loc      *time.Location

	dayFrom, dayTo time.Time // of the day in days[today]
	today          int
}

func newCoverage(from, to time.Time, loc *time.Location) coverage {
	c := coverage{from: from, to: to, last: from, gap: 5 * time.Second, loc: loc}
	for day := midnight(from, loc); day.Before(to); day = midnight(day.Add(36*time.Hour), loc) {
		c.days = append(c.days, Day{Date: day.Format(time.DateOnly)})
	}
	return c
}

func midnight(at time.Time, loc *time.Location) time.Time {
	y, m, d := at.In(loc).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, loc)
}

// look notes a scene and returns how much longer the camera was watched by it.
func (c *coverage) look(at time.Time) time.Duration {
	if at.Before(c.from) {
		c.last, c.seen = c.from, c.from.Sub(at) <= c.gap
		return 0
	}
	d := at.Sub(c.last)
	watched := c.seen && d >= 0 && d <= c.gap
	switch {
	case watched:
		c.recorded += d
		if i := c.day(at); i >= 0 {
			c.days[i].Recorded += d.Hours()
		}
	case d >= shortestGap:
		c.gaps = append(c.gaps, Gap{c.last.In(c.loc), at.In(c.loc)})
	}
	c.last, c.seen = at, true
	if !watched {
		return 0
	}
	return d
}

// day returns the index of the local day of at; -1 when it is not in the range.
func (c *coverage) day(at time.Time) int {
	if at.Before(c.dayFrom) || !at.Before(c.dayTo) {
		c.dayFrom = midnight(at, c.loc)
		c.dayTo = midnight(c.dayFrom.Add(36*time.Hour), c.loc)
		date := c.dayFrom.Format(time.DateOnly)
		c.today = slices.IndexFunc(c.days, func(d Day) bool { return d.Date == date })
	}
	return c.today
}

// end notes what is missing at the end.
func (c *coverage) end() {
	if c.to.Sub(c.last) >= shortestGap {
		c.gaps = append(c.gaps, Gap{c.last.In(c.loc), c.to.In(c.loc)})
	}
	for i := range c.days {
		c.days[i].Recorded = round(c.days[i].Recorded)
	}
}

func (c *coverage) report() Coverage {
	gaps := slices.Clone(c.gaps)
	slices.SortStableFunc(gaps, func(a, b Gap) int { return cmp.Compare(b.To.Sub(b.From), a.To.Sub(a.From)) })
	gaps = gaps[:min(len(gaps), maxGaps)]
	slices.SortFunc(gaps, func(a, b Gap) int { return a.From.Compare(b.From) })
	if gaps == nil {
		gaps = []Gap{}
	}
	return Coverage{Hours: round(c.to.Sub(c.from).Hours()), Recorded: round(c.recorded.Hours()), Gaps: gaps, GapCount: len(c.gaps)}
}

// round rounds to thousandths, which is as exact as anybody wants to read it.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }

package behaviour

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// KindTrafficCount is the kind of "so many objects passed the line".
const KindTrafficCount events.Kind = "traffic_count"

func init() {
	register(Definition{
		Kind: KindTrafficCount,
		Doc: events.Text{
			VI: "Đếm phương tiện qua vạch theo loại, chiều và phút; không báo sự kiện. Người ngồi trên xe được tính chung với xe.",
			EN: "Counts what passes the line by class, direction and minute; raises no event. Riders count with their vehicle.",
		},
		Where:    WhereLine,
		Severity: events.SeverityInfo,
		Needs:    []Need{NeedRiders},
	}, countParams{Margin: .15}, newTrafficCount)
}

type countParams struct {
	Margin float64 `yaml:"margin" min:"0" max:"2" doc_vi:"Phải đi quá vạch bao xa mới tính, theo cỡ của đối tượng" doc_en:"How far past the line an object must be to count, in units of its own size"`
}

const (
	// classAfter is how long the class of what passed may still change: what comes
	// closer is recognised better.
	classAfter = time.Second
	// totalsKept is how long totals are kept: clocks may be set back a little.
	totalsKept = time.Hour
)

// trafficCount counts crossings. Totals are per minute in UTC, which is where
// minutes of every time zone in use begin; days are the reader's.
type trafficCount struct {
	rule    Rule
	lines   *crossings
	pending []crossed
	totals  map[countKey]int
	changed map[countKey]bool
}

type countKey struct {
	class  string
	way    geom.Direction
	minute time.Time
}

func newTrafficCount(r Rule, p countParams) (Behaviour, lifecycle.Rule, error) {
	return &trafficCount{
		rule: r, lines: newCrossings(r.Line.Segment, p.Margin),
		totals: make(map[countKey]int), changed: make(map[countKey]bool),
	}, lifecycle.Rule{}, nil
}

// Observe implements Behaviour. It never returns a signal. What passes outside
// of the schedule does not count.
func (c *trafficCount) Observe(s *vision.Scene) []events.Signal {
	for _, x := range c.lines.observe(s) {
		if c.rule.Schedule.Open(x.at, c.rule.Calendar) {
			c.pending = append(c.pending, x)
		}
	}
	keep := c.pending[:0]
	for _, x := range c.pending {
		ended := slices.Contains(s.Ended, x.track.ID)
		for i := range s.Tracks {
			if t := &s.Tracks[i]; t.ID == x.track.ID && x.class == x.track.Label {
				x.class, x.track.Label = t.Label, t.Label // the tracker's vote over all of its looks
			}
		}
		if wait := s.At.Sub(x.at); !ended && wait >= 0 && wait < classAfter {
			keep = append(keep, x)
			continue
		}
		key := countKey{x.class, x.way, x.at.UTC().Truncate(time.Minute)}
		c.totals[key]++
		c.changed[key] = true
	}
	clear(c.pending[len(keep):])
	c.pending = keep
	return nil
}

// TakeCounts implements Counter.
func (c *trafficCount) TakeCounts() []events.Count {
	if len(c.changed) == 0 {
		return nil
	}
	keys := slices.SortedFunc(maps.Keys(c.changed), func(a, b countKey) int {
		return cmp.Or(a.minute.Compare(b.minute), cmp.Compare(a.class, b.class), cmp.Compare(b.way, a.way))
	})
	out := make([]events.Count, len(keys))
	for i, k := range keys {
		out[i] = events.Count{Line: c.rule.Line.Name, Class: k.class, Direction: k.way.String(), Minute: k.minute, N: c.totals[k]}
	}
	clear(c.changed)
	latest := keys[len(keys)-1].minute
	maps.DeleteFunc(c.totals, func(k countKey, _ int) bool { return latest.Sub(k.minute) > totalsKept })
	return out
}

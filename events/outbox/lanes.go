package outbox

import (
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// entry is a delivery that was loaded.
type entry struct {
	Delivery
	flying bool
	parked bool
}

// lane is the part of an endpoint's lane that is in memory: a page or two from
// its beginning.
type lane struct {
	waiting []*entry // by sequence; those in flight too
	after   int64    // the last sequence that was loaded
	more    bool     // the store may have more
	loaded  time.Time
}

// reset forgets what was loaded, but for what is in flight.
func (l *lane) reset() {
	l.waiting = slices.DeleteFunc(l.waiting, func(e *entry) bool { return !e.flying })
	l.after, l.more = 0, true
}

// add appends what was loaded. What is here already stays as it is.
func (l *lane) add(list []Delivery, limit int) {
	for _, d := range list {
		l.after = max(l.after, d.Message.Sequence)
		if slices.ContainsFunc(l.waiting, func(e *entry) bool { return e.Message.Sequence == d.Message.Sequence }) {
			continue
		}
		l.waiting = append(l.waiting, &entry{Delivery: d})
	}
	l.more = len(list) >= limit
}

func (l *lane) remove(sequence int64) {
	l.waiting = slices.DeleteFunc(l.waiting, func(e *entry) bool { return e.Message.Sequence == sequence })
}

// next returns the first delivery that may go. In order, nothing overtakes; by
// source, nothing overtakes what comes from the same camera or sensor.
func (l *lane) next(bySource bool) *entry {
	var held map[string]bool
	for _, e := range l.waiting {
		source := e.Message.Event.Source.ID
		switch {
		case !e.flying && !held[source]:
			return e
		case !bySource:
			return nil
		case held == nil:
			held = make(map[string]bool)
		}
		held[source] = true
	}
	return nil
}

// lanes shares an endpoint's rate among its lanes.
type lanes struct {
	lane      [3]lane
	bySource  bool
	urgentRow int // picked in a row while others waited
	normalRow int
}

func (l *lanes) reset() {
	for i := range l.lane {
		l.lane[i].reset()
	}
}

func (l *lanes) empty() bool {
	return !slices.ContainsFunc(l.lane[:], func(l lane) bool { return len(l.waiting) > 0 })
}

// ready reports whether anything may go.
func (l *lanes) ready() bool {
	return slices.ContainsFunc(l.lane[:], func(one lane) bool { return one.next(l.bySource) != nil })
}

// next returns what goes next: urgent before normal before replay, but when
// seven in a row went before, one of those behind goes.
func (l *lanes) next() *entry {
	var first [3]*entry
	for i := range l.lane {
		first[i] = l.lane[i].next(l.bySource)
	}
	urgent, normal, replay := first[LaneUrgent], first[LaneNormal], first[LaneReplay]
	if urgent != nil && (l.urgentRow < urgentInRow || normal == nil && replay == nil) {
		l.urgentRow++
		return urgent
	}
	l.urgentRow = 0
	if normal != nil && (l.normalRow < normalInRow || replay == nil) {
		l.normalRow++
		return normal
	}
	l.normalRow = 0
	return replay
}

// probe returns what is sent to an endpoint that is away: the head of the most
// urgent lane.
func (l *lanes) probe() *entry {
	for i := range l.lane {
		if e := l.lane[i].next(false); e != nil {
			return e
		}
	}
	return nil
}

// other returns a delivery to compare a suspect with: about another event, of
// another source if there is one.
func (l *lanes) other(suspect *events.Event) *entry {
	var second *entry
	for i := range l.lane {
		for _, e := range l.lane[i].waiting {
			switch {
			case e.flying || e.Message.Event.ID == suspect.ID:
			case e.Message.Event.Source.ID != suspect.Source.ID:
				return e
			case second == nil:
				second = e
			}
		}
	}
	return second
}

// find returns a loaded delivery.
func (l *lanes) find(sequence int64) *entry {
	for i := range l.lane {
		for _, e := range l.lane[i].waiting {
			if e.Message.Sequence == sequence {
				return e
			}
		}
	}
	return nil
}

// oldest returns when the delivery that waits longest was queued; zero when
// nothing waits.
func (l *lanes) oldest() time.Time {
	var t time.Time
	for i := range l.lane {
		for _, e := range l.lane[i].waiting[:min(1, len(l.lane[i].waiting))] {
			if t.IsZero() || e.Queued.Before(t) {
				t = e.Queued
			}
		}
	}
	return t
}

package lifecycle

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// DefaultMaxPerMinute is how many events a rule that does not say may raise
// within a minute: one every two seconds, more than anybody can look at.
const DefaultMaxPerMinute = 30

const (
	stormWindow = time.Minute
	// stormCalm is how long nothing may have been grouped before a group ends.
	stormCalm = time.Minute
	// stormLongest is how long a group goes on at most. One that is followed by
	// another tells its count, and a crash loses at most this much of it.
	stormLongest = 10 * time.Minute
)

// groupObject is the object in the key of an event that stands for many.
// Behaviours write track IDs there.
const groupObject = "group"

// Attributes of an event that stands for many.
const (
	// AttributeGrouped is how many occurrences it stands for: 1 when it is
	// raised, all of them when it is cleared.
	AttributeGrouped = "grouped"
	// AttributeMaxPerMinute is the limit that was exceeded.
	AttributeMaxPerMinute = "max_per_minute"
	// AttributeAtLeast is true when the server was started anew meanwhile, so
	// that more may have been grouped than AttributeGrouped says.
	AttributeAtLeast = "grouped_at_least"
)

// storm is what is known of one rule that raises many events.
type storm struct {
	limit   int
	raised  []time.Time // the latest raised or grouped ones, at most limit, oldest first
	event   *events.Event
	since   time.Time       // when event began, or was taken over
	count   int             // occurrences that event stands for
	least   bool            // event is from before a restart
	members map[string]bool // IDs of grouped occurrences that are not over
	last    time.Time       // latest moment in which one of them held
}

// full reports whether one more event would be more than the rule may raise.
func (s *storm) full(at time.Time) bool {
	return len(s.raised) >= s.limit && at.Sub(s.raised[0]) < stormWindow
}

func (s *storm) note(at time.Time) {
	if len(s.raised) >= s.limit {
		s.raised = append(s.raised[:0], s.raised[len(s.raised)-s.limit+1:]...)
	}
	s.raised = append(s.raised, at)
}

// shift moves everything by d: the clock was set.
func (s *storm) shift(d time.Duration) {
	for i := range s.raised {
		s.raised[i] = s.raised[i].Add(d)
	}
	s.since, s.last = s.since.Add(d), s.last.Add(d)
}

// storms groups the events of rules that raise too many. Events that are
// critical, and those that say that the camera is gone, are never grouped.
type storms struct {
	rules  Rules
	by     map[RuleKey]*storm
	member map[string]*storm // by ID of a grouped occurrence that is not over
	prev   time.Time         // of the step before; zero at first
}

func newStorms(rules Rules) *storms {
	return &storms{rules: rules, by: make(map[RuleKey]*storm), member: make(map[string]*storm)}
}

// of returns the storm that a raised event belongs to, or nil when it is never
// grouped.
func (g *storms) of(key events.Key, severity events.Severity) *storm {
	if severity == events.SeverityCritical || key.Kind == events.KindCameraOffline {
		return nil
	}
	limit := g.rules.For(key).MaxPerMinute
	if limit < 0 {
		return nil // also while a group from before goes on: it only ends
	}
	rule := RuleKey{key.Kind, key.Rule}
	if s, ok := g.by[rule]; ok {
		return s
	}
	if limit == 0 {
		limit = DefaultMaxPerMinute
	}
	s := &storm{limit: limit, members: make(map[string]bool)}
	g.by[rule] = s
	return s
}

// advance tells the time of a step; see Machine.Step for times that go back.
func (g *storms) advance(at time.Time) {
	gap := at.Sub(g.prev)
	for _, s := range g.by {
		switch {
		case g.prev.IsZero() && s.event != nil: // before the first step nothing could be seen
			s.since, s.last = s.event.OccurredAt, at
			if at.Sub(s.since) >= stormLongest {
				continue // it ends with this step; what comes now is something else
			}
			for range s.limit { // and the storm is not over
				s.note(at)
			}
		case !g.prev.IsZero() && gap < 0:
			s.shift(gap)
		}
	}
	g.prev = at
}

// restore takes over the event, if it stands for many, and reports whether it
// does.
func (g *storms) restore(ev events.Event) bool {
	if ev.Object != groupObject {
		return false
	}
	s := g.of(ev.Key(), "")
	if s == nil { // the limit was taken away: it ends as the others do
		s = &storm{limit: DefaultMaxPerMinute, members: make(map[string]bool)}
		g.by[RuleKey{ev.Kind, ev.Rule.Name}] = s
	}
	if s.event == nil {
		s.event, s.count, s.least = &ev, max(1, number(ev.Attributes[AttributeGrouped])), true
	}
	return true
}

// number reads an attribute that went through JSON.
func number(v any) int {
	switch v := v.(type) {
	case int:
		return v
	case int64:
		return int(v)
	case float64:
		return int(v)
	}
	return 0
}

// raise takes a raised event and returns what to raise: itself, the event that
// stands for it and those to come, or nothing.
func (g *storms) raise(ev events.Event) (events.Event, bool) {
	s := g.of(ev.Key(), ev.Severity)
	if s == nil {
		return ev, true
	}
	full := s.full(ev.OccurredAt)
	s.note(ev.OccurredAt)
	if !full {
		return ev, true
	}
	s.count++
	s.last = ev.OccurredAt
	s.members[ev.ID] = true
	g.member[ev.ID] = s
	if s.event != nil {
		return events.Event{}, false
	}
	s.count, s.least = 1, false
	group := ev
	group.Object, group.Subject, group.Evidence = groupObject, nil, nil
	group.ID = events.NewID(group.Key(), group.OccurredAt)
	group.Attributes = map[string]any{AttributeGrouped: s.count, AttributeMaxPerMinute: s.limit}
	group.Why = events.Text{
		VI: fmt.Sprintf("Quy tắc «%s» báo quá %d lần trong một phút; các lần tiếp theo được gộp vào sự kiện này.", ev.Rule.Name, s.limit),
		EN: fmt.Sprintf("Rule “%s” fired more than %d times within a minute; what follows is grouped into this event.", ev.Rule.Name, s.limit),
	}
	s.event, s.since = &group, group.OccurredAt
	return group, true
}

// over notes that the grouped occurrence with the given ID was over at the given
// moment.
func (g *storms) over(id string, at time.Time) {
	s, ok := g.member[id]
	if !ok {
		return
	}
	delete(g.member, id)
	delete(s.members, id)
	if at.After(s.last) {
		s.last = at
	}
}

// ended returns the groups that are over at the given moment, as cleared, in a
// stable order, each with the raised one that follows it where something of it
// still holds; with all true, every one.
func (g *storms) ended(at time.Time, all bool) []events.Event {
	var out []events.Event
	var grouping []RuleKey // mostly none: this runs with every picture
	for rule, s := range g.by {
		if s.event != nil {
			grouping = append(grouping, rule)
		}
	}
	slices.SortFunc(grouping, compareRules)
	for _, rule := range grouping {
		s := g.by[rule]
		calm := len(s.members) == 0 && at.Sub(s.last) >= stormCalm
		long := at.Sub(s.since) >= stormLongest
		if !calm && !long && !all {
			continue
		}
		if len(s.members) > 0 {
			s.last = at // they hold still, and are counted
		}
		group := *s.event
		out = append(out, s.close())
		if len(s.members) > 0 && !all {
			// What still holds must not be without an event. It is counted already.
			group.OccurredAt, group.State = at, events.StateRaised
			group.ID = events.NewID(group.Key(), at)
			group.Attributes = map[string]any{AttributeGrouped: 0, AttributeMaxPerMinute: s.limit}
			s.event, s.since = &group, at
			out = append(out, group)
		}
	}
	return out
}

func compareRules(a, b RuleKey) int {
	return compareKeys(events.Key{Kind: a.Kind, Rule: a.Name}, events.Key{Kind: b.Kind, Rule: b.Name})
}

// close ends the group and returns its event with the count.
func (s *storm) close() events.Event {
	ev := *s.event
	ev.State, ev.ClearedAt = events.StateCleared, s.last
	if ev.ClearedAt.Before(ev.OccurredAt) {
		ev.ClearedAt = ev.OccurredAt
	}
	ev.Attributes = maps.Clone(ev.Attributes)
	if ev.Attributes == nil {
		ev.Attributes = make(map[string]any)
	}
	ev.Attributes[AttributeGrouped] = s.count
	leastVI, leastEN := "", ""
	if s.least {
		ev.Attributes[AttributeAtLeast] = true
		leastVI, leastEN = "ít nhất ", "at least "
	}
	times := "times"
	if s.count == 1 {
		times = "time"
	}
	ev.Why = events.Text{
		VI: fmt.Sprintf("Quy tắc «%s» báo quá %d lần trong một phút; thêm %s%d lần được gộp vào sự kiện này.", ev.Rule.Name, s.limit, leastVI, s.count),
		EN: fmt.Sprintf("Rule “%s” fired more than %d times within a minute; %s%d more %s are grouped into this event.", ev.Rule.Name, s.limit, leastEN, s.count, times),
	}
	s.event, s.count, s.least = nil, 0, false
	return ev
}

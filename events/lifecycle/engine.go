package lifecycle

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// Config describes the source of an Engine.
type Config struct {
	Source  events.Source // required; its ID is the Source of every signal
	Place   events.Place
	Rules   Rules
	MaxOpen int // conditions followed at a time; default 1000
}

// Engine turns the signals of one source into changes of events: a Machine plus
// everything that an event says. It keeps nothing but open events and does no
// input or output: whoever calls Step commits what it returns, in order. It is
// not safe for concurrent use.
//
// There are no storms: when a rule has raised MaxPerMinute events within a
// minute, all that follow, until it is calmer, become one event with the object
// "group", whose attributes and whose why say how many they were. Such an event
// is cleared when nothing was added for a minute and all of it is over, or after
// ten minutes, after which another begins.
type Engine struct {
	cfg     Config
	machine *Machine
	storms  *storms
	open    map[string]events.Event // by ID
}

// NewEngine returns an engine without open events.
func NewEngine(cfg Config) (*Engine, error) {
	if cfg.Source.ID == "" || cfg.Source.Type == "" {
		return nil, errors.New("lifecycle: the source needs a type and an ID")
	}
	return &Engine{cfg: cfg, machine: New(cfg.Rules, cfg.MaxOpen), storms: newStorms(cfg.Rules), open: make(map[string]events.Event)}, nil
}

// Restore takes over the source's events that the store says are open; see
// Machine.Restore. Call it before the first Step.
func (e *Engine) Restore(open []events.Event, at time.Time) {
	var ours []events.Event
	for _, ev := range open {
		if _, twice := e.open[ev.ID]; twice || ev.Source.ID != e.cfg.Source.ID || ev.Source.Type != e.cfg.Source.Type || ev.State != events.StateRaised {
			continue
		}
		if e.machine.Len()+len(ours) >= e.machine.limit {
			break
		}
		e.open[ev.ID] = ev
		if !e.storms.restore(ev) {
			ours = append(ours, ev)
		}
	}
	e.machine.Restore(ours, at.UTC().Truncate(time.Microsecond))
}

// Step advances to the capture time at, given every condition that holds then,
// and returns what changed, in the order in which it must be stored. See
// Machine.Step for the order and for times that go back. Times are cut to
// microseconds. The caller owns the result; its attributes are copies.
func (e *Engine) Step(at time.Time, holding []events.Signal) []events.Change {
	var out []events.Change
	steps := e.machine.Step(at.UTC().Truncate(time.Microsecond), holding)
	e.storms.advance(e.machine.prev)
	raised := slices.IndexFunc(steps, func(t Transition) bool { return t.To == events.StateRaised })
	if raised < 0 {
		raised = len(steps)
	}
	for _, t := range steps[:raised] {
		ev, known := e.open[t.ID]
		if !known { // it was not raised but grouped
			e.storms.over(t.ID, t.At)
			continue
		}
		delete(e.open, t.ID)
		ev.State, ev.ClearedAt = events.StateCleared, t.At
		ev.Attributes = maps.Clone(ev.Attributes)
		out = append(out, events.Change{Event: ev})
	}
	out = e.endGroups(out, false)
	for _, t := range steps[raised:] {
		if ev, say := e.storms.raise(e.raise(t)); say {
			e.open[ev.ID] = ev
			ev.Attributes = maps.Clone(ev.Attributes)
			out = append(out, events.Change{Event: ev})
		}
	}
	return out
}

// EndGroups ends what is grouped now, so that its count is told. It is for the
// end of a recording; the result is as of the latest Step.
func (e *Engine) EndGroups() []events.Change { return e.endGroups(nil, true) }

func (e *Engine) endGroups(out []events.Change, all bool) []events.Change {
	for _, ev := range e.storms.ended(e.machine.prev, all) {
		delete(e.open, ev.ID)
		if ev.State == events.StateRaised {
			e.open[ev.ID] = ev
		}
		out = append(out, events.Change{Event: ev})
	}
	return out
}

func (e *Engine) raise(t Transition) events.Event {
	s := t.Signal
	ev := events.Event{
		ID:         t.ID,
		Kind:       t.Key.Kind,
		State:      events.StateRaised,
		Severity:   s.Severity,
		Source:     e.cfg.Source,
		Place:      e.cfg.Place,
		Zone:       t.Key.Zone,
		Rule:       s.Rule,
		Object:     t.Key.Object,
		OccurredAt: t.At,
		Why:        s.Why,
		Attributes: maps.Clone(s.Attributes),
		Workflow:   events.Workflow{State: "new"},
	}
	ev.Rule.Name = t.Key.Rule // what Event.Key reads
	if s.Subject != nil {
		sub := *s.Subject
		ev.Subject = &sub
	}
	return ev
}

// Open returns the raised events, oldest first.
func (e *Engine) Open() []events.Event {
	return slices.SortedFunc(maps.Values(e.open), func(a, b events.Event) int {
		return cmp.Or(a.OccurredAt.Compare(b.OccurredAt), cmp.Compare(a.ID, b.ID))
	})
}

// Dropped returns how many signals were ignored because MaxOpen was reached.
func (e *Engine) Dropped() uint64 { return e.machine.Dropped() }

package main

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
)

// alarmStore is what alarms need from the database.
type alarmStore interface {
	OpenEvents(ctx context.Context, source string) ([]events.Event, error)
	Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error)
}

// alarms raises and clears events about the server itself: a disk that is full,
// an endpoint that takes nothing. Their source has the type "system". It is safe
// for concurrent use.
type alarms struct {
	store   alarmStore
	submit  func(...events.Change)
	backlog func() int // changes that wait for the database
	place   events.Place
	now     func() time.Time
	log     *slog.Logger

	wake chan struct{}

	mu     sync.Mutex
	states map[string]*alarmState // by source
}

// alarmState is what is known of one source.
type alarmState struct {
	// Under the lock of alarms.
	source  events.Source
	holding *events.Signal // nil: all is well
	gone    bool           // it is no more: what is open of it is cleared

	// Of the goroutine of Run alone.
	engine  *lifecycle.Engine
	adopted bool // its open events of an earlier run were taken over
}

// alarmClear is how long all must be well before an alarm is cleared.
const alarmClear = 5 * time.Second

// goneAfter is when, after a start, open alarms of sources that nobody spoke of
// are cleared.
const goneAfter = time.Minute

func newAlarms(store alarmStore, submit func(...events.Change), backlog func() int, place events.Place, now func() time.Time, log *slog.Logger) *alarms {
	return &alarms{
		store: store, submit: submit, backlog: backlog, place: place, now: now, log: log,
		wake: make(chan struct{}, 1), states: make(map[string]*alarmState),
	}
}

// Set says whether something holds: s, or nil where all is well. The source and
// the time of the signal are filled in. It never blocks.
func (a *alarms) Set(source events.Source, s *events.Signal) {
	source.Type = "system"
	if s != nil {
		c := *s
		c.Key.Source = source.ID
		s = &c
	}
	a.mu.Lock()
	st := a.states[source.ID]
	fresh := st == nil
	if fresh {
		st = &alarmState{}
		a.states[source.ID] = st
	}
	fresh = fresh || st.gone || (st.holding == nil) != (s == nil)
	st.source, st.holding, st.gone = source, s, false
	a.mu.Unlock()
	if fresh {
		a.poke()
	}
}

// Forget clears what is open of a source that is no more.
func (a *alarms) Forget(source string) {
	a.mu.Lock()
	if st := a.states[source]; st != nil {
		st.holding, st.gone = nil, true
	}
	a.mu.Unlock()
	a.poke()
}

func (a *alarms) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// Run raises and clears until ctx is done.
func (a *alarms) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	started, swept := a.now(), false
	for {
		a.mu.Lock()
		states := make([]*alarmState, 0, len(a.states))
		for _, st := range a.states {
			states = append(states, st)
		}
		a.mu.Unlock()
		for _, st := range states {
			a.step(ctx, st, started)
		}
		if !swept && a.now().Sub(started) > goneAfter {
			swept = a.clearGone(ctx) == nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.wake:
		}
	}
}

// step brings one source up to date. Until the store can be asked what is open,
// nothing is raised, but not for longer than startGrace: an alarm is never kept
// back because the database is away.
func (a *alarms) step(ctx context.Context, st *alarmState, started time.Time) {
	if !st.adopted {
		a.mu.Lock()
		source := st.source
		a.mu.Unlock()
		err := a.adopt(ctx, st, source)
		if err != nil && st.engine == nil && a.now().Sub(started) < startGrace {
			return
		}
	}
	a.mu.Lock() // again: adopting takes time
	source, gone := st.source, st.gone
	var holding []events.Signal
	if st.holding != nil {
		s := *st.holding
		s.At = a.now()
		holding = append(holding, s)
	}
	a.mu.Unlock()
	if st.engine == nil {
		st.engine = a.newEngine(source)
	}
	at := a.now()
	if gone {
		at = at.Add(2 * alarmClear)
	}
	if changes := st.engine.Step(at, holding); len(changes) > 0 {
		for i := range changes {
			if ev := &changes[i].Event; gone && ev.ClearedAt.After(a.now()) {
				ev.ClearedAt = a.now().UTC().Truncate(time.Microsecond)
			}
		}
		a.submit(changes...)
	}
	if gone {
		a.mu.Lock()
		if st.gone {
			delete(a.states, source.ID)
		}
		a.mu.Unlock()
		st.engine, st.adopted = nil, false // for one that was set again meanwhile
	}
}

// adopt takes over what is open. Where the engine has begun without it, what it
// did not raise itself is cleared: it raised it anew if it still holds.
func (a *alarms) adopt(ctx context.Context, st *alarmState, source events.Source) error {
	if a.backlog() > 0 {
		return events.ErrUnavailable
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	open, err := a.store.OpenEvents(ctx, source.ID)
	if err != nil {
		return err
	}
	// A camera may have the same name.
	open = slices.DeleteFunc(open, func(ev events.Event) bool { return ev.Source.Type != "system" })
	st.adopted = true
	if st.engine == nil {
		st.engine = a.newEngine(source)
		st.engine.Restore(open, a.now())
		return nil
	}
	known := make(map[string]bool)
	for _, ev := range st.engine.Open() {
		known[ev.ID] = true
	}
	for _, ev := range open {
		if !known[ev.ID] {
			a.clear(ev)
		}
	}
	return nil
}

func (a *alarms) clear(ev events.Event) {
	ev.State, ev.ClearedAt = events.StateCleared, later(ev.OccurredAt, a.now().UTC().Truncate(time.Microsecond))
	a.submit(events.Change{Event: ev})
}

// clearGone clears open alarms of sources that are no more, such as an endpoint
// that was deleted while no server ran.
func (a *alarms) clearGone(ctx context.Context) error {
	page := events.Page{Limit: 500}
	for {
		open, err := a.store.Events(ctx, events.Filter{States: []events.State{events.StateRaised}}, page)
		if err != nil || len(open) == 0 {
			return err
		}
		for _, ev := range open {
			a.mu.Lock()
			_, here := a.states[ev.Source.ID]
			a.mu.Unlock()
			if ev.Source.Type == "system" && !here {
				a.clear(ev)
			}
		}
		page.Before = open[len(open)-1].ID
	}
}

func (a *alarms) newEngine(source events.Source) *lifecycle.Engine {
	e, err := lifecycle.NewEngine(lifecycle.Config{
		Source: source, Place: a.place,
		Rules: lifecycle.Rules{
			{Kind: events.KindStorageLow}:      {Clear: alarmClear},
			{Kind: events.KindDeliveryFailing}: {Clear: alarmClear},
		},
	})
	if err != nil {
		panic(err) // the source has a type and an ID
	}
	return e
}

package main

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// noAlarms is a store in which nothing is open.
type noAlarms struct{}

func (noAlarms) OpenEvents(context.Context, string) ([]events.Event, error) { return nil, nil }

func (noAlarms) Events(context.Context, events.Filter, events.Page) ([]events.Event, error) {
	return nil, nil
}

func diskLow() *events.Signal {
	return &events.Signal{Key: events.Key{Kind: events.KindStorageLow}, Score: 1, Severity: events.SeverityHigh}
}

// TestAlarmsOfAReturnedSource: a source that is set again after it was
// forgotten, also while what was open of it is being cleared, is kept.
func TestAlarmsOfAReturnedSource(t *testing.T) {
	t.Parallel()
	var states []events.State
	var during func()
	submit := func(cs ...events.Change) {
		for _, c := range cs {
			states = append(states, c.Event.State)
		}
		if during != nil {
			during()
		}
	}
	a := newAlarms(noAlarms{}, submit, func() int { return 0 }, events.Place{}, time.Now, slog.New(slog.DiscardHandler))
	source := events.Source{ID: "disk"}
	step := func() {
		t.Helper()
		require.Contains(t, a.states, "disk")
		a.step(t.Context(), a.states["disk"], time.Now())
	}
	a.Set(source, diskLow())
	step()
	require.Equal(t, []events.State{events.StateRaised}, states)

	a.Forget("disk")
	a.Set(source, diskLow())
	step()
	require.Equal(t, []events.State{events.StateRaised}, states, "it never went")

	a.Forget("disk")
	during = func() { a.Set(source, diskLow()) }
	step()
	during = nil
	require.Equal(t, []events.State{events.StateRaised, events.StateCleared}, states)
	step()
	assert.Equal(t, []events.State{events.StateRaised, events.StateCleared, events.StateRaised}, states)
	a.Forget("disk")
	step()
	assert.NotContains(t, a.states, "disk")
}

// TestAlarmsAtOnce sets from several goroutines while alarms are raised; the
// race detector watches.
func TestAlarmsAtOnce(t *testing.T) {
	t.Parallel()
	a := newAlarms(noAlarms{}, func(...events.Change) {}, func() int { return 0 }, events.Place{}, time.Now, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "a"} {
		wg.Go(func() {
			for i := range 300 {
				a.Set(events.Source{ID: id}, diskLow())
				if i%3 == 0 {
					a.Forget(id)
				}
				time.Sleep(time.Millisecond / 4)
			}
			a.Set(events.Source{ID: id}, nil)
		})
	}
	wg.Wait()
	cancel()
	require.NoError(t, <-done)
	a.mu.Lock()
	defer a.mu.Unlock()
	assert.Contains(t, a.states, "a")
	assert.Contains(t, a.states, "b")
}

package lifecycle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
)

func engine(t *testing.T, r lifecycle.Rule) *lifecycle.Engine {
	t.Helper()
	e, err := lifecycle.NewEngine(lifecycle.Config{
		Source: events.Source{Type: "camera", ID: "cam", Name: "Cổng chợ"},
		Place:  events.Place{Commune: "31615"},
		Rules:  rules(r),
	})
	require.NoError(t, err)
	return e
}

func TestEngineLife(t *testing.T) {
	t.Parallel()
	e := engine(t, lifecycle.Rule{Hold: time.Second, Clear: 2 * time.Second})
	s := signal("7")
	s.Attributes = map[string]any{"direction": "a_to_b"}
	at := start().Add(123456789 * time.Nanosecond).In(time.FixedZone("", 7*3600))
	require.Empty(t, e.Step(at, []events.Signal{s}))
	out := e.Step(at.Add(time.Second), []events.Signal{s})
	require.Len(t, out, 1)
	ev := out[0].Event
	assert.Equal(t, events.StateRaised, ev.State)
	assert.Equal(t, at.Add(time.Second).UTC().Truncate(time.Microsecond), ev.OccurredAt)
	assert.Equal(t, events.NewID(s.Key, ev.OccurredAt), ev.ID)
	assert.Equal(t, s.Key, ev.Key())
	assert.Equal(t, s.Rule, ev.Rule)
	assert.Equal(t, s.Subject, ev.Subject)
	assert.NotSame(t, s.Subject, ev.Subject)
	assert.Equal(t, "new", ev.Workflow.State)
	assert.Equal(t, "Cổng chợ", ev.Source.Name)
	assert.Equal(t, "31615", ev.Place.Commune)
	assert.Equal(t, []events.Event{ev}, e.Open())
	s.Attributes["direction"] = "changed"
	assert.Equal(t, "a_to_b", ev.Attributes["direction"])

	require.Empty(t, e.Step(at.Add(2*time.Second), nil))
	out = e.Step(at.Add(3*time.Second), nil)
	require.Len(t, out, 1)
	want := ev
	want.State, want.ClearedAt = events.StateCleared, ev.OccurredAt
	assert.Equal(t, want, out[0].Event)
	assert.Empty(t, e.Open())
}

func TestEngineRestore(t *testing.T) {
	t.Parallel()
	rule := lifecycle.Rule{Clear: 2 * time.Second}
	before := engine(t, rule)
	var open []events.Event
	for _, c := range before.Step(start(), []events.Signal{signal("1"), signal("2"), signal("3")}) {
		open = append(open, c.Event)
	}
	open[2].Subject.Class = "dog"
	foreign := open[0]
	foreign.Source.ID = "other"
	again := start().Add(time.Minute)

	e := engine(t, rule)
	e.Restore(append(open, foreign, open[0]), again)
	require.Len(t, e.Open(), 3)
	// Track IDs start over: the person seen as 9 is taken for the first event's.
	require.Empty(t, e.Step(again.Add(time.Minute), nil), "the camera took a minute to come back")
	again = again.Add(time.Minute)
	require.Empty(t, e.Step(again.Add(time.Second), []events.Signal{signal("9")}), "nothing raised again")
	out := e.Step(again.Add(2*time.Second), []events.Signal{signal("9")})
	require.Len(t, out, 2, "the other two are over")
	for i, c := range out {
		assert.Equal(t, open[i+1].ID, c.Event.ID)
		assert.Equal(t, events.StateCleared, c.Event.State)
		assert.Equal(t, again.Add(-time.Minute), c.Event.ClearedAt)
	}
	// Another object gets the number of the first event's.
	out = e.Step(again.Add(3*time.Second), []events.Signal{signal("9"), signal("1")})
	require.Len(t, out, 1)
	assert.NotEqual(t, open[0].ID, out[0].Event.ID)
	require.Len(t, e.Open(), 2)
	out = e.Step(again.Add(9*time.Second), nil)
	require.Len(t, out, 2)
	assert.Equal(t, open[0].ID, out[0].Event.ID)
	assert.Equal(t, again.Add(3*time.Second), out[0].Event.ClearedAt)
	assert.Empty(t, e.Open())
}

// TestEngineRestoreMoment: an event of one moment that was not cleared before a
// crash is cleared as of that moment, and never taken for a new one.
func TestEngineRestoreMoment(t *testing.T) {
	t.Parallel()
	before := engine(t, lifecycle.Rule{})
	ev := before.Step(start(), []events.Signal{signal("1")})[0].Event
	e := engine(t, lifecycle.Rule{})
	e.Restore([]events.Event{ev}, start().Add(time.Minute))
	out := e.Step(start().Add(2*time.Minute), []events.Signal{signal("1")})
	require.Len(t, out, 2)
	assert.Equal(t, ev.ID, out[0].Event.ID)
	assert.Equal(t, ev.OccurredAt, out[0].Event.ClearedAt)
	assert.Equal(t, events.StateRaised, out[1].Event.State)
	assert.NotEqual(t, ev.ID, out[1].Event.ID)
}

func TestEngineRestoreBounded(t *testing.T) {
	t.Parallel()
	cfg := lifecycle.Config{Source: events.Source{Type: "camera", ID: "cam"}, MaxOpen: 2}
	all := engine(t, lifecycle.Rule{})
	var open []events.Event
	for _, c := range all.Step(start(), []events.Signal{signal("1"), signal("2"), signal("3")}) {
		open = append(open, c.Event)
	}
	e, err := lifecycle.NewEngine(cfg)
	require.NoError(t, err)
	e.Restore(open, start())
	assert.Len(t, e.Open(), 2)
	assert.Len(t, e.Step(start().Add(time.Second), nil), 2)
}

func TestEngineRule(t *testing.T) {
	t.Parallel()
	r := lifecycle.Rules{
		{Kind: "k"}:            {Hold: time.Hour},
		{Kind: "k", Name: "r"}: {},
	}
	assert.Zero(t, r.For(signal("1").Key))
	assert.Equal(t, time.Hour, r.For(events.Key{Kind: "k", Rule: "other"}).Hold)
	assert.Zero(t, r.For(events.Key{Kind: "other"}))
	_, err := lifecycle.NewEngine(lifecycle.Config{})
	require.Error(t, err)
}

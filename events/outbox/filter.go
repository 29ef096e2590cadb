package outbox

import (
	"fmt"
	"slices"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/schedule"
)

// Matcher is a Filter ready for use. It never changes; safe for concurrent use.
type Matcher struct {
	filter   Filter
	steps    []events.Step
	least    int // index into events.Severities
	schedule schedule.Schedule
	calendar schedule.Calendar
}

// NewMatcher checks a filter. Its schedule is read on the clock of cal.
func NewMatcher(f Filter, cal schedule.Calendar) (*Matcher, error) {
	m := &Matcher{filter: f, steps: f.Steps, calendar: cal}
	if len(m.steps) == 0 {
		m.steps = []events.Step{events.StepRaised, events.StepCleared}
	}
	for _, s := range m.steps {
		if !slices.Contains(events.Steps(), s) {
			return nil, &events.FieldError{Field: "steps", Reason: fmt.Sprintf("%q is not one of %v", s, events.Steps())}
		}
	}
	if f.Severity != "" {
		if m.least = slices.Index(events.Severities(), f.Severity); m.least < 0 {
			return nil, &events.FieldError{Field: "severity", Reason: fmt.Sprintf("%q is not one of %v", f.Severity, events.Severities())}
		}
	}
	var err error
	if m.schedule, err = schedule.Parse(f.Schedule); err != nil {
		return nil, &events.FieldError{Field: "schedule", Reason: err.Error()}
	}
	return m, nil
}

// Match reports whether the endpoint wants a step of e. The schedule is about
// when the event occurred, so that who hears of a beginning hears of its end.
func (m *Matcher) Match(e *events.Event, step events.Step) bool {
	f := &m.filter
	return slices.Contains(m.steps, step) &&
		slices.Index(events.Severities(), e.Severity) >= m.least &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) &&
		(len(f.Hamlets) == 0 || slices.Contains(f.Hamlets, e.Source.Hamlet)) &&
		(len(f.Sources) == 0 || slices.Contains(f.Sources, e.Source.ID)) &&
		m.schedule.Open(e.OccurredAt, m.calendar)
}

// MessageID returns the webhook-id of a step. It follows from the event, not
// from the database: restored from a backup, the same step has the same name.
// number tells steps of people apart: it is their sequence number.
func MessageID(eventID string, step events.Step, number int64) string {
	if step == events.StepWorkflow {
		return fmt.Sprintf("%s-%s-%d", eventID, step, number)
	}
	return eventID + "-" + string(step)
}

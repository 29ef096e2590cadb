// Package wire is the JSON of an event, the same in the API, its event stream,
// webhooks and replay.
package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/xacam/xacam/events"
)

// Event is an event as JSON. Field names and order are a contract: additions are
// allowed, changes are not.
type Event struct {
	ID         string          `json:"id"`
	Kind       events.Kind     `json:"kind"`
	State      events.State    `json:"state"`
	Severity   events.Severity `json:"severity"`
	Source     Source          `json:"source"`
	Place      Place           `json:"place"`
	Zone       string          `json:"zone"`
	Rule       Rule            `json:"rule"`
	OccurredAt string          `json:"occurred_at"` // RFC 3339 with milliseconds
	ClearedAt  *string         `json:"cleared_at"`  // null while raised
	ReceivedAt *string         `json:"received_at"` // null before the store has it
	Sequence   int64           `json:"sequence"`    // 0 before the store has it
	Subject    *Subject        `json:"subject"`     // null when not about one object
	Why        Why             `json:"why"`
	Attributes map[string]any  `json:"attributes"` // never null
	Evidence   []Evidence      `json:"evidence"`   // never null
	Workflow   Workflow        `json:"workflow"`
}

// Source is what saw the event.
type Source struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	Hamlet string `json:"hamlet"`
}

// Place is where it happened.
type Place struct {
	Commune string   `json:"commune"`
	Lat     *float64 `json:"lat"`
	Lon     *float64 `json:"lon"`
}

// Rule is what fired.
type Rule struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// Subject is the object that the event is about.
type Subject struct {
	Track uint64     `json:"track"`
	Class string     `json:"class"`
	Score float64    `json:"score"` // in [0,1], 4 decimals
	Box   [4]float64 `json:"box"`   // x0, y0, x1, y1 in [0,1], 5 decimals
}

// Why says why it fired.
type Why struct {
	VI string `json:"vi"`
	EN string `json:"en"`
}

// Evidence is one file.
type Evidence struct {
	Type   string `json:"type"`
	URL    string `json:"url"` // "" for a file that is no longer kept
	SHA256 string `json:"sha256"`
}

// Workflow is what people did with it.
type Workflow struct {
	State    string  `json:"state"`
	Assignee *string `json:"assignee"`
	Verdict  *string `json:"verdict"`
}

// Options say how an event is shown.
type Options struct {
	Location *time.Location // of the times; default UTC
	// EvidenceURL returns the address of a file; the default is its path.
	EvidenceURL func(e *events.Event, ref events.EvidenceRef) string
}

// TimeLayout is RFC 3339 with milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z07:00"

// FromEvent returns the wire form of e. Attributes are shared with e.
func FromEvent(e *events.Event, o Options) Event {
	w := Event{
		ID: e.ID, Kind: e.Kind, State: e.State, Severity: e.Severity,
		Source: Source(e.Source), Place: Place(e.Place), Zone: e.Zone, Rule: Rule(e.Rule),
		OccurredAt: o.time(e.OccurredAt),
		ClearedAt:  o.optional(e.ClearedAt),
		ReceivedAt: o.optional(e.ReceivedAt),
		Sequence:   e.Sequence,
		Why:        Why(e.Why),
		Attributes: e.Attributes,
		Evidence:   make([]Evidence, 0, len(e.Evidence)),
		Workflow:   Workflow(e.Workflow),
	}
	if w.Attributes == nil {
		w.Attributes = map[string]any{}
	}
	if s := e.Subject; s != nil {
		w.Subject = &Subject{Track: s.Track, Class: s.Class, Score: round(s.Score, 1e4)}
		for i, v := range s.Box {
			w.Subject.Box[i] = round(v, 1e5)
		}
	}
	for _, ref := range e.Evidence {
		url := ref.Path
		switch {
		case !ref.Gone.IsZero():
			url = ""
		case o.EvidenceURL != nil:
			url = o.EvidenceURL(e, ref)
		}
		w.Evidence = append(w.Evidence, Evidence{Type: ref.Type, URL: url, SHA256: ref.SHA256})
	}
	return w
}

// AppendJSON appends the event as one line of JSON, without a line feed, to b:
// keys of attributes sorted, no HTML escapes. The same event always gives the
// same bytes. It fails when an attribute is not JSON.
func (w *Event) AppendJSON(b []byte) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(w); err != nil {
		return b, fmt.Errorf("encode event %s: %w", w.ID, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Event returns the event that w was made from: times in UTC to the
// millisecond, evidence with its address for a path.
func (w *Event) Event() (events.Event, error) {
	e := events.Event{
		ID: w.ID, Kind: w.Kind, State: w.State, Severity: w.Severity,
		Source: events.Source(w.Source), Place: events.Place(w.Place), Zone: w.Zone, Rule: events.RuleRef(w.Rule),
		Sequence: w.Sequence, Why: events.Text(w.Why), Workflow: events.Workflow(w.Workflow),
	}
	if len(w.Attributes) > 0 {
		e.Attributes = maps.Clone(w.Attributes)
	}
	if w.Subject != nil {
		s := events.Subject(*w.Subject)
		e.Subject = &s
	}
	for _, v := range w.Evidence {
		e.Evidence = append(e.Evidence, events.EvidenceRef{Type: v.Type, Path: v.URL, SHA256: v.SHA256})
	}
	for _, f := range []struct {
		text *string
		to   *time.Time
	}{{&w.OccurredAt, &e.OccurredAt}, {w.ClearedAt, &e.ClearedAt}, {w.ReceivedAt, &e.ReceivedAt}} {
		if f.text == nil {
			continue
		}
		t, err := time.Parse(time.RFC3339, *f.text)
		if err != nil {
			return events.Event{}, fmt.Errorf("event %s: %w", w.ID, err)
		}
		*f.to = t.UTC()
	}
	return e, nil
}

func (o Options) time(t time.Time) string {
	if o.Location == nil {
		return t.UTC().Format(TimeLayout)
	}
	return t.In(o.Location).Format(TimeLayout)
}

func (o Options) optional(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := o.time(t)
	return &s
}

// round cuts the digits that mean nothing.
func round(v, unit float64) float64 { return math.Round(v*unit) / unit }

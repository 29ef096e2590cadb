package api

import (
	"bytes"
	"time"

	"github.com/xacam/xacam/events"
)

// timeLayout is RFC 3339 with milliseconds always.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// encodeEvent returns the JSON of ev as one line without a line break.
func (s *Server) encodeEvent(ev *events.Event) ([]byte, error) {
	type ref struct {
		Type   string `json:"type"`
		URL    string `json:"url"`
		SHA256 string `json:"sha256"`
	}
	refs := make([]ref, len(ev.Evidence))
	for i, r := range ev.Evidence {
		refs[i] = ref{r.Type, evidenceURL(ev.ID, r), r.SHA256}
	}
	attributes := ev.Attributes
	if attributes == nil {
		attributes = map[string]any{}
	}
	b, err := encodeJSON(map[string]any{
		"id": ev.ID, "kind": ev.Kind, "state": ev.State, "severity": ev.Severity, "source": ev.Source, "place": ev.Place,
		"zone": ev.Zone, "rule": ev.Rule, "occurred_at": s.timeJSON(ev.OccurredAt), "cleared_at": s.timeJSON(ev.ClearedAt),
		"received_at": s.timeJSON(ev.ReceivedAt), "sequence": ev.Sequence, "subject": ev.Subject, "why": ev.Why,
		"attributes": attributes, "evidence": refs, "workflow": ev.Workflow,
	})
	return bytes.TrimSuffix(b, []byte("\n")), err
}

// timeJSON returns t in the configured zone, nil for zero.
func (s *Server) timeJSON(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.In(s.cfg.Location).Format(timeLayout)
	return &text
}

package api

import (
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// encodeEvent appends the JSON of ev to b as one line without a line break.
func (s *Server) encodeEvent(b []byte, ev *events.Event) ([]byte, error) {
	w := wire.FromEvent(ev, wire.Options{Location: s.cfg.Location, EvidenceURL: evidenceURL})
	return w.AppendJSON(b)
}

// evidenceURL returns the address of a file of ev, relative to the server.
func evidenceURL(ev *events.Event, ref events.EvidenceRef) string {
	if ref.Type == snapshotType {
		return pathEvents + "/" + ev.ID + "/snapshot"
	}
	i := slices.Index(ev.Evidence, ref)
	if i < 0 {
		return ""
	}
	return pathEvents + "/" + ev.ID + "/evidence/" + wire.Names(ev.Evidence)[i]
}

// timeJSON returns t in the configured zone as events show it, nil for zero.
func (s *Server) timeJSON(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.In(s.cfg.Location).Format(wire.TimeLayout)
	return &text
}

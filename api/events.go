package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// snapshotType is the EvidenceRef.Type that has an address of its own.
const snapshotType = "snapshot"

// listJSON is one page of a list. Next is null on the last page.
type listJSON struct {
	Items []json.RawMessage `json:"items"`
	Next  *string           `json:"next"`
}

// listEvents answers one page of events, newest first.
func (s *Server) listEvents(c *gin.Context) {
	q, err := parseEventQuery(c.Request.URL.RawQuery, listParams(), s.cfg.Kinds)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	page := q.Page
	page.Limit++ // one more, to know whether there is a next page
	found, err := s.cfg.Events.Events(ctx, q.Filter, page)
	if err != nil {
		s.fail(c, err)
		return
	}
	var out listJSON
	if len(found) > q.Page.Limit {
		found = found[:q.Page.Limit]
		out.Next = &found[len(found)-1].ID
	}
	out.Items = make([]json.RawMessage, len(found))
	for i := range found {
		if out.Items[i], err = s.encodeEvent(&found[i]); err != nil {
			s.fail(c, err)
			return
		}
	}
	s.writeJSON(c, http.StatusOK, out)
}

// getEvent answers one event.
func (s *Server) getEvent(c *gin.Context) {
	ev, ok := s.event(c)
	if !ok {
		return
	}
	body, err := s.encodeEvent(&ev)
	if err != nil {
		s.fail(c, err)
		return
	}
	write(c, http.StatusOK, "application/json", body)
}

// event reads the event that the path names. After false the request has been
// answered.
func (s *Server) event(c *gin.Context) (events.Event, bool) {
	id, reason := parseID(c.Param("id"))
	if reason != "" {
		s.fail(c, &events.FieldError{Field: "id", Reason: reason})
		return events.Event{}, false
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	ev, err := s.cfg.Events.Event(ctx, id)
	if err != nil {
		s.fail(c, err)
		return events.Event{}, false
	}
	return ev, true
}

// evidenceURL returns the address of a file of event id, relative to the
// server; "" for files that have none yet.
func evidenceURL(id string, ref events.EvidenceRef) string {
	if ref.Type != snapshotType {
		return ""
	}
	return pathEvents + "/" + id + "/snapshot"
}

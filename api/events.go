package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// snapshotType is the EvidenceRef.Type that has an address of its own.
const snapshotType = "snapshot"

// listEvents answers one page of events, newest first: {"items": […], "next":
// cursor of the next page, null on the last}.
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
	next := []byte("null")
	if len(found) > q.Page.Limit {
		found = found[:q.Page.Limit]
		next = strconv.AppendQuote(nil, found[len(found)-1].ID) // a UUID has nothing to escape
	}
	body := append(make([]byte, 0, (len(found)+1)*1024), `{"items":[`...)
	for i := range found {
		if i > 0 {
			body = append(body, ',')
		}
		if body, err = s.encodeEvent(body, &found[i]); err != nil {
			s.fail(c, err)
			return
		}
	}
	body = append(append(append(body, `],"next":`...), next...), '}')
	write(c, http.StatusOK, "application/json", body)
}

// getEvent answers one event.
func (s *Server) getEvent(c *gin.Context) {
	ev, ok := s.event(c)
	if !ok {
		return
	}
	body, err := s.encodeEvent(nil, &ev)
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

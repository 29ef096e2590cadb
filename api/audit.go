package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
)

// AuditReader reads the record of what people did. Its methods return
// events.ErrUnavailable while the store cannot be reached. It must be safe for
// concurrent use.
type AuditReader interface {
	// Audit returns one page, newest first.
	Audit(ctx context.Context, f audit.Filter, p audit.Page) ([]audit.Entry, error)
}

func auditParams() []string {
	return []string{"actor", "action", "subject", "event", "before", "limit"}
}

// entryJSON is the wire form of an audit entry.
type entryJSON struct {
	Number   int64           `json:"number"`
	At       string          `json:"at"` // with microseconds, which are hashed
	Actor    string          `json:"actor"`
	Action   string          `json:"action"`
	Subject  string          `json:"subject"`
	Event    *string         `json:"event"`
	Detail   json.RawMessage `json:"detail"`
	Previous string          `json:"previous"`
	Hash     string          `json:"hash"`
}

// listAudit answers one page of the audit chain, newest first.
func (s *Server) listAudit(c *gin.Context) {
	if s.cfg.Audit == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server keeps no audit chain"})
		return
	}
	f, p, err := parseAuditQuery(c.Request.URL.RawQuery)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	limit := p.Limit
	p.Limit++ // one more, to know whether there is a next page
	found, err := s.cfg.Audit.Audit(ctx, f, p)
	if err != nil {
		s.fail(c, err)
		return
	}
	var out struct {
		Items []entryJSON `json:"items"`
		Next  *int64      `json:"next"`
	}
	if len(found) > limit {
		found = found[:limit]
		out.Next = &found[limit-1].Number
	}
	out.Items = make([]entryJSON, len(found))
	for i := range found {
		e := &found[i]
		out.Items[i] = entryJSON{
			Number: e.Number, At: e.At.In(s.cfg.Location).Format("2006-01-02T15:04:05.000000Z07:00"), Actor: e.Actor, Action: e.Action, Subject: e.Subject,
			Detail: json.RawMessage(e.Detail), Previous: e.Previous.String(), Hash: e.Hash.String(),
		}
		if e.EventID != "" {
			out.Items[i].Event = &e.EventID
		}
	}
	s.writeJSON(c, http.StatusOK, out)
}

func parseAuditQuery(raw string) (f audit.Filter, p audit.Page, err error) {
	p.Limit = defaultLimit
	err = eachParam(raw, auditParams(), func(name, v string) (reason string) {
		switch name {
		case "before":
			n, err := strconv.ParseInt(v, 10, 64)
			if err != nil || n < 1 {
				return "must be the value of next from the page before"
			}
			p.Before = n
		case "limit":
			p.Limit, reason = parseLimit(v)
		case "event":
			f.EventID, reason = parseID(v)
		default:
			if !isName(v) {
				return fmt.Sprintf("must be 1 to %d printable characters", maxNameRunes)
			}
			*map[string]*string{"actor": &f.Actor, "action": &f.Action, "subject": &f.Subject}[name] = v
		}
		return reason
	})
	return f, p, err
}

// parseLimit reads the length of a page.
func parseLimit(v string) (int, string) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > maxLimit {
		return 0, fmt.Sprintf("must be a whole number from 1 to %d", maxLimit)
	}
	return n, ""
}

// eachParam calls set for every parameter of a query, each of which may be given
// once, in the order of their names. set returns what is wrong with a value, or
// "". Errors are of type *events.FieldError.
func eachParam(raw string, allowed []string, set func(name, value string) (reason string)) error {
	if len(raw) > maxQuery {
		return &events.FieldError{Field: "query", Reason: fmt.Sprintf("must be at most %d bytes", maxQuery)}
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return &events.FieldError{Field: "query", Reason: "must be name=value pairs joined by &, with %XX for special characters"}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			return &events.FieldError{Field: printable(name), Reason: "is not a parameter here; allowed are " + strings.Join(allowed, ", ")}
		}
		reason := "must be given once"
		if len(values[name]) == 1 {
			reason = set(name, values[name][0])
		}
		if reason != "" {
			return &events.FieldError{Field: name, Reason: reason}
		}
	}
	return nil
}

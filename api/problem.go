package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// retryAfter is the number of seconds a client is asked to wait when the store
// or a place for its stream is missing.
const retryAfter = 5

// problem is an RFC 9457 problem of type about:blank, with the field at fault
// as an extension, and all of them where there are several.
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Field  string `json:"field,omitempty"`
	// Problems are all the fields at fault, where there are several; Field and
	// Detail are the first.
	Problems []fieldProblem `json:"problems,omitempty"`
}

type fieldProblem struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// fieldProblems lists what was joined, each field once.
func fieldProblems(err error) (out []fieldProblem) {
	if f, ok := err.(*events.FieldError); ok { //nolint:errorlint // not what it wraps
		return []fieldProblem{{f.Field, f.Reason}}
	}
	switch e := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			for _, p := range fieldProblems(inner) {
				if !slices.ContainsFunc(out, func(q fieldProblem) bool { return q.Field == p.Field }) {
					out = append(out, p)
				}
			}
		}
	case interface{ Unwrap() error }:
		out = fieldProblems(e.Unwrap())
	}
	return out
}

// refusal is a problem as an error: what the handlers themselves refuse.
type refusal struct {
	Status int
	Detail string
}

// Error implements error.
func (r *refusal) Error() string { return r.Detail }

// fail is the only place where an error becomes a status. What the client may
// not see stays in the log.
func (s *Server) fail(c *gin.Context, err error) {
	field, isField := errors.AsType[*events.FieldError](err)
	ref, isRefusal := errors.AsType[*refusal](err)
	var p problem
	switch {
	case isField:
		p = problem{Status: http.StatusUnprocessableEntity, Field: field.Field, Detail: field.Reason}
		if all := fieldProblems(err); len(all) > 1 {
			p.Problems = all
		}
	case isRefusal:
		p = problem{Status: ref.Status, Detail: ref.Detail}
	case errors.Is(err, events.ErrNotFound):
		p = problem{Status: http.StatusNotFound, Detail: "there is nothing with this identifier"}
	case errors.Is(err, events.ErrConflict):
		p.Status = http.StatusConflict
		if conflict, ok := errors.AsType[*events.ConflictError](err); ok {
			p.Detail = conflict.Error()
		}
	case c.Request.Context().Err() != nil:
		// The client has gone; nobody reads the answer.
		p.Status = http.StatusServiceUnavailable
	case errors.Is(err, events.ErrUnavailable):
		p = problem{Status: http.StatusServiceUnavailable, Detail: "the event store cannot be reached now; try again"}
	case errors.Is(err, context.DeadlineExceeded):
		p = problem{Status: http.StatusServiceUnavailable, Detail: "the event store did not answer in time; try again"}
	default:
		p.Status = http.StatusInternalServerError
		s.cfg.Log.ErrorContext(c.Request.Context(), "request failed", "route", c.FullPath(), "err", err)
	}
	writeProblem(c, p)
}

// writeProblem ends the request with p.
func writeProblem(c *gin.Context, p problem) {
	c.Abort()
	p.Title = http.StatusText(p.Status)
	if p.Status == http.StatusServiceUnavailable {
		c.Header("Retry-After", strconv.Itoa(retryAfter))
	}
	body, err := encodeJSON(p)
	if err != nil {
		body = []byte(`{"title":"Internal Server Error","status":500}`)
	}
	write(c, p.Status, "application/problem+json", body)
}

// writeJSON ends the request with v, or with a problem if v has no JSON form.
func (s *Server) writeJSON(c *gin.Context, status int, v any) {
	body, err := encodeJSON(v)
	if err != nil {
		s.fail(c, err)
		return
	}
	write(c, status, "application/json", body)
}

func write(c *gin.Context, status int, contentType string, body []byte) {
	c.Header("Content-Type", contentType)
	c.Header("Content-Length", strconv.Itoa(len(body)))
	c.Status(status)
	// The error is the client's: it has gone, and there is nobody to tell.
	_, _ = c.Writer.Write(body)
}

// encodeJSON returns v as one line. Text is not escaped for HTML, since no
// answer is ever rendered as such.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

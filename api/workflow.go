package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
)

// WorkflowStore keeps what people do to events. Its methods return joined
// *events.FieldError for a request that is wrong, events.ErrNotFound for an
// unknown event, *events.ConflictError for an action that is not possible now
// and events.ErrUnavailable. It must be safe for concurrent use.
type WorkflowStore interface {
	// Act does what is asked for, once for each key.
	Act(ctx context.Context, r events.WorkflowRequest) (events.Done, error)
	// History returns what happened to an event, oldest first.
	History(ctx context.Context, id string) ([]audit.Moment, error)
}

// actionPath returns the address of an action.
func actionPath(a events.Action) string { return pathEvent + "/" + string(a) }

// act returns the handler of one action. It answers the event as it is after
// that.
func (s *Server) act(action events.Action) gin.HandlerFunc {
	return func(c *gin.Context) {
		if s.cfg.Workflow == nil {
			s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server keeps no workflow"})
			return
		}
		r, err := parseAction(c, action)
		if err != nil {
			s.fail(c, err)
			return
		}
		ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
		defer cancel()
		done, err := s.cfg.Workflow.Act(ctx, r)
		if errors.Is(err, events.ErrNotFound) {
			err = &refusal{
				Status: http.StatusNotFound,
				Detail: "there is no such event in the database; one that was raised while the database was away comes there when that is back",
			}
		}
		if err != nil {
			s.fail(c, err)
			return
		}
		if !done.Repeated {
			s.metrics.acted(action, &done)
		}
		body, err := s.encodeEvent(nil, &done.Event)
		if err != nil {
			s.fail(c, err)
			return
		}
		write(c, http.StatusOK, "application/json", body)
	}
}

// parseAction reads an action, and everything that is wrong with it.
func parseAction(c *gin.Context, action events.Action) (events.WorkflowRequest, error) {
	key, keyErr := idempotencyKey(c)
	r := events.WorkflowRequest{Action: action, Key: key}
	id, reason := parseID(c.Param("id"))
	if reason != "" {
		return r, &events.FieldError{Field: "id", Reason: reason}
	}
	r.EventID = id
	fields := map[string]any{"by": &r.By, "note": &r.Note}
	switch action { //nolint:exhaustive // the others have no more fields
	case events.ActionAssign:
		fields["to"] = &r.To
	case events.ActionClose:
		fields["verdict"] = &r.Verdict
	case events.ActionHold, events.ActionRelease:
		fields["case"] = &r.Case
	}
	if err := decodeBody(c.Request, fields); err != nil {
		if _, fine := errors.AsType[*events.FieldError](err); !fine {
			return r, err
		}
		return r, errors.Join(err, r.Check(), keyErr)
	}
	return r, errors.Join(r.Check(), keyErr)
}

// momentJSON is the wire form of a line of a history.
type momentJSON struct {
	At       *string         `json:"at"`
	Step     *events.Step    `json:"step"`
	Sequence *int64          `json:"sequence"`
	Number   *int64          `json:"number"`
	By       *string         `json:"by"`
	Action   *string         `json:"action"`
	Detail   json.RawMessage `json:"detail"`
}

// getHistory answers what happened to an event, oldest first.
func (s *Server) getHistory(c *gin.Context) {
	if s.cfg.Workflow == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server keeps no workflow"})
		return
	}
	id, reason := parseID(c.Param("id"))
	if reason != "" {
		s.fail(c, &events.FieldError{Field: "id", Reason: reason})
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	moments, err := s.cfg.Workflow.History(ctx, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		Items []momentJSON `json:"items"`
	}{make([]momentJSON, len(moments))}
	for i := range moments {
		m := &moments[i]
		to := &out.Items[i]
		to.At = s.timeJSON(m.At)
		if m.Step != "" {
			to.Step, to.Sequence = &m.Step, &m.Sequence
		}
		if e := m.Entry; e != nil {
			to.Number, to.By, to.Action, to.Detail = &e.Number, &e.Actor, &e.Action, json.RawMessage(e.Detail)
		}
	}
	s.writeJSON(c, http.StatusOK, out)
}

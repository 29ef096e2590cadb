package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// EndpointStore keeps the endpoints of deliveries. Its methods return errors
// that wrap events.ErrNotFound, ErrConflict, ErrUnavailable, or join
// *events.FieldError. It must be safe for concurrent use.
type EndpointStore interface {
	Endpoints(ctx context.Context) ([]outbox.Endpoint, error)
	Endpoint(ctx context.Context, name string) (outbox.Endpoint, error)
	CreateEndpoint(ctx context.Context, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error)
	UpdateEndpoint(ctx context.Context, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error)
	DeleteEndpoint(ctx context.Context, name string, act outbox.Act) error
	EnableEndpoint(ctx context.Context, name string, act outbox.Act) (outbox.Stored, error)
	RotateSecret(ctx context.Context, name, scheme string, given *outbox.Secret, overlap time.Duration, act outbox.Act) (outbox.Stored, error)
	DeleteSecret(ctx context.Context, name, id string, act outbox.Act) error
}

// endpointJSON is the wire form of an endpoint.
type endpointJSON struct {
	outbox.Spec
	Version  int                            `json:"version"`
	Disabled string                         `json:"disabled_why"`
	Secrets  []secretJSON                   `json:"secrets"`
	Health   endpointHealthJSON             `json:"health"`
	Waiting  map[outbox.DeliveryState]int64 `json:"deliveries,omitempty"` // of one endpoint, not in lists
}

// secretJSON says which secrets there are, but never what they are, except for
// a new one.
type secretJSON struct {
	ID      string  `json:"id"`
	Scheme  string  `json:"scheme"`
	Public  string  `json:"public,omitempty"`
	Created string  `json:"created_at"`
	Expires *string `json:"expires_at"`
	Text    string  `json:"secret,omitempty"`
}

type endpointHealthJSON struct {
	State        string  `json:"state"` // "ok", "failing", "disabled", "idle"
	Failures     int     `json:"failures"`
	FailingSince *string `json:"failing_since"`
	RetryAt      *string `json:"retry_at"`
	LastSuccess  *string `json:"last_success_at"`
	LastAttempt  *string `json:"last_attempt_at"`
	LastError    *string `json:"last_error"`
	HeartbeatAt  *string `json:"heartbeat_at"`
}

func (s *Server) endpointJSON(e *outbox.Endpoint) endpointJSON {
	out := endpointJSON{Spec: outbox.SpecOf(*e, false), Version: e.Version, Disabled: e.Disabled, Secrets: make([]secretJSON, len(e.Secrets))}
	for i := range e.Secrets {
		out.Secrets[i] = s.secretJSON(&e.Secrets[i])
	}
	h := &e.Health
	out.Health = endpointHealthJSON{
		State: healthOf(e), Failures: h.Failures, FailingSince: s.timeJSON(h.FailingSince), RetryAt: s.timeJSON(h.RetryAt),
		LastSuccess: s.timeJSON(h.LastSuccess), LastAttempt: s.timeJSON(h.LastAttempt), HeartbeatAt: s.timeJSON(h.HeartbeatAt),
	}
	if h.LastError != "" {
		sentence := redact(h.LastError)
		out.Health.LastError = &sentence
	}
	return out
}

func healthOf(e *outbox.Endpoint) string {
	switch {
	case !e.Enabled:
		return "disabled"
	case e.Health.Failures > 0:
		return "failing"
	case e.Health.LastSuccess.IsZero():
		return "idle"
	default:
		return "ok"
	}
}

func (s *Server) secretJSON(k *outbox.Secret) secretJSON {
	return secretJSON{ID: k.ID, Scheme: k.Scheme, Public: k.Public, Created: *s.timeJSON(k.Created), Expires: s.timeJSON(k.Expires)}
}

// endpointRequest is the body of a request that creates or changes an endpoint.
type endpointRequest struct {
	outbox.Spec
	By     string `json:"by"`
	Secret string `json:"secret"` // of a new endpoint: one the receiver has already
}

// ready refuses while this server delivers nothing.
func (s *Server) delivers(c *gin.Context) bool {
	if s.cfg.Endpoints != nil && s.cfg.Deliveries != nil {
		return true
	}
	s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server delivers nothing"})
	return false
}

// request gives a handler its time.
func (s *Server) request(c *gin.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
}

// listEndpoints answers every endpoint by name.
func (s *Server) listEndpoints(c *gin.Context) {
	if !s.delivers(c) {
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	found, err := s.cfg.Endpoints.Endpoints(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		Items []endpointJSON `json:"items"`
	}{make([]endpointJSON, len(found))}
	for i := range found {
		out.Items[i] = s.endpointJSON(&found[i])
	}
	s.writeJSON(c, http.StatusOK, out)
}

// getEndpoint answers one endpoint with what waits for it. Its version is the
// ETag.
func (s *Server) getEndpoint(c *gin.Context) {
	if !s.delivers(c) {
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	e, err := s.cfg.Endpoints.Endpoint(ctx, c.Param("name"))
	if err != nil {
		s.fail(c, err)
		return
	}
	out := s.endpointJSON(&e)
	if out.Waiting, err = s.cfg.Deliveries.DeliveryCounts(ctx, e.Name); err != nil {
		s.fail(c, err)
		return
	}
	s.writeEndpoint(c, http.StatusOK, &e, out)
}

func (s *Server) writeEndpoint(c *gin.Context, status int, e *outbox.Endpoint, v any) {
	c.Header("ETag", etagOf(e.Version))
	s.writeJSON(c, status, v)
}

func etagOf(version int) string { return `"` + strconv.Itoa(version) + `"` }

// stored answers a change, new secrets included: they are shown once.
func (s *Server) stored(c *gin.Context, st *outbox.Stored) {
	out := struct {
		endpointJSON
		Issued []secretJSON `json:"issued"`
	}{s.endpointJSON(&st.Endpoint), []secretJSON{}}
	for i := range st.Issued {
		k := s.secretJSON(&st.Issued[i].Secret)
		k.Text = st.Issued[i].Text
		out.Issued = append(out.Issued, k)
	}
	status := http.StatusOK
	if st.Created {
		status = http.StatusCreated
		c.Header("Location", pathEndpoints+"/"+st.Endpoint.Name)
	}
	s.writeEndpoint(c, status, &st.Endpoint, out)
}

// actor reads who acts, under what key and on which version.
func (s *Server) actor(c *gin.Context, by string) (outbox.Act, error) {
	key, err := idempotencyKey(c)
	version, verr := ifMatch(c.GetHeader("If-Match"))
	return outbox.Act{By: by, Key: key, Version: version}, errors.Join(checkBy(by), err, verr)
}

// ifMatch reads the version that a change is for; 0 is any.
func ifMatch(header string) (int, error) {
	if header == "" || header == "*" {
		return 0, nil
	}
	n, err := strconv.Atoi(strings.Trim(header, `"`))
	if err != nil || n < 1 || header != etagOf(n) {
		return 0, &events.FieldError{Field: "If-Match", Reason: "must be an ETag as it was answered"}
	}
	return n, nil
}

// failChange is fail, but for a version that is not there any more.
func (s *Server) failChange(c *gin.Context, act outbox.Act, err error) {
	_, told := errors.AsType[*events.ConflictError](err)
	switch conflict := errors.Is(err, events.ErrConflict) && !told; {
	case conflict && act.Version != 0:
		err = &refusal{Status: http.StatusPreconditionFailed, Detail: "somebody has changed it since; read it again"}
	case conflict:
		err = &refusal{Status: http.StatusConflict, Detail: reasonOf(err)}
	}
	s.fail(c, err)
}

// reasonOf returns what a store says of a conflict, without what was attempted.
func reasonOf(err error) string {
	text := strings.TrimSuffix(err.Error(), ": "+events.ErrConflict.Error())
	if i := strings.LastIndex(text, ": "); i >= 0 {
		text = text[i+2:]
	}
	return text
}

// change reads the body of a request that changes something into in, and who
// asks for it from by, which points into that. do gets what is wrong with these,
// to be joined with what else is wrong, and returns the answer: an outbox.Stored
// or what has a JSON form.
func (s *Server) change(
	c *gin.Context, in any, by *string, limit time.Duration, do func(ctx context.Context, act outbox.Act, wrong error) (any, error),
) {
	if !s.delivers(c) {
		return
	}
	if err := readJSON(c.Request, in); err != nil {
		s.fail(c, err)
		return
	}
	act, wrong := s.actor(c, *by)
	ctx, cancel := context.WithTimeout(c.Request.Context(), limit)
	defer cancel()
	answer, err := do(ctx, act, wrong)
	if err != nil {
		s.failChange(c, act, err)
		return
	}
	if st, ok := answer.(outbox.Stored); ok {
		s.stored(c, &st)
		return
	}
	s.writeJSON(c, http.StatusOK, answer)
}

// createEndpoint stores a new endpoint and answers its secrets, once.
func (s *Server) createEndpoint(c *gin.Context) {
	var in endpointRequest
	s.change(c, &in, &in.By, s.cfg.RequestTimeout, func(ctx context.Context, act outbox.Act, wrong error) (any, error) {
		e, err := in.Endpoint()
		var secret error
		if in.Secret != "" {
			k, perr := outbox.ParseSecret(in.Secret, s.cfg.Now())
			if e.Secrets = []outbox.Secret{k}; perr != nil {
				secret = &events.FieldError{Field: "secret", Reason: perr.Error()}
			}
		}
		if err := errors.Join(wrong, err, secret); err != nil {
			return nil, err
		}
		return s.cfg.Endpoints.CreateEndpoint(ctx, e, act)
	})
}

// putEndpoint stores a new version of an endpoint. Headers and a query that read
// <redacted> stay as they are.
func (s *Server) putEndpoint(c *gin.Context) {
	var in endpointRequest
	s.change(c, &in, &in.By, s.cfg.RequestTimeout, func(ctx context.Context, act outbox.Act, wrong error) (any, error) {
		name := c.Param("name")
		if in.Name == "" {
			in.Name = name
		}
		old, err := s.cfg.Endpoints.Endpoint(ctx, name)
		if err != nil {
			return nil, err
		}
		in.KeepURL(old.URL)
		errs := []error{wrong}
		for _, header := range in.KeepHeaders(old.Headers) {
			errs = append(errs, &events.FieldError{Field: "headers." + header, Reason: "has no value to keep"})
		}
		if in.Name != name {
			errs = append(errs, &events.FieldError{Field: "name", Reason: "cannot be changed"})
		}
		if in.Secret != "" {
			errs = append(errs, &events.FieldError{Field: "secret", Reason: "is changed at " + pathEndpoints + "/" + old.Name + "/secrets"})
		}
		e, err := in.Endpoint()
		if err := errors.Join(append(errs, err)...); err != nil {
			return nil, err
		}
		return s.cfg.Endpoints.UpdateEndpoint(ctx, e, act)
	})
}

// deleteEndpoint removes an endpoint and what waits for it.
func (s *Server) deleteEndpoint(c *gin.Context) {
	s.remove(c, func(ctx context.Context, act outbox.Act) error {
		return s.cfg.Endpoints.DeleteEndpoint(ctx, c.Param("name"), act)
	})
}

// deleteSecret revokes a secret at once.
func (s *Server) deleteSecret(c *gin.Context) {
	s.remove(c, func(ctx context.Context, act outbox.Act) error {
		return s.cfg.Endpoints.DeleteSecret(ctx, c.Param("name"), c.Param("id"), act)
	})
}

// remove answers a DELETE, whose only parameter is who asks.
func (s *Server) remove(c *gin.Context, do func(context.Context, outbox.Act) error) {
	if !s.delivers(c) {
		return
	}
	act, err := s.actor(c, c.Query("by"))
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	if err := do(ctx, act); err != nil {
		s.failChange(c, act, err)
		return
	}
	c.Status(http.StatusNoContent)
}

// enableEndpoint makes an endpoint take deliveries again.
func (s *Server) enableEndpoint(c *gin.Context) {
	var in struct {
		By string `json:"by"`
	}
	s.change(c, &in, &in.By, s.cfg.RequestTimeout, func(ctx context.Context, act outbox.Act, wrong error) (any, error) {
		if wrong != nil {
			return nil, wrong
		}
		return s.cfg.Endpoints.EnableEndpoint(ctx, c.Param("name"), act)
	})
}

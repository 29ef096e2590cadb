package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// DeliveryStore knows what was sent, to whom, and what came of it. Its methods
// return errors like those of EndpointStore. It must be safe for concurrent use.
type DeliveryStore interface {
	Deliveries(ctx context.Context, endpoint string, f outbox.DeliveryFilter) ([]outbox.DeliveryInfo, error)
	EventDeliveries(ctx context.Context, id string) ([]outbox.DeliveryInfo, error)
	DeliveryCounts(ctx context.Context, endpoint string) (map[outbox.DeliveryState]int64, error)
	Attempts(ctx context.Context, f outbox.AttemptFilter) ([]outbox.Attempt, error)
	// BeginTest returns an endpoint to be tested, or the attempt of the same request
	// before, and LogAttempt remembers what was sent.
	BeginTest(ctx context.Context, endpoint string, act outbox.Act) (outbox.Test, error)
	LogAttempt(ctx context.Context, a outbox.Attempt, t outbox.Test) (outbox.Attempt, error)
	Replay(ctx context.Context, endpoint string, r outbox.Replay, act outbox.Act) (outbox.ReplayResult, error)
}

// deliveryJSON is the wire form of a delivery.
type deliveryJSON struct {
	Endpoint   string               `json:"endpoint"`
	Sequence   int64                `json:"sequence"`
	MessageID  string               `json:"message_id"`
	EventID    string               `json:"event_id"`
	Kind       events.Kind          `json:"kind"`
	Step       events.Step          `json:"step"`
	OccurredAt *string              `json:"occurred_at"`
	State      outbox.DeliveryState `json:"state"`
	Lane       string               `json:"lane"`
	Attempts   int                  `json:"attempts"`
	Queued     *string              `json:"queued_at"`
	Next       *string              `json:"next_at"`
	Settled    *string              `json:"settled_at"`
	LastError  string               `json:"last_error"`
}

func (s *Server) deliveriesJSON(list []outbox.DeliveryInfo) []deliveryJSON {
	out := make([]deliveryJSON, len(list))
	for i := range list {
		d := &list[i]
		out[i] = deliveryJSON{
			Endpoint: d.Endpoint, Sequence: d.Sequence, MessageID: d.MessageID, EventID: d.EventID, Kind: d.Kind, Step: d.Step,
			OccurredAt: s.timeJSON(d.OccurredAt), State: d.State, Lane: []string{"urgent", "normal", "replay"}[min(max(d.Lane, 0), 2)],
			Attempts: d.Attempts, Queued: s.timeJSON(d.Queued), Next: s.timeJSON(d.Next), Settled: s.timeJSON(d.Settled), LastError: redact(d.LastError),
		}
	}
	return out
}

// attemptJSON is the wire form of a line of the log.
type attemptJSON struct {
	ID         int64              `json:"id"`
	Endpoint   string             `json:"endpoint"`
	Former     bool               `json:"former"`
	Kind       outbox.AttemptKind `json:"kind"`
	MessageID  string             `json:"message_id"`
	Sequence   *int64             `json:"sequence"`
	Number     int                `json:"number"`
	Started    *string            `json:"started_at"`
	Millis     int64              `json:"milliseconds"`
	Status     int                `json:"status"`
	Outcome    outbox.Outcome     `json:"outcome"`
	Error      string             `json:"error"`
	Excerpt    string             `json:"excerpt"`
	RetryAfter *int64             `json:"retry_after"`
}

func (s *Server) attemptJSON(a *outbox.Attempt) attemptJSON {
	r := &a.Result
	out := attemptJSON{
		ID: a.ID, Endpoint: a.Endpoint, Former: a.Former, Kind: a.Kind, MessageID: a.MessageID, Number: a.Number, Started: s.timeJSON(r.Started),
		Millis: r.Took.Milliseconds(), Status: r.Status, Outcome: r.Outcome, Excerpt: r.Excerpt,
	}
	if a.Sequence != 0 {
		out.Sequence = &a.Sequence
	}
	if r.Err != nil {
		out.Error = redact(r.Err.Error())
	}
	if seconds := int64(r.RetryAfter.Seconds()); seconds > 0 {
		out.RetryAfter = &seconds
	}
	return out
}

// parameters of a list, read strictly.
type parameters struct {
	values url.Values
	err    error
}

func parameterList(raw string, allowed []string) *parameters {
	p := &parameters{}
	if len(raw) > maxQuery {
		p.bad("query", fmt.Sprintf("must be at most %d bytes", maxQuery))
		return p
	}
	var err error
	if p.values, err = url.ParseQuery(raw); err != nil {
		p.bad("query", "must be name=value pairs joined by &, with %XX for special characters")
	}
	for name, values := range p.values {
		switch {
		case !slices.Contains(allowed, name):
			p.bad(printable(name), "is not a parameter here; allowed are "+strings.Join(allowed, ", "))
		case len(values) > 1:
			p.bad(name, "must be given once")
		}
	}
	return p
}

func (p *parameters) bad(field, reason string) {
	p.err = errors.Join(p.err, &events.FieldError{Field: field, Reason: reason})
}

func (p *parameters) text(name string) string {
	v := p.values.Get(name)
	if v != "" && !isName(v) {
		p.bad(name, fmt.Sprintf("must be 1 to %d printable characters", maxNameRunes))
	}
	return v
}

func (p *parameters) number(name string, def, least, most int64) int64 {
	v := p.values.Get(name)
	if v == "" {
		return def
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		p.bad(name, fmt.Sprintf("must be a whole number from %d to %d", least, most))
	}
	return n
}

func (p *parameters) time(name string) time.Time {
	v := p.values.Get(name)
	if v == "" {
		return time.Time{}
	}
	t, reason := parseTime(v)
	if reason != "" {
		p.bad(name, reason)
	}
	return t
}

// choice reads one of a few words; "" when it is not given.
func choice[T ~string](p *parameters, name string, allowed []T) T {
	v := T(p.values.Get(name))
	if v != "" && !slices.Contains(allowed, v) {
		p.bad(name, "must be one of "+strings.Trim(strings.ReplaceAll(fmt.Sprint(allowed), " ", ", "), "[]"))
	}
	return v
}

// maxID bounds cursors.
const maxID = 1 << 62

func deliveryParams() []string { return []string{"state", "before", "limit"} }

// listDeliveries answers one page of an endpoint's deliveries, newest first:
// with state=dead, its dead letters.
func (s *Server) listDeliveries(c *gin.Context) {
	if !s.delivers(c) {
		return
	}
	p := parameterList(c.Request.URL.RawQuery, deliveryParams())
	f := outbox.DeliveryFilter{
		State: choice(p, "state", outbox.DeliveryStates()), Before: p.number("before", 0, 1, maxID), Limit: int(p.number("limit", defaultLimit, 1, maxLimit)),
	}
	if p.err != nil {
		s.fail(c, p.err)
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	limit := f.Limit
	f.Limit++ // one more, to know whether there is a next page
	found, err := s.cfg.Deliveries.Deliveries(ctx, c.Param("name"), f)
	if err != nil {
		s.fail(c, err)
		return
	}
	var next *int64
	if len(found) > limit {
		found = found[:limit]
		next = &found[limit-1].Sequence
	}
	s.writeJSON(c, http.StatusOK, map[string]any{"items": s.deliveriesJSON(found), "next": next})
}

// listEventDeliveries answers where one event was sent.
func (s *Server) listEventDeliveries(c *gin.Context) {
	if !s.delivers(c) {
		return
	}
	ev, ok := s.event(c)
	if !ok {
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	found, err := s.cfg.Deliveries.EventDeliveries(ctx, ev.ID)
	if err != nil {
		s.fail(c, err)
		return
	}
	s.writeJSON(c, http.StatusOK, map[string]any{"items": s.deliveriesJSON(found)})
}

func attemptParams() []string {
	return []string{"endpoint", "event", "message", "outcome", "kind", "from", "to", "before", "limit"}
}

// listAttempts answers one page of the log, newest first.
func (s *Server) listAttempts(c *gin.Context) {
	if !s.delivers(c) {
		return
	}
	p := parameterList(c.Request.URL.RawQuery, attemptParams())
	f := outbox.AttemptFilter{
		Endpoint: p.text("endpoint"), MessageID: p.text("message"),
		Outcome: choice(p, "outcome", []outbox.Outcome{outbox.Delivered, outbox.Retry, outbox.Refused, outbox.Gone}),
		Kind:    choice(p, "kind", []outbox.AttemptKind{outbox.KindDelivery, outbox.KindReplay, outbox.KindTest, outbox.KindHeartbeat}),
		From:    p.time("from"), To: p.time("to"), Before: p.number("before", 0, 1, maxID), Limit: int(p.number("limit", defaultLimit, 1, maxLimit)),
	}
	if v := p.values.Get("event"); v != "" {
		var reason string
		if f.EventID, reason = parseID(v); reason != "" {
			p.bad("event", reason)
		}
	}
	if p.err != nil {
		s.fail(c, p.err)
		return
	}
	ctx, cancel := s.request(c)
	defer cancel()
	limit := f.Limit
	f.Limit++
	found, err := s.cfg.Deliveries.Attempts(ctx, f)
	if err != nil {
		s.fail(c, err)
		return
	}
	var next *int64
	if len(found) > limit {
		found = found[:limit]
		next = &found[limit-1].ID
	}
	items := make([]attemptJSON, len(found))
	for i := range found {
		items[i] = s.attemptJSON(&found[i])
	}
	s.writeJSON(c, http.StatusOK, map[string]any{"items": items, "next": next})
}

// testGrace is what a test may take beyond the endpoint's own timeout.
const testGrace = 5 * time.Second

// testEndpoint sends a marked test now, also to a disabled endpoint, and answers
// how it went. It is logged like every attempt.
func (s *Server) testEndpoint(c *gin.Context) {
	var in struct {
		By string `json:"by"`
	}
	s.change(c, &in, &in.By, outbox.MaxTimeout+testGrace, func(ctx context.Context, act outbox.Act, wrong error) (any, error) {
		if wrong == nil && s.cfg.TestEndpoint == nil {
			wrong = &refusal{Status: http.StatusNotFound, Detail: "this server delivers nothing"}
		}
		if wrong != nil {
			return nil, wrong
		}
		test, err := s.cfg.Deliveries.BeginTest(ctx, c.Param("name"), act)
		if err != nil {
			return nil, err
		}
		if test.Before != nil {
			return s.attemptJSON(test.Before), nil
		}
		e := test.Endpoint
		id := fmt.Sprintf("test-%s-%d", e.Name, s.cfg.Now().UnixMicro())
		a := outbox.Attempt{Endpoint: e.Name, Kind: outbox.KindTest, MessageID: id, Number: 1, Result: s.cfg.TestEndpoint(ctx, e, id)}
		if a.Result.Started.IsZero() {
			a.Result.Started = s.cfg.Now()
		}
		// Also when the client has gone: what was sent stays known.
		logging, stop := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.RequestTimeout)
		defer stop()
		if a, err = s.cfg.Deliveries.LogAttempt(logging, a, test); err != nil {
			return nil, err
		}
		s.cfg.Log.InfoContext(ctx, "an endpoint was tested", "endpoint", e.Name, "by", in.By, "status", a.Result.Status)
		return s.attemptJSON(&a), nil
	})
}

// replayTimeout is what a large replay may take.
const replayTimeout = 50 * time.Second

// replay queues messages again, or says what it would queue.
func (s *Server) replay(c *gin.Context) {
	var in struct {
		By        string               `json:"by"`
		Preview   bool                 `json:"preview"`
		Sequences []int64              `json:"sequences"`
		From      *time.Time           `json:"from"`
		To        *time.Time           `json:"to"`
		Kinds     []events.Kind        `json:"kinds"`
		State     outbox.DeliveryState `json:"state"`
	}
	s.change(c, &in, &in.By, replayTimeout, func(ctx context.Context, act outbox.Act, wrong error) (any, error) {
		if wrong != nil {
			return nil, wrong
		}
		r := outbox.Replay{Sequences: in.Sequences, Kinds: in.Kinds, State: in.State, Preview: in.Preview}
		if in.From != nil {
			r.From = in.From.UTC()
		}
		if in.To != nil {
			r.To = in.To.UTC()
		}
		if r.State == "all" {
			r.State = ""
		}
		// A server that only has the handler has no deadline to move.
		_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(replayTimeout + 10*time.Second))
		res, err := s.cfg.Deliveries.Replay(ctx, c.Param("name"), r, act)
		if err != nil {
			return nil, err
		}
		return map[string]any{
			"preview": in.Preview, "count": res.Count, "more": res.More, "examples": s.deliveriesJSON(res.Examples),
		}, nil
	})
}

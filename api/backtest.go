package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// Backtester tries rules on what cameras saw. Its method returns
// *events.FieldError, joined, for what is wrong with the request, the fields
// named as in the request. It must be safe for concurrent use.
type Backtester interface {
	// Backtest returns what openapi.yaml calls BacktestResult. It works until ctx
	// is done.
	Backtest(ctx context.Context, r BacktestRequest) (any, error)
}

// BacktestRequest says what to try.
type BacktestRequest struct {
	Camera string // slug
	// Rule is the name of one of the camera's rules, as JSON, or a rule as it
	// stands in a camera file; empty tries all of the camera's.
	Rule         json.RawMessage
	Zones, Lines json.RawMessage // as in a camera file, in place of the camera's of the same names; or empty
	From, To     time.Time       // From is before To
	Examples     int
}

// backtestJSON is the body of a request.
type backtestJSON struct {
	Camera   string          `json:"camera"`
	Rule     json.RawMessage `json:"rule"`
	Zones    json.RawMessage `json:"zones"`
	Lines    json.RawMessage `json:"lines"`
	From     *time.Time      `json:"from"`
	To       *time.Time      `json:"to"`
	Days     *float64        `json:"days"`
	Examples *int            `json:"examples"`
}

// Limits of a backtest.
const (
	maxBacktestDays     = 31
	maxBacktestExamples = 100
	defaultBacktestDays = 7
	defaultExamples     = 5
)

// backtest answers what rules would have raised.
func (s *Server) backtest(c *gin.Context) {
	if s.cfg.Backtest == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server stores no tracks; see tracks in its configuration"})
		return
	}
	req, err := parseBacktest(c.Request, s.cfg.Now())
	if err != nil {
		s.fail(c, err)
		return
	}
	select {
	case s.backtests <- struct{}{}:
		defer func() { <-s.backtests }()
	default:
		s.fail(c, &refusal{Status: http.StatusServiceUnavailable, Detail: "another rule is being tried; try again in a moment"})
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.BacktestTimeout)
	defer cancel()
	// A server that only has the handler has no deadline to move.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Now().Add(s.cfg.BacktestTimeout + 10*time.Second))
	result, err := s.cfg.Backtest.Backtest(ctx, req)
	switch {
	case err != nil && c.Request.Context().Err() == nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		s.fail(c, &refusal{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf(
			"it took more than %.0f s; ask for fewer days, or use xacam backtest", s.cfg.BacktestTimeout.Seconds())})
	case err != nil:
		s.fail(c, err)
	default:
		s.writeJSON(c, http.StatusOK, result)
	}
}

// parseBacktest reads the body of a request.
func parseBacktest(r *http.Request, now time.Time) (BacktestRequest, error) {
	var out BacktestRequest
	body, err := readBody(r)
	if err != nil {
		return out, err
	}
	in, err := decodeBacktest(body)
	if err != nil {
		return out, err
	}
	if !isName(in.Camera) {
		return out, &events.FieldError{Field: "camera", Reason: "must be the slug of a camera"}
	}
	out = BacktestRequest{Camera: in.Camera, Rule: present(in.Rule), Zones: present(in.Zones), Lines: present(in.Lines), Examples: defaultExamples}
	if in.Examples != nil {
		if out.Examples = *in.Examples; out.Examples < 1 || out.Examples > maxBacktestExamples {
			return out, &events.FieldError{Field: "examples", Reason: fmt.Sprintf("must be from 1 to %d", maxBacktestExamples)}
		}
	}
	return out, out.setRange(in, now)
}

// decodeBacktest decodes the body strictly.
func decodeBacktest(body []byte) (in backtestJSON, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err = dec.Decode(&in)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind it")
		}
	}
	if err == nil {
		return in, nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return in, &events.FieldError{Field: wrong.Field, Reason: "must not be a " + strings.SplitN(wrong.Value, " ", 2)[0]}
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		return in, &events.FieldError{
			Field: printable(strings.TrimSuffix(name, `"`)), Reason: "is not a field here; allowed are camera, rule, zones, lines, from, to, days, examples",
		}
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return in, &events.FieldError{Field: "from", Reason: "from and to must be RFC 3339 times like 2026-11-23T22:14:05+07:00"}
	}
	return in, &refusal{Status: http.StatusBadRequest, Detail: "the body is not a JSON object"}
}

// present makes nothing of a JSON null.
func present(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// setRange takes from and to, or the latest days.
func (b *BacktestRequest) setRange(in backtestJSON, now time.Time) error {
	days := float64(defaultBacktestDays)
	if in.Days != nil {
		if in.From != nil {
			return &events.FieldError{Field: "days", Reason: "must not be given with from"}
		}
		if days = *in.Days; !(days > 0 && days <= maxBacktestDays) {
			return &events.FieldError{Field: "days", Reason: fmt.Sprintf("must be more than 0 and at most %d", maxBacktestDays)}
		}
	}
	b.To = now
	if in.To != nil && in.To.Before(now) {
		b.To = *in.To
	}
	b.From = b.To.Add(-time.Duration(days * 24 * float64(time.Hour)))
	if in.From != nil {
		b.From = *in.From
	}
	switch {
	case !b.From.Before(b.To):
		return &events.FieldError{Field: "to", Reason: "must be later than from"}
	case b.To.Sub(b.From) > maxBacktestDays*24*time.Hour:
		return &events.FieldError{Field: "from", Reason: fmt.Sprintf("must be at most %d days before to", maxBacktestDays)}
	}
	return nil
}

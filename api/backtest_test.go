package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// trier is a Backtester that does what it is told.
type trier func(context.Context, BacktestRequest) (any, error)

// Backtest implements Backtester.
func (f trier) Backtest(ctx context.Context, r BacktestRequest) (any, error) { return f(ctx, r) }

// post sends a body to the address of backtests.
func (p *peer) post(body string, headers ...string) (answer, string) {
	p.tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.base+"/api/v1/rules/backtest", strings.NewReader(body))
	require.NoError(p.tb, err)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.Do(r)
	require.NoError(p.tb, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(p.tb, err)
	return answer{resp.StatusCode, resp.Header}, string(got)
}

// emptyResult is a valid answer.
func emptyResult() any {
	return map[string]any{
		"camera": "cho", "from": "2026-11-16T00:00:00+07:00", "to": "2026-11-23T00:00:00+07:00", "scenes": 0, "took_seconds": 0.1,
		"coverage": map[string]any{"hours": 168, "recorded": 0, "gaps": []any{}, "gap_count": 0, "damaged_blocks": 0}, "rules": []any{},
	}
}

func TestBacktest(t *testing.T) {
	t.Parallel()
	var asked BacktestRequest
	var err error
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cfg := testConfig(t, newMemLog())
	cfg.Now = func() time.Time { return now }
	cfg.Backtest = trier(func(_ context.Context, r BacktestRequest) (any, error) {
		asked = r
		return emptyResult(), err
	})
	p := serve(t, cfg)
	a, body := p.post(`{"camera":"cho","rule":{"name":"moi","kind":"intrusion","zone":"san","after":3},"zones":{"san":{"area":[]}},"days":0.5}`)
	require.Equal(t, http.StatusOK, a.StatusCode, body)
	assert.JSONEq(t, `{"name":"moi","kind":"intrusion","zone":"san","after":3}`, string(asked.Rule))
	assert.Equal(t, BacktestRequest{
		Camera: "cho", Rule: asked.Rule, Zones: []byte(`{"san":{"area":[]}}`), From: now.Add(-12 * time.Hour), To: now, Examples: 5,
	}, asked)
	a, body = p.post(`{"camera":"cho","rule":null,"from":"2026-11-20T00:00:00+07:00","to":"2030-01-01T00:00:00Z"}`)
	require.Equal(t, http.StatusOK, a.StatusCode, body)
	assert.Empty(t, asked.Rule)
	assert.Equal(t, now, asked.To, "the future has not been recorded")

	for name, c := range map[string]struct {
		body, header string
		status       int
		want         string
	}{
		"no JSON":      {"hello", "", 400, "JSON object"},
		"two":          {`{"camera":"cho"} {}`, "", 400, "JSON object"},
		"a form":       {"camera=cho", "text/plain", 415, "application/json"},
		"no camera":    {`{}`, "", 422, `"field":"camera"`},
		"unknown":      {`{"camera":"cho","dayz":3}`, "", 422, `"field":"dayz"`},
		"wrong type":   {`{"camera":"cho","days":"3"}`, "", 422, `"field":"days"`},
		"no time":      {`{"camera":"cho","from":"yesterday"}`, "", 422, `"field":"from"`},
		"both":         {`{"camera":"cho","days":3,"from":"2026-11-20T00:00:00Z"}`, "", 422, `"field":"days"`},
		"too long":     {`{"camera":"cho","days":32}`, "", 422, `"field":"days"`},
		"too long ago": {`{"camera":"cho","from":"2020-11-20T00:00:00Z"}`, "", 422, `"field":"from"`},
		"backwards":    {`{"camera":"cho","from":"2026-11-20T00:00:00Z","to":"2026-11-19T00:00:00Z"}`, "", 422, `"field":"to"`},
		"examples":     {`{"camera":"cho","examples":0}`, "", 422, `"field":"examples"`},
		"too large":    {`{"camera":"` + strings.Repeat("x", maxBody) + `"}`, "", 413, "bytes"},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"Content-Type", c.header}
		}
		a, body := p.post(c.body, headers...)
		assert.Equal(t, c.status, a.StatusCode, "%s: %s", name, body)
		assert.Contains(t, body, c.want, name)
	}
	err = fmt.Errorf("try: %w", &events.FieldError{Field: "rule.after", Reason: "must be a number"})
	a, body = p.post(`{"camera":"cho"}`)
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
	assert.Contains(t, body, `"field":"rule.after"`)
	err = errors.New("read tracks: input/output error")
	a, body = p.post(`{"camera":"cho"}`)
	assert.Equal(t, http.StatusInternalServerError, a.StatusCode)
	assert.NotContains(t, body, "input/output")

	a, body = p.get("/api/v1/rules/backtest")
	assert.Equal(t, http.StatusMethodNotAllowed, a.StatusCode)
	assert.Contains(t, body, "POST")
	a, body = serve(t, testConfig(t, newMemLog())).post(`{"camera":"cho"}`)
	assert.Equal(t, http.StatusNotFound, a.StatusCode, body)
}

// One at a time is tried, for a limited time; who comes meanwhile is told when
// to come again.
func TestBacktestsAreLimited(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, newMemLog())
	begun := make(chan struct{}, 1)
	cfg.BacktestTimeout = 300 * time.Millisecond
	cfg.Backtest = trier(func(ctx context.Context, _ BacktestRequest) (any, error) {
		begun <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	p := serve(t, cfg)
	first := make(chan string, 1)
	go func() {
		a, body := p.post(`{"camera":"cho"}`)
		first <- fmt.Sprint(a.StatusCode, body)
	}()
	<-begun
	a, body := p.post(`{"camera":"cho"}`)
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
	assert.NotEmpty(t, a.Header.Get("Retry-After"))
	assert.Contains(t, body, "another rule is being tried")
	got := <-first
	assert.Contains(t, got, "503")
	assert.Contains(t, got, "fewer days")
}

package api

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// counting is a CountReader that notes the question.
type counting struct {
	asked events.CountFilter
	rows  []events.CountRow
	err   error
}

func (c *counting) Counts(_ context.Context, f events.CountFilter) ([]events.CountRow, error) {
	c.asked = f
	return c.rows[:min(len(c.rows), f.Limit)], c.err
}

func countPeer(t *testing.T, c *counting) *peer {
	t.Helper()
	loc, err := time.LoadLocation("Asia/Ho_Chi_Minh")
	require.NoError(t, err)
	cfg := testConfig(t, newMemLog())
	cfg.Counts, cfg.Location = c, loc
	cfg.Now = func() time.Time { return time.Date(2026, 11, 23, 22, 14, 5, 0, loc) }
	return serve(t, cfg)
}

func TestCounts(t *testing.T) {
	t.Parallel()
	c := &counting{rows: []events.CountRow{{
		Start: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Source: "cong-cho", Line: "vach-1", Class: "motorcycle", Direction: "a_to_b", N: 412,
	}}}
	p := countPeer(t, c)
	resp, body := p.get("/api/v1/counts")
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	assert.JSONEq(t, `{"bucket":"hour","from":"2026-11-23T00:00:00.000+07:00","to":"2026-11-23T22:15:00.000+07:00","items":[
		{"start":"2026-11-23T07:00:00.000+07:00","camera":"cong-cho","line":"vach-1","class":"motorcycle","direction":"a_to_b","count":412}]}`, body)

	resp, body = p.get("/api/v1/counts?camera=cong-cho&camera=ben-do&line=vach-1&class=car&direction=b_to_a&bucket=day&from=2026-11-01T00:00:00%2B07:00&to=2026-11-23T00:00:00%2B07:00")
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	assert.Equal(t, []string{"cong-cho", "ben-do"}, c.asked.Sources)
	assert.Equal(t, []string{"vach-1"}, c.asked.Lines)
	assert.Equal(t, []string{"car"}, c.asked.Classes)
	assert.Equal(t, []string{"b_to_a"}, c.asked.Directions)
	assert.Equal(t, events.BucketDay, c.asked.Bucket)
	assert.Equal(t, "Asia/Ho_Chi_Minh", c.asked.Location.String())

	// Without from: since the local midnight before to, also when to is one.
	_, body = p.get("/api/v1/counts?to=2026-11-23T00:00:00%2B07:00")
	assert.Contains(t, body, `"from":"2026-11-22T00:00:00.000+07:00"`)
}

func TestCountsRefused(t *testing.T) {
	t.Parallel()
	p := countPeer(t, &counting{})
	for query, want := range map[string]string{
		"bucket=week":               `"field":"bucket"`,
		"bucket=day&bucket=hour":    "must be given once",
		"direction=up":              "a_to_b, b_to_a",
		"from=yesterday":            "RFC 3339",
		"to=2026-11-23":             `"field":"to"`,
		"zone=x":                    "camera, line, class, direction, from, to, bucket",
		"camera=":                   `"field":"camera"`,
		"from=2026-11-24T00:00:00Z": "later than from",
		"from=2020-01-01T00:00:00Z": "at most 366 days",
		"bucket=minute&from=2026-11-01T00:00:00Z": "at most 7 days",
		"a=%zz": `"field":"query"`,
	} {
		resp, body := p.get("/api/v1/counts?" + query)
		assert.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode, query)
		assert.Contains(t, body, want, query)
	}
}

func TestCountsStore(t *testing.T) {
	t.Parallel()
	c := &counting{err: fmt.Errorf("test: %w", events.ErrUnavailable)}
	resp, _ := countPeer(t, c).get("/api/v1/counts")
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)

	c = &counting{rows: make([]events.CountRow, maxCountRows+1)}
	resp, body := countPeer(t, c).get("/api/v1/counts")
	assert.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	assert.Contains(t, body, `"field":"bucket"`)

	resp, _ = serve(t, testConfig(t, newMemLog())).get("/api/v1/counts")
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
}

package api

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/events"
)

func TestHead(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, newMemLog())
	a, body := serve(t, cfg).get(pathHead)
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
	assert.Contains(t, body, "seals no evidence")
	head := `{"format":"xacam-head/1","number":7,"sha256":"` + strings.Repeat("0a", 32) +
		`","signed_at":"2026-11-23T15:14:05.12Z","key_id":"0011223344556677","signature":"` + strings.Repeat("A", 86) + "==\"}\n"
	var fault error
	cfg.Head = func(context.Context) ([]byte, error) { return []byte(head), fault }
	p := serve(t, cfg)
	a, body = p.get(pathHead)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, head, body)
	assert.Equal(t, `attachment; filename="evidence-head.json"`, a.Header.Get("Content-Disposition"))
	fault = events.ErrNotFound
	a, body = p.get(pathHead)
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
	assert.Contains(t, body, "sealed yet")
	fault = events.ErrUnavailable
	a, _ = p.get(pathHead)
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
}

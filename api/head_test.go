package api

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// TestMediaFolderIsAway: while nobody can say whether a file is there, nobody is
// told that it is gone.
func TestMediaFolderIsAway(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	ev, err := withEvidence(log, cfg)
	require.NoError(t, err)
	away := true
	cfg.OpenMedia = func() (*os.Root, error) {
		if away {
			return nil, events.ErrUnavailable
		}
		return os.OpenRoot(cfg.Media.Name())
	}
	p := serve(t, cfg)
	path := "/api/v1/events/" + ev.ID + "/evidence/clip.mp4"
	a, _ := p.get(path)
	assert.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
	away = false
	a, body := p.get(path)
	assert.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "bytes of gate-1.mp4", body)
	away = true
	a, _ = p.get("/api/v1/events/" + ev.ID + "/evidence/still-act.jpg")
	assert.Equal(t, http.StatusNotFound, a.StatusCode, "this one was deleted, whatever the disk does")
}

package api

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMediaLinks(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	links := MediaLinks{Base: "https://xacam.example/", Key: []byte(strings.Repeat("k", 32)), Now: func() time.Time { return now }}
	cfg := testConfig(t, newMemLog())
	require.NoError(t, cfg.Media.MkdirAll("2026/11", 0o700))
	require.NoError(t, cfg.Media.WriteFile("2026/11/a.jpg", []byte(jpeg), 0o600))
	cfg.MediaLinks = links
	p := serve(t, cfg)
	path := func(l MediaLinks, file string) string {
		return strings.TrimPrefix(l.URL(file), "https://xacam.example")
	}
	good := path(links, "2026/11/a.jpg")
	a, body := p.get(good)
	require.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, jpeg, body)
	assert.Equal(t, "image/jpeg", a.Header.Get("Content-Type"))
	a, _ = p.get(good, "Host", "xacam.example")
	assert.Equal(t, http.StatusOK, a.StatusCode, "the name that receivers know")
	a, _ = p.get("/api/v1/events", "Host", "xacam.example")
	assert.Equal(t, http.StatusMisdirectedRequest, a.StatusCode, "for links only")
	other := links
	other.Key = []byte(strings.Repeat("x", 32))
	late := links
	late.TTL = time.Nanosecond
	for name, tt := range map[string]struct {
		path   string
		status int
	}{
		"signed by another":  {path(other, "2026/11/a.jpg"), 404},
		"expired":            {path(late, "2026/11/a.jpg"), 410},
		"not there":          {path(links, "2026/11/b.jpg"), 404},
		"out of the folder":  {path(links, "../secrets.key"), 500},
		"changed":            {good[:len(good)-2] + "AA", 404},
		"nothing":            {"/api/v1/media/x", 404},
		"no signature":       {"/api/v1/media/." + strings.SplitN(good, ".", 2)[1], 404},
		"another way to say": {good + "=", 404},
	} {
		a, _ := p.get(tt.path)
		assert.Equal(t, tt.status, a.StatusCode, name)
	}
	none := MediaLinks{}
	assert.Empty(t, none.URL("a.jpg"))
	a, _ = serve(t, testConfig(t, newMemLog())).get(good)
	assert.Equal(t, http.StatusNotFound, a.StatusCode, "a server without a key knows no links")
}

// TestClipOverAWeakLine: who reads a large file slowly, but reads, gets all of
// it, however long that takes; who stops reading is cut off.
func TestClipOverAWeakLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		pause time.Duration // after each 32 KiB
		whole bool
	}{{"slow", 5 * time.Second, true}, {"asleep", 2 * patience, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := testConfig(t, newMemLog())
				clip := bytes.Repeat([]byte("clip"), 1<<18)
				require.NoError(t, cfg.Media.WriteFile("a.mp4", clip, 0o600))
				cfg.MediaLinks = MediaLinks{Base: "https://xacam.example", Key: []byte(strings.Repeat("k", 32))}
				listener := newPipeListener()
				cfg.Listener = listener
				p := serve(t, cfg)
				path := strings.TrimPrefix(cfg.MediaLinks.URL("a.mp4"), "https://xacam.example")
				line := &http.Transport{DialContext: listener.dial} // whose answers nobody reads ahead
				defer line.CloseIdleConnections()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+path, http.NoBody)
				require.NoError(t, err)
				resp, err := line.RoundTrip(r)
				require.NoError(t, err)
				defer resp.Body.Close()
				start, got, part := time.Now(), 0, make([]byte, 32<<10)
				for err == nil {
					var n int
					n, err = io.ReadFull(resp.Body, part)
					got += n
					time.Sleep(tt.pause)
				}
				if !tt.whole {
					assert.Less(t, got, len(clip))
					return
				}
				require.ErrorIs(t, err, io.EOF)
				assert.Equal(t, len(clip), got)
				assert.Greater(t, time.Since(start), 2*writeTimeout)
			})
		})
	}
}

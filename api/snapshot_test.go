package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// jpeg stands for a picture; the server never looks inside.
const jpeg = "\xff\xd8\xff\xe0 not really a picture, but long enough to ask for parts of it \xff\xd9"

// withSnapshot returns an event in log whose snapshot is at path.
func withSnapshot(log *memLog, n int, path string) events.Event {
	sum := sha256.Sum256([]byte(jpeg))
	ev := testEvent(n)
	ev.Evidence = []events.EvidenceRef{
		{Type: "clip", Path: "clip.mp4", SHA256: strings.Repeat("0", 64)},
		{Type: snapshotType, Path: path, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(jpeg))},
	}
	return log.commit(ev)
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	require.NoError(t, cfg.Media.MkdirAll("2026/11", 0o700))
	require.NoError(t, cfg.Media.WriteFile("2026/11/a.jpg", []byte(jpeg), 0o600))
	ev := withSnapshot(log, 1, "2026/11/a.jpg")
	etag := `"` + ev.Evidence[1].SHA256 + `"`
	p := serve(t, cfg)
	url := "/api/v1/events/" + ev.ID + "/snapshot"
	for _, tt := range []struct {
		name    string
		method  string
		headers []string
		status  int
		body    string
	}{
		{"whole", "GET", nil, 200, jpeg},
		{"head", "HEAD", nil, 200, ""},
		{"known to the client", "GET", []string{"If-None-Match", etag}, 304, ""},
		{"client has another", "GET", []string{"If-None-Match", `"x"`}, 200, jpeg},
		{"start", "GET", []string{"Range", "bytes=0-3"}, 206, jpeg[:4]},
		{"end", "GET", []string{"Range", "bytes=-2"}, 206, jpeg[len(jpeg)-2:]},
		{"part of the same", "GET", []string{"Range", "bytes=4-7", "If-Range", etag}, 206, jpeg[4:8]},
		{"part of another", "GET", []string{"Range", "bytes=4-7", "If-Range", `"x"`}, 200, jpeg},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := p.do(tt.method, url, tt.headers...)
			assert.Equal(t, tt.status, resp.StatusCode)
			assert.Equal(t, tt.body, body)
			assert.Equal(t, etag, resp.Header.Get("ETag"))
			assert.Equal(t, "private, max-age=31536000, immutable", resp.Header.Get("Cache-Control"))
			if tt.status != http.StatusNotModified {
				assert.Equal(t, "image/jpeg", resp.Header.Get("Content-Type"))
			}
			if tt.method == "HEAD" {
				assert.Equal(t, strconv.Itoa(len(jpeg)), resp.Header.Get("Content-Length"))
			}
		})
	}
	t.Run("two parts", func(t *testing.T) {
		t.Parallel()
		resp, body := p.get(url, "Range", "bytes=0-1,4-6")
		assert.Equal(t, 206, resp.StatusCode)
		assert.Contains(t, body, jpeg[4:7])
	})
	for _, tt := range []struct {
		name          string
		header, value string
		status        int
	}{
		{"past the end", "Range", "bytes=900-", 416},
		{"no range", "Range", "pages=1", 416},
		{"precondition", "If-Match", `"x"`, 412},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := p.get(url, tt.header, tt.value)
			assert.Equal(t, tt.status, resp.StatusCode)
			assert.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
			assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"), "a refusal is not immutable")
			assert.Contains(t, body, http.StatusText(tt.status))
		})
	}
}

func TestSnapshotStaysInFolder(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte(jpeg), 0o600))
	media := cfg.Media.Name()
	rel, err := filepath.Rel(media, filepath.Join(outside, "secret"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(media, "absolute-link")))
	require.NoError(t, os.Symlink(rel, filepath.Join(media, "relative-link")))
	require.NoError(t, os.Symlink(outside, filepath.Join(media, "folder-link")))
	require.NoError(t, os.Mkdir(filepath.Join(media, "folder"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(media, "short.jpg"), []byte(jpeg[:9]), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(media, "locked.jpg"), []byte(jpeg), 0o600))
	require.NoError(t, syscall.Mkfifo(filepath.Join(media, "pipe"), 0o600))
	p := serve(t, cfg)
	for i, tt := range []struct {
		name, path string
		status     int
	}{
		{"parent", rel, 500},
		{"parent inside", "folder/../" + rel, 500},
		{"absolute", filepath.Join(outside, "secret"), 500},
		{"inside, not clean", "folder/../locked.jpg", 500},
		{"empty", "", 500},
		{"dot", ".", 500},
		{"NUL", "a\x00b", 500},
		{"backslashes", `..\secret`, 404},
		{"absolute link", "absolute-link", 500},
		{"relative link", "relative-link", 500},
		{"through a linked folder", "folder-link/secret", 500},
		{"folder", "folder", 500},
		{"named pipe", "pipe", 500},
		{"shorter than committed", "short.jpg", 500},
		{"gone", "gone.jpg", 404},
		{"allowed", "locked.jpg", 200},
	} {
		ev := withSnapshot(log, i, tt.path)
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := p.get("/api/v1/events/" + ev.ID + "/snapshot")
			assert.Equal(t, tt.status, resp.StatusCode, body)
			if tt.status != http.StatusOK {
				assert.NotContains(t, body, jpeg)
				assert.NotContains(t, body, media)
				assert.NotContains(t, body, "secret")
				assert.Empty(t, resp.Header.Get("ETag"))
			}
		})
	}
}

package models_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
)

// server serves one file and can misbehave.
type server struct {
	*httptest.Server
	body     []byte
	cuts     []int // bytes after which the next answers are cut; consumed
	noRange  bool
	etag     string
	requests atomic.Int32
	ranges   atomic.Int32
}

func newServer(t *testing.T, body []byte) *server {
	t.Helper()
	s := &server{body: body, etag: `"v1"`}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := int(s.requests.Add(1))
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	if s.noRange {
		r.Header.Del("Range")
	}
	if r.Header.Get("Range") != "" {
		s.ranges.Add(1)
	}
	if n <= len(s.cuts) {
		w = &cutWriter{ResponseWriter: w, left: s.cuts[n-1]}
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.body))
}

// cutWriter breaks the connection after some bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	k, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= k; c.left == 0 && err == nil {
		if f, ok := c.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		panic(http.ErrAbortHandler)
	}
	return k, err
}

func payload(n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(b)
	return b
}

// catalogue returns one with the model "mine" whose file is body.
func catalogue(t *testing.T, address string, body []byte) (c *models.Catalogue, dir string) {
	t.Helper()
	dir = t.TempDir()
	sum := sha256.Sum256(body)
	text := strings.Replace(minimal, "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d", hex.EncodeToString(sum[:]), 1) +
		fmt.Sprintf("bytes: %d\n", len(body))
	text = strings.Replace(text, "mine.onnx", "mine_m.onnx", 1)
	if address != "" {
		text += "url: " + address + "/mine_m.onnx\n"
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine.yaml"), []byte(text), 0o600))
	c, err := models.Open(dir)
	require.NoError(t, err)
	return c, dir
}

func quick(s *server) models.Config {
	return models.Config{Client: s.Client(), Backoff: time.Millisecond, Attempts: 3}
}

func leftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") && e.Name() != "mine.yaml" {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestPull(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1<<20))
	c, dir := catalogue(t, s.URL, s.body)
	var last, total int64
	cfg := quick(s)
	cfg.Progress = func(d, n int64) { last, total = d, n }
	path, err := c.Pull(t.Context(), "mine", cfg)
	require.NoError(t, err)
	require.NoError(t, c.Verify("mine"))
	require.Equal(t, filepath.Join(dir, "mine_m.onnx"), path)
	require.Equal(t, int64(1<<20), last)
	require.Equal(t, last, total)
	require.Equal(t, []string{"mine_m.onnx"}, leftovers(t, dir), "no partial file stays")

	_, err = c.Pull(t.Context(), "mine", cfg)
	require.NoError(t, err)
	require.Equal(t, int32(1), s.requests.Load(), "a file that is there is not asked for")
}

func TestPullResumes(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1<<20))
	s.cuts = []int{300_000, 200_000, 100, 1}
	c, dir := catalogue(t, s.URL, s.body)
	_, err := c.Pull(t.Context(), "mine", quick(s))
	require.NoError(t, err)
	assert.Equal(t, int32(5), s.requests.Load())
	assert.Equal(t, int32(4), s.ranges.Load(), "every later request continues")
	assert.Equal(t, []string{"mine_m.onnx"}, leftovers(t, dir))
}

func TestPullResumesInTheNextCall(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1<<20))
	s.cuts = []int{400_000}
	c, dir := catalogue(t, s.URL, s.body)
	ctx, cancel := context.WithCancel(t.Context())
	cfg := quick(s)
	cfg.Backoff = time.Hour
	cfg.Progress = func(d, _ int64) {
		if d >= 400_000 {
			cancel()
		}
	}
	_, err := c.Pull(ctx, "mine", cfg)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "run it again to continue")
	require.NoFileExists(t, filepath.Join(dir, "mine_m.onnx"))
	require.FileExists(t, filepath.Join(dir, ".mine_m.onnx.part"))

	_, err = c.Pull(t.Context(), "mine", quick(s))
	require.NoError(t, err)
	require.Equal(t, int32(1), s.ranges.Load())
}

func TestPullStartsOverWhenTheFileChanged(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1<<20))
	c, dir := catalogue(t, s.URL, s.body)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".mine_m.onnx.part"), []byte("old content"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".mine_m.onnx.part.tag"), []byte(`"v0"`), 0o600))
	_, err := c.Pull(t.Context(), "mine", quick(s))
	require.NoError(t, err, "If-Range makes the server send everything")
	require.Equal(t, int32(1), s.requests.Load())
}

func TestPullWithoutRanges(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1<<20))
	s.noRange, s.cuts = true, []int{500_000}
	c, _ := catalogue(t, s.URL, s.body)
	_, err := c.Pull(t.Context(), "mine", quick(s))
	require.NoError(t, err)
	require.Equal(t, int32(2), s.requests.Load())
}

func TestPullWithoutValidatorStartsOver(t *testing.T) {
	t.Parallel()
	for _, etag := range []string{"", `W/"weak"`} {
		s := newServer(t, payload(1<<20))
		s.etag, s.cuts = etag, []int{500_000}
		c, _ := catalogue(t, s.URL, s.body)
		_, err := c.Pull(t.Context(), "mine", quick(s))
		require.NoError(t, err)
		require.Zero(t, s.ranges.Load())
	}
}

func TestPullRefuses(t *testing.T) {
	t.Parallel()
	good := payload(100_000)
	other := bytes.Clone(good)
	other[50_000] ^= 1
	for name, c := range map[string]struct {
		body     []byte
		status   int
		want     string
		requests int32
	}{
		"wrong checksum": {body: other, want: "not the pinned file", requests: 1},
		"too long":       {body: append(bytes.Clone(good), 0), want: "expected are at most 100000", requests: 1},
		"truncated":      {body: good[:99_999], want: "ended after 99999 of 100000 bytes", requests: 3},
		"empty":          {body: nil, want: "ended after 0 of 100000", requests: 3},
		"not found":      {status: 404, want: "404", requests: 1},
		"forbidden":      {status: 403, want: "403", requests: 1},
		"overloaded":     {status: 503, want: "503", requests: 3},
		"too many":       {status: 429, want: "429", requests: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, c.body)
			if c.status != 0 {
				s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					s.requests.Add(1)
					w.WriteHeader(c.status)
				})
			}
			cat, dir := catalogue(t, s.URL, good)
			_, err := cat.Pull(t.Context(), "mine", quick(s))
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "pull model mine")
			require.Equal(t, c.requests, s.requests.Load(), "%v", err)
			require.NoFileExists(t, filepath.Join(dir, "mine_m.onnx"))
		})
	}
}

func TestPullChunkedTooLong(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil { // endless, without a length
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	c, dir := catalogue(t, s.URL, payload(100_000))
	_, err := c.Pull(t.Context(), "mine", quick(s))
	require.ErrorContains(t, err, "expected are at most 100000")
	require.Empty(t, leftovers(t, dir))
}

func TestPullStall(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	c, _ := catalogue(t, s.URL, payload(1000))
	cfg := quick(s)
	cfg.Stall, cfg.Attempts = 50*time.Millisecond, 2
	_, err := c.Pull(t.Context(), "mine", cfg)
	require.ErrorContains(t, err, "sent nothing for 50ms")
}

func TestPullMirrors(t *testing.T) {
	t.Parallel()
	body := payload(50_000)
	t.Run("folder, other spelling", func(t *testing.T) {
		t.Parallel()
		mirror := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(mirror, "mine-m.onnx"), body, 0o600))
		c, _ := catalogue(t, "", body)
		_, err := c.Pull(t.Context(), "mine", models.Config{Mirrors: []string{t.TempDir(), mirror}})
		require.NoError(t, err)
		require.NoError(t, c.Verify("mine"))
	})
	t.Run("damaged folder, then address", func(t *testing.T) {
		t.Parallel()
		mirror := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(mirror, "mine_m.onnx"), []byte("x"), 0o600))
		s := newServer(t, body)
		c, _ := catalogue(t, s.URL, body)
		cfg := quick(s)
		cfg.Mirrors = []string{mirror}
		_, err := c.Pull(t.Context(), "mine", cfg)
		require.NoError(t, err)
	})
	t.Run("address with a password", func(t *testing.T) {
		t.Parallel()
		s := newServer(t, nil)
		s.Config.Handler = http.NotFoundHandler()
		c, _ := catalogue(t, "", body)
		cfg := quick(s)
		cfg.Mirrors = []string{strings.Replace(s.URL, "://", "://u:geheim@", 1) + "/m/"}
		_, err := c.Pull(t.Context(), "mine", cfg)
		require.ErrorContains(t, err, "404")
		require.NotContains(t, err.Error(), "geheim")
	})
	t.Run("no address at all", func(t *testing.T) {
		t.Parallel()
		c, dir := catalogue(t, "", body)
		_, err := c.Pull(t.Context(), "mine", models.Config{})
		require.ErrorContains(t, err, "put its file at "+filepath.Join(dir, "mine_m.onnx"))
	})
}

func TestPullUnreachable(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	c, _ := catalogue(t, s.URL, payload(10))
	s.Close()
	_, err := c.Pull(t.Context(), "mine", quick(s))
	require.ErrorContains(t, err, "refused")
	require.Equal(t, 1, strings.Count(err.Error(), s.URL), "%v", err)
}

func TestPullDiskErrors(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1000))
	t.Run("a file where the folder should be", func(t *testing.T) {
		t.Parallel()
		f := filepath.Join(t.TempDir(), "models")
		require.NoError(t, os.WriteFile(f, nil, 0o600))
		c, err := models.Builtin(f)
		require.NoError(t, err)
		_, err = c.Pull(t.Context(), models.Default, quick(s))
		require.ErrorContains(t, err, "not a directory")
	})
	t.Run("partial file cannot be written", func(t *testing.T) {
		t.Parallel()
		c, dir := catalogue(t, s.URL, s.body)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, ".mine_m.onnx.part", "x"), 0o700))
		_, err := c.Pull(t.Context(), "mine", quick(s))
		require.ErrorContains(t, err, "write to disk")
	})
	t.Run("disk full", func(t *testing.T) {
		t.Parallel()
		c, dir := catalogue(t, s.URL, s.body)
		require.NoError(t, os.Symlink("/dev/full", filepath.Join(dir, ".mine_m.onnx.part")))
		_, err := c.Pull(t.Context(), "mine", quick(s))
		require.ErrorContains(t, err, "write to disk")
	})
}

func TestPullOneAtATime(t *testing.T) {
	t.Parallel()
	s := newServer(t, payload(1000))
	c, dir := catalogue(t, s.URL, s.body)
	f, err := os.Create(filepath.Join(dir, ".mine_m.onnx.lock"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	_, err = c.Pull(t.Context(), "mine", quick(s))
	require.ErrorContains(t, err, "another process is downloading it")
}

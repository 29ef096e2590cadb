package webhook_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/webhook"
)

const receivers = "../../deploy/receivers/"

// TestReceivers runs each example against the real sender.
func TestReceivers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		needs   string
		command func(t *testing.T, port string) []string
	}{
		"go": {"go", func(t *testing.T, _ string) []string {
			t.Helper()
			bin := filepath.Join(t.TempDir(), "receiver")
			out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, receivers+"go").CombinedOutput()
			require.NoError(t, err, "%s", out)
			return []string{bin}
		}},
		"node":   {"node", func(*testing.T, string) []string { return []string{"node", receivers + "node/receiver.mjs"} }},
		"python": {"python3", func(*testing.T, string) []string { return []string{"python3", receivers + "python/receiver.py"} }},
		"php": {"php", func(_ *testing.T, port string) []string {
			return []string{"php", "-S", "127.0.0.1:" + port, receivers + "php/receiver.php"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tt.needs); err != nil {
				t.Skipf("%s is not installed; deploy/setup.sh test installs what Debian has", tt.needs)
			}
			port := freePort(t)
			file := filepath.Join(t.TempDir(), "events.jsonl")
			long := `{"webhook_id": "long", "body": "` + strings.Repeat("«sân chợ»", 10_000) + "\"}\n"
			const half = `{"webhook_id": "half", "bo`
			require.NoError(t, os.WriteFile(file, []byte(long+half), 0o600)) // the power went while it was written
			args := tt.command(t, port)
			old, oldText, err := newSecret("v1", time.Now())
			require.NoError(t, err)
			fresh, freshText, err := newSecret("v1", time.Now())
			require.NoError(t, err)
			start := func() (stop func()) {
				return startReceiver(t, args, port, []string{"WEBHOOK_SECRET=" + oldText + " " + freshText, "PORT=" + port, "EVENTS_FILE=" + file})
			}
			stop := start()
			e := allowed(t, "http://127.0.0.1:"+port+"/")
			d := deliverer(t)
			for i, secrets := range [][]outbox.Secret{{old}, {old, fresh}, {fresh}} {
				e.Secrets = secrets
				m := message()
				m.ID = "m" + strconv.Itoa(i)
				m.Event.Why.VI = "Một người ở trong vùng «sân chợ»."
				for range 2 { // the second is a duplicate
					r := d.Deliver(t.Context(), e, m)
					require.NoError(t, r.Err)
					assert.Equal(t, 204, r.Status)
				}
			}
			stranger, _, err := newSecret("v1", time.Now())
			require.NoError(t, err)
			e.Secrets = []outbox.Secret{stranger}
			assert.Equal(t, 401, d.Deliver(t.Context(), e, message()).Status)
			for _, at := range []time.Time{time.Now().Add(-6 * time.Minute), time.Now().Add(6 * time.Minute)} {
				assert.Equal(t, 401, postRaw(t, e.URL, headers(t, []outbox.Secret{fresh}, "late", at, "{}"), "{}"))
			}
			good := headers(t, []outbox.Secret{fresh}, "changed", time.Now(), "{}")
			assert.Equal(t, 401, postRaw(t, e.URL, good, `{"a":1}`))
			good.Set(webhook.HeaderSignature, "v1,")
			assert.Equal(t, 401, postRaw(t, e.URL, good, "{}"))
			good.Del(webhook.HeaderSignature)
			assert.Equal(t, 401, postRaw(t, e.URL, good, "{}"))
			stop()

			stop = start() // it remembers
			e.Secrets = []outbox.Secret{fresh}
			m := message()
			for _, id := range []string{"m1", "long"} {
				m.ID = id
				require.NoError(t, d.Deliver(t.Context(), e, m).Err)
			}
			stop()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var ids []string
			for line := range strings.Lines(string(text)) {
				var r struct {
					ID   string `json:"webhook_id"`
					Body string `json:"body"`
				}
				if line == half+"\n" {
					continue
				}
				require.NoError(t, json.Unmarshal([]byte(line), &r))
				assert.Contains(t, r.Body, "«sân chợ»")
				ids = append(ids, r.ID)
			}
			assert.Equal(t, []string{"long", "m0", "m1", "m2"}, ids)
		})
	}
}

func startReceiver(t *testing.T, args []string, port string, env []string) (stop func()) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	require.NoError(t, cmd.Start())
	var once sync.Once
	stop = func() {
		once.Do(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	t.Cleanup(stop)
	for range 200 {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			_ = c.Close()
			return stop
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	t.Fatalf("the receiver did not start: %s", out.String())
	return nil
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

func postRaw(t *testing.T, address string, h http.Header, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	require.NoError(t, err)
	req.Header = h
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestNodeLibraries: the reference libraries of Node verify and read what the
// sender posts.
func TestNodeLibraries(t *testing.T) {
	t.Parallel()
	dir := nodeLibraries(t)
	var mu sync.Mutex
	var lines bytes.Buffer
	secret, text, err := newSecret("v1", time.Now())
	require.NoError(t, err)
	asym, _, err := newSecret("v1a", time.Now())
	require.NoError(t, err)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		h := map[string]string{}
		for k := range r.Header {
			h[strings.ToLower(k)] = r.Header.Get(k)
		}
		mu.Lock()
		defer mu.Unlock()
		enc := json.NewEncoder(&lines)
		_ = enc.Encode(map[string]any{"secret": text, "headers": h, "body": string(b)})
		_ = enc.Encode(map[string]any{"secret": text, "headers": h, "body": string(b) + " "})
	}))
	t.Cleanup(s.Close)
	e := allowed(t, s.URL)
	e.Secrets, e.Signing = []outbox.Secret{secret, asym}, []string{"v1", "v1a"}
	d := deliverer(t)
	m := message()
	m.Event.Why = events.Text{VI: "Một người ở trong vùng.", EN: "A person."}
	require.NoError(t, d.Deliver(t.Context(), e, m).Err)
	require.NoError(t, d.Heartbeat(t.Context(), e, "heartbeat-1", outbox.Heartbeat{At: time.Now()}).Err)
	require.NoError(t, d.Test(t.Context(), e, "test-1").Err)

	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "interop.mjs"))
	cmd.Stdin = &lines
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	type answer struct {
		Verified bool   `json:"verified"`
		Type     string `json:"type"`
		ID       string `json:"id"`
		Kind     string `json:"kind"`
		Error    string `json:"error"`
	}
	var got []answer
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var a answer
		require.NoError(t, dec.Decode(&a), "%s", out)
		got = append(got, a)
	}
	require.Len(t, got, 6)
	assert.Equal(t, answer{true, "vn.xacam.event.raised", m.ID, "intrusion", ""}, got[0])
	assert.Equal(t, answer{true, "vn.xacam.heartbeat", "heartbeat-1", "", ""}, got[2])
	assert.Equal(t, answer{true, "vn.xacam.test", "test-1", "test", ""}, got[4])
	for _, i := range []int{1, 3, 5} {
		assert.False(t, got[i].Verified, "one byte more")
	}
}

// nodeLibraries returns a folder with interop.mjs beside the libraries.
func nodeLibraries(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("node is not installed")
	}
	dir := t.TempDir()
	for _, name := range []string{"interop.mjs", "package.json", "package-lock.json"} {
		b, err := os.ReadFile(receivers + "node/" + name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	cached, err := filepath.Abs("../../.cache/receivers/node_modules")
	require.NoError(t, err)
	lock, err := os.ReadFile("../../.cache/receivers/installed.json")
	if want, _ := os.ReadFile(filepath.Join(dir, "package-lock.json")); err == nil && bytes.Equal(lock, want) {
		require.NoError(t, os.Symlink(cached, filepath.Join(dir, "node_modules")))
		return dir
	}
	out, err := exec.CommandContext(t.Context(), "npm", "ci", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund").CombinedOutput()
	if err != nil {
		t.Skipf("the libraries of Node are not there and npm cannot fetch them; deploy/setup.sh test does: %s", out)
	}
	return dir
}

// TestScripts: openssl verifies a stored webhook, and the feed is pulled page by
// page, from where it was.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"openssl", "curl", "bash", "flock"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
		return p
	}
	s, text, err := newSecret("v1", time.Now())
	require.NoError(t, err)
	other, _, err := newSecret("v1", time.Now())
	require.NoError(t, err)
	h := headers(t, []outbox.Secret{other, s}, "m1", time.Now(), "chợ\n")
	verify := func(body string) error {
		return exec.CommandContext(t.Context(), receivers+"curl/verify.sh", write("secret", text+"\n"), "m1", h.Get(webhook.HeaderTimestamp),
			h.Get(webhook.HeaderSignature), write("body", body)).Run()
	}
	require.NoError(t, verify("chợ\n"))
	require.Error(t, verify("chợ"))

	var mu sync.Mutex
	last := 1200
	var asked []string
	seen := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
	server, _ := receive(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Query().Get("after"))
		if r.Header.Get("Authorization") != "Bearer xfk_1" || r.URL.Path != "/api/v1/feed" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		next := min(after+500, last)
		_ = json.NewEncoder(w).Encode(map[string]any{"items": []any{}, "next": next, "last": last})
	})
	pull := func(key string) error {
		return exec.CommandContext(t.Context(), receivers+"curl/pull.sh", server.URL, write("key", key), filepath.Join(dir, "feed")).Run()
	}
	require.NoError(t, pull("xfk_1\n"))
	assert.Equal(t, []string{"0", "500", "1000"}, seen())
	require.NoError(t, pull("xfk_1\n"))
	mu.Lock()
	last = 1201
	mu.Unlock()
	require.NoError(t, pull("xfk_1\n"))
	assert.Equal(t, []string{"0", "500", "1000", "1200", "1200"}, seen())
	require.Error(t, pull("wrong"))
	files, err := filepath.Glob(filepath.Join(dir, "feed", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	next, err := os.ReadFile(filepath.Join(dir, "feed", "next"))
	require.NoError(t, err)
	assert.Equal(t, "1201\n", string(next))
}

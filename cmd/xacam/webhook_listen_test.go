package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/webhook"
)

// webhookBench is a listener and an endpoint that leads to it.
type webhookBench struct {
	l   *listener
	url string
	out *bytes.Buffer
	d   *webhook.Deliverer
	e   outbox.Endpoint
}

func newWebhookBench(t *testing.T, scheme string, change func(*listenConfig)) *webhookBench {
	t.Helper()
	secret := outbox.NewSecret(scheme, time.Now())
	shown := secret.Text()
	cfg := listenConfig{lang: "vi"}
	if scheme == "v1" {
		cfg.keys = []string{shown}
	} else {
		cfg.public = []string{shown}
	}
	if change != nil {
		change(&cfg)
	}
	b := &webhookBench{out: &bytes.Buffer{}, d: webhook.New(webhook.Config{})}
	var err error
	b.l, err = newListener(cfg, b.out)
	require.NoError(t, err)
	s := httptest.NewServer(b.l)
	t.Cleanup(func() { _ = b.d.Close(); s.Close() })
	b.url = s.URL
	b.e = outbox.Endpoint{
		Name: "ioc", URL: s.URL + "/hook", Timeout: time.Second, Secrets: []outbox.Secret{secret}, Signing: []string{scheme},
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	return b
}

func webhookMessage(n int) outbox.Message {
	at := time.Date(2026, 11, 23, 15, 14, n, 0, time.UTC)
	key := events.Key{Source: "cong-cho", Kind: "intrusion"}
	e := events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh, OccurredAt: at, Sequence: int64(n),
		Source: events.Source{Type: "camera", ID: key.Source, Name: "Cổng chợ"}, Workflow: events.Workflow{State: "new"},
		Why: events.Text{VI: "Một người\x1b[31m ở trong vùng.", EN: "A person is in the zone."},
	}
	return outbox.Message{ID: e.ID + "-raised", Sequence: int64(n), Step: events.StepRaised, Event: e}
}

func (b *webhookBench) stats(t *testing.T) listenStats {
	t.Helper()
	resp, err := http.Get(b.url + "/stats")
	require.NoError(t, err)
	defer resp.Body.Close()
	var s listenStats
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&s))
	return s
}

func (b *webhookBench) control(t *testing.T, body string) int {
	t.Helper()
	resp, err := http.Post(b.url+"/control", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestWebhookListen: every format is verified and shown, once.
func TestWebhookListen(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"v1", "v1a"} {
		b := newWebhookBench(t, scheme, nil)
		for i, f := range outbox.Formats() {
			b.e.Format = f
			m := webhookMessage(i + 1)
			for range 2 {
				require.NoError(t, b.d.Deliver(t.Context(), b.e, m).Err)
			}
		}
		require.NoError(t, b.d.Heartbeat(t.Context(), b.e, "heartbeat-1", outbox.Heartbeat{At: time.Now()}).Err)
		s := b.stats(t)
		assert.Equal(t, int64(5), s.Accepted)
		assert.Equal(t, int64(4), s.Duplicates)
		assert.Equal(t, int64(2), s.Types["event.raised"])
		assert.Equal(t, int64(1), s.Types["cap.Alert.Actual"])
		assert.Equal(t, int64(1), s.Types["ngsi.raised"])
		lines := strings.Split(strings.TrimSpace(b.out.String()), "\n")
		require.Len(t, lines, 5)
		assert.Contains(t, lines[0], "event.raised     high     #1 intrusion · Cổng chợ · Một người [31m ở trong vùng.")

		other := outbox.NewSecret("v1", time.Now()).Text()
		wrong := b.e
		wrong.Secrets = []outbox.Secret{mustSecret(t, other)}
		wrong.Signing = []string{"v1"}
		r := b.d.Deliver(t.Context(), wrong, webhookMessage(9))
		assert.Equal(t, 401, r.Status)
		assert.Equal(t, int64(1), b.stats(t).Refused)
	}
}

func mustSecret(t *testing.T, text string) outbox.Secret {
	t.Helper()
	s, err := outbox.ParseSecret(text, time.Now())
	require.NoError(t, err)
	return s
}

// TestWebhookListenFaults: each fault, by flag and at run time.
func TestWebhookListenFaults(t *testing.T) {
	t.Parallel()
	b := newWebhookBench(t, "v1", func(c *listenConfig) { c.fail, c.status, c.after = "2", 503, "60" })
	n := 0
	deliver := func() outbox.Result { n++; return b.d.Deliver(t.Context(), b.e, webhookMessage(n)) }
	for range 2 {
		r := deliver()
		assert.Equal(t, 503, r.Status)
		assert.Equal(t, time.Minute, r.RetryAfter)
	}
	require.NoError(t, deliver().Err)
	for mode, status := range map[string]int{`{"mode":"410"}`: 410, `{"mode":"429","retry_after":"7"}`: 429, `{"mode":"fail"}`: 500, `{"mode":"fail","status":302}`: 302, `{"mode":"drop"}`: 0} {
		require.Equal(t, 200, b.control(t, mode))
		assert.Equal(t, status, deliver().Status, mode)
	}
	require.Equal(t, 200, b.control(t, `{"mode":"stall","seconds":30}`))
	before := time.Now()
	assert.Zero(t, deliver().Status)
	assert.InDelta(t, 1, time.Since(before).Seconds(), .5)
	require.Equal(t, 200, b.control(t, `{"mode":"ok"}`))
	require.NoError(t, deliver().Err)
	for _, bad := range []string{`{`, `{"mode":"no"}`, `{"mode":"99"}`, `{"mode":"fail","rate":2}`, `{"mode":"ok","x":1}`, `{"mode":"stall","seconds":-1}`} {
		assert.Equal(t, 400, b.control(t, bad), bad)
	}
	assert.GreaterOrEqual(t, b.stats(t).Failed, int64(8)) // net/http may try a dropped connection again

	// Nobody but this machine, and no page in a browser, switches it.
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Host = "evil.example" }, func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" },
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/control", strings.NewReader(`{"mode":"410"}`))
		req.RemoteAddr = "127.0.0.1:1"
		change(req)
		w := httptest.NewRecorder()
		b.l.ServeHTTP(w, req)
		assert.Equal(t, 403, w.Code)
	}
}

// TestWebhookListenStore: what was answered is in the file, also after a crash
// in the middle of a line.
func TestWebhookListenStore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "events.jsonl")
	b := newWebhookBench(t, "v1", func(c *listenConfig) { c.store, c.json = path, true })
	for i := range 3 {
		require.NoError(t, b.d.Deliver(t.Context(), b.e, webhookMessage(i)).Err)
	}
	require.NoError(t, b.l.store.Close())
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"webhook_id":"half`)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	again := newWebhookBench(t, "v1", func(c *listenConfig) { c.store = path })
	for i := range 4 {
		require.NoError(t, again.d.Deliver(t.Context(), again.e, webhookMessage(i)).Err)
	}
	s := again.stats(t)
	assert.Equal(t, int64(1), s.Accepted)
	assert.Equal(t, int64(3), s.Duplicates)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, lines, 4)
	for _, line := range lines {
		assert.True(t, json.Valid([]byte(line)), line)
	}
	assert.Len(t, strings.Split(strings.TrimSpace(b.out.String()), "\n"), 3)
	require.NoError(t, again.l.store.Close())
}

func TestWebhookListenUsage(t *testing.T) {
	t.Parallel()
	secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, args := range [][]string{
		{},
		{"--secret", "x"},
		{"--secret", "whsec_AA=="},
		{"--public-key", secret},
		{"--secret", secret, "--lang", "fr"},
		{"--secret", secret, "--fail", "x"},
		{"--secret", secret, "--fail", "1.5"},
		{"--secret", secret, "--status", "99"},
		{"--secret", secret, "--stall", "-1s"},
		{"--secret", secret, "more"},
	} {
		var out, errs bytes.Buffer
		assert.Equal(t, exitUsage, execute(t.Context(), append([]string{"webhook", "listen"}, args...), nil, &out, &errs), "%v: %s", args, errs.String())
		assert.NotContains(t, errs.String(), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var out, errs bytes.Buffer
	assert.Equal(t, exitOK, execute(ctx, []string{"webhook", "listen", "--listen", "127.0.0.1:0", "--secret", secret}, nil, &out, &errs), errs.String())
	assert.Contains(t, errs.String(), "receiving on http://127.0.0.1:")
}

// fullDisk takes so many bytes, and no more.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.Buffer.Write(p[:n])
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

// TestAppendLine: what follows a line that was written in part is a line of its own.
func TestAppendLine(t *testing.T) {
	t.Parallel()
	d, torn := &fullDisk{room: 5}, false
	require.NoError(t, appendLine(d, []byte("one"), &torn))
	require.Error(t, appendLine(d, []byte("two"), &torn))
	require.Error(t, appendLine(d, []byte("two"), &torn), "nothing fits, and what is torn stays so")
	d.room = 100
	require.NoError(t, appendLine(d, []byte("two"), &torn))
	require.NoError(t, appendLine(d, []byte("three"), &torn))
	assert.Equal(t, "one\nt\ntwo\nthree\n", d.String())
}

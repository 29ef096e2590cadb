package webhook_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deliverer(tb testing.TB) *webhook.Deliverer {
	tb.Helper()
	d := webhook.New(webhook.Config{UserAgent: "xacam/test"})
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

// TestPost: what a receiver gets can be verified and says what it is.
func TestPost(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []http.Header
	var verified error
	secret, text, err := newSecret("v1", time.Now())
	require.NoError(t, err)
	v, err := webhook.NewVerifier(text)
	require.NoError(t, err)
	s, _ := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Clone())
		verified = v.Verify(r.Header, b, time.Now())
	})
	e := allowed(t, s.URL)
	e.Secrets = []outbox.Secret{secret}
	e.Headers = map[string]string{"Authorization": "Bearer abc"}
	d := deliverer(t)
	for _, f := range outbox.Formats() {
		e.Format = f
		require.NoError(t, d.Deliver(t.Context(), e, message()).Err)
		require.NoError(t, verified)
		require.NoError(t, d.Heartbeat(t.Context(), e, "heartbeat-1", outbox.Heartbeat{At: time.Now()}).Err)
		require.NoError(t, verified)
		require.NoError(t, d.Test(t.Context(), e, "test-1").Err)
		require.NoError(t, verified)
	}
	h := seen[0]
	assert.Equal(t, message().ID, h.Get("Webhook-Id"))
	assert.Equal(t, "Bearer abc", h.Get("Authorization"))
	assert.Equal(t, "application/cloudevents+json; charset=utf-8", h.Get("Content-Type"))
	assert.Equal(t, "xacam/test", h.Get("User-Agent"))
	assert.Empty(t, h.Get("Accept-Encoding"))

	e.Secrets = nil
	n := len(seen)
	require.Error(t, d.Deliver(t.Context(), e, message()).Err)
	assert.Len(t, seen, n, "nothing goes out unsigned")
}

// TestOutcomes: what each answer means.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	soon := time.Now().Add(2 * time.Hour)
	for name, tt := range map[string]struct {
		status  int
		after   string
		outcome outbox.Outcome
		wait    time.Duration
	}{
		"200": {200, "", outbox.Delivered, 0}, "202 with a pause": {202, "60", outbox.Delivered, 0}, "299": {299, "", outbox.Delivered, 0},
		"300": {300, "", outbox.Retry, 0}, "304": {304, "", outbox.Retry, 0}, "400": {400, "", outbox.Refused, 0},
		"401": {401, "", outbox.Retry, 0}, "403": {403, "", outbox.Retry, 0}, "404": {404, "", outbox.Retry, 0}, "405": {405, "", outbox.Retry, 0},
		"408": {408, "", outbox.Retry, 0}, "410": {410, "", outbox.Gone, 0}, "413": {413, "", outbox.Refused, 0}, "415": {415, "", outbox.Refused, 0},
		"422": {422, "", outbox.Refused, 0}, "425": {425, "", outbox.Retry, 0}, "429": {429, "", outbox.Retry, 0}, "500": {500, "", outbox.Retry, 0},
		"seconds":  {429, "120", outbox.Retry, 2 * time.Minute},
		"spaces":   {503, " 7 ", outbox.Retry, 7 * time.Second},
		"zero":     {503, "0", outbox.Retry, 0},
		"negative": {503, "-5", outbox.Retry, 0},
		"huge":     {429, "99999999999999999999", outbox.Retry, 24 * time.Hour},
		"two days": {429, "172800", outbox.Retry, 24 * time.Hour},
		"date":     {503, soon.UTC().Format(http.TimeFormat), outbox.Retry, 2 * time.Hour},
		"old date": {503, "Wed, 21 Oct 2015 07:28:00 GMT", outbox.Retry, 0},
		"far date": {503, "Fri, 31 Dec 9999 23:59:59 GMT", outbox.Retry, 24 * time.Hour},
		"nonsense": {503, "soon", outbox.Retry, 0},
		"fraction": {503, "1.5", outbox.Retry, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := receive(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.after != "" {
					w.Header().Set("Retry-After", tt.after)
				}
				w.WriteHeader(tt.status)
			})
			r := deliverer(t).Deliver(t.Context(), allowed(t, s.URL), message())
			assert.Equal(t, tt.outcome, r.Outcome)
			assert.Equal(t, tt.status, r.Status)
			assert.InDelta(t, tt.wait.Seconds(), r.RetryAfter.Seconds(), float64(len(tt.after))) // dates are longer, and time has passed
			assert.Equal(t, tt.outcome == outbox.Delivered, r.Err == nil)
		})
	}
}

// hostile are receivers that want to hold up or exhaust the sender. They write
// to the raw connection after the request was read.
func hostile() map[string]func(net.Conn) {
	endless := func(c net.Conn, head string, chunk []byte) {
		if _, err := io.WriteString(c, head); err != nil {
			return
		}
		for range 10 << 30 / max(1, len(chunk)) {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}
	big := make([]byte, 64<<10)
	var packed bytes.Buffer // 16 MB in 16 kB; one after the other they are one stream
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(make([]byte, 16<<20))
	_ = z.Close()
	bomb := packed.Bytes()
	return map[string]func(net.Conn){
		"hangs": func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"10 GB": func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n", big) },
		"chunks": func(c net.Conn) {
			endless(c, "HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n", []byte("1\r\nx\r\n"))
		},
		"headers":  func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\n", []byte("X-A: "+strings.Repeat("a", 1000)+"\r\n")) },
		"one line": func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\nX: ", big) },
		"100s":     func(c net.Conn) { endless(c, "", []byte("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")) },
		"gzip bomb": func(c net.Conn) {
			endless(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n", bomb)
		},
		"trickle": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
			for range 1000 {
				if _, err := c.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		},
		"slow headers": func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		},
		"garbage":  func(c net.Conn) { _, _ = c.Write([]byte("\x16\x03\x01 what?\r\n\r\n")) },
		"hangs up": func(net.Conn) {},
		"two heads": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx")
		},
	}
}

// raw serves connections with f once the request was read.
func raw(tb testing.TB, f func(net.Conn)) (address string, open *atomic.Int64) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	var wg sync.WaitGroup
	var n atomic.Int64
	var mu sync.Mutex
	var all []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			wg.Go(func() {
				defer n.Add(-1)
				defer c.Close()
				req, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, req.Body)
				f(c)
			})
		}
	})
	tb.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range all {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "http://" + l.Addr().String() + "/", &n
}

// TestHostile: an attempt ends in time, keeps little, and drops the connection
// of who sends without end.
func TestHostile(t *testing.T) {
	t.Parallel()
	for name, f := range hostile() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, open := raw(t, f)
			e := allowed(t, address)
			e.Timeout = 1500 * time.Millisecond
			before := time.Now()
			r := deliverer(t).Deliver(t.Context(), e, message())
			took := time.Since(before)
			assert.Less(t, took, 3*time.Second)
			assert.LessOrEqual(t, len(r.Excerpt), 1024)
			assert.True(t, utf8.ValidString(r.Excerpt))
			switch name {
			case "10 GB", "trickle", "gzip bomb":
				assert.Equal(t, outbox.Delivered, r.Outcome, "it said 200 before: %v", r.Err)
			default:
				assert.Equal(t, outbox.Retry, r.Outcome)
				require.Error(t, r.Err)
			}
			require.Eventually(t, func() bool { return open.Load() == 0 }, 2*time.Second, 10*time.Millisecond, "the connection is dropped")
			t.Logf("%s after %s: status %d, %v", r.Outcome, took.Round(time.Millisecond), r.Status, r.Err)
		})
	}
}

// TestExcerpt: what is kept of an answer can be shown, and holds no secret.
func TestExcerpt(t *testing.T) {
	t.Parallel()
	secret, text, err := newSecret("v1", time.Now())
	require.NoError(t, err)
	answer := "Không hợp lệ\x00\x1b[31m\u202e\xff " + text + " Bearer abc123 " + string(secret.Key) +
		" token is abcdefgh, you are ward31615 with hunter2hunter2, at verysecret or very%2Dsecret or very-secret " + strings.Repeat("ế", 2000)
	s, _ := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, answer)
	})
	e := allowed(t, s.URL+"/?token=verysecret&b=very%2Dsecret")
	e.Secrets = []outbox.Secret{secret}
	e.Headers = map[string]string{
		"Authorization": "Bearer abc123", "X-Token": "Token abcdefgh",
		"X-Basic": "Basic " + base64.StdEncoding.EncodeToString([]byte("ward31615:hunter2hunter2")),
	}
	r := deliverer(t).Deliver(t.Context(), e, message())
	assert.Equal(t, outbox.Refused, r.Outcome)
	assert.True(t, strings.HasPrefix(r.Excerpt, "Không hợp lệ"))
	assert.LessOrEqual(t, len(r.Excerpt), 1024)
	assert.True(t, utf8.ValidString(r.Excerpt))
	assert.NotContains(t, r.Excerpt, strings.TrimPrefix(text, "whsec_"))
	for _, s := range []string{"abc123", "abcdefgh", "ward31615", "hunter2", "verysecret", "very%2Dsecret", "very-secret"} {
		assert.NotContains(t, r.Excerpt, s)
	}
	assert.NotContains(t, r.Excerpt, "\x1b")
	assert.NotContains(t, r.Excerpt, "\u202e")
	s.Close()
	r = deliverer(t).Deliver(t.Context(), e, message())
	require.Error(t, r.Err)
	assert.NotContains(t, r.Err.Error(), "verysecret")
}

// TestTLS: certificates are checked, old versions refused, a private CA works.
func TestTLS(t *testing.T) {
	t.Parallel()
	serve := func(change func(*httptest.Server)) *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Proto", r.Proto)
			_, _ = io.WriteString(w, r.Proto)
		}))
		s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		s.EnableHTTP2 = true
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		change(s)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	s := serve(func(*httptest.Server) {})
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	e := allowed(t, s.URL)
	e.Timeout = 30 * time.Second // a handshake may take long on a busy machine
	d := deliverer(t)
	r := d.Deliver(t.Context(), e, message())
	require.ErrorContains(t, r.Err, "certificate")
	assert.True(t, r.Sent.IsZero(), "nothing was said to a stranger")
	e.CA = ca
	r = d.Deliver(t.Context(), e, message())
	require.NoError(t, r.Err)
	assert.Equal(t, "HTTP/2.0", r.Excerpt)

	old := serve(func(s *httptest.Server) {
		s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	})
	e.URL = old.URL
	require.Error(t, d.Deliver(t.Context(), e, message()).Err)
	e.URL = strings.Replace(s.URL, "127.0.0.1", "127.0.0.2", 1) // not in the certificate, and not listening
	require.Error(t, d.Deliver(t.Context(), e, message()).Err)
	e.CA = "x"
	require.Error(t, d.Deliver(t.Context(), e, message()).Err)
}

// TestReuse: one connection serves many messages.
func TestReuse(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	conns := map[string]bool{}
	s, _ := receive(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		conns[r.RemoteAddr] = true
		mu.Unlock()
		_, _ = io.WriteString(w, strings.Repeat("ok", 1000))
	})
	d, e := deliverer(t), allowed(t, s.URL)
	for range 50 {
		require.NoError(t, d.Deliver(t.Context(), e, message()).Err)
	}
	assert.Len(t, conns, 1)
}

// TestCancel: an attempt ends with its context.
func TestCancel(t *testing.T) {
	t.Parallel()
	address, _ := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	e := allowed(t, address)
	e.Timeout = 30 * time.Second
	before := time.Now()
	r := deliverer(t).Deliver(ctx, e, message())
	assert.Less(t, time.Since(before), 2*time.Second)
	assert.Equal(t, outbox.Retry, r.Outcome)
}

func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("at a time %d", n), func(b *testing.B) {
			s, _ := receive(b, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusNoContent)
			})
			d, e, m := deliverer(b), allowed(b, s.URL), message()
			e.Concurrency = n
			b.ReportAllocs()
			b.ResetTimer()
			work := make(chan struct{})
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					for range work {
						if r := d.Deliver(b.Context(), e, m); r.Err != nil {
							b.Error(r.Err)
						}
					}
				})
			}
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

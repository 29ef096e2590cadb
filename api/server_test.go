package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

func TestEveryRouteIsInTheContract(t *testing.T) {
	t.Parallel()
	s, err := New(testConfig(t, newMemLog()))
	require.NoError(t, err)
	var routes, documented []string
	for _, r := range s.engine.Routes() {
		routes = append(routes, r.Method+" "+regexp.MustCompile(`:(\w+)`).ReplaceAllString(r.Path, "{$1}"))
	}
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(t, err)
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	assert.ElementsMatch(t, documented, routes)
}

// TestContractListsParameters holds the query parser against the document.
func TestContractListsParameters(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(t, err)
	for path, want := range map[string][]string{
		pathEvents: listParams(), pathStream: streamParams(), pathCounts: countParams(),
		pathAudit: auditParams(), pathStats: statsParams(), pathFeed: feedParams(), "/api/v1/feed/keys/{name}": revokeParams(),
	} {
		item := doc.Paths.Find(path)
		op := item.Get
		if op == nil {
			op = item.Delete
		}
		var got []string
		for _, p := range op.Parameters {
			if p.Value.In == "query" {
				got = append(got, p.Value.Name)
			}
		}
		assert.ElementsMatch(t, want, got, path)
	}
}

func TestOperation(t *testing.T) {
	t.Parallel()
	p := serve(t, testConfig(t, newMemLog()))
	for _, tt := range []struct {
		name, method, path string
		status             int
		contains           string
	}{
		{"index", "GET", "/", 200, `"openapi":"/api/v1/openapi.yaml"`},
		{"contract", "GET", "/api/v1/openapi.yaml", 200, "openapi: 3.0.3"},
		{"alive", "GET", "/healthz", 200, `{"status":"ok"}`},
		{"alive, head", "HEAD", "/healthz", 200, ""},
		{"metrics", "GET", "/metrics", 200, `xacam_api_requests_total{route="/api/v1/events/:id",status="5xx"} 0`},
		{"metrics of other", "GET", "/metrics", 200, `xacam_api_requests_total{route="other",status="4xx"}`},
		{"metrics of streams", "GET", "/metrics", 200, `xacam_api_stream_ends_total{reason="slow"} 0`},
		{"unknown", "GET", "/api/v1/nope", 404, "/api/v1/openapi.yaml"},
		{"trailing slash", "GET", "/api/v1/events/", 404, "no such address"},
		{"dots", "GET", "/api/v1/../../etc/passwd", 404, "no such address"},
		{"post", "POST", "/api/v1/events", 405, "only answers to GET"},
		{"delete", "DELETE", "/api/v1/cameras/a", 405, "only answers to GET"},
		{"head of the stream", "HEAD", "/api/v1/events/stream", 405, ""},
		{"get of an action", "GET", "/api/v1/events/x/close", 405, "only answers to POST"},
		{"put of the keys", "PUT", "/api/v1/feed/keys", 405, "only answers to"},
		{"odd method", "PROPFIND", "/healthz", 405, "only answers to GET"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := p.do(tt.method, tt.path)
			assert.Equal(t, tt.status, resp.StatusCode, body)
			assert.Contains(t, body, tt.contains)
			assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"))
			assert.Equal(t, "DENY", resp.Header.Get("X-Frame-Options"))
			assert.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"))
			assert.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "default-src 'none'")
			assert.Empty(t, resp.Header.Get("Access-Control-Allow-Origin"))
			if tt.status == http.StatusMethodNotAllowed {
				assert.Regexp(t, "^(GET|POST|GET, POST|POST, GET)$", resp.Header.Get("Allow"))
			}
		})
	}
}

func TestReady(t *testing.T) {
	t.Parallel()
	online := Camera{Slug: "a", Health: CameraHealth{State: CameraOnline}}
	offline := Camera{Slug: "b", Health: CameraHealth{State: CameraOffline}}
	spool := HealthPart{Name: "spool", Status: HealthDegraded, Detail: "12 events wait for the store", Values: map[string]int64{"depth": 12}}
	for _, tt := range []struct {
		name    string
		store   error
		hang    time.Duration
		cameras camList
		health  []HealthPart
		status  int
		overall HealthStatus
	}{
		{"all well", nil, 0, camList{list: []Camera{online}}, nil, 200, HealthOK},
		{"no cameras yet", nil, 0, camList{}, nil, 200, HealthOK},
		{"a camera away", nil, 0, camList{list: []Camera{online, offline}}, nil, 200, HealthDegraded},
		{"cameras unreadable", nil, 0, camList{err: events.ErrUnavailable}, nil, 200, HealthDegraded},
		{"spool fills", nil, 0, camList{}, []HealthPart{spool}, 200, HealthDegraded},
		{"store away", events.ErrUnavailable, 0, camList{list: []Camera{offline}}, []HealthPart{spool}, 503, HealthDown},
		{"store hangs", nil, time.Hour, camList{}, nil, 503, HealthDown},
		{"another part down", nil, 0, camList{}, []HealthPart{{Name: "disk", Status: HealthDown, Detail: "full"}}, 503, HealthDown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := newMemLog()
				log.err, log.sleep = tt.store, tt.hang
				cfg := testConfig(t, log)
				cfg.Listener, cfg.Cameras = newPipeListener(), tt.cameras
				cfg.Health = func(context.Context) []HealthPart { return slices.Clone(tt.health) }
				p := serve(t, cfg)
				start := time.Now()
				resp, body := p.get("/readyz")
				assert.Equal(t, tt.status, resp.StatusCode)
				assert.LessOrEqual(t, time.Since(start), readyTimeout)
				var got struct {
					Status HealthStatus `json:"status"`
					Parts  []HealthPart `json:"parts"`
				}
				require.NoError(t, json.Unmarshal([]byte(body), &got))
				assert.Equal(t, tt.overall, got.Status)
				assert.Len(t, got.Parts, 2+len(tt.health))
				alive, _ := p.get("/healthz")
				assert.Equal(t, http.StatusOK, alive.StatusCode, "the process lives in any case")
			})
		})
	}
}

func TestCameras(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 15, 0, 0, 5e6, time.UTC)
	list := []Camera{
		{Slug: "cong-cho", Name: "Cổng chợ", Hamlet: "an-thuong", Location: &Location{9.69, 106.16, 120, 70}, Health: CameraHealth{
			State: CameraOnline, Since: at, LastFrame: at.Add(time.Second), FPSIn: 12.5, FPSAnalysed: 5, Drops: 3,
			Codec: "h264", WidthPx: 1920, HeightPx: 1080, Model: "yolox-nano",
		}},
		{Slug: "duong-1", Health: CameraHealth{
			State: CameraOffline, LastError: "connect to rtsp://admin:p@ss/w:o#rd@10.0.0.9/main: no route to host", Retries: 4,
		}},
	}
	cfg := testConfig(t, newMemLog())
	cfg.Cameras = camList{list: list}
	p := serve(t, cfg)
	_, body := p.get("/api/v1/cameras")
	assert.NotContains(t, body, "ss/w")
	var got struct{ Items []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	require.Len(t, got.Items, 2)
	assert.JSONEq(t, `{"slug":"cong-cho","name":"Cổng chợ","hamlet":"an-thuong",
		"location":{"lat":9.69,"lon":106.16,"bearing":120,"fov":70},
		"health":{"state":"online","since":"2026-11-23T22:00:00.005+07:00","last_frame_at":"2026-11-23T22:00:01.005+07:00","fps_in":12.5,
		"fps_analysed":5,"drops":3,"codec":"h264","width":1920,"height":1080,"last_error":null,"model":"yolox-nano","retries":0}}`, string(got.Items[0]))
	resp, one := p.get("/api/v1/cameras/duong-1")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.JSONEq(t, string(got.Items[1]), one)
	assert.Contains(t, one, "connect to rtsp://10.0.0.9/main: no route to host")
	for _, slug := range []string{"nope", "a%00b", "..%2f..", "%ff"} {
		resp, _ := p.get("/api/v1/cameras/" + slug)
		assert.Equal(t, http.StatusNotFound, resp.StatusCode, slug)
	}
	cfg.Cameras = camList{err: events.ErrUnavailable}
	cfg.Registry, cfg.Listener = nil, nil
	resp, _ = serve(t, cfg).get("/api/v1/cameras")
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
}

func TestHost(t *testing.T) {
	t.Parallel()
	p := serve(t, testConfig(t, newMemLog()))
	custom := testConfig(t, newMemLog())
	custom.Hosts = []string{"xacam.local", "fe80::1"}
	other := serve(t, custom)
	for _, tt := range []struct {
		p    *peer
		host string
		want int
	}{
		{p, "localhost", 200},
		{p, "LOCALHOST:8080", 200},
		{p, "localhost.", 200},
		{p, "127.0.0.1:1", 200},
		{p, "[::1]", 200},
		{p, "[::1]:8080", 200},
		{p, "[0:0:0:0:0:0:0:1]:8080", 200},
		{p, "evil.example", 421},
		{p, "localhost.evil.example:8080", 421},
		{p, "127.0.0.1.evil.example", 421},
		{p, "127.0.0.2", 421},
		{p, "192.168.1.10", 421},
		{other, "xacam.local:80", 200},
		{other, "[fe80::1]:80", 200},
		{other, "localhost", 421},
	} {
		resp, body := tt.p.get("/healthz", "Host", tt.host)
		assert.Equal(t, tt.want, resp.StatusCode, "%s: %s", tt.host, body)
	}
	assert.False(t, hostAllowed("", []string{""}), "a request without a host is for nobody")
}

func TestLoopbackOnly(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:8080": "", "localhost:0": "", "[::1]:8080": "", "127.8.9.1:80": "", "[::ffff:127.0.0.1]:80": "",
		":8080": "no log-in yet", "0.0.0.0:8080": "no log-in yet", "[::]:80": "no log-in yet", "192.168.1.5:80": "no log-in yet",
		"xacam.local:80": "no log-in yet", "localhost.evil.example:80": "no log-in yet",
		"8080": "must be host:port", "": "must be host:port",
	} {
		err := LoopbackOnly(addr)
		if want == "" {
			assert.NoError(t, err, addr)
		} else {
			assert.ErrorContains(t, err, want, addr)
		}
	}
}

// panicky panics where it is asked for an event.
type panicky struct{ *memLog }

func (panicky) Event(context.Context, string) (events.Event, error) { panic("secret in a panic") }

func TestPanic(t *testing.T) {
	t.Parallel()
	var lines syncBuffer
	cfg := testConfig(t, newMemLog())
	cfg.Events, cfg.Log = panicky{newMemLog()}, slog.New(slog.NewTextHandler(&lines, nil))
	p := serve(t, cfg)
	resp, body := p.get("/api/v1/events/" + testEvent(1).ID)
	assert.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	assert.JSONEq(t, `{"title":"Internal Server Error","status":500}`, body)
	assert.Contains(t, lines.String(), "panicky", "the stack is in the log")
	_, figures := p.get("/metrics")
	assert.Contains(t, figures, `xacam_api_requests_total{route="/api/v1/events/:id",status="5xx"} 1`)
}

// syncBuffer is a log in memory.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	good := testConfig(t, newMemLog())
	for want, edit := range map[string]func(*Config){
		"Config.Events is missing":  func(c *Config) { c.Events = nil },
		"Config.Cameras is missing": func(c *Config) { c.Cameras = nil },
		"Config.Media is missing":   func(c *Config) { c.Media = nil },
		"no log-in yet": func(c *Config) {
			l, err := net.Listen("tcp", ":0")
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
			c.Listener = l
		},
	} {
		cfg := good
		edit(&cfg)
		_, err := New(cfg)
		assert.ErrorContains(t, err, want)
	}
}

// brokenListener cannot accept.
type brokenListener struct{ *pipeListener }

func (brokenListener) Accept() (net.Conn, error) { return nil, errors.New("too many open files") }

func TestRunReturns(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, newMemLog())
	s, err := New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, s.Run(t.Context()), "Config.Listener is missing")

	cfg.Listener, cfg.Registry = brokenListener{newPipeListener()}, nil
	s, err = New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, s.Run(t.Context()), "too many open files")
	require.ErrorContains(t, s.Run(t.Context()), "twice")
}

// TestShutdownFinishesRequests ends the server while a request waits for the
// store; the request is answered, and one that takes too long is cut off.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		takes time.Duration
		fine  bool
	}{{"in time", 4 * time.Second, true}, {"too long", 9 * time.Second, false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				log := newMemLog()
				log.sleep = tt.takes
				cfg := testConfig(t, log)
				cfg.Listener = newPipeListener()
				p := serve(t, cfg)
				done := make(chan error)
				go func() {
					r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+"/api/v1/events", http.NoBody)
					resp, err := p.Do(r)
					if err == nil {
						resp.Body.Close()
					}
					done <- err
				}()
				synctest.Wait()
				start := time.Now()
				p.cancel()
				assert.Equal(t, tt.fine, <-done == nil)
				assert.LessOrEqual(t, time.Since(start), 6*time.Second)
				p.stop()
			})
		})
	}
}

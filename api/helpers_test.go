package api

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
)

func TestMain(m *testing.M) {
	for _, contentType := range []string{"image/jpeg", "multipart/byteranges"} {
		openapi3filter.RegisterBodyDecoder(contentType, openapi3filter.FileBodyDecoder)
	}
	goleak.VerifyTestMain(eventstest.M{M: m})
}

// memLog is a change log in memory with the guarantees that ChangeReader asks
// for. It is an EventReader.
type memLog struct {
	mu      sync.Mutex
	byID    map[string]events.Event
	changes []events.Event
	subs    map[chan struct{}]bool
	err     error         // of every read
	reads   int           // of ChangesSince
	sleep   time.Duration // of every read, within its context
}

func newMemLog() *memLog {
	return &memLog{byID: map[string]events.Event{}, subs: map[chan struct{}]bool{}}
}

// commit stores ev as the next change and returns it with its sequence.
func (l *memLog) commit(ev events.Event) events.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	ev.Sequence = int64(len(l.changes)) + 1
	if ev.Step == "" {
		ev.Step = events.Step(ev.State)
	}
	ev.ReceivedAt = ev.OccurredAt.Add(80 * time.Millisecond)
	l.changes = append(l.changes, ev)
	l.byID[ev.ID] = ev
	for ch := range l.subs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	return ev
}

func (l *memLog) setErr(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *memLog) readCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads
}

// begin waits as told, takes the lock and returns the error as told. The caller
// unlocks in any case.
func (l *memLog) begin(ctx context.Context) error {
	var err error
	if l.sleep > 0 {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(l.sleep):
		}
	}
	l.mu.Lock()
	return cmp.Or(err, l.err)
}

func (l *memLog) Event(ctx context.Context, id string) (events.Event, error) {
	err := l.begin(ctx)
	defer l.mu.Unlock()
	if err != nil {
		return events.Event{}, err
	}
	ev, ok := l.byID[id]
	if !ok {
		return ev, fmt.Errorf("event %s: %w", id, events.ErrNotFound)
	}
	return ev, nil
}

func (l *memLog) Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error) {
	err := l.begin(ctx)
	defer l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var out []events.Event
	for _, ev := range l.byID {
		if matches(&f, &ev) && (p.Before == "" || ev.ID < p.Before) &&
			(f.From.IsZero() || !ev.OccurredAt.Before(f.From)) && (f.To.IsZero() || ev.OccurredAt.Before(f.To)) {
			out = append(out, ev)
		}
	}
	slices.SortFunc(out, func(a, b events.Event) int { return strings.Compare(b.ID, a.ID) })
	return out[:min(len(out), p.Limit)], nil
}

func (l *memLog) ChangesSince(ctx context.Context, sequence int64, limit int) ([]events.Event, error) {
	err := l.begin(ctx)
	defer l.mu.Unlock()
	if err != nil {
		return nil, err
	}
	l.reads++
	rest := l.changes[min(sequence, int64(len(l.changes))):]
	return slices.Clone(rest[:min(len(rest), limit)]), nil
}

func (l *memLog) LastSequence(ctx context.Context) (int64, error) {
	err := l.begin(ctx)
	defer l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return int64(len(l.changes)), nil
}

// watch is a Config.Watch.
func (l *memLog) watch(ctx context.Context, wake func()) error {
	ch := make(chan struct{}, 1)
	l.mu.Lock()
	l.subs[ch] = true
	l.mu.Unlock()
	for {
		select {
		case <-ch:
			wake()
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.subs, ch)
			return nil
		}
	}
}

// testEvent returns the n-th of a row of different events, a second apart.
func testEvent(n int) events.Event {
	at := time.Date(2026, 11, 23, 15, 0, n, 120_000_000, time.UTC)
	kinds := []events.Kind{"intrusion", "line_crossing", events.KindCameraOffline}
	ev := events.Event{
		Kind: kinds[n%3], State: events.StateRaised, Severity: events.Severities()[n%5],
		Source: events.Source{Type: "camera", ID: fmt.Sprintf("cam-%d", n%4), Name: "Cổng chợ An Thạnh", Hamlet: "an-thuong"},
		Place:  events.Place{Commune: "31615", Lat: new(9.69), Lon: new(106.16)}, Zone: fmt.Sprintf("zone-%d", n%2),
		Rule: events.RuleRef{Name: "cam-vao-dem", Version: 3}, Object: strconv.Itoa(n), OccurredAt: at,
		Why:        events.Text{VI: "Một người ở trong vùng «san-cho» <lúc 22:14>.", EN: "A person\nin the zone."},
		Attributes: map[string]any{"count": 3},
		Workflow:   events.Workflow{State: "new"},
	}
	if n%2 == 0 {
		ev.Subject = &events.Subject{Track: 412, Class: "person", Score: 0.81, Box: [4]float64{0.41, 0.52, 0.47, 0.79}}
	}
	ev.ID = events.NewID(ev.Key(), at)
	return ev
}

// camList is a CameraReader of fixed cameras.
type camList struct {
	list []Camera
	err  error
}

func (l camList) Cameras(context.Context) ([]Camera, error) { return l.list, l.err }

func (l camList) Camera(_ context.Context, slug string) (Camera, error) {
	for _, cam := range l.list {
		if cam.Slug == slug {
			return cam, l.err
		}
	}
	return Camera{}, fmt.Errorf("camera: %w", events.ErrNotFound)
}

// testConfig returns a usable Config over log with an empty media folder.
func testConfig(tb testing.TB, log *memLog) Config {
	tb.Helper()
	media, err := os.OpenRoot(tb.TempDir())
	require.NoError(tb, err)
	tb.Cleanup(func() { media.Close() })
	return Config{Events: log, Watch: log.watch, Cameras: camList{}, Media: media, Location: time.FixedZone("+07", 7*3600)}
}

// pipeListener is a network in memory, which works inside a synctest bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	server, client := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// peer is a running server and a client whose every answer is held against
// openapi.yaml.
type peer struct {
	*http.Client
	tb     testing.TB
	server *Server
	base   string
	cancel func() // ends the server
	stop   func() // ends the server and waits for it
}

// serve runs a server over cfg until the test ends. Without a listener in cfg
// it serves on a real socket.
func serve(tb testing.TB, cfg Config) *peer {
	tb.Helper()
	transport := &http.Transport{}
	if l, ok := cfg.Listener.(*pipeListener); ok {
		transport.DialContext = l.dial
	} else {
		var err error
		cfg.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(tb, err)
	}
	s, err := New(cfg)
	require.NoError(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	p := &peer{
		tb: tb, server: s, cancel: cancel, base: "http://" + cfg.Listener.Addr().String(),
		Client: &http.Client{Transport: &contract{tb: tb, next: transport, router: contractRouter(tb)}},
		stop: sync.OnceFunc(func() {
			cancel()
			assert.NoError(tb, <-done)
		}),
	}
	tb.Cleanup(func() {
		p.stop()
		transport.CloseIdleConnections()
	})
	return p
}

func contractRouter(tb testing.TB) routers.Router {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(tb, err)
	require.NoError(tb, doc.Validate(context.Background()))
	router, err := gorillamux.NewRouter(doc)
	require.NoError(tb, err)
	return router
}

// contract is a transport that holds every response against openapi.yaml.
type contract struct {
	tb     testing.TB
	next   http.RoundTripper
	router routers.Router
}

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	asked := r.Clone(r.Context())
	if asked.Method == http.MethodHead {
		asked.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(asked)
	if err != nil { // no such route: a problem all the same
		assert.Contains(c.tb, []int{404, 405, 421}, resp.StatusCode, "%s %s: %v", r.Method, r.URL.Path, err)
		assert.Equal(c.tb, "application/problem+json", resp.Header.Get("Content-Type"))
		return resp, nil
	}
	stream := resp.Header.Get("Content-Type") == "text/event-stream"
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 resp.StatusCode, Header: resp.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: stream},
	}
	if stream {
		assert.Equal(c.tb, "/api/v1/events/stream", route.Path)
		assert.Equal(c.tb, http.StatusOK, resp.StatusCode)
	} else {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(body))
		in.SetBodyBytes(body)
	}
	if err := openapi3filter.ValidateResponse(r.Context(), in); err != nil {
		c.tb.Errorf("%s %s: %d: %v", r.Method, r.URL.Path, resp.StatusCode, err)
	}
	return resp, nil
}

// answer is a response whose body was read and closed.
type answer struct {
	StatusCode int
	Header     http.Header
}

// do sends a request with headers given as name, value, name, value.
func (p *peer) do(method, path string, headers ...string) (answer, string) {
	p.tb.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, p.base+path, http.NoBody)
	require.NoError(p.tb, err)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := p.Do(r)
	require.NoError(p.tb, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(p.tb, err)
	return answer{resp.StatusCode, resp.Header}, string(body)
}

func (p *peer) get(path string, headers ...string) (answer, string) {
	p.tb.Helper()
	return p.do(http.MethodGet, path, headers...)
}

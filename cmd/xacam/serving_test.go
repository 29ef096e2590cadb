//go:build cgo

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/visiontest"
)

// scripted are detectors for tests: by model name, they see a person who
// stands in the middle of the picture, or nobody. Each camera of a test names a
// model of its own.
type scripted struct{ here map[string]*atomic.Bool }

func newScripted(models ...string) *scripted {
	s := &scripted{make(map[string]*atomic.Bool)}
	for _, m := range models {
		s.here[m] = new(atomic.Bool)
	}
	return s
}

func (s *scripted) enter(model string) { s.here[model].Store(true) }
func (s *scripted) leave(model string) { s.here[model].Store(false) }

// Detector implements what a planner asks for detectors.
func (s *scripted) Detector(model string) (vision.Detector, error) {
	return &visiontest.Script{Detections: func(*media.Frame) []vision.Detection {
		if !s.here[model].Load() {
			return nil
		}
		box := geom.Box{Min: geom.Point{X: .4, Y: .3}, Max: geom.Point{X: .6, Y: .8}}
		return []vision.Detection{{Label: "person", Score: .9, Box: box}}
	}}, nil
}

// serving is a server under test.
type serving struct {
	*server
	base string // address of the API
	log  *lockedBuffer
	stop func()
}

// serve runs a server until the test ends or stop is called. detectors may be
// nil for the real ones; prepare is called before the start.
func serve(t *testing.T, db testDatabase, detectors interface {
	Detector(name string) (vision.Detector, error)
}, prepare ...func(*server),
) *serving {
	t.Helper()
	cfg, err := loadConfig(db.config)
	require.NoError(t, err)
	log := new(lockedBuffer)
	srv, err := newServer(t.Context(), cfg, log)
	require.NoError(t, err)
	if detectors != nil {
		srv.manager.planr.detectors = detectors
	}
	for _, f := range prepare {
		f(srv)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	s := &serving{server: srv, base: "http://" + srv.listener.Addr().String(), log: log}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("server: %v", err)
		}
		secretFree(t, log.String())
	})
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("log of the server:\n%s", log)
		}
	})
	return s
}

// get returns the body of an answer 200.
func (s *serving) get(t *testing.T, path string) (body []byte, h http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+path, http.NoBody)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, body)
	secretFree(t, string(body[:min(len(body), 1<<16)]))
	return body, resp.Header
}

// getJSON decodes an answer 200.
func (s *serving) getJSON(t *testing.T, path string, to any) {
	t.Helper()
	body, _ := s.get(t, path)
	require.NoError(t, json.Unmarshal(body, to))
}

// events returns the newest events first.
func (s *serving) events(t *testing.T, query string) []wire.Event {
	t.Helper()
	var page struct{ Items []wire.Event }
	s.getJSON(t, "/api/v1/events?limit=200&"+query, &page)
	return page.Items
}

// health is the health of a camera.
type health struct {
	State     string
	Since     *time.Time
	LastFrame *time.Time `json:"last_frame_at"`
	FPSIn     float64    `json:"fps_in"`
	LastError *string    `json:"last_error"`
	Model     string
	Retries   int
	Width     int
}

// cameras returns the health of every camera.
func (s *serving) cameras(t *testing.T) map[string]health {
	t.Helper()
	var list struct {
		Items []struct {
			Slug   string
			Health health
		}
	}
	body, _ := s.get(t, "/api/v1/cameras")
	require.NoError(t, json.Unmarshal(body, &list))
	out := make(map[string]health)
	for _, c := range list.Items {
		out[c.Slug] = c.Health
	}
	return out
}

// within waits until ok, and fails the test when that takes longer than limit.
func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%s: after %.1f s", what, time.Since(start).Seconds())
}

// apply brings cameras into the database as an operator does.
func apply(t *testing.T, db testDatabase, yaml string, flags ...string) string {
	t.Helper()
	r := xacamStdin(t, yaml, append([]string{"apply", "-c", db.config, "-f", "-"}, flags...)...)
	require.Equal(t, exitOK, r.code, r.stderr)
	return r.stdout
}

// subscription is a client of the event stream.
type subscription struct {
	mu   sync.Mutex
	seen []wire.Event
}

// subscribe follows the event stream until the test ends, for what is raised and
// cleared.
func (s *serving) subscribe(t *testing.T) *subscription {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/api/v1/events/stream?names=step", http.NoBody)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req) //nolint:bodyclose // the goroutine closes it
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	sub, done := new(subscription), make(chan struct{})
	go func() {
		defer close(done)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		step := ""
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				step = name
			}
			data, ok := strings.CutPrefix(lines.Text(), "data: ")
			var ev wire.Event
			if !ok || json.Unmarshal([]byte(data), &ev) != nil || step != "raised" && step != "cleared" {
				continue
			}
			sub.mu.Lock()
			sub.seen = append(sub.seen, ev)
			sub.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return sub
}

// find returns the changes of a source and kind, in order.
func (sub *subscription) find(source, kind string) []wire.Event {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(sub.seen), func(ev wire.Event) bool {
		return ev.Source.ID != source || string(ev.Kind) != kind
	})
}

// wait returns the n-th change (from 1) of a source and kind.
func (sub *subscription) wait(t *testing.T, limit time.Duration, source, kind string, n int) wire.Event {
	t.Helper()
	within(t, limit, source+" "+kind, func() bool { return len(sub.find(source, kind)) >= n })
	return sub.find(source, kind)[n-1]
}

// online waits until the camera's frames are looked at.
func (s *serving) online(t *testing.T, slugs ...string) {
	t.Helper()
	for _, slug := range slugs {
		within(t, 15*time.Second, slug+" is looked at", func() bool {
			h := s.cameras(t)[slug]
			return h.State == "online" && s.manager.deps.metrics.Counts(slug).Looked > 2
		})
	}
}

// readiness returns what /readyz says, "" when nobody answers.
func readiness(t *testing.T, base string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/readyz", http.NoBody)
	require.NoError(t, err)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var body struct{ Status string }
	if json.NewDecoder(resp.Body).Decode(&body) != nil {
		return ""
	}
	return body.Status
}

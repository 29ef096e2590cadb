package api

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// TestStreamResumes lets many clients come, go and come back while changes are
// committed. Each must see every change after its start once, in order.
func TestStreamResumes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		edit func(*Config)
	}{
		{"woken", func(*Config) {}},
		{"polling only", func(c *Config) { c.Watch, c.Poll = nil, 5*time.Millisecond }},
		{"small memory", func(c *Config) { c.Tail = 3 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := newMemLog()
			const before, total, clients = 300, 1500, 8
			for n := range before {
				log.commit(testEvent(n))
			}
			cfg := testConfig(t, log)
			tt.edit(&cfg)
			exerciseResume(t, serve(t, cfg), total, clients, func() {
				for n := before; n < total; n++ {
					log.commit(testEvent(n))
					if n%50 == 0 {
						time.Sleep(time.Millisecond) // real sockets: let the readers catch up now and then
					}
				}
			})
		})
	}
}

// exerciseResume reads everything up to total with clients that disconnect at
// random, while commit runs.
func exerciseResume(t *testing.T, p *peer, total int64, clients int, commit func()) {
	t.Helper()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(client)))
			last, connections := int64(0), 0
			for last < total {
				connections++
				s := p.stream("?after=0", "Last-Event-ID", strconv.FormatInt(last, 10))
				for range 1 + rng.IntN(int(total)/3) {
					sequence, _, err := s.event()
					if !assert.NoError(t, err) {
						s.body.Close()
						return
					}
					if !assert.Equal(t, last+1, sequence, "client %d, connection %d", client, connections) {
						s.body.Close()
						return
					}
					if last = sequence; last == total {
						break
					}
				}
				s.body.Close()
			}
			assert.Greater(t, connections, 1)
		})
	}
	commit()
	wg.Wait()
}

func TestStreamStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		for n := range 5 {
			log.commit(testEvent(n))
		}
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		now, from2, header := p.stream(""), p.stream("?after=2"), p.stream("?after=4", "Last-Event-ID", "1")
		assert.Equal(t, int64(5), now.last, "a client that never got an event still knows where it is")
		for s, want := range map[*sse]int64{from2: 3, header: 2} {
			got, _, err := s.event()
			require.NoError(t, err)
			assert.Equal(t, want, got)
			s.body.Close()
		}
		synctest.Wait()
		ev := log.commit(testEvent(5))
		got, id, err := now.event()
		require.NoError(t, err)
		assert.Equal(t, int64(6), got)
		assert.Equal(t, ev.ID, id)
		now.body.Close()

		resp, _ := p.get("/api/v1/events/stream", "Last-Event-ID", "99")
		assert.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode, "a position of another store")
		resp, _ = p.get("/api/v1/events/stream", "Last-Event-ID", "abc")
		assert.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
	})
}

func TestStreamFilters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		const query = "kind=intrusion&camera=cam-0&camera=cam-2&severity=info&severity=high&state=raised&zone=zone-0"
		q, err := parseEventQuery(query, streamParams(), nil)
		require.NoError(t, err)
		s := p.stream("?" + query)
		var want []int64
		for n := range 120 {
			if ev := log.commit(testEvent(n)); matches(&q.Filter, &ev) {
				want = append(want, ev.Sequence)
			}
		}
		require.NotEmpty(t, want)
		for _, w := range want {
			got, _, err := s.event()
			require.NoError(t, err)
			assert.Equal(t, w, got)
		}
		m, err := s.next()
		require.NoError(t, err)
		assert.Equal(t, message{ID: 120, Comment: "alive"}, m, "the heartbeat moves the position over what was left out")
		m, err = s.next()
		require.NoError(t, err)
		assert.Equal(t, message{Comment: "alive"}, m)
		s.body.Close()
	})
}

func TestStreamHeartbeat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		s := p.stream("")
		start := time.Now()
		for i := range 8 { // two minutes: longer than any timeout of the server
			m, err := s.next()
			require.NoError(t, err)
			assert.Equal(t, "alive", m.Comment)
			assert.Equal(t, time.Duration(i+1)*15*time.Second, time.Since(start))
		}
		time.Sleep(10 * time.Second)
		log.commit(testEvent(1))
		_, _, err := s.event()
		require.NoError(t, err)
		start = time.Now()
		_, err = s.next()
		require.NoError(t, err)
		assert.Equal(t, 15*time.Second, time.Since(start), "an event is a sign of life, too")
		s.body.Close()
	})
}

func TestStreamSlowClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		slow, quick := p.stream(""), p.stream("")
		start := time.Now()
		for n := range 50 { // the slow one reads nothing of it
			log.commit(testEvent(n))
		}
		for n := range 50 {
			got, _, err := quick.event()
			require.NoError(t, err)
			assert.Equal(t, int64(n+1), got)
		}
		assert.Less(t, time.Since(start), time.Second, "the slow client holds up nobody")
		time.Sleep(10*time.Second + time.Millisecond)
		synctest.Wait()
		_, figures := p.get("/metrics")
		assert.Contains(t, figures, `xacam_api_stream_ends_total{reason="slow"} 1`)
		assert.Contains(t, figures, "xacam_api_streams 1\n")
		for {
			if _, _, err := slow.event(); err != nil {
				break // what was under way, then the end
			}
		}
		slow.body.Close()
		quick.body.Close()
	})
}

// TestStreamSlowSocket is the same with a real socket, whose buffers take a few
// megabytes before a client counts as slow.
func TestStreamSlowSocket(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	cfg := testConfig(t, log)
	cfg.StreamWrite = 100 * time.Millisecond
	p := serve(t, cfg)
	s := p.stream("")
	defer s.body.Close()
	big := testEvent(1)
	big.Why.EN = strings.Repeat("x", 64<<10)
	for range 400 {
		log.commit(big)
	}
	require.Eventually(t, func() bool {
		_, figures := p.get("/metrics")
		return strings.Contains(figures, `xacam_api_stream_ends_total{reason="slow"} 1`)
	}, 10*time.Second, 20*time.Millisecond)
}

func TestStreamPlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(t, newMemLog())
		cfg.Listener, cfg.MaxStreams = newPipeListener(), 3
		p := serve(t, cfg)
		var open []*sse
		for range 3 {
			open = append(open, p.stream(""))
		}
		resp, body := p.get("/api/v1/events/stream")
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		assert.Contains(t, body, "all 3 event streams")
		assert.NotEmpty(t, resp.Header.Get("Retry-After"))
		open[0].body.Close()
		synctest.Wait()
		open[0] = p.stream("")
		for _, s := range open {
			s.body.Close()
		}
		synctest.Wait()
		_, figures := p.get("/metrics")
		assert.Contains(t, figures, "xacam_api_streams 0\n")
		assert.Contains(t, figures, `xacam_api_stream_ends_total{reason="client"} 4`)
		assert.Contains(t, figures, `xacam_api_stream_ends_total{reason="refused"} 1`)
	})
}

func TestStreamOutlivesOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		s := p.stream("")
		log.setErr(fmt.Errorf("read: %w", events.ErrUnavailable))
		for n := range 10 {
			log.commit(testEvent(n))
		}
		resp, _ := p.get("/api/v1/events/stream")
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "a new stream is refused at once")
		m, err := s.next()
		require.NoError(t, err)
		assert.Equal(t, "alive", m.Comment, "an open one waits")
		log.setErr(nil)
		start := time.Now()
		for n := range 10 {
			got, _, err := s.event()
			require.NoError(t, err)
			assert.Equal(t, int64(n+1), got)
		}
		assert.LessOrEqual(t, time.Since(start), time.Second)
		s.body.Close()
	})
}

func TestStreamEndsAtShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		s := p.stream("")
		start := time.Now()
		p.stop()
		_, err := s.next()
		require.Error(t, err)
		assert.Less(t, time.Since(start), time.Second)
		s.body.Close()
		require.ErrorContains(t, p.server.tail.join(), "not serving event streams")
	})
}

func TestIdleServerReadsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		for n := range 100 {
			log.commit(testEvent(n))
			time.Sleep(time.Second)
		}
		assert.Zero(t, log.readCount())
		s := p.stream("?after=0")
		for n := range 100 {
			got, _, err := s.event()
			require.NoError(t, err)
			assert.Equal(t, int64(n+1), got)
		}
		s.body.Close()
		time.Sleep(2 * time.Second)
		after := log.readCount()
		time.Sleep(time.Minute)
		assert.Equal(t, after, log.readCount())
	})
}

// TestStreamLeavesOutWhatHasNoJSON commits an event that cannot be written: it
// is left out and the stream goes on.
func TestStreamLeavesOutWhatHasNoJSON(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		cfg := testConfig(t, log)
		cfg.Listener = newPipeListener()
		p := serve(t, cfg)
		s := p.stream("")
		bad := testEvent(1)
		bad.Attributes = map[string]any{"x": make(chan int)}
		log.commit(bad)
		log.commit(testEvent(2))
		got, _, err := s.event()
		require.NoError(t, err)
		assert.Equal(t, int64(2), got)
		s.body.Close()
		resp, _ := p.get("/api/v1/events/" + bad.ID)
		assert.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	})
}

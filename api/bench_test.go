package api

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkListEvents answers a page of 50 events from memory: what the
// handler itself costs.
func BenchmarkListEvents(b *testing.B) {
	log := newMemLog()
	for n := range 60 {
		log.commit(testEvent(n))
	}
	s, err := New(testConfig(b, log))
	require.NoError(b, err)
	r := httptest.NewRequest(http.MethodGet, "http://localhost/api/v1/events?limit=50&state=raised", http.NoBody)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkStream50 sends changes to 50 clients over real sockets. cpu-µs/event
// is the CPU time of the whole process, the clients' reading included, for one
// change reaching all of them.
func BenchmarkStream50(b *testing.B) {
	log := newMemLog()
	p := serve(b, testConfig(b, log))
	const clients = 50
	var read sync.WaitGroup
	streams := make([]*sse, clients)
	for i := range streams {
		streams[i] = p.stream("")
	}
	b.ReportAllocs()
	var sent int
	before := cpuTime(b)
	for b.Loop() {
		log.commit(testEvent(sent))
		sent++
		read.Add(clients)
		for _, s := range streams {
			go func() {
				defer read.Done()
				if _, err := s.next(); err != nil {
					b.Error(err)
				}
			}()
		}
		read.Wait()
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(sent), "cpu-µs/event")
	for _, s := range streams {
		_ = s.body.Close()
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

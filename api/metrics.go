package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/xacam/xacam/events"
)

// Reasons for the end of a stream, the values of a label.
const (
	endClient   = "client"   // it closed the connection
	endSlow     = "slow"     // it did not take its data in time
	endShutdown = "shutdown" // the server ended
	endRefused  = "refused"  // there was no place
)

// routeOther is the route label of requests that no route matches.
const routeOther = "other"

// metrics counts what clients ask. Every label value exists from the start.
type metrics struct {
	requests    *prometheus.CounterVec   // route, status class
	duration    *prometheus.HistogramVec // route; without streams
	streams     prometheus.Gauge
	streamEnds  *prometheus.CounterVec // reason
	streamSent  prometheus.Counter
	tailErrors  prometheus.Counter
	unencodable prometheus.Counter
	acknowledge prometheus.Histogram
	verdicts    *prometheus.CounterVec // camera, rule, verdict
}

func newMetrics(reg prometheus.Registerer, routes []string) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_api_requests_total", Help: "Requests answered, by route and class of status.",
		}, []string{"route", "status"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xacam_api_request_duration_seconds", Help: "Time to answer a request; event streams and the feed, which waits, are not in it.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 5, 10},
		}, []string{"route"}),
		streams: f.NewGauge(prometheus.GaugeOpts{
			Name: "xacam_api_streams", Help: "Event streams open now.",
		}),
		streamEnds: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_api_stream_ends_total", Help: "Event streams that ended, by reason.",
		}, []string{"reason"}),
		streamSent: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_api_stream_events_total", Help: "Events written to all streams together.",
		}),
		tailErrors: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_api_stream_store_errors_total", Help: "Reads of the change log that failed.",
		}),
		unencodable: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_api_stream_unencodable_total", Help: "Events left out of streams because they have no JSON form.",
		}),
		acknowledge: f.NewHistogram(prometheus.HistogramOpts{
			Name: "xacam_event_acknowledge_seconds", Help: "Time from storing an event until somebody saw to it.",
			Buckets: []float64{5, 10, 30, 60, 120, 300, 600, 1800, 3600, 3 * 3600, 12 * 3600},
		}),
		verdicts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_event_verdicts_total", Help: "Events closed, by camera, rule and verdict.",
		}, []string{"camera", "rule", "verdict"}),
	}
	for _, route := range append(routes, routeOther) {
		for class := 2; class <= 5; class++ {
			m.requests.WithLabelValues(route, statusClass(class*100))
		}
		if route != pathStream && route != pathFeed {
			m.duration.WithLabelValues(route)
		}
	}
	for _, reason := range []string{endClient, endSlow, endShutdown, endRefused} {
		m.streamEnds.WithLabelValues(reason)
	}
	return m
}

func (m *metrics) answered(route string, status int, took time.Duration) {
	if route == "" {
		route = routeOther
	}
	m.requests.WithLabelValues(route, statusClass(status)).Inc()
	if route != pathStream && route != pathFeed {
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}

// acted counts what a person did. Cameras and rules are those that are
// configured; a rule's first verdict makes the counters of all.
func (m *metrics) acted(a events.Action, done *events.Done) {
	if done.Waited > 0 {
		m.acknowledge.Observe(done.Waited.Seconds())
	}
	if e := &done.Event; a == events.ActionClose && e.Workflow.Verdict != nil {
		for _, v := range events.Verdicts() {
			m.verdicts.WithLabelValues(e.Source.ID, e.Rule.Name, v)
		}
		m.verdicts.WithLabelValues(e.Source.ID, e.Rule.Name, *e.Workflow.Verdict).Inc()
	}
}

func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }

package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
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
}

func newMetrics(reg prometheus.Registerer, routes []string) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_api_requests_total", Help: "Requests answered, by route and class of status.",
		}, []string{"route", "status"}),
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xacam_api_request_duration_seconds", Help: "Time to answer a request; event streams are not in it.",
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
	}
	for _, route := range append(routes, routeOther) {
		for class := 2; class <= 5; class++ {
			m.requests.WithLabelValues(route, statusClass(class*100))
		}
		if route != pathStream {
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
	if route != pathStream {
		m.duration.WithLabelValues(route).Observe(took.Seconds())
	}
}

func statusClass(status int) string { return strconv.Itoa(status/100) + "xx" }

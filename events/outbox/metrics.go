package outbox

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	attempts                 *prometheus.CounterVec
	dead                     *prometheus.CounterVec
	backlog, oldest, failing *prometheus.GaugeVec
	attempt, firstByte       *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	label := []string{"endpoint"}
	return &metrics{
		attempts: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_delivery_attempts_total", Help: "Requests to an endpoint by how they ended.",
		}, []string{"endpoint", "outcome"}),
		dead: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_delivery_dead_total", Help: "Deliveries that were given up.",
		}, label),
		backlog: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "xacam_delivery_backlog", Help: "Deliveries that wait for an endpoint.",
		}, label),
		oldest: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "xacam_delivery_oldest_seconds", Help: "Age of the delivery that waits longest.",
		}, label),
		failing: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "xacam_delivery_failing", Help: "1 while an endpoint does not take its deliveries.",
		}, label),
		attempt: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xacam_delivery_attempt_seconds", Help: "Duration of requests to an endpoint.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 30},
		}, label),
		firstByte: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "xacam_delivery_first_byte_seconds", Help: "From the event in the store to the first byte of its first request.",
			Buckets: []float64{.005, .01, .025, .05, .1, .2, .5, 1, 5, 60, 3600},
		}, label),
	}
}

// endpointMetrics are those of one endpoint.
type endpointMetrics struct {
	attempts                 map[Outcome]prometheus.Counter
	dead                     prometheus.Counter
	backlog, oldest, failing prometheus.Gauge
	attempt, firstByte       prometheus.Observer
}

// of makes the metrics of an endpoint, so that they are there before the first
// failure.
func (m *metrics) of(endpoint string) *endpointMetrics {
	em := &endpointMetrics{
		attempts: make(map[Outcome]prometheus.Counter), dead: m.dead.WithLabelValues(endpoint),
		backlog: m.backlog.WithLabelValues(endpoint), oldest: m.oldest.WithLabelValues(endpoint),
		failing: m.failing.WithLabelValues(endpoint),
		attempt: m.attempt.WithLabelValues(endpoint), firstByte: m.firstByte.WithLabelValues(endpoint),
	}
	for _, o := range []Outcome{Delivered, Retry, Refused, Gone} {
		em.attempts[o] = m.attempts.WithLabelValues(endpoint, string(o))
	}
	return em
}

// forget removes an endpoint that is no more.
func (m *metrics) forget(endpoint string) {
	label := prometheus.Labels{"endpoint": endpoint}
	m.attempts.DeletePartialMatch(label)
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{m.dead, m.backlog, m.oldest, m.failing, m.attempt, m.firstByte} {
		v.DeletePartialMatch(label)
	}
}

// observe counts an attempt; d is nil for heartbeats.
func (m *endpointMetrics) observe(r *Result, d *Delivery) {
	m.attempts[r.Outcome].Inc()
	m.attempt.Observe(r.Took.Seconds())
	if d != nil && d.Attempts == 0 && d.Lane != LaneReplay && !r.Sent.IsZero() {
		m.firstByte.Observe(max(0, r.Sent.Sub(d.Queued)).Seconds())
	}
}

// setOldest takes when the delivery that waits longest was queued; zero is none.
func (m *endpointMetrics) setOldest(queued, now time.Time) {
	if queued.IsZero() {
		m.oldest.Set(0)
		return
	}
	m.oldest.Set(max(0, now.Sub(queued)).Seconds())
}

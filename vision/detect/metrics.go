package detect

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	seconds prometheus.Observer
	errors  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, model string) *metrics {
	f := promauto.With(reg)
	labels := prometheus.Labels{"model": model}
	return &metrics{
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "xacam_detect_seconds", Help: "Wall time of one detection: scaling, inference, decoding; without waiting.",
			ConstLabels: labels, Buckets: prometheus.ExponentialBuckets(0.002, 2, 10),
		}),
		errors: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_detect_errors_total", Help: "Detections that failed.", ConstLabels: labels,
		}),
	}
}

func (m *metrics) observe(d time.Duration, err error) {
	m.seconds.Observe(d.Seconds())
	if err != nil {
		m.errors.Inc()
	}
}

package evidence

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// sealMetrics are those of a Sealer.
type sealMetrics struct {
	sealed  prometheus.Counter
	aside   prometheus.Counter
	waiting prometheus.Gauge
	seconds prometheus.Histogram
}

func newSealMetrics(reg prometheus.Registerer) *sealMetrics {
	f := promauto.With(reg)
	return &sealMetrics{
		sealed: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_evidence_sealed_total", Help: "Evidence packages that were sealed.",
		}),
		aside: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_evidence_aside_total", Help: "Evidence packages that cannot be sealed; the log says why.",
		}),
		waiting: f.NewGauge(prometheus.GaugeOpts{
			Name: "xacam_evidence_waiting", Help: "Complete evidence packages that wait for their event to be stored.",
		}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "xacam_evidence_seal_seconds", Help: "Time to sign and store the manifest of a package.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
}

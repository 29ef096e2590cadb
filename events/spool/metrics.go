package spool

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	committed, spooled, rejected prometheus.Counter
	seconds                      prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, s *Spool) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "xacam_spool_changes", Help: "Changes of events that are not committed yet.",
	}, func() float64 { return float64(s.Depth()) })
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "xacam_spool_bytes", Help: "Size of the files of waiting changes.",
	}, func() float64 { return float64(s.Status().Bytes) })
	return &metrics{
		committed: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_spool_committed_total", Help: "Changes that the store took.",
		}),
		spooled: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_spool_spooled_total", Help: "Changes that went to disk because the store was away.",
		}),
		rejected: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_spool_rejected_total", Help: "Changes that the store refused and that were put aside.",
		}),
		seconds: f.NewHistogram(prometheus.HistogramOpts{
			Name: "xacam_spool_commit_seconds", Help: "Duration of commits, failed ones too.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}),
	}
}

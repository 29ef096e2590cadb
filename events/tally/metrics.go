package tally

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	counted          *prometheus.CounterVec
	refused, dropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, w *Writer) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "xacam_traffic_waiting", Help: "Totals of minutes that are not committed yet.",
	}, func() float64 { return float64(w.Waiting()) })
	return &metrics{
		counted: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_traffic_counted_total", Help: "Objects that passed a line.",
		}, []string{"camera", "line", "class", "direction"}),
		refused: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_traffic_refused_total", Help: "Totals that the store refused and that were dropped.",
		}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "xacam_traffic_dropped_total", Help: "Totals dropped because the store was away for too long.",
		}),
	}
}

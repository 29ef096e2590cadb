package evidence

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type keeperMetrics struct {
	bytes   prometheus.Gauge
	free    prometheus.Gauge
	deleted *prometheus.CounterVec
}

func newKeeperMetrics(reg prometheus.Registerer) *keeperMetrics {
	f := promauto.With(reg)
	m := &keeperMetrics{
		bytes: f.NewGauge(prometheus.GaugeOpts{
			Name: "xacam_media_bytes", Help: "Size of the pictures and clips that are kept, as of the latest round.",
		}),
		free: f.NewGauge(prometheus.GaugeOpts{Name: "xacam_media_free_bytes", Help: "Room left on the disk of the pictures and clips."}),
		deleted: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_media_deleted_total", Help: "Pictures and clips deleted, by reason.",
		}, []string{"reason"}),
	}
	for _, r := range []string{"age", "quota", "disk"} {
		m.deleted.WithLabelValues(r)
	}
	return m
}

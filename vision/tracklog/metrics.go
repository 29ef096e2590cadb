package tracklog

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Why scenes are dropped.
const (
	dropQueue = "queue" // the disk did not keep up
	dropDisk  = "disk"  // it is full or fails
	dropSize  = "size"  // more in one scene than the format holds
)

type metrics struct {
	scenes  *prometheus.CounterVec
	bytes   *prometheus.CounterVec
	dropped *prometheus.CounterVec
	stored  prometheus.Gauge
	deleted prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"camera"}, labels...))
	}
	return &metrics{
		scenes:  vec("xacam_tracklog_scenes_total", "Scenes written."),
		bytes:   vec("xacam_tracklog_written_bytes_total", "Bytes written."),
		dropped: vec("xacam_tracklog_scenes_dropped_total", "Scenes that were not kept, by reason.", "reason"),
		stored:  f.NewGauge(prometheus.GaugeOpts{Name: "xacam_tracklog_stored_bytes", Help: "Size of all stored tracks."}),
		deleted: f.NewCounter(prometheus.CounterOpts{Name: "xacam_tracklog_files_deleted_total", Help: "Files, one an hour and camera, deleted for their age or for space."}),
	}
}

// add creates the series of a camera, so that rates exist from the start.
func (m *metrics) add(camera string) {
	m.scenes.WithLabelValues(camera)
	m.bytes.WithLabelValues(camera)
	for _, r := range []string{dropQueue, dropDisk, dropSize} {
		m.dropped.WithLabelValues(camera, r)
	}
}

func (m *metrics) drop(camera, reason string, n uint64) {
	m.dropped.WithLabelValues(camera, reason).Add(float64(n))
}

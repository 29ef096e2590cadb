package rtsp

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are shared by all cameras of a process.
type Metrics struct {
	units    *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	lost     *prometheus.CounterVec
	gaps     *prometheus.CounterVec
	jumps    *prometheus.CounterVec
	failures *prometheus.CounterVec
	online   *prometheus.GaugeVec
}

// NewMetrics registers with reg; a nil reg gives metrics that nobody reads.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"camera"}, labels...))
	}
	return &Metrics{
		units:    counter("xacam_rtsp_access_units_total", "Access units received."),
		bytes:    counter("xacam_rtsp_video_bytes_total", "Bytes of the access units received."),
		lost:     counter("xacam_rtsp_packets_lost_total", "RTP packets lost."),
		gaps:     counter("xacam_rtsp_gaps_total", "Access units before which something was lost."),
		jumps:    counter("xacam_rtsp_timestamp_jumps_total", "RTP timestamps that did not fit and were replaced."),
		failures: counter("xacam_rtsp_failures_total", "Sessions that ended or did not begin, by reason.", "reason"),
		online:   f.NewGaugeVec(prometheus.GaugeOpts{Name: "xacam_rtsp_online", Help: "1 while access units come."}, []string{"camera"}),
	}
}

// cameraMetrics are the metrics of one camera.
type cameraMetrics struct {
	units, bytes, lost, gaps, jumps prometheus.Counter
	online                          prometheus.Gauge
	failures                        map[Reason]prometheus.Counter
}

func (m *Metrics) camera(name string) cameraMetrics {
	c := cameraMetrics{
		units: m.units.WithLabelValues(name), bytes: m.bytes.WithLabelValues(name), lost: m.lost.WithLabelValues(name),
		gaps: m.gaps.WithLabelValues(name), jumps: m.jumps.WithLabelValues(name), online: m.online.WithLabelValues(name),
		failures: map[Reason]prometheus.Counter{},
	}
	for _, r := range reasons() {
		c.failures[r] = m.failures.WithLabelValues(name, string(r)) // so that a rate exists before the first failure
	}
	return c
}

// Forget drops the metrics of a camera that was removed.
func (m *Metrics) Forget(camera string) {
	l := prometheus.Labels{"camera": camera}
	for _, v := range []*prometheus.CounterVec{m.units, m.bytes, m.lost, m.gaps, m.jumps, m.failures} {
		v.DeletePartialMatch(l)
	}
	m.online.DeletePartialMatch(l)
}

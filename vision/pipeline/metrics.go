package pipeline

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Reasons for which frames are dropped.
const (
	dropDecode = "decode_behind" // the decoder could not follow
	dropLook   = "newest_wins"   // no worker was free before the next frame came
)

// Metrics counts what pipelines do. A nil *Metrics counts nothing. It is safe
// for concurrent use.
type Metrics struct {
	decoded, errors, looked, held *prometheus.CounterVec
	asleep                        *prometheus.CounterVec
	drops                         *prometheus.CounterVec
	look                          *prometheus.HistogramVec

	mu     sync.Mutex
	counts map[string]*Counts
}

// Counts is what one camera has done since the process started.
type Counts struct {
	Decoded uint64 // frames decoded
	Errors  uint64 // access units that could not be decoded
	Looked  uint64 // inferences
	Held    uint64 // frames the motion gate let pass without an inference
	Dropped uint64 // access units and frames dropped under overload
	Dozed   uint64 // access units not decoded, as nothing moved
}

// NewMetrics registers the metrics with reg; nil registers them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"camera"}, labels...))
	}
	return &Metrics{
		decoded: vec("xacam_pipeline_frames_decoded_total", "Frames decoded."),
		errors:  vec("xacam_pipeline_decode_errors_total", "Access units that could not be decoded."),
		looked:  vec("xacam_pipeline_inferences_total", "Frames the detector looked at."),
		held:    vec("xacam_pipeline_frames_held_total", "Due frames without motion, not looked at."),
		asleep:  vec("xacam_pipeline_units_dozed_total", "Access units not decoded, as nothing moved."),
		drops:   vec("xacam_pipeline_frames_dropped_total", "Frames dropped under overload, by reason.", "reason"),
		look: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "xacam_pipeline_look_seconds",
			Help:    "Time from a frame's capture until its events were handed over.",
			Buckets: []float64{.02, .05, .1, .15, .2, .3, .5, 1, 2, 5},
		}, []string{"camera"}),
		counts: make(map[string]*Counts),
	}
}

// Add creates the series of a camera, so that rates exist from the start.
func (m *Metrics) Add(camera string) {
	if m == nil {
		return
	}
	for _, v := range []*prometheus.CounterVec{m.decoded, m.errors, m.looked, m.held, m.asleep} {
		v.WithLabelValues(camera)
	}
	for _, reason := range []string{dropDecode, dropLook} {
		m.drops.WithLabelValues(camera, reason)
	}
	m.look.WithLabelValues(camera)
	m.add(camera, func(*Counts) {})
}

// Remove deletes the series of a camera that is gone.
func (m *Metrics) Remove(camera string) {
	if m == nil {
		return
	}
	match := prometheus.Labels{"camera": camera}
	for _, v := range []*prometheus.CounterVec{m.decoded, m.errors, m.looked, m.held, m.asleep, m.drops} {
		v.DeletePartialMatch(match)
	}
	m.look.DeletePartialMatch(match)
	m.mu.Lock()
	delete(m.counts, camera)
	m.mu.Unlock()
}

// Counts returns what the camera has done; zeros for an unknown one.
func (m *Metrics) Counts(camera string) Counts {
	if m == nil {
		return Counts{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.counts[camera]; c != nil {
		return *c
	}
	return Counts{}
}

func (m *Metrics) add(camera string, f func(*Counts)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.counts[camera]
	if c == nil {
		c = &Counts{}
		m.counts[camera] = c
	}
	f(c)
}

func (m *Metrics) dropped(camera, reason string, n int) {
	if m == nil || n == 0 {
		return
	}
	m.drops.WithLabelValues(camera, reason).Add(float64(n))
	m.add(camera, func(c *Counts) { c.Dropped += uint64(n) }) //nolint:gosec // a count
}

func (m *Metrics) dozed(camera string, n int) {
	if m == nil || n == 0 {
		return
	}
	m.asleep.WithLabelValues(camera).Add(float64(n))
	m.add(camera, func(c *Counts) { c.Dozed += uint64(n) }) //nolint:gosec // a count
}

// DroppedLook counts a frame of the camera that a newer one replaced.
func (m *Metrics) DroppedLook(camera string) { m.dropped(camera, dropLook, 1) }

func (m *Metrics) decodedFrame(camera string) {
	if m == nil {
		return
	}
	m.decoded.WithLabelValues(camera).Inc()
	m.add(camera, func(c *Counts) { c.Decoded++ })
}

func (m *Metrics) decodeError(camera string) {
	if m == nil {
		return
	}
	m.errors.WithLabelValues(camera).Inc()
	m.add(camera, func(c *Counts) { c.Errors++ })
}

func (m *Metrics) lookedAt(camera string, inference bool, took time.Duration) {
	if m == nil {
		return
	}
	if inference {
		m.looked.WithLabelValues(camera).Inc()
		m.add(camera, func(c *Counts) { c.Looked++ })
	} else {
		m.held.WithLabelValues(camera).Inc()
		m.add(camera, func(c *Counts) { c.Held++ })
	}
	m.look.WithLabelValues(camera).Observe(took.Seconds())
}

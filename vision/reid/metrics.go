package reid

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/xacam/xacam/vision/ration"
)

// Outcomes of a crop that was wanted, beside those of ration.
const (
	outcomeTaken   = "taken"
	outcomeHidden  = "hidden"    // somebody else is in the way
	outcomeTooTiny = "too_small" // too few pixels
)

// Metrics counts crops and objects that were found again. A nil *Metrics counts
// nothing.
type Metrics struct {
	crops   *prometheus.CounterVec
	seconds *prometheus.CounterVec
	found   *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg; nil registers them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		crops: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_reid_crops_total", Help: "Crops for re-identification that were wanted, by what came of them.",
		}, []string{"camera", "outcome"}),
		seconds: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_reid_seconds_total", Help: "Time spent on crops for re-identification.",
		}, []string{"camera"}),
		found: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_reid_found_total", Help: "Tracks that were found to be an object that was lost before.",
		}, []string{"camera"}),
	}
}

// of returns the counters of one camera, and that of objects found again, which
// is nil when nothing is counted.
func (m *Metrics) of(camera string) (crops ration.Counters, found prometheus.Counter) {
	if m == nil {
		return ration.Counters{}, nil
	}
	return ration.NewCounters(m.crops, m.seconds, []string{outcomeTaken, outcomeHidden, outcomeTooTiny}, camera), m.found.WithLabelValues(camera)
}

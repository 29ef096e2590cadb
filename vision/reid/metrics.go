package reid

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Outcomes of a crop that was wanted.
const (
	outcomeTaken   = "taken"
	outcomeRate    = "rate_limit" // the camera has had its crops for now
	outcomeBudget  = "budget"     // all cameras together have
	outcomeFailed  = "error"      // the crop or the model failed
	outcomeHidden  = "hidden"     // somebody else is in the way
	outcomeTooTiny = "too_small"  // too few pixels
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

// counters are those of one camera; the zero value counts nothing.
type counters struct {
	crops          map[string]prometheus.Counter
	seconds, found prometheus.Counter
}

// of makes a camera's counters, so that their rates exist before the first crop.
func (m *Metrics) of(camera string) counters {
	if m == nil {
		return counters{}
	}
	c := counters{
		crops: make(map[string]prometheus.Counter), seconds: m.seconds.WithLabelValues(camera), found: m.found.WithLabelValues(camera),
	}
	for _, o := range []string{outcomeTaken, outcomeRate, outcomeBudget, outcomeFailed, outcomeHidden, outcomeTooTiny} {
		c.crops[o] = m.crops.WithLabelValues(camera, o)
	}
	return c
}

func (c counters) crop(outcome string) {
	if k, ok := c.crops[outcome]; ok {
		k.Inc()
	}
}

func (c counters) spend(d time.Duration) {
	if c.seconds != nil {
		c.seconds.Add(d.Seconds())
	}
}

func (c counters) joined() {
	if c.found != nil {
		c.found.Inc()
	}
}

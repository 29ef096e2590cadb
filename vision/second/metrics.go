package second

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Outcomes of a second look that was wanted.
const (
	outcomeVoted   = "voted"         // it gave an answer
	outcomeOther   = "nothing_there" // the crop shows something else
	outcomeFlat    = "flat"          // too dark or too blurred to look at
	outcomeRate    = "rate_limit"    // the camera has had its looks for now
	outcomeBudget  = "budget"        // all cameras together have
	outcomeFailed  = "error"         // the crop or the model failed
	outcomeHidden  = "hidden"        // somebody else's head is in the way
	outcomeTooTiny = "too_small"     // too few pixels
)

// Metrics counts second looks. A nil *Metrics counts nothing.
type Metrics struct {
	looks   *prometheus.CounterVec
	seconds *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg; nil registers them nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		looks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_second_looks_total", Help: "Looks of the second stage that were wanted, by what came of them.",
		}, []string{"camera", "mark", "outcome"}),
		seconds: f.NewCounterVec(prometheus.CounterOpts{
			Name: "xacam_second_seconds_total", Help: "Time spent on second looks.",
		}, []string{"camera", "mark"}),
	}
}

// counters are those of one camera and question; the zero value counts nothing.
type counters struct {
	looks   map[string]prometheus.Counter
	seconds prometheus.Counter
}

// of makes a camera's counters, so that their rates exist before the first look.
func (m *Metrics) of(camera, mark string) counters {
	if m == nil {
		return counters{}
	}
	c := counters{looks: make(map[string]prometheus.Counter), seconds: m.seconds.WithLabelValues(camera, mark)}
	for _, o := range []string{
		outcomeVoted, outcomeOther, outcomeFlat, outcomeRate, outcomeBudget, outcomeFailed, outcomeHidden, outcomeTooTiny,
	} {
		c.looks[o] = m.looks.WithLabelValues(camera, mark, o)
	}
	return c
}

func (c counters) count(outcome string) {
	if k, ok := c.looks[outcome]; ok {
		k.Inc()
	}
}

func (c counters) spend(d time.Duration) {
	if c.seconds != nil {
		c.seconds.Add(d.Seconds())
	}
}

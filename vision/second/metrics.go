package second

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/xacam/xacam/vision/ration"
)

// Outcomes of a second look that was wanted, beside those of ration.
const (
	outcomeVoted   = "voted"         // it gave an answer
	outcomeOther   = "nothing_there" // the crop shows something else
	outcomeFlat    = "flat"          // too dark or too blurred to look at
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

// of returns the counters of one camera and question.
func (m *Metrics) of(camera, mark string) ration.Counters {
	if m == nil {
		return ration.Counters{}
	}
	return ration.NewCounters(m.looks, m.seconds, []string{outcomeVoted, outcomeOther, outcomeFlat, outcomeHidden, outcomeTooTiny}, camera, mark)
}

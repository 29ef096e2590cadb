package ration

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Counters count the looks of one camera; the zero value counts nothing.
type Counters struct {
	looks   map[string]prometheus.Counter
	seconds prometheus.Counter
}

// NewCounters makes the counters of one set of labels, which in looks the outcome
// follows, so that all rates exist before the first look. The outcomes are those
// of the caller beside Spend's own.
func NewCounters(looks, seconds *prometheus.CounterVec, outcomes []string, labels ...string) Counters {
	c := Counters{looks: make(map[string]prometheus.Counter), seconds: seconds.WithLabelValues(labels...)}
	for _, o := range append([]string{Rate, Spent, Failed}, outcomes...) {
		c.looks[o] = looks.WithLabelValues(append(labels[:len(labels):len(labels)], o)...)
	}
	return c
}

// Count counts a look that was wanted by what came of it.
func (c Counters) Count(outcome string) {
	if k, ok := c.looks[outcome]; ok {
		k.Inc()
	}
}

func (c Counters) spend(d time.Duration) {
	if c.seconds != nil {
		c.seconds.Add(d.Seconds())
	}
}

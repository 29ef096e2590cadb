package events

import (
	"math"
	"time"
)

// RuleStats is how people dealt with the events of one rule.
type RuleStats struct {
	Source       string // slug of the camera, sensor ID
	Rule         string // "" when the server itself watches
	Kind         Kind
	Events       int64
	Acknowledged int64
	Closed       int64
	Confirmed    int64
	FalseAlarm   int64
	// Median and P90 of the time from storing an event, when people could know of
	// it, until the first of them saw to it; 0 where nobody did.
	Median, P90 time.Duration
}

// FalseAlarmRate returns the share of false alarms among the events that were
// judged to be one thing or the other, and its 95 % Wilson interval. ok is false
// when none was.
func (r *RuleStats) FalseAlarmRate() (rate, low, high float64, ok bool) {
	judged := r.Confirmed + r.FalseAlarm
	if judged == 0 {
		return 0, 0, 1, false
	}
	low, high = Wilson(r.FalseAlarm, judged)
	return float64(r.FalseAlarm) / float64(judged), low, high, true
}

// Wilson returns the 95 % score interval of a share of k in n (E. B. Wilson,
// 1927), within [0,1]; n is above 0.
func Wilson(k, n int64) (low, high float64) {
	const z = 1.959963984540054
	p, m := float64(k)/float64(n), float64(n)
	centre := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return max(0, centre-half), min(1, centre+half)
}

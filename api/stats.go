package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// StatsReader sums up what people found about events. Its methods return
// events.ErrUnavailable while the store cannot be reached. It must be safe for
// concurrent use.
type StatsReader interface {
	// RuleStats is about the events that occurred from one moment to another.
	RuleStats(ctx context.Context, from, to time.Time) ([]events.RuleStats, error)
}

// Days that the figures of rules are about.
const (
	defaultStatsDays = 30
	maxStatsDays     = 366
)

func statsParams() []string { return []string{"from", "to"} }

// ruleStatsJSON is the wire form of the figures of a rule.
type ruleStatsJSON struct {
	Camera       string      `json:"camera"`
	Rule         string      `json:"rule"`
	Kind         events.Kind `json:"kind"`
	Events       int64       `json:"events"`
	Acknowledged int64       `json:"acknowledged"`
	Median       *float64    `json:"acknowledge_seconds_median"`
	P90          *float64    `json:"acknowledge_seconds_p90"`
	Closed       int64       `json:"closed"`
	Confirmed    int64       `json:"confirmed"`
	FalseAlarm   int64       `json:"false_alarm"`
	Rate         *rateJSON   `json:"false_alarm_rate"`
}

type rateJSON struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// listRuleStats answers how people dealt with the events of each rule.
func (s *Server) listRuleStats(c *gin.Context) {
	if s.cfg.Stats == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server keeps no such figures"})
		return
	}
	to := s.cfg.Now()
	var from time.Time
	err := eachParam(c.Request.URL.RawQuery, statsParams(), func(name, v string) (reason string) {
		if name == "from" {
			from, reason = parseTime(v)
		} else {
			to, reason = parseTime(v)
		}
		return reason
	})
	if from.IsZero() {
		from = to.AddDate(0, 0, -defaultStatsDays)
	}
	switch {
	case err != nil:
	case !from.Before(to):
		err = &events.FieldError{Field: "to", Reason: "must be later than from"}
	case to.Sub(from) > maxStatsDays*24*time.Hour:
		err = &events.FieldError{Field: "from", Reason: fmt.Sprintf("must be at most %d days before to", maxStatsDays)}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	found, err := s.cfg.Stats.RuleStats(ctx, from, to)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		From  *string         `json:"from"`
		To    *string         `json:"to"`
		Items []ruleStatsJSON `json:"items"`
	}{s.timeJSON(from), s.timeJSON(to), make([]ruleStatsJSON, len(found))}
	for i := range found {
		out.Items[i] = newRuleStats(&found[i])
	}
	s.writeJSON(c, http.StatusOK, out)
}

func newRuleStats(r *events.RuleStats) ruleStatsJSON {
	out := ruleStatsJSON{
		Camera: r.Source, Rule: r.Rule, Kind: r.Kind, Events: r.Events, Acknowledged: r.Acknowledged,
		Closed: r.Closed, Confirmed: r.Confirmed, FalseAlarm: r.FalseAlarm,
	}
	if r.Acknowledged > 0 {
		median, p90 := r.Median.Seconds(), r.P90.Seconds()
		out.Median, out.P90 = &median, &p90
	}
	if rate, low, high, ok := r.FalseAlarmRate(); ok {
		out.Rate = &rateJSON{rate, low, high}
	}
	return out
}

package backtest

import (
	"time"

	"github.com/xacam/xacam/events"
)

// Result is what the rules would have done. Its JSON is what the API and
// `xacam backtest --json` show. Times are local.
type Result struct {
	Camera   string       `json:"camera"`
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Coverage Coverage     `json:"coverage"`
	Scenes   uint64       `json:"scenes"` // looked at, those of the warm-up included
	Took     float64      `json:"took_seconds"`
	Rules    []RuleResult `json:"rules"`
}

// Coverage says for how much of the range there are stored tracks. What was not
// recorded could raise nothing.
type Coverage struct {
	Hours         float64 `json:"hours"`    // of the range
	Recorded      float64 `json:"recorded"` // hours of it in which the camera was watched
	Gaps          []Gap   `json:"gaps"`     // of a minute or more: the longest, in the order of their time
	GapCount      int     `json:"gap_count"`
	DamagedBlocks uint64  `json:"damaged_blocks"` // pieces that could not be read, or were never written
}

// Gap is a time without stored tracks.
type Gap struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// RuleResult is what one rule would have done.
type RuleResult struct {
	Name       string                  `json:"name"`
	Kind       events.Kind             `json:"kind"`
	Events     int                     `json:"events"`         // raised in the range
	Raised     float64                 `json:"raised_seconds"` // how long they lasted together, within the range
	Open       int                     `json:"open"`           // still raised at the end
	BySeverity map[events.Severity]int `json:"by_severity"`
	ByDay      []Day                   `json:"by_day"`
	ByHour     [24]int                 `json:"by_hour"` // of the local day in which they were raised
	Examples   []Example               `json:"examples"`
	Counts     []Count                 `json:"counts,omitempty"` // of a kind that counts
	Live       *Live                   `json:"live"`             // null when it is not known
	// NotSeen are things the kind needs that were not worked out for part of the
	// recording, since no rule needed them then; in NotSeenHours the rule was not
	// tried.
	NotSeen      []string `json:"not_seen,omitempty"`
	NotSeenHours float64  `json:"not_seen_hours"`
}

// Day is one local day of the range.
type Day struct {
	Date     string  `json:"date"` // 2026-11-23
	Events   int     `json:"events"`
	Recorded float64 `json:"recorded"` // hours
}

// Example is one event.
type Example struct {
	ID         string          `json:"id"` // that of the live event, if there was the same
	At         time.Time       `json:"at"`
	Until      *time.Time      `json:"until"` // null when it is still raised at the end
	Severity   events.Severity `json:"severity"`
	Zone       string          `json:"zone"`
	Subject    *events.Subject `json:"subject"`
	Why        events.Text     `json:"why"`
	Attributes map[string]any  `json:"attributes"`
}

// Count is how many objects passed in the range.
type Count struct {
	Line      string `json:"line"`
	Class     string `json:"class"`
	Direction string `json:"direction"`
	N         int    `json:"n"`
}

// Live compares with what the rule of the same name raised at the time.
type Live struct {
	Events int `json:"events"`
	Again  int `json:"again"` // of them, those that the tried rule raises too: at the same time in the same zone
	New    int `json:"new"`   // raised by the tried rule alone
	// What people said of the live events, and how many of them come again.
	FalseAlarms      int `json:"false_alarms"`
	FalseAlarmsAgain int `json:"false_alarms_again"`
	Confirmed        int `json:"confirmed"`
	ConfirmedAgain   int `json:"confirmed_again"`
}

// Package backtest answers what rules would have raised on what a camera saw in
// the past. It shows the stored scenes, see vision/tracklog, to the very
// behaviours and the lifecycle that run live, in the same order and at the same
// pace: the rule that ran live raises the same events again, with the same IDs.
package backtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/tracklog"
)

// Limits of a request.
const (
	MaxRange    = 92 * 24 * time.Hour
	MaxExamples = 100
)

// Request says what to try.
type Request struct {
	File     camera.File // of the camera, valid; its rules are tried, or those of Rules
	Rules    []string    // names; empty is all
	From, To time.Time   // events raised in From ≤ time < To count
	// Warmup is how long before From the rules begin to look, so that they know
	// what went on then; default an hour.
	Warmup   time.Duration
	Calendar schedule.Calendar // local time and holidays
	Versions map[string]int    // of the rules, by name
	Examples int               // of events, for each rule; default 5, at most MaxExamples
	// Live are the events of the camera that were raised in the range, for
	// comparison; nil when they are not known.
	Live []events.Event
	// Progress, if not nil, is told now and then up to when the range is done.
	Progress func(at time.Time)
}

func (q Request) withDefaults() (Request, error) {
	switch {
	case !q.From.Before(q.To):
		return q, &events.FieldError{Field: "to", Reason: "must be later than from"}
	case q.To.Sub(q.From) > MaxRange:
		return q, &events.FieldError{Field: "from", Reason: fmt.Sprintf("must be at most %d days before to", int(MaxRange.Hours()/24))}
	case q.Examples < 0 || q.Examples > MaxExamples:
		return q, &events.FieldError{Field: "examples", Reason: fmt.Sprintf("must be from 0 to %d", MaxExamples)}
	}
	if q.Warmup <= 0 {
		q.Warmup = time.Hour
	}
	if q.Calendar.Location == nil {
		q.Calendar.Location = time.UTC
	}
	if len(q.Rules) == 0 {
		return q, nil
	}
	q.File.Rules = slices.DeleteFunc(slices.Clone(q.File.Rules), func(r camera.Rule) bool { return !slices.Contains(q.Rules, r.Name) })
	for _, name := range q.Rules {
		if !slices.ContainsFunc(q.File.Rules, func(r camera.Rule) bool { return r.Name == name }) {
			return q, &events.FieldError{Field: "rule", Reason: fmt.Sprintf("%.70q is not one of the camera's rules", name)}
		}
	}
	return q, nil
}

// Run tries the rules on the tracks stored in dir, the folder of a tracklog.Log.
// It works until ctx is done. Errors of the request are events.FieldError,
// joined.
func Run(ctx context.Context, dir string, q Request) (*Result, error) {
	q, err := q.withDefaults()
	if err != nil {
		return nil, err
	}
	t := &trial{req: q, source: q.File.Source()}
	if err := t.begin(); err != nil { // before anything is read
		return nil, err
	}
	r, err := tracklog.Open(ctx, dir, q.File.Camera, q.From.Add(-q.Warmup), q.To)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	t.prepare()
	for n := 0; ; n++ {
		if n%1024 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("try the rules: %w", err)
			}
		}
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if run := r.Run(); n == 0 || !run.Started.Equal(t.run.Started) {
			if err := t.enter(run, s.At, n > 0); err != nil {
				return nil, err
			}
		}
		t.look(s)
		if n%8192 == 0 && q.Progress != nil {
			q.Progress(s.At)
		}
	}
	return t.result(r.Stats()), nil
}

// trial is one run of a Request.
type trial struct {
	req    Request
	source events.Source
	run    tracklog.Run

	plan   *camera.Plan
	engine *lifecycle.Engine
	mute   []bool // rules that cannot be tried on this run of the camera

	rules   []*ruleTrial // in the order of the plan's behaviours
	byName  map[string]*ruleTrial
	cover   coverage
	signals []events.Signal // reused
}

// begin makes new rules and a new lifecycle.
func (t *trial) begin() error {
	var err error
	t.plan, err = t.req.File.Build(camera.Options{Versions: t.req.Versions, Calendar: t.req.Calendar})
	if err != nil {
		return err
	}
	t.engine, err = lifecycle.NewEngine(lifecycle.Config{Source: t.source, Rules: t.plan.Delays})
	return err
}

// prepare makes what collects results.
func (t *trial) prepare() {
	t.byName = make(map[string]*ruleTrial)
	for i := range t.req.File.Rules {
		r := newRuleTrial(&t.req, &t.req.File.Rules[i])
		t.rules = append(t.rules, r)
		t.byName[r.rule.Name] = r
	}
	t.mute = make([]bool, len(t.rules))
	t.cover = newCoverage(t.req.From, t.req.To, t.req.Calendar.Location)
}

// enter goes on with another run of the camera, as the server does when it makes
// an analysis anew: rules begin afresh, and open events go on.
func (t *trial) enter(run tracklog.Run, at time.Time, again bool) error {
	t.run = run
	if again {
		open := t.engine.Open()
		if err := t.begin(); err != nil {
			return err
		}
		if !run.Started.After(at) {
			at = run.Started
		}
		t.engine.Restore(open, at)
	}
	for i, r := range t.rules {
		t.mute[i] = r.enter(&run)
	}
	t.cover.gap = max(5*time.Second, time.Duration(3/max(run.FPS, 0.1)*float64(time.Second)))
	return nil
}

// look shows a scene to the rules.
func (t *trial) look(s *vision.Scene) {
	t.signals = t.signals[:0]
	for i, b := range t.plan.Behaviours {
		if !t.mute[i] {
			t.signals = append(t.signals, b.Observe(s)...)
		}
		if c, ok := b.(behaviour.Counter); ok {
			t.rules[i].count(c.TakeCounts(), t.run.Started)
		}
	}
	d := t.cover.look(s.At)
	for i, r := range t.rules {
		if t.mute[i] {
			r.muted += d
		}
	}
	for _, c := range t.engine.Step(s.At, t.signals) {
		if r := t.byName[c.Event.Rule.Name]; r != nil {
			r.change(&c.Event)
		}
	}
}

func (t *trial) result(stats tracklog.Stats) *Result {
	t.cover.end()
	out := &Result{
		Camera: t.req.File.Camera, From: t.req.From.In(t.req.Calendar.Location), To: t.req.To.In(t.req.Calendar.Location),
		Coverage: t.cover.report(), Scenes: stats.Scenes,
	}
	out.Coverage.DamagedBlocks = stats.Damaged + stats.Missing
	for _, r := range t.rules {
		out.Rules = append(out.Rules, r.report(t.cover.days))
	}
	return out
}

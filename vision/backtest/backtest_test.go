package backtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/backtest"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/tracklog"
	"github.com/xacam/xacam/vision/visiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hanoi is local time.
func hanoi() schedule.Calendar { return schedule.Calendar{Location: time.FixedZone("+07", 7*3600)} }

// live is what a server does: rules and a lifecycle, made anew for each run.
type live struct {
	t      *testing.T
	file   camera.File
	plan   *camera.Plan
	engine *lifecycle.Engine
	events map[string]events.Event // by ID, as they are now
	order  []string
}

func newLive(t *testing.T, f camera.File) *live {
	t.Helper()
	l := &live{t: t, file: f, events: make(map[string]events.Event)}
	l.restart(time.Time{})
	return l
}

// restart makes the analysis anew, as after a change of the configuration.
func (l *live) restart(at time.Time) {
	var open []events.Event
	if l.engine != nil {
		open = l.engine.Open()
	}
	var err error
	l.plan, err = l.file.Build(camera.Options{Calendar: hanoi()})
	require.NoError(l.t, err)
	l.engine, err = lifecycle.NewEngine(lifecycle.Config{Source: l.file.Source(), Rules: l.plan.Delays})
	require.NoError(l.t, err)
	l.engine.Restore(open, at)
}

func (l *live) look(s *vision.Scene) {
	var signals []events.Signal
	for _, b := range l.plan.Behaviours {
		signals = append(signals, b.Observe(s)...)
		if c, ok := b.(behaviour.Counter); ok {
			c.TakeCounts()
		}
	}
	for _, c := range l.engine.Step(s.At, signals) {
		if _, known := l.events[c.Event.ID]; !known {
			l.order = append(l.order, c.Event.ID)
		}
		l.events[c.Event.ID] = c.Event
	}
}

// needs returns what the rules need, for the log.
func (l *live) needs() []string {
	var out []string
	for n := range l.plan.Needs {
		out = append(out, string(n))
	}
	return out
}

// record runs a log in a folder of the test's own; stop writes what is left.
func record(t *testing.T) (l *tracklog.Log, dir string, stop func()) {
	t.Helper()
	dir = t.TempDir()
	l, err := tracklog.New(tracklog.Config{Dir: dir, Queue: 10_000})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		assert.NoError(t, l.Run(ctx))
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return l, dir, stop
}

// shown is an event as the result shows it.
func shown(ev *events.Event) backtest.Example {
	x := backtest.Example{
		ID: ev.ID, At: ev.OccurredAt.In(hanoi().Location), Severity: ev.Severity, Zone: ev.Zone, Subject: ev.Subject,
		Why: ev.Why, Attributes: ev.Attributes,
	}
	if x.Attributes == nil {
		x.Attributes = map[string]any{}
	}
	if ev.State == events.StateCleared {
		until := ev.ClearedAt.In(hanoi().Location)
		x.Until = &until
	}
	return x
}

// Every recorded scene of every kind raises, from the log, the very events that
// it raises live, where rules see snapped scenes: the same IDs, times, reasons and
// attributes. And snapping changes neither which events there are nor when.
func TestScenesRaiseTheSameEvents(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "scenes", "*", "*.jsonl"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	kinds := make(map[events.Kind]bool)
	for _, k := range behaviour.Kinds() {
		kinds[k] = true
	}
	for _, path := range paths {
		kind := filepath.Base(filepath.Dir(path))
		if !kinds[events.Kind(kind)] {
			continue
		}
		t.Run(kind+"/"+strings.TrimSuffix(filepath.Base(path), ".jsonl"), func(t *testing.T) {
			t.Parallel()
			h, scenes := visiontest.ReadScenes(t, path)
			f, err := camera.DecodeJSON(h.Camera)
			require.NoError(t, err)
			now, raw := newLive(t, f), newLive(t, f)
			var snapper tracklog.Snapper
			log, dir, stop := record(t)
			tape := log.Tape(f.Camera, tracklog.Run{Started: h.Start, FPS: f.Detect.FPS, Needs: now.needs()})
			for _, s := range scenes {
				raw.look(s)
				snapped := *s
				snapper.Snap(&snapped)
				tape.Add(&snapped)
				now.look(&snapped)
			}
			tape.Close()
			stop()
			require.Equal(t, raw.order, now.order)
			for id, ev := range raw.events {
				require.Equal(t, ev.ClearedAt, now.events[id].ClearedAt)
			}
			got, err := backtest.Run(t.Context(), dir, backtest.Request{
				File: f, From: h.Start, To: scenes[len(scenes)-1].At.Add(time.Second), Calendar: hanoi(), Examples: backtest.MaxExamples,
			})
			require.NoError(t, err)
			require.Len(t, got.Rules, len(f.Rules))
			total := 0
			for _, r := range got.Rules {
				want := []backtest.Example{}
				for _, id := range now.order {
					if ev := now.events[id]; ev.Rule.Name == r.Name {
						want = append(want, shown(&ev))
					}
				}
				total += len(want)
				require.Equal(t, len(want), r.Events)
				require.Equal(t, want, r.Examples)
				require.Empty(t, r.NotSeen)
			}
			require.Equal(t, len(now.order), total)
		})
	}
}

const market = `{
	"camera": "cho", "url": "rtsp://camera.invalid/",
	"zones": {"san": {"area": [[0.3,0.3],[0.7,0.3],[0.7,0.9],[0.3,0.9]]}},
	"rules": [
		{"name": "vao-san", "kind": "intrusion", "zone": "san", "classes": ["person"], "after": 2},
		{"name": "ban-dem", "kind": "intrusion", "zone": "san", "schedule": "22:00-05:00", "severity": "high"}
	]
}`

func decode(t *testing.T, text string) camera.File {
	t.Helper()
	f, err := camera.DecodeJSON(json.RawMessage(text))
	require.NoError(t, err)
	return f
}

// visits makes the scenes of a camera at 5 fps where somebody comes into the
// zone every interval and stays for stay.
type visits struct {
	interval, stay time.Duration
	from           time.Time
}

// scene returns what is seen at a time, and whether it is all still.
func (v visits) scene(at time.Time) *vision.Scene {
	d := at.Sub(v.from)
	n, in := int(d/v.interval), d%v.interval
	s := &vision.Scene{Camera: "cho", At: at, Aspect: 16. / 9, Held: in > v.stay+time.Second}
	id := uint64(n) + 1
	switch box := (geom.Box{Min: geom.Point{X: 0.45, Y: 0.4}, Max: geom.Point{X: 0.5, Y: 0.6}}); {
	case in < v.stay:
		first := at.Add(-in)
		s.Tracks = []vision.Track{{ID: id, Label: "person", Score: 0.8, Box: box, Prev: box, First: first, Seen: at, StillFor: in}}
	case in < v.stay+time.Second:
		s.Ended = []uint64{id}
	}
	return s
}

func TestResult(t *testing.T) {
	t.Parallel()
	f := decode(t, market)
	start := time.Date(2026, 11, 20, 0, 0, 0, 0, hanoi().Location)
	v := visits{interval: time.Hour, stay: time.Minute, from: start}
	log, dir, stop := record(t)
	now := newLive(t, f)
	tape := log.Tape("cho", tracklog.Run{Started: start, FPS: 5})
	for i := range 2 * 24 * 3600 {
		at := start.Add(time.Duration(i) * time.Second)
		// The server was away for three hours, and the analysis began anew later.
		if d := at.Sub(start); d == 30*time.Hour || d == 40*time.Hour+30*time.Second {
			tape.Close()
			tape = log.Tape("cho", tracklog.Run{Started: at.Add(-time.Second), FPS: 5})
			now.restart(at.Add(-time.Second))
		}
		if h := at.Sub(start).Hours(); h >= 27 && h < 30 {
			continue
		}
		s := v.scene(at)
		tape.Add(s)
		now.look(s)
	}
	tape.Close()
	stop()

	verdict := "false_alarm"
	var happened []events.Event
	for _, id := range now.order {
		ev := now.events[id]
		ev.Workflow.Verdict = &verdict
		happened = append(happened, ev)
	}
	var told []time.Time
	req := backtest.Request{
		File: f, From: start, To: start.Add(48 * time.Hour), Calendar: hanoi(), Examples: 3, Live: happened,
		Progress: func(at time.Time) { told = append(told, at) },
	}
	got, err := backtest.Run(t.Context(), dir, req)
	require.NoError(t, err)
	assert.NotEmpty(t, told)
	req.Progress = nil
	assert.InDelta(t, 48, got.Coverage.Hours, 0)
	assert.InDelta(t, 45, got.Coverage.Recorded, 0.01)
	require.Len(t, got.Coverage.Gaps, 1)
	assert.Equal(t, backtest.Gap{From: start.Add(27*time.Hour - time.Second), To: start.Add(30 * time.Hour)}, got.Coverage.Gaps[0])

	day, night := got.Rules[0], got.Rules[1]
	assert.Equal(t, 45, day.Events, "one an hour; the one that was going on at the restart goes on")
	assert.Equal(t, []backtest.Day{{"2026-11-20", 24, 24}, {"2026-11-21", 21, 21}}, day.ByDay)
	assert.Equal(t, [24]int{2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, day.ByHour)
	assert.InDelta(t, 45*58, day.Raised, 45)
	assert.Equal(t, map[events.Severity]int{events.SeverityMedium: 45}, day.BySeverity)
	require.Len(t, day.Examples, 3)
	assert.Equal(t, start.Add(2*time.Second), day.Examples[0].At)
	assert.Equal(t, start.Add(47*time.Hour+2*time.Second), day.Examples[2].At)
	assert.Equal(t, &backtest.Live{Events: 45, Again: 45, FalseAlarms: 45, FalseAlarmsAgain: 45}, day.Live)
	assert.Equal(t, 12, night.Events, "22, 23, 0 to 4 each night, less the hours away")
	assert.Equal(t, map[events.Severity]int{events.SeverityHigh: 12}, night.BySeverity)

	t.Run("another rule", func(t *testing.T) {
		t.Parallel()
		req := req
		req.Rules = []string{"vao-san"}
		req.File = decode(t, strings.Replace(market, `"after": 2`, `"after": 90`, 1))
		got, err := backtest.Run(t.Context(), dir, req)
		require.NoError(t, err)
		require.Len(t, got.Rules, 1)
		assert.Zero(t, got.Rules[0].Events)
		assert.Equal(t, &backtest.Live{Events: 45, FalseAlarms: 45}, got.Rules[0].Live)

		req.File = decode(t, strings.Replace(market, `"after": 2`, `"after": 30`, 1))
		got, err = backtest.Run(t.Context(), dir, req)
		require.NoError(t, err)
		assert.Equal(t, &backtest.Live{Events: 45, Again: 44, FalseAlarms: 45, FalseAlarmsAgain: 44}, got.Rules[0].Live,
			"later, but the same; the analysis that began anew took one visit for two short ones")
	})
	t.Run("part of the range", func(t *testing.T) {
		t.Parallel()
		req := req
		req.From, req.To, req.Live = start.Add(10*time.Hour+10*time.Second), start.Add(12*time.Hour+30*time.Second), nil
		got, err := backtest.Run(t.Context(), dir, req)
		require.NoError(t, err)
		r := got.Rules[0]
		assert.Equal(t, 2, r.Events, "the first was raised before")
		assert.Equal(t, 1, r.Open)
		assert.InDelta(t, 58+28, r.Raised, 2)
		assert.Nil(t, r.Examples[1].Until)
		assert.Nil(t, r.Live)
		assert.InDelta(t, got.Coverage.Hours, got.Coverage.Recorded, 0.001)
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		req := req
		req.Progress = func(time.Time) { cancel() }
		_, err := backtest.Run(ctx, dir, req)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// A kind that needs what was not worked out at the time is not tried on it, and
// says so.
func TestWhatWasNotSeen(t *testing.T) {
	t.Parallel()
	f := decode(t, `{"camera": "cho", "url": "rtsp://camera.invalid/",
		"zones": {"san": {"area": [[0.1,0.1],[0.9,0.1],[0.9,0.9],[0.1,0.9]]}},
		"rules": [{"name": "xa-rac", "kind": "dumping", "zone": "san"}]}`)
	start := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	log, dir, stop := record(t)
	for i, needs := range [][]string{nil, {"stills"}} {
		tape := log.Tape("cho", tracklog.Run{Started: start.Add(time.Duration(i) * time.Hour), FPS: 5, Needs: needs})
		for j := range 18_000 {
			tape.Add(&vision.Scene{At: start.Add(time.Duration(i)*time.Hour + time.Duration(j)*200*time.Millisecond)})
		}
		tape.Close()
	}
	stop()
	got, err := backtest.Run(t.Context(), dir, backtest.Request{File: f, From: start, To: start.Add(2 * time.Hour)})
	require.NoError(t, err)
	assert.Equal(t, []string{"stills"}, got.Rules[0].NotSeen)
	assert.InDelta(t, 1, got.Rules[0].NotSeenHours, 0.01)
	assert.InDelta(t, 2, got.Coverage.Recorded, 0.01)
}

func TestRequestsThatCannotBeTried(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		change func(*backtest.Request)
		field  string
	}{
		"backwards":      {func(q *backtest.Request) { q.To = q.From }, "to"},
		"too long":       {func(q *backtest.Request) { q.From = q.To.AddDate(-1, 0, 0) }, "from"},
		"unknown rule":   {func(q *backtest.Request) { q.Rules = []string{"khong-co"} }, "rule"},
		"bad rule":       {func(q *backtest.Request) { q.File.Rules[0].Params = map[string]any{"afterr": 3} }, "rules[0].afterr"},
		"many examples":  {func(q *backtest.Request) { q.Examples = 1000 }, "examples"},
		"not a zone":     {func(q *backtest.Request) { q.File.Rules[0].Zone = "cho" }, "rules[0].zone"},
		"not a schedule": {func(q *backtest.Request) { q.File.Rules[1].Schedule = "25:00" }, "rules[1].schedule"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := backtest.Request{File: decode(t, market), From: at, To: at.Add(time.Hour)}
			c.change(&q)
			_, err := backtest.Run(t.Context(), t.TempDir(), q)
			field, ok := errors.AsType[*events.FieldError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, c.field, field.Field)
		})
	}
	q := backtest.Request{File: decode(t, market), From: at, To: at.Add(time.Hour)}
	got, err := backtest.Run(t.Context(), t.TempDir(), q)
	require.NoError(t, err, "a camera that was never recorded")
	assert.Zero(t, got.Coverage.Recorded)
	assert.Len(t, got.Coverage.Gaps, 1)
}

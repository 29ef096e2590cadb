package backtest

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/tracklog"
)

// maxKept is how many events are kept as possible examples; of more, every
// second, fourth … is.
const maxKept = 4096

// ruleTrial collects what one rule does.
type ruleTrial struct {
	req  *Request
	rule *camera.Rule
	own  []behaviour.Need // without which the kind sees nothing
	all  []behaviour.Need // and those without which it sees less

	notSeen map[string]bool
	muted   time.Duration

	total    int
	kept     []*Example
	stride   int
	open     map[string]*occurrence // by ID
	spans    []occurrence
	severity map[events.Severity]int
	days     map[string]int
	hours    [24]int
	minutes  map[minute]int
}

// occurrence is when one event was raised and cleared.
type occurrence struct {
	id, zone  string
	at, until time.Time
	index     int      // in spans; -1 for one from before the range
	example   *Example // nil when it is not kept
}

// minute identifies a total of a counting rule.
type minute struct {
	run, at          int64
	line, class, dir string
}

func newRuleTrial(q *Request, r *camera.Rule) *ruleTrial {
	t := &ruleTrial{
		req: q, rule: r, notSeen: make(map[string]bool), stride: 1, open: make(map[string]*occurrence),
		severity: make(map[events.Severity]int), days: make(map[string]int), minutes: make(map[minute]int),
	}
	if d, ok := behaviour.Lookup(r.Kind); ok {
		t.own, t.all = d.Needs, d.NeedsOf(r.ClassNames())
	}
	return t
}

// enter reports whether the rule cannot be tried on a run of the camera.
func (t *ruleTrial) enter(run *tracklog.Run) (mute bool) {
	for _, n := range t.all {
		if n == behaviour.NeedGround || slices.Contains(run.Needs, string(n)) {
			continue // the ground is the camera file's
		}
		t.notSeen[string(n)] = true
		mute = mute || slices.Contains(t.own, n)
	}
	return mute
}

// change notes a step in the life of an event.
func (t *ruleTrial) change(ev *events.Event) {
	if ev.State == events.StateCleared {
		o := t.open[ev.ID]
		if o == nil {
			return
		}
		delete(t.open, ev.ID)
		if o.index >= 0 {
			t.spans[o.index].until = ev.ClearedAt
		}
		if x := o.example; x != nil {
			until := ev.ClearedAt.In(t.req.Calendar.Location)
			x.Until, x.Why, x.Attributes = &until, ev.Why, attributes(ev)
		}
		return
	}
	if t.open[ev.ID] != nil {
		return // a group that grows
	}
	o := &occurrence{id: ev.ID, zone: ev.Zone, at: ev.OccurredAt, index: -1}
	t.open[ev.ID] = o
	if ev.OccurredAt.Before(t.req.From) {
		return
	}
	o.index = len(t.spans)
	if t.total%t.stride == 0 {
		o.example = t.keep(ev)
	}
	t.spans = append(t.spans, *o)
	t.total++
	t.severity[ev.Severity]++
	local := ev.OccurredAt.In(t.req.Calendar.Location)
	t.days[local.Format(time.DateOnly)]++
	t.hours[local.Hour()]++
}

func attributes(ev *events.Event) map[string]any {
	if ev.Attributes == nil {
		return map[string]any{}
	}
	return ev.Attributes
}

func (t *ruleTrial) keep(ev *events.Event) *Example {
	if len(t.kept) == maxKept {
		for i := range maxKept / 2 {
			t.kept[i] = t.kept[2*i]
		}
		t.kept = t.kept[:maxKept/2]
		if t.stride *= 2; t.total%t.stride != 0 {
			return nil
		}
	}
	x := &Example{
		ID: ev.ID, At: ev.OccurredAt.In(t.req.Calendar.Location), Severity: ev.Severity, Zone: ev.Zone,
		Subject: ev.Subject, Why: ev.Why, Attributes: attributes(ev),
	}
	t.kept = append(t.kept, x)
	return x
}

// count takes the totals of a counting rule.
func (t *ruleTrial) count(counts []events.Count, run time.Time) {
	for _, c := range counts {
		if c.Minute.Before(t.req.From.Truncate(time.Minute)) || !c.Minute.Before(t.req.To) {
			continue
		}
		t.minutes[minute{run.UnixMilli(), c.Minute.UnixMilli(), c.Line, c.Class, c.Direction}] = c.N
	}
}

func (t *ruleTrial) report(days []Day) RuleResult {
	out := RuleResult{
		Name: t.rule.Name, Kind: t.rule.Kind, Events: t.total, BySeverity: t.severity, ByHour: t.hours,
		Examples: pick(t.kept, t.req.Examples), NotSeen: slices.Sorted(maps.Keys(t.notSeen)),
		NotSeenHours: round(t.muted.Hours()), ByDay: slices.Clone(days),
	}
	for i := range out.ByDay {
		out.ByDay[i].Events = t.days[out.ByDay[i].Date]
	}
	sum := time.Duration(0)
	for i := range t.spans {
		o := &t.spans[i]
		if o.until.IsZero() {
			out.Open++
			o.until = t.req.To
		}
		if until := earlier(o.until, t.req.To); until.After(o.at) {
			sum += until.Sub(o.at)
		}
	}
	out.Raised = round(sum.Seconds())
	byWay := make(map[Count]int)
	for m, n := range t.minutes {
		byWay[Count{Line: m.line, Class: m.class, Direction: m.dir}] += n
	}
	for c, n := range byWay {
		c.N = n
		out.Counts = append(out.Counts, c)
	}
	slices.SortFunc(out.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Direction, b.Direction))
	})
	if t.req.Live != nil {
		out.Live = t.compare()
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// pick returns at most n of all, the first and the last among them, evenly
// spaced.
func pick(all []*Example, n int) []Example {
	out := []Example{}
	if n == 0 {
		n = 5
	}
	n = min(n, len(all))
	for i := range n {
		at := 0
		if n > 1 {
			at = i * (len(all) - 1) / (n - 1)
		}
		out = append(out, *all[at])
	}
	return out
}

// same is how far two events may be apart to count as one: a rule with another
// hold raises later.
const same = 2 * time.Second

// compare finds for each live event of the rule one that was raised here, in the
// same zone and overlapping in time; those with the same ID first.
func (t *ruleTrial) compare() *Live {
	out := &Live{}
	byID := make(map[string]int, len(t.spans))
	for i := range t.spans {
		byID[t.spans[i].id] = i
	}
	taken := make([]bool, len(t.spans))
	var rest []*events.Event
	tell := func(ev *events.Event, again bool) {
		n := 0
		if again {
			out.Again, n = out.Again+1, 1
		}
		if v := ev.Workflow.Verdict; v != nil && *v == "false_alarm" {
			out.FalseAlarms, out.FalseAlarmsAgain = out.FalseAlarms+1, out.FalseAlarmsAgain+n
		} else if v != nil && *v == "confirmed" {
			out.Confirmed, out.ConfirmedAgain = out.Confirmed+1, out.ConfirmedAgain+n
		}
	}
	for i := range t.req.Live {
		ev := &t.req.Live[i]
		if ev.Rule.Name != t.rule.Name || ev.OccurredAt.Before(t.req.From) || !ev.OccurredAt.Before(t.req.To) {
			continue
		}
		out.Events++
		if at, ok := byID[ev.ID]; ok && !taken[at] {
			taken[at] = true
			tell(ev, true)
			continue
		}
		rest = append(rest, ev)
	}
	slices.SortFunc(rest, func(a, b *events.Event) int { return a.OccurredAt.Compare(b.OccurredAt) })
	for _, ev := range rest {
		at := t.overlapping(ev, taken)
		if at >= 0 {
			taken[at] = true
		}
		tell(ev, at >= 0)
	}
	out.New = t.total - out.Again
	return out
}

// overlapping returns the first event that is not taken and overlaps with a live
// one, or -1. Events are in the order in which they were raised.
func (t *ruleTrial) overlapping(ev *events.Event, taken []bool) int {
	until := ev.ClearedAt
	if until.IsZero() {
		until = t.req.To
	}
	end, _ := slices.BinarySearchFunc(t.spans, until.Add(same), func(o occurrence, at time.Time) int { return o.at.Compare(at) })
	const farthest = 5000 // events back that are looked at
	found := -1
	for i := end - 1; i >= max(0, end-farthest); i-- {
		if o := &t.spans[i]; !taken[i] && o.zone == ev.Zone && !o.until.Add(same).Before(ev.OccurredAt) {
			found = i
		}
	}
	return found
}

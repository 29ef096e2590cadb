package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/vision/score"
)

const evalEventsHelp = `Score events, as "xacam replay" or the API writes them, against a file of labels,
YAML or JSON lines (.jsonl, one label a line):

  start: 2026-01-01T00:00:00+07:00   # of the recording; default --start
  from: 0:00                         # the part that somebody watched; default all
  to: 5:00
  events:
    - {kind: dumping, zone: bai, from: 0:04.5, to: 0:20, class: person, note: a black bag}
    - {kind: loitering, from: 1:10, to: 2:05, due: 1:40, box: [0.1, 0.3, 0.2, 0.7]}
    - {kind: loitering, from: 3:00, to: 3:20, optional: true}
  unsure:
    - {from: 4:00, to: 4:10}

Times are RFC 3339, or the time in the recording. kind and from are required; an
event must agree with whatever else is given: camera, rule, zone, class, and box
by --min-overlap. It tells of a label when their times meet within --tolerance,
and of one label only; of all ways to pair them the one with the most pairs
counts, then the one with the smallest delays. A delay counts from due, or from
where there is none. Nothing is asked for what is optional or unsure.`

func newEvalEventsCommand() *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events --truth labels.yaml EVENTS.jsonl…",
		Short: "Score events against labels: precision, recall, F1 and delay, by kind and rule",
		Long:  evalEventsHelp,
		Args:  usageArgs(cobra.MinimumNArgs(1)),
	}
	l := newLimits(cmd)
	f := cmd.Flags()
	f.StringVar(&o.truth, "truth", "", "labels, YAML or .jsonl (required)")
	f.StringVar(&o.start, "start", replayStart, "start of the recording, RFC 3339, as given to replay")
	f.DurationVar(&o.tolerance, "tolerance", 2*time.Second, "by which the times of event and label may miss each other")
	f.Float64Var(&o.overlap, "min-overlap", 0.3, "least overlap (IoU) of the subject's box with the label's, above 0 and at most 1")
	f.StringVar(&o.timeZone, "time-zone", "Asia/Ho_Chi_Minh", "time zone of the times that are shown")
	f.StringVar(&o.lang, "lang", "en", "language of the events' reasons: vi or en")
	f.BoolVar(&o.json, "json", false, "write JSON")
	l.least("precision", "the precision of all events")
	l.least("recall", "the recall of all labels")
	l.least("f1", "the F1 of all events")
	l.atMost("delay", "the longest delay in seconds")
	l.atMost("false", "the number of false events")
	mustRequire(cmd, "truth")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.valid(); err != nil {
			return err
		}
		r, err := o.score(args)
		if err != nil {
			return err
		}
		if o.json {
			err = writeJSONTo(cmd.OutOrStdout(), r.json())
		} else {
			err = r.print(cmd.OutOrStdout())
		}
		if err != nil {
			return err
		}
		s := &r.score
		return l.check(map[string]float64{
			"min-precision": s.Precision(), "min-recall": s.Recall(), "min-f1": s.F1(),
			"max-delay": s.DelayMax.Seconds(), "max-false": float64(s.Wrong()),
		})
	}
	return cmd
}

// eventsOptions are the flags of eval events.
type eventsOptions struct {
	truth, start, timeZone, lang string
	tolerance                    time.Duration
	overlap                      float64
	json                         bool
}

// eventsReport is the score with what it was made of.
type eventsReport struct {
	labels labels
	events []events.Event
	score  score.EventScore
	loc    *time.Location
	lang   string
}

func (o *eventsOptions) score(paths []string) (*eventsReport, error) {
	start, err := time.Parse(time.RFC3339, o.start)
	if err != nil {
		return nil, usagef("--start %q: give a time such as %s", o.start, replayStart)
	}
	loc, err := time.LoadLocation(o.timeZone)
	if err != nil {
		return nil, usagef("--time-zone: %w", err)
	}
	if o.lang != "vi" && o.lang != "en" {
		return nil, usagef("--lang %q: give vi or en", o.lang)
	}
	if o.tolerance <= 0 || !(o.overlap > 0 && o.overlap <= 1) {
		return nil, usagef("give a tolerance above 0s and an overlap above 0 and at most 1")
	}
	r := &eventsReport{loc: loc, lang: o.lang}
	if r.labels, err = readLabels(o.truth, start); err != nil {
		return nil, err
	}
	if r.events, err = readTold(paths); err != nil {
		return nil, err
	}
	told := make([]score.Told, len(r.events))
	for i := range r.events {
		told[i] = toldOf(&r.events[i])
	}
	cfg := r.labels.cfg
	cfg.Tolerance, cfg.MinIoU = o.tolerance, o.overlap
	r.score, err = score.ComputeEvents(r.labels.events, told, cfg)
	return r, err
}

// when writes a time as the place in the recording and the time of day.
func (r *eventsReport) when(from, to time.Time) string {
	day := from.In(r.loc).Format("2006-01-02 15:04:05.0")
	offset := from.Sub(r.labels.start)
	if offset < 0 || offset > 30*24*time.Hour {
		return day
	}
	text := clockTime(offset)
	switch {
	case to.IsZero():
		text += " –"
	case to.After(from):
		text += " – " + clockTime(to.Sub(r.labels.start))
	}
	return text + "  (" + day + ")"
}

// clockTime writes the time in a recording, m:ss.t or h:mm:ss.t.
func clockTime(d time.Duration) string {
	d = d.Round(100 * time.Millisecond)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, (d % time.Minute).Seconds()
	if h > 0 {
		return fmt.Sprintf("%d:%02d:%04.1f", h, m, s)
	}
	return fmt.Sprintf("%d:%04.1f", m, s)
}

func (r *eventsReport) print(w io.Writer) error {
	rows := [][]string{{
		"kind", "rule", "labels", "events", "right", "missed", "false", "twice", "precision", "recall", "F1", "delay p50", "max",
	}}
	row := func(kind, rule string, c *score.EventCounts) []string {
		out := []string{kind, rule}
		for _, n := range []int{c.Labels, c.Events, c.Right, c.Missed(), c.Wrong(), c.Twice} {
			out = append(out, strconv.Itoa(n))
		}
		out = append(out, figure(c.Precision()), figure(c.Recall()), figure(c.F1()))
		if c.Right == 0 {
			return append(out, "-", "-")
		}
		return append(out, fmt.Sprintf("%.1f s", c.DelayP50.Seconds()), fmt.Sprintf("%.1f s", c.DelayMax.Seconds()))
	}
	for i := range r.score.Groups {
		g := &r.score.Groups[i]
		rows = append(rows, row(g.Kind, g.Rule, &g.EventCounts))
	}
	rows = append(rows, row("all", "", &r.score.EventCounts))
	if err := table(w, rows, 2); err != nil {
		return err
	}
	var b strings.Builder
	if len(r.score.NotTold) > 0 {
		b.WriteString("\nmissed:\n")
		for _, i := range r.score.NotTold {
			l := &r.labels.events[i]
			fmt.Fprintf(&b, "  %s  %s%s\n", r.when(l.From, l.To), l.Kind,
				details("camera", l.Camera, "rule", l.Rule, "zone", l.Zone, "class", l.Class, "note", l.Note))
		}
	}
	if len(r.score.False) > 0 {
		b.WriteString("\nfalse:\n")
		for _, f := range r.score.False {
			e := &r.events[f.Event]
			again := ""
			if f.Twice >= 0 {
				again = "  (told twice)"
			}
			fmt.Fprintf(&b, "  %s  %s%s%s\n    %s\n", r.when(e.OccurredAt, e.ClearedAt), e.Kind,
				details("camera", e.Source.ID, "rule", e.Rule.Name, "zone", e.Zone, "class", classOf(e), "id", e.ID), again, r.why(e))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func (r *eventsReport) why(e *events.Event) string {
	if r.lang == "vi" {
		return e.Why.VI
	}
	return e.Why.EN
}

func classOf(e *events.Event) string {
	if e.Subject == nil {
		return ""
	}
	return e.Subject.Class
}

// details writes pairs of a name and a value that is not empty.
func details(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, "  %s %s", pairs[i], pairs[i+1])
		}
	}
	return b.String()
}

// eventsJSON is the JSON of eval events.
type eventsJSON struct {
	All    countsJSON   `json:"all"`
	Groups []countsJSON `json:"groups"` // kinds, and their rules where there are several
	Right  []pairJSON   `json:"right"`
	Missed []labelJSON  `json:"missed"`
	False  []falseJSON  `json:"false"`
}

type countsJSON struct {
	Kind      string   `json:"kind,omitempty"`
	Rule      string   `json:"rule,omitempty"`
	Labels    int      `json:"labels"`
	Events    int      `json:"events"`
	Right     int      `json:"right"`
	Missed    int      `json:"missed"`
	False     int      `json:"false"`
	Twice     int      `json:"twice"`
	Precision float64  `json:"precision"`
	Recall    float64  `json:"recall"`
	F1        float64  `json:"f1"`
	DelayP50  *float64 `json:"delay_p50_s"` // null where nothing was told
	DelayMax  *float64 `json:"delay_max_s"`
}

type labelJSON struct {
	Index int    `json:"index"` // in the file
	Kind  string `json:"kind"`
	From  string `json:"from"`
	To    string `json:"to"`
	Note  string `json:"note,omitempty"`
}

type pairJSON struct {
	Label labelJSON `json:"label"`
	Event string    `json:"event"`
	Delay float64   `json:"delay_s"`
}

type falseJSON struct {
	Event string      `json:"event"`
	Kind  events.Kind `json:"kind"`
	From  string      `json:"from"`
	Why   wire.Why    `json:"why"`
	Twice bool        `json:"twice"`
}

func (r *eventsReport) json() eventsJSON {
	out := eventsJSON{
		All: newCountsJSON("", "", &r.score.EventCounts), Groups: []countsJSON{}, Right: []pairJSON{}, Missed: []labelJSON{}, False: []falseJSON{},
	}
	for i := range r.score.Groups {
		g := &r.score.Groups[i]
		out.Groups = append(out.Groups, newCountsJSON(g.Kind, g.Rule, &g.EventCounts))
	}
	for _, p := range r.score.Pairs {
		out.Right = append(out.Right, pairJSON{r.label(p.Label), r.events[p.Event].ID, p.Delay.Seconds()})
	}
	for _, i := range r.score.NotTold {
		out.Missed = append(out.Missed, r.label(i))
	}
	for _, f := range r.score.False {
		e := &r.events[f.Event]
		out.False = append(out.False, falseJSON{e.ID, e.Kind, e.OccurredAt.In(r.loc).Format(wire.TimeLayout), wire.Why(e.Why), f.Twice >= 0})
	}
	return out
}

func (r *eventsReport) label(i int) labelJSON {
	l := &r.labels.events[i]
	at := func(t time.Time) string { return t.In(r.loc).Format(wire.TimeLayout) }
	return labelJSON{i, l.Kind, at(l.From), at(l.To), l.Note}
}

func newCountsJSON(kind, rule string, c *score.EventCounts) countsJSON {
	out := countsJSON{
		Kind: kind, Rule: rule, Labels: c.Labels, Events: c.Events, Right: c.Right, Missed: c.Missed(), False: c.Wrong(), Twice: c.Twice,
		Precision: c.Precision(), Recall: c.Recall(), F1: c.F1(),
	}
	if c.Right > 0 {
		p50, most := c.DelayP50.Seconds(), c.DelayMax.Seconds()
		out.DelayP50, out.DelayMax = &p50, &most
	}
	return out
}

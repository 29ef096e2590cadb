package score

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/track"
)

// Label is something that really happened, and that one event must tell of.
type Label struct {
	Kind string // required

	// What the event must agree with; "" and nil agree with everything.
	Camera, Rule, Zone, Class string
	Box                       *geom.Box // of the subject, normalised

	From, To time.Time // when it happened; To is From for a moment
	// Due is when an event is expected at the earliest, for kinds that wait
	// before they tell; zero is From. Delays count from here.
	Due      time.Time
	Optional bool   // an event may tell of it or not
	Note     string // for people
}

// Told is one event as it was reported.
type Told struct {
	ID                              string
	Kind, Camera, Rule, Zone, Class string
	Box                             *geom.Box // of the subject, normalised; nil without one
	From                            time.Time // when it was raised
	To                              time.Time // when it was cleared; zero while it is raised
}

// Span is a time from From, inclusive, to To, exclusive. A zero end is open.
type Span struct{ From, To time.Time }

// Contains reports whether the moment lies in the span.
func (s Span) Contains(at time.Time) bool {
	return !at.Before(s.From) && (s.To.IsZero() || at.Before(s.To))
}

// EventConfig says when an event tells of a label.
type EventConfig struct {
	Tolerance time.Duration // by which their times may miss each other; default 2s
	MinIoU    float64       // least overlap of boxes where the label has one, in (0,1]; default 0.3
	Watched   Span          // what lies outside is not scored; the zero value is everything
	Unsure    []Span        // nobody looked closely at these: what happens in them is not scored
}

// maxPairs bounds the pairs of labels and events that are compared at a time.
const maxPairs = 20_000_000

// ComputeEvents compares events with what really happened. An event tells of a
// label when kind and everything that the label names agree and their times
// meet; each tells of at most one label, so that as many labels as possible are
// told of, and among these choices with the smallest delays in all. Labels and
// events are referred to by their indices.
func ComputeEvents(labels []Label, told []Told, cfg EventConfig) (EventScore, error) {
	if cfg.Tolerance == 0 {
		cfg.Tolerance = 2 * time.Second
	}
	if cfg.MinIoU == 0 {
		cfg.MinIoU = 0.3
	}
	if cfg.Tolerance < 0 || !(cfg.MinIoU > 0 && cfg.MinIoU <= 1) {
		return EventScore{}, errors.New("compute events: the tolerance must not be negative, and the overlap above 0 and at most 1")
	}
	m := matcher{cfg: cfg, labels: labels, told: told, byEvent: make([]int, len(told))}
	for i := range m.byEvent {
		m.byEvent[i] = -1
	}
	if err := m.match(); err != nil {
		return EventScore{}, err
	}
	return m.score(), nil
}

type matcher struct {
	cfg     EventConfig
	labels  []Label
	told    []Told
	near    [][]int // events that could tell of each label
	byEvent []int   // label of each event, -1 none
}

// counts reports whether what happened at the moment is scored.
func (m *matcher) counts(at time.Time) bool {
	return m.cfg.Watched.Contains(at) && !slices.ContainsFunc(m.cfg.Unsure, func(s Span) bool { return s.Contains(at) })
}

func (m *matcher) match() error {
	order := make([]int, len(m.told)) // by the time they were raised
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return m.told[a].From.Compare(m.told[b].From) })
	m.near = make([][]int, len(m.labels))
	compared := 0
	for l := range m.labels {
		last := m.labels[l].To.Add(m.cfg.Tolerance)
		for _, e := range order {
			if m.told[e].From.After(last) {
				break
			}
			if compared++; compared > maxPairs {
				return errors.New("compute events: too many labels and events to compare; split the recording")
			}
			if m.agree(&m.labels[l], &m.told[e]) {
				m.near[l] = append(m.near[l], e)
			}
		}
	}
	for _, group := range m.groups() {
		m.assign(group)
	}
	return nil
}

// agree reports whether the event could tell of the label.
func (m *matcher) agree(l *Label, e *Told) bool {
	same := func(want, got string) bool { return want == "" || want == got }
	switch {
	case l.Kind != e.Kind || !same(l.Camera, e.Camera) || !same(l.Rule, e.Rule) || !same(l.Zone, e.Zone) || !same(l.Class, e.Class):
		return false
	case e.From.After(l.To.Add(m.cfg.Tolerance)):
		return false
	case !e.To.IsZero() && e.To.Before(l.From.Add(-m.cfg.Tolerance)):
		return false
	}
	return l.Box == nil || e.Box != nil && l.Box.IoU(*e.Box) >= m.cfg.MinIoU
}

// groups returns the labels that compete for events, so that each group can be
// solved alone.
func (m *matcher) groups() [][]int {
	root := make([]int, len(m.labels))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	owner := make(map[int]int) // a label that the event is near
	for l, events := range m.near {
		for _, e := range events {
			if o, taken := owner[e]; taken {
				root[find(l)] = find(o)
			} else {
				owner[e] = l
			}
		}
	}
	by := make(map[int][]int)
	for l := range m.labels {
		if len(m.near[l]) > 0 {
			by[find(l)] = append(by[find(l)], l)
		}
	}
	out := make([][]int, 0, len(by))
	for _, g := range by {
		out = append(out, g)
	}
	return out
}

// assign gives the labels of a group their events.
func (m *matcher) assign(group []int) {
	column := make(map[int]int)
	var events []int
	for _, l := range group {
		for _, e := range m.near[l] {
			if _, there := column[e]; !there {
				column[e] = len(events)
				events = append(events, e)
			}
		}
	}
	// A pair is worth more than any delay; a required label more than an
	// optional one.
	const pair, required = 1e9, 1e13
	cost := make([]float64, len(group)*len(events))
	for i := range cost {
		cost[i] = math.Inf(1)
	}
	for row, l := range group {
		for _, e := range m.near[l] {
			c := math.Min(math.Abs(m.delay(l, e).Seconds()), pair/1000) - pair
			if !m.labels[l].Optional {
				c -= required
			}
			cost[row*len(events)+column[e]] = c
		}
	}
	var solver track.Assigner
	for row, col := range solver.Solve(cost, len(group), len(events), 0) {
		if col >= 0 {
			m.byEvent[events[col]] = group[row]
		}
	}
}

func (m *matcher) delay(label, event int) time.Duration {
	due := m.labels[label].Due
	if due.IsZero() {
		due = m.labels[label].From
	}
	return m.told[event].From.Sub(due)
}

// EventCounts is how well a set of labels was told of.
type EventCounts struct {
	Labels int // that must be told of
	Events int // that count: right and false ones
	Right  int // labels told of, and events that tell of one
	Twice  int // of the false ones, those that tell of something another event tells of already

	// Delays of the right ones; negative before it was due.
	DelayP50, DelayMax time.Duration

	delays []time.Duration
}

// Missed returns how many labels no event tells of.
func (c *EventCounts) Missed() int { return c.Labels - c.Right }

// Wrong returns how many events are false.
func (c *EventCounts) Wrong() int { return c.Events - c.Right }

// Precision returns the share of events that are right, in [0,1]; 1 without any.
func (c *EventCounts) Precision() float64 { return share(c.Right, c.Events) }

// Recall returns the share of labels that were told of, in [0,1]; 1 without any.
func (c *EventCounts) Recall() float64 { return share(c.Right, c.Labels) }

// F1 returns the harmonic mean of precision and recall; 1 where nothing happened
// and nothing was told.
func (c *EventCounts) F1() float64 { return share(2*c.Right, c.Labels+c.Events) }

func share(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

// EventGroup are the counts of one kind, or of one rule of it.
type EventGroup struct {
	Kind, Rule string // Rule is "" for all of the kind
	EventCounts
}

// EventPair is an event that tells of a label.
type EventPair struct {
	Label, Event int
	Delay        time.Duration
}

// EventFalse is an event that tells of nothing.
type EventFalse struct {
	Event int
	Twice int // label that another event tells of already, else -1
}

// EventScore is what ComputeEvents found.
type EventScore struct {
	EventCounts // of everything
	// Groups are the kinds in alphabetical order, each followed by its rules
	// where there are several. A missed label that names no rule counts for
	// its kind only.
	Groups  []EventGroup
	Pairs   []EventPair  // by the time of the label
	NotTold []int        // labels that were missed, by time
	False   []EventFalse // by time
}

// score counts; see ComputeEvents.
func (m *matcher) score() EventScore {
	var out EventScore
	byLabel := make(map[int]int)
	for e, l := range m.byEvent {
		if l >= 0 {
			byLabel[l] = e
		}
	}
	type key struct{ kind, rule string }
	groups := make(map[key]*EventCounts)
	count := func(kind, rule string, add func(*EventCounts)) {
		add(&out.EventCounts)
		for _, k := range []key{{kind: kind}, {kind, rule}} {
			if groups[k] == nil {
				groups[k] = &EventCounts{}
			}
			if add(groups[k]); rule == "" {
				break
			}
		}
	}
	for l := range m.labels {
		label := &m.labels[l]
		e, told := byLabel[l]
		switch {
		case label.Optional || !m.counts(label.From):
		case told:
			out.Pairs = append(out.Pairs, EventPair{l, e, m.delay(l, e)})
			count(label.Kind, m.told[e].Rule, func(c *EventCounts) { c.right(m.delay(l, e)) })
		default:
			out.NotTold = append(out.NotTold, l)
			count(label.Kind, label.Rule, func(c *EventCounts) { c.Labels++ })
		}
	}
	for e := range m.told {
		if m.byEvent[e] >= 0 || !m.counts(m.told[e].From) || m.mayTell(e) {
			continue
		}
		f := EventFalse{e, m.toldAlready(e)}
		out.False = append(out.False, f)
		count(m.told[e].Kind, m.told[e].Rule, func(c *EventCounts) {
			c.Events++
			if f.Twice >= 0 {
				c.Twice++
			}
		})
	}
	out.finish()
	rules := make(map[string]int)
	for k := range groups {
		if k.rule != "" {
			rules[k.kind]++
		}
	}
	for k, c := range groups {
		if k.rule == "" || rules[k.kind] > 1 {
			c.finish()
			out.Groups = append(out.Groups, EventGroup{k.kind, k.rule, *c})
		}
	}
	slices.SortFunc(out.Groups, func(a, b EventGroup) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Rule, b.Rule))
	})
	m.sort(&out)
	return out
}

func (m *matcher) sort(s *EventScore) {
	slices.SortStableFunc(s.Pairs, func(a, b EventPair) int { return m.labels[a.Label].From.Compare(m.labels[b.Label].From) })
	slices.SortStableFunc(s.NotTold, func(a, b int) int { return m.labels[a].From.Compare(m.labels[b].From) })
	slices.SortStableFunc(s.False, func(a, b EventFalse) int { return m.told[a.Event].From.Compare(m.told[b.Event].From) })
}

// mayTell reports whether an event that was given to no label tells of an
// optional one.
func (m *matcher) mayTell(e int) bool {
	for l := range m.labels {
		if m.labels[l].Optional && slices.Contains(m.near[l], e) {
			return true
		}
	}
	return false
}

// toldAlready returns a label that the event tells of once more, or -1.
func (m *matcher) toldAlready(e int) int {
	for l := range m.labels {
		if slices.Contains(m.near[l], e) {
			return l
		}
	}
	return -1
}

func (c *EventCounts) right(delay time.Duration) {
	c.Labels++
	c.Events++
	c.Right++
	c.delays = append(c.delays, delay)
}

// finish works out the delays: the median is the lower one of two.
func (c *EventCounts) finish() {
	if len(c.delays) == 0 {
		return
	}
	slices.Sort(c.delays)
	c.DelayP50, c.DelayMax = c.delays[(len(c.delays)-1)/2], c.delays[len(c.delays)-1]
}

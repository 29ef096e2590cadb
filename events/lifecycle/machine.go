// Package lifecycle turns signals into events.
//
// The rule is that of a Prometheus alert: a condition must hold for Hold before
// the event is raised, and must be absent for Clear before it is cleared. All
// times are capture times carried by the input, so that a recorded scene always
// gives the same events.
package lifecycle

import (
	"cmp"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// Rule holds the delays of one rule. The zero value is that of conditions of
// one moment, such as the crossing of a line: raised at once, and cleared at
// the next step.
type Rule struct {
	Hold  time.Duration // how long a condition must hold; 0 raises at once
	Clear time.Duration // how long it must be gone; 0 clears at the next step
	Stale time.Duration // a longer gap between steps proves nothing; 0 is no limit
	Miss  time.Duration // a pending condition survives this long without a signal; 0 starts over at once

	// MaxPerMinute is how many events the rule may raise within a minute before
	// an Engine groups the next ones into one; 0 is DefaultMaxPerMinute, less no
	// limit. A Machine does not look at it.
	MaxPerMinute int
}

// RuleKey finds the Rule of a signal. Name "" is the default of the kind.
type RuleKey struct {
	Kind events.Kind
	Name string // name of the rule
}

// Rules are the delays of the rules of one source.
type Rules map[RuleKey]Rule

// For returns the delays of the rule that key belongs to, else those of its
// kind, else the zero Rule.
func (r Rules) For(key events.Key) Rule {
	if rule, ok := r[RuleKey{key.Kind, key.Rule}]; ok {
		return rule
	}
	return r[RuleKey{Kind: key.Kind}]
}

// Transition is a step in the life of the event with the given key.
type Transition struct {
	ID  string // of the event: events.NewID of Key and the time it was raised, or as restored
	Key events.Key
	To  events.State
	// At is the capture time of the step that raised the event or, for a
	// cleared one, the time at which the condition last held; never before the
	// event was raised.
	At time.Time
	// Signal is the one that raised the event; its zero value for a cleared one.
	Signal events.Signal
}

// backwards is the largest step back in time that is taken for frames out of
// order; a larger one is a clock that was set.
const backwards = 2 * time.Second

type entry struct {
	id     string     // of the event, once active
	key    events.Key // of the event; its object differs from the map's key after Restore
	class  string     // of the subject
	active bool
	// followed says that the event was raised by this machine, so that the
	// object in its key is that of today's signals.
	followed bool
	since    time.Time     // first signal of this occurrence
	last     time.Time     // latest signal
	raised   time.Time     // when it became active
	blind    time.Duration // time since last in which nothing could be seen
}

// gone returns how long the condition has been seen not to hold.
func (e *entry) gone(at time.Time) time.Duration { return at.Sub(e.last) - e.blind }

// Machine holds the open conditions of one source. It is not safe for
// concurrent use: each source has its own.
type Machine struct {
	rules    Rules
	limit    int
	open     map[events.Key]*entry
	restored []*entry  // open before a restart or a blind time, not recognised yet; oldest first
	prev     time.Time // time of the previous step, zero before the first
	dropped  uint64
}

// New returns an empty machine that follows at most limit conditions at a time;
// 0 or less is 1000. A rule that is not in rules raises and clears at once.
func New(rules Rules, limit int) *Machine {
	if limit <= 0 {
		limit = 1000
	}
	return &Machine{rules: rules, limit: limit, open: make(map[events.Key]*entry)}
}

// Dropped returns how many signals were ignored because the limit was reached.
func (m *Machine) Dropped() uint64 { return m.dropped }

// Len returns how many conditions are followed, pending ones included.
func (m *Machine) Len() int { return len(m.open) + len(m.restored) }

// Restore takes over the events that were open when the process ended, before
// the first step; at is the capture time at which watching begins again. An
// event goes on if a signal of the same rule, zone and class of object comes
// within Clear of the first step, even of another object: track IDs start over at a restart. Else
// it is cleared as of at, or as of the moment it was raised if its rule has no
// Clear. Events that are not raised are ignored.
func (m *Machine) Restore(open []events.Event, at time.Time) {
	for i := range open {
		e := &open[i]
		if e.State != events.StateRaised || m.Len() >= m.limit {
			continue
		}
		r := &entry{id: e.ID, key: e.Key(), active: true, since: e.OccurredAt, raised: e.OccurredAt, last: at}
		if e.Subject != nil {
			r.class = e.Subject.Class
		}
		if m.rules.For(r.key).Clear <= 0 {
			r.last = e.OccurredAt
		}
		m.restored = append(m.restored, r)
	}
	m.sortRestored()
}

func (m *Machine) sortRestored() {
	slices.SortStableFunc(m.restored, func(a, b *entry) int {
		return cmp.Or(a.raised.Compare(b.raised), cmp.Compare(a.id, b.id))
	})
}

// Step advances the machine to at, given every condition that holds then, and
// returns the transitions in a stable order: raised ones in the order of their
// keys, after the cleared ones. Of several signals with one key the first
// counts. A step back in time by up to 2 s counts as a step at the previous
// time; after a larger one, which is a clock that was set, everything goes on
// with its durations unchanged.
func (m *Machine) Step(at time.Time, holding []events.Signal) []Transition {
	at = m.advance(at)
	raised := m.take(at, holding)
	var out []Transition
	for key, e := range m.open {
		rule, gone := m.rules.For(e.key), e.gone(at)
		switch held := e.last.Equal(at); {
		case held && e.active:
		case held && at.Sub(e.since) >= rule.Hold:
			e.active, e.followed, e.raised, e.id = true, true, at, events.NewID(e.key, at)
			out = append(out, Transition{ID: e.id, Key: e.key, To: events.StateRaised, At: at, Signal: raised[key]})
		case held:
		case !e.active && gone > rule.Miss:
			delete(m.open, key)
		case e.active && gone >= rule.Clear:
			delete(m.open, key)
			out = append(out, cleared(e))
		}
	}
	m.restored = slices.DeleteFunc(m.restored, func(e *entry) bool {
		done := at.After(e.last) && e.gone(at) >= m.rules.For(e.key).Clear
		if done {
			out = append(out, cleared(e))
		}
		return done
	})
	slices.SortFunc(out, func(a, b Transition) int {
		return cmp.Or(cmp.Compare(a.To, b.To), compareKeys(a.Key, b.Key), cmp.Compare(a.ID, b.ID)) // "cleared" before "raised"
	})
	return out
}

func cleared(e *entry) Transition {
	at := e.last
	if at.Before(e.raised) {
		at = e.raised // the clock was set back
	}
	return Transition{ID: e.id, Key: e.key, To: events.StateCleared, At: at}
}

// advance moves the clock and returns the time of the step.
func (m *Machine) advance(at time.Time) time.Time {
	prev := m.prev
	if prev.IsZero() {
		m.prev = at
		for _, e := range m.restored { // nothing could be seen before this step
			e.blind = max(0, at.Sub(e.last))
		}
		return at
	}
	gap := at.Sub(prev)
	if gap < 0 && gap >= -backwards {
		return prev
	}
	m.prev = at
	for _, e := range m.restored {
		if gap < 0 {
			e.last = e.last.Add(gap)
		} else if stale := m.rules.For(e.key).Stale; stale > 0 && gap > stale {
			e.blind += gap
		}
	}
	blinded := false
	for key, e := range m.open {
		if gap < 0 {
			e.since, e.last = e.since.Add(gap), e.last.Add(gap)
			continue
		}
		// The source was blind: a pending condition starts over, and an active
		// one is neither confirmed nor cleared by the gap, also when its object
		// comes back under another ID; see Restore.
		if stale := m.rules.For(e.key).Stale; stale > 0 && gap > stale {
			e.blind += gap
			if !e.active {
				delete(m.open, key)
			} else if m.rules.For(e.key).Clear > 0 {
				// Who was followed is followed anew, under another ID.
				delete(m.open, key)
				m.restored, blinded = append(m.restored, e), true
			}
		}
	}
	if blinded {
		m.sortRestored()
	}
	return at
}

// take notes that the conditions hold at the given moment and returns the
// signals by key.
func (m *Machine) take(at time.Time, holding []events.Signal) map[events.Key]events.Signal {
	by := make(map[events.Key]events.Signal, len(holding))
	m.reunite(holding)
	for _, s := range holding {
		if _, twice := by[s.Key]; twice {
			continue
		}
		e, ok := m.open[s.Key]
		if !ok {
			if e = m.recognise(s); e == nil {
				if m.Len() >= m.limit {
					m.dropped++
					continue
				}
				e = &entry{key: s.Key, class: classOf(s), since: at}
			}
			m.open[s.Key] = e
		}
		by[s.Key] = s
		e.last, e.blind = at, 0
	}
	return by
}

// reunite gives the signals whose own condition was open before a blind time
// that one back, before others of their class may take it.
func (m *Machine) reunite(holding []events.Signal) {
	if len(m.restored) == 0 {
		return
	}
	for _, s := range holding {
		i := slices.IndexFunc(m.restored, func(e *entry) bool {
			return e.followed && e.key == s.Key && e.class == classOf(s)
		})
		if _, there := m.open[s.Key]; i >= 0 && !there {
			m.open[s.Key] = m.restored[i]
			m.restored = slices.Delete(m.restored, i, i+1)
		}
	}
}

func classOf(s events.Signal) string {
	if s.Subject == nil {
		return ""
	}
	return s.Subject.Class
}

// recognise removes and returns the oldest restored event that the signal keeps
// alive, or nil.
func (m *Machine) recognise(s events.Signal) *entry {
	class := classOf(s)
	i := slices.IndexFunc(m.restored, func(e *entry) bool {
		k := e.key
		k.Object = s.Key.Object
		return k == s.Key && e.class == class && m.rules.For(e.key).Clear > 0
	})
	if i < 0 {
		return nil
	}
	e := m.restored[i]
	m.restored = slices.Delete(m.restored, i, i+1)
	return e
}

func compareKeys(a, b events.Key) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Rule, b.Rule),
		cmp.Compare(a.Zone, b.Zone), cmp.Compare(len(a.Object), len(b.Object)), cmp.Compare(a.Object, b.Object))
}

package lifecycle

import (
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// Standing is a condition that a machine follows, for people who watch it.
type Standing struct {
	Key    events.Key
	Raised bool          // it is an event; else it is pending
	Held   time.Duration // for how long it has held up to the latest step
	Hold   time.Duration // how long it must hold; see Rule.Hold
}

// Standing returns every condition that is followed, in the order of their keys.
// It changes nothing.
func (m *Machine) Standing() []Standing {
	out := make([]Standing, 0, m.Len())
	add := func(e *entry) {
		out = append(out, Standing{Key: e.key, Raised: e.active, Held: max(0, e.last.Sub(e.since)), Hold: m.rules.For(e.key).Hold})
	}
	for _, e := range m.open {
		add(e)
	}
	for _, e := range m.restored {
		add(e)
	}
	slices.SortFunc(out, func(a, b Standing) int { return compareKeys(a.Key, b.Key) })
	return out
}

// Standing returns what Machine.Standing does.
func (e *Engine) Standing() []Standing { return e.machine.Standing() }

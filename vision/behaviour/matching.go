package behaviour

import (
	"slices"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
)

// NeedsOf returns what a rule of the kind about the given classes needs. One
// that is about persons and about what they ride needs riders even where the
// kind does not: it takes the vehicle and those on it for one object.
func (d *Definition) NeedsOf(classes []string) []Need {
	if d.shows() || !matches(classes, classPerson) || !slices.ContainsFunc(ridden(), func(c string) bool { return matches(classes, c) }) {
		return d.Needs
	}
	return append(slices.Clone(d.Needs), NeedRiders)
}

const classPerson = "person"

// ridden returns the classes of vehicles on which riders are seen.
func ridden() []string { return []string{"motorcycle", "bicycle"} }

// shows reports whether the kind looks at riders itself: it says so, or it asks
// who put a thing down, which a rider does like anybody else.
func (d *Definition) shows() bool {
	return slices.Contains(d.Needs, NeedRiders) || slices.Contains(d.Needs, NeedStills)
}

// matches reports whether a class is one of the rule's.
func matches(classes []string, class string) bool {
	return len(classes) == 0 || slices.Contains(classes, class)
}

// matching shows a behaviour the tracks that its rule is about, and silences it
// outside of the schedule: it goes on looking, so that it knows where objects
// are when its time begins.
//
// A rider whose vehicle the rule is about too is not shown: the two are one
// object. Kinds that need riders are shown them, without a Carrier where the
// rule is not about the vehicle.
type matching struct {
	rule  Rule
	inner Behaviour
	shows bool              // riders
	seen  map[uint64]looks  // of each track, when the rule is about scores or sizes
	rides map[uint64]string // class of each vehicle that has, or had, riders
	scene vision.Scene      // reused
}

func newMatching(r Rule, d *Definition, inner Behaviour) *matching {
	return &matching{rule: r, inner: inner, shows: d.shows(), seen: make(map[uint64]looks), rides: make(map[uint64]string)}
}

// Observe implements Behaviour.
func (m *matching) Observe(s *vision.Scene) []events.Signal {
	m.noteRidden(s)
	tracks := m.scene.Tracks[:0]
	for i := range s.Tracks {
		t := &s.Tracks[i]
		l := m.rule.look(m.seen[t.ID], t, s.At)
		if m.rule.MinScore > 0 || m.rule.limited() {
			m.seen[t.ID] = l
		}
		rides := t.Carrier != 0 && matches(m.rule.Classes, m.rides[t.Carrier])
		if v, known := m.seen[t.Carrier]; rides && known && (v.best < m.rule.MinScore || !v.fits) {
			continue // who rides what the rule is not about is nobody on foot
		}
		if l.best < m.rule.MinScore || !l.fits && !rides || rides && !m.shows || !rides && !matches(m.rule.Classes, t.Label) {
			continue
		}
		tracks = append(tracks, *t)
		if !rides {
			tracks[len(tracks)-1].Carrier = 0
		}
	}
	m.scene = *s
	m.scene.Tracks = tracks
	out := m.inner.Observe(&m.scene)
	forget(m.seen, s)
	if len(out) == 0 || !m.rule.Schedule.Open(s.At, m.rule.Calendar) {
		return nil
	}
	return out
}

// noteRidden notes the classes of vehicles with riders. A vehicle may end before
// those who were on it know.
func (m *matching) noteRidden(s *vision.Scene) {
	if len(m.rides) > maxRemembered {
		clear(m.rides)
	}
	for i := range s.Tracks {
		if t := &s.Tracks[i]; len(t.Riders) > 0 {
			m.rides[t.ID] = t.Label
		}
	}
}

// TakeCounts implements Counter; a behaviour that does not count has none.
func (m *matching) TakeCounts() []events.Count {
	c, ok := m.inner.(Counter)
	if !ok {
		return nil
	}
	out := c.TakeCounts()
	for i := range out {
		out[i].Source, out[i].Rule = m.rule.Camera, m.rule.Ref.Name
	}
	return out
}

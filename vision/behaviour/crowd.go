package behaviour

import (
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindCrowd is the kind of "many objects are in the zone".
const KindCrowd events.Kind = "crowd"

func init() {
	defaults := crowdParams{Count: 10, Hold: 10}
	register(Definition{
		Kind: KindCrowd,
		Doc: events.Text{
			VI: "Có nhiều người (hoặc đối tượng khác) trong vùng cùng một lúc.",
			EN: "Many persons, or other objects, are in the zone at the same time.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   defaults.delays(),
	}, defaults, newCrowd)
}

type crowdParams struct {
	Count int     `yaml:"count" min:"2" max:"500" doc_vi:"Từ bao nhiêu thì báo" doc_en:"How many there must be, at least"`
	Hold  Seconds `yaml:"hold" unit:"s" min:"0" max:"86400" doc_vi:"Tình trạng phải kéo dài bao lâu mới báo" doc_en:"How long it must last before it counts"`
}

const (
	crowdClear = 10 * time.Second        // fewer than Count for this long: the crowd is over
	crowdMiss  = 2500 * time.Millisecond // fewer for this long, before it is raised, do not start over
	crowdSeen  = 2500 * time.Millisecond // who is not found for this long is no longer counted
	crowdReach = .35                     // people in a crowd stand close to each other
)

func (p crowdParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Hold: p.Hold.Duration(), Clear: crowdClear, Stale: blindAfter, Miss: crowdMiss}
}

func newCrowd(r Rule, p crowdParams) (Behaviour, lifecycle.Rule, error) {
	c := &crowd{crowdParams: p, rule: r, gathered: make([]gathering, len(r.Zones))}
	c.objects = newFollower[[]bool](crowdSeen, crowdReach, 0)
	return c, p.delays(), nil
}

type crowd struct {
	crowdParams
	rule     Rule
	objects  *follower[[]bool] // in the zone when last detected, by zone
	gathered []gathering       // by zone
}

// Observe implements Behaviour. One signal per zone while at least Count objects
// are in it, or almost: of a crowd that is there already, one in ten may be
// missing. An object counts from its latest detection for a second, as far as
// it was in the zone then. Without classes the rule is about persons.
func (b *crowd) Observe(s *vision.Scene) []events.Signal {
	seen, blind := b.objects.observe(s)
	for _, o := range seen {
		if o.state == nil {
			o.state = make([]bool, len(b.rule.Zones))
		}
		about := b.rule.isAbout(o.label, []string{"person"})
		for i := range b.rule.Zones {
			o.state[i] = about && inZone(&b.rule.Zones[i], o.box, o.state[i])
		}
	}
	var out []events.Signal
	for i := range b.rule.Zones {
		n, g := b.count(i), &b.gathered[i]
		if blind != 0 {
			g.afterBlindness(blind, b.delays())
		}
		if g.step(s.At, n >= b.Count, n >= b.Count-b.Count/10, n, b.delays()) {
			out = append(out, b.signal(s.At, b.rule.Zones[i].Name, n, g.peak))
		}
	}
	return out
}

// count returns how many objects are in zone i.
func (b *crowd) count(i int) (n int) {
	for _, o := range b.objects.objects {
		if len(o.state) > i && o.state[i] {
			n++
		}
	}
	return n
}

func (b *crowd) signal(at time.Time, zone string, n, peak int) events.Signal {
	vi, en := fmt.Sprintf("%d người trong vùng «%s»", n, zone), fmt.Sprintf("%d people were in zone “%s”", n, zone)
	if slices.ContainsFunc(b.rule.Classes, func(c string) bool { return c != "person" }) {
		vi, en = fmt.Sprintf("%d đối tượng trong vùng «%s»", n, zone), fmt.Sprintf("%d objects were in zone “%s”", n, zone)
	}
	return events.Signal{
		Key: events.Key{Source: b.rule.Camera, Kind: KindCrowd, Rule: b.rule.Ref.Name, Zone: zone},
		At:  at, Score: 1, Severity: b.rule.Severity, Rule: b.rule.Ref,
		Attributes: map[string]any{"count": n, "peak": peak, "limit": b.Count},
		Why: b.rule.why(at,
			fmt.Sprintf("có %s (ngưỡng báo: %d)", vi, b.Count),
			fmt.Sprintf("%s (limit %d)", en, b.Count)),
	}
}

package behaviour

import (
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindWasteAccumulated is the kind of "more and more lies around".
const KindWasteAccumulated events.Kind = "waste_accumulated"

func init() {
	defaults := wasteParams{Area: 0.05, Hold: 60}
	register(Definition{
		Kind: KindWasteAccumulated,
		Doc: events.Text{
			VI: "Rác hoặc vật bỏ lại chiếm quá nhiều diện tích của vùng.",
			EN: "Litter, or things left behind, cover too much of the zone.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   defaults.delays(),
		Needs:    []Need{NeedStills},
	}, defaults, newWaste)
}

type wasteParams struct {
	Area float64 `yaml:"area" unit:"share of the zone" min:"0.0001" max:"1" doc_vi:"Tổng diện tích vật nằm yên, tính theo phần của vùng" doc_en:"Total area of what lies there, as a share of the zone"`
	Hold Seconds `yaml:"hold" unit:"s" min:"0" max:"86400" doc_vi:"Tình trạng phải kéo dài bao lâu mới báo" doc_en:"How long it must last before it counts"`
}

func (p wasteParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Hold: p.Hold.Duration(), Clear: 10 * time.Second, Stale: 5 * time.Second, Miss: 2500 * time.Millisecond}
}

func newWaste(r Rule, p wasteParams) (Behaviour, lifecycle.Rule, error) {
	if err := noClasses(r); err != nil {
		return nil, lifecycle.Rule{}, err
	}
	return &waste{rule: r, params: p, full: make(map[string]bool)}, p.delays(), nil
}

// waste signals the zones in which too much lies.
type waste struct {
	rule   Rule
	params wasteParams
	full   map[string]bool // by zone
}

// leastPart is how much of a thing must lie in the zone for it to count there.
const leastPart = 0.1

// lessToClear keeps an event from ending and beginning again at the limit.
const lessToClear = 0.8

// Observe implements Behaviour. One signal for each zone. Of a thing that lies
// across its border the part inside counts, as if it filled its box evenly.
func (b *waste) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for _, z := range b.rule.Zones {
		area, n, score := 0.0, 0, 0.0
		for i := range s.Stills {
			t := &s.Stills[i]
			if t.Kind != vision.StillAdded || t.Score < b.rule.MinScore || selfMoving(t.Label) {
				continue
			}
			if part := z.Area.ShareOf(t.Box); part >= leastPart {
				area, n, score = area+part*t.Area, n+1, max(score, t.Score)
			}
		}
		share := min(1, area/max(z.Area.Area(), 1e-6))
		limit := b.params.Area
		if b.full[z.Name] {
			limit *= lessToClear
		}
		b.full[z.Name] = share >= limit
		if !b.full[z.Name] {
			continue
		}
		sig := events.Signal{
			Key: events.Key{Source: b.rule.Camera, Kind: KindWasteAccumulated, Rule: b.rule.Ref.Name, Zone: z.Name},
			At:  s.At, Score: score, Severity: b.rule.Severity, Rule: b.rule.Ref,
			Attributes: map[string]any{"share": round6(share), "things": n},
		}
		sig.Why = b.rule.why(s.At,
			fmt.Sprintf("%d vật bỏ lại chiếm %s %% diện tích vùng «%s»", n, numberVI(100*share, 1), z.Name),
			fmt.Sprintf("things left behind (%d) covered %.1f %% of zone “%s”", n, 100*share, z.Name))
		out = append(out, sig)
	}
	return out
}

package behaviour

import (
	"fmt"
	"strconv"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindDumping is the kind of "somebody puts something down and leaves".
const KindDumping events.Kind = "dumping"

func init() {
	defaults := dumpingParams{Dwell: 1, ActorGap: 1}
	register(Definition{
		Kind: KindDumping,
		Doc: events.Text{
			VI: "Người hoặc xe để lại một vật trong vùng rồi rời đi.",
			EN: "A person or vehicle leaves something in the zone and goes away.",
		},
		Where:    WhereZone,
		Severity: events.SeverityHigh,
		Delays:   stillDelays(),
		Needs:    []Need{NeedStills},
	}, defaults, newDumping)
}

type dumpingParams struct {
	Dwell    Seconds `yaml:"dwell" unit:"s" min:"0" max:"86400" doc_vi:"Vật phải nằm yên bao lâu mới báo" doc_en:"How long the thing must have been lying there"`
	ActorGap Seconds `yaml:"actor_gap" unit:"s" min:"0" max:"86400" doc_vi:"Người hoặc xe phải đã rời xa vật bao lâu" doc_en:"How long the actor must have been away from it"`
}

func newDumping(r Rule, p dumpingParams) (Behaviour, lifecycle.Rule, error) {
	return &dumping{rule: r, params: p, raised: make(map[uint64]dumped)}, stillDelays(), nil
}

// sameDumping is how far apart two things may be put down by one actor to be one
// event: somebody unloads a cart.
const sameDumping = 15 * time.Second

// minActorScore is how sure it must be who it was: an alarm names somebody.
const minActorScore = 0.35

// dumped is a thing that was left, or the first of several.
type dumped struct {
	zone    string
	actor   uint64
	contact time.Time
	first   uint64 // the thing that the event is about
}

// dumping signals each thing that an actor has left behind; what one actor puts
// down in one go is one thing.
type dumping struct {
	rule   Rule
	params dumpingParams
	raised map[uint64]dumped // by thing
}

// Observe implements Behaviour. One signal for each heap, until all of it is
// taken away: an actor that comes back for a look changes nothing.
func (b *dumping) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	here, told := make(map[uint64]bool, len(s.Stills)), make(map[uint64]bool)
	for i := range s.Stills {
		t := &s.Stills[i]
		here[t.ID] = true
		d, was := b.raised[t.ID]
		if !was {
			zone, in := b.rule.zoneOfStill(t)
			if !in || !b.left(s.At, t) {
				continue
			}
			d = b.heap(t, zone)
			b.raised[t.ID] = d
		}
		if told[d.first] {
			continue
		}
		told[d.first] = true
		sig := b.rule.stillSignal(KindDumping, d.zone, t, s.At)
		sig.Key.Object = strconv.FormatUint(d.first, 10)
		vi, en := b.words(d.zone, t)
		sig.Why = b.rule.why(s.At, vi, en)
		out = append(out, sig)
	}
	for id := range b.raised {
		if !here[id] {
			delete(b.raised, id)
		}
	}
	return out
}

// heap returns the event that the thing belongs to: that of a thing which the
// same actor left a moment before or after, or its own.
func (b *dumping) heap(t *vision.Still, zone string) dumped {
	out := dumped{zone: zone, actor: t.Actor.Track, contact: t.Actor.Contact, first: t.ID}
	joined := false
	for _, d := range b.raised {
		if d.actor == out.actor && d.contact.Sub(out.contact).Abs() <= sameDumping && (!joined || d.first < out.first) {
			joined, out.zone, out.first = true, d.zone, d.first
		}
	}
	return out
}

// left reports whether the thing was brought by an actor that the rule is
// about and that has gone away.
func (b *dumping) left(at time.Time, t *vision.Still) bool {
	a := t.Actor
	return t.Kind == vision.StillAdded && a != nil && !selfMoving(t.Label) && t.Score >= b.rule.MinScore &&
		matches(b.rule.Classes, a.Label) &&
		a.Score >= minActorScore && !a.Left.IsZero() && at.Sub(t.Since) >= b.params.Dwell.Duration() && at.Sub(a.Near) >= b.params.ActorGap.Duration()
}

func (b *dumping) words(zone string, t *vision.Still) (vi, en string) {
	clock := b.rule.clockSeconds(t.Actor.Contact)
	return fmt.Sprintf("nghi vấn %s để lại %s trong vùng «%s» (chạm lần cuối lúc %s) rồi rời đi; phát hiện", someVI(t.Actor.Label), thingVI(t), zone, clock),
		fmt.Sprintf("%s is suspected of having left %s in zone “%s” (last contact at %s) and gone away; found", someEN(t.Actor.Label), thingEN(t), zone, clock)
}

package behaviour

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// stillDelays are those of all events about one still thing: the rules count
// the dwell themselves, from the moment the thing has been there.
func stillDelays() lifecycle.Rule {
	return lifecycle.Rule{Clear: 3 * time.Second, Stale: 5 * time.Second}
}

// selfMoving reports whether a class that a detector gave a still thing is one
// that comes and goes by itself, and is nobody's property left behind.
func selfMoving(label string) bool {
	switch label {
	case "person", "bicycle", "car", "motorcycle", "motorbike", "bus", "truck", "train", "boat", "van", "tricycle",
		"bird", "cat", "dog", "horse", "sheep", "cow", "buffalo", "pig", "chicken", "duck":
		return true
	}
	return false
}

// zoneOfStill returns the first zone that the thing lies in.
func (r *Rule) zoneOfStill(s *vision.Still) (string, bool) {
	for _, z := range r.Zones {
		if z.Area.Contains(s.Box.Foot()) || z.Area.Contains(s.Box.Center()) {
			return z.Name, true
		}
	}
	return "", false
}

// stillSignal returns the signal of a rule about one still thing, with the actor
// as its subject when there is one: its box is where it was at the contact.
func (r *Rule) stillSignal(kind events.Kind, zone string, s *vision.Still, at time.Time) events.Signal {
	thing := map[string]any{
		"id": s.ID, "box": corners(s.Box), "area": round6(s.Area), "since": stamp(s.Since),
	}
	if s.Label != "" {
		thing["class"] = s.Label
	}
	sig := events.Signal{
		Key:      events.Key{Source: r.Camera, Kind: kind, Rule: r.Ref.Name, Zone: zone, Object: strconv.FormatUint(s.ID, 10)},
		At:       at,
		Score:    s.Score,
		Severity: r.Severity,
		Rule:     r.Ref,
		Attributes: map[string]any{
			"thing": thing,
		},
	}
	if a := s.Actor; a != nil {
		sig.Subject = &events.Subject{Track: a.Track, Class: a.Label, Score: a.Score, Box: corners(a.Box)}
		sig.Attributes["actor"] = map[string]any{
			"track": a.Track, "class": a.Label, "contact": stamp(a.Contact), "score": math.Round(a.Score*100) / 100,
		}
	}
	return sig
}

func corners(b geom.Box) [4]float64 {
	return [4]float64{round6(b.Min.X), round6(b.Min.Y), round6(b.Max.X), round6(b.Max.Y)}
}

func round6(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// stamp writes a time of an event's attributes.
func stamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// thingVI and thingEN name a still thing.
func thingVI(s *vision.Still) string {
	if s.Label == "" {
		return "một vật"
	}
	return someVI(s.Label)
}

func thingEN(s *vision.Still) string {
	if s.Label == "" {
		return "a thing"
	}
	return someEN(s.Label)
}

// clockSeconds returns the local time of day of at with seconds, "22:14:05".
func (r *Rule) clockSeconds(at time.Time) string {
	if r.Calendar.Location != nil {
		at = at.In(r.Calendar.Location)
	}
	return at.Format("15:04:05")
}

// leftParams are those of things left behind or taken away.
type leftParams struct {
	Dwell       Seconds `yaml:"dwell" unit:"s" min:"0" max:"86400" doc_vi:"Sự thay đổi phải kéo dài bao lâu khi không có chủ ở gần" doc_en:"How long the change must last without its owner nearby"`
	OwnerRadius float64 `yaml:"owner_radius" unit:"heights" min:"0" max:"20" doc_vi:"Chủ vật được coi là ở gần khi cách vật chưa tới bấy nhiêu lần chiều cao của mình; 0 là không xét" doc_en:"The owner is nearby when closer to the thing than so many of its own heights in the picture; 0 ignores the owner"`
	MinArea     float64 `yaml:"min_area" unit:"share of the picture" min:"0" max:"1" doc_vi:"Bỏ qua vật nhỏ hơn phần này của khung hình" doc_en:"Smaller things, as a share of the picture, do not count"`
}

// left signals each thing of one kind that has been without its owner.
type left struct {
	rule   Rule
	kind   events.Kind
	what   vision.StillKind
	params leftParams
	alone  map[uint64]time.Time // by thing: since when its owner is away
	words  func(r *Rule, zone string, s *vision.Still, alone time.Duration) (vi, en string)
}

// newLeft returns what makes the rules of a kind about changes of one sort.
func newLeft(
	kind events.Kind, what vision.StillKind, words func(*Rule, string, *vision.Still, time.Duration) (vi, en string),
) func(Rule, leftParams) (Behaviour, lifecycle.Rule, error) {
	return func(r Rule, p leftParams) (Behaviour, lifecycle.Rule, error) {
		if err := noClasses(r); err != nil {
			return nil, lifecycle.Rule{}, err
		}
		return &left{rule: r, kind: kind, what: what, params: p, alone: make(map[uint64]time.Time), words: words}, stillDelays(), nil
	}
}

// Observe implements Behaviour. One signal for each thing.
func (b *left) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	here := make(map[uint64]bool, len(s.Stills))
	for i := range s.Stills {
		t := &s.Stills[i]
		if t.Kind != b.what {
			continue
		}
		here[t.ID] = true
		since, known := b.alone[t.ID]
		if !known {
			since = t.Since
			if a := t.Actor; a != nil && b.params.OwnerRadius > 0 && a.Near.After(since) {
				since = a.Near
			}
		}
		if b.params.OwnerRadius > 0 && ownerNear(s, t, b.params.OwnerRadius) {
			since = s.At
		}
		b.alone[t.ID] = since
		zone, in := b.rule.zoneOfStill(t)
		if !in || t.Area < b.params.MinArea || t.Score < b.rule.MinScore || selfMoving(t.Label) || s.At.Sub(since) < b.params.Dwell.Duration() {
			continue
		}
		sig := b.rule.stillSignal(b.kind, zone, t, s.At)
		vi, en := b.words(&b.rule, zone, t, s.At.Sub(since))
		sig.Why = b.rule.why(s.At, vi, en)
		out = append(out, sig)
	}
	for id := range b.alone {
		if !here[id] {
			delete(b.alone, id)
		}
	}
	return out
}

// ownerNear reports whether the actor is detected within so many of its own
// heights of the thing, from box to box.
func ownerNear(s *vision.Scene, t *vision.Still, radius float64) bool {
	if t.Actor == nil {
		return false
	}
	if !t.Actor.Near.Before(s.At) {
		return true
	}
	for i := range s.Tracks {
		k := &s.Tracks[i]
		if k.ID == t.Actor.Track || t.Actor.Current != 0 && k.ID == t.Actor.Current {
			return boxGap(k.Box, t.Box, s.Aspect) <= radius*k.Box.Height()
		}
	}
	return false
}

// boxGap returns the distance between two boxes in heights of the picture; 0
// when they touch. An aspect of 0 counts as 16:9.
func boxGap(a, b geom.Box, aspect float64) float64 {
	if aspect <= 0 {
		aspect = 16.0 / 9
	}
	dx := max(0, max(a.Min.X, b.Min.X)-min(a.Max.X, b.Max.X))
	dy := max(0, max(a.Min.Y, b.Min.Y)-min(a.Max.Y, b.Max.Y))
	return math.Hypot(dx*aspect, dy)
}

// actorWords says who did it; empty when nobody was seen.
func (r *Rule) actorWords(s *vision.Still, verbVI, verbEN string) (vi, en string) {
	if s.Actor == nil {
		return "", ""
	}
	clock := r.clockSeconds(s.Actor.Contact)
	return fmt.Sprintf(", nghi do %s %s lúc %s", someVI(s.Actor.Label), verbVI, clock),
		fmt.Sprintf(", seemingly %s by %s at %s", verbEN, someEN(s.Actor.Label), clock)
}

// noClasses refuses classes for a rule about things whose class nobody knows.
func noClasses(r Rule) error {
	if len(r.Classes) == 0 {
		return nil
	}
	return &events.FieldError{Field: "classes", Reason: "must be left out: the class of a thing that lies there is not known"}
}

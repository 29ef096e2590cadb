// Package behaviour holds the rules that turn scenes into signals. Each kind of
// rule is one file that registers itself; see intrusion.go for the shape.
package behaviour

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Behaviour is one configured rule on one camera. It is used by one goroutine.
type Behaviour interface {
	// Observe returns every condition that holds in the scene. It must not
	// block, and must drop what it remembers of the tracks in s.Ended. Scenes
	// come in the order of their time.
	Observe(s *vision.Scene) []events.Signal
}

// Counter is a behaviour that counts, besides raising events or instead of it.
type Counter interface {
	Behaviour
	// TakeCounts returns the minutes whose totals changed since the last call,
	// without Source, Run and Rule, in a stable order.
	TakeCounts() []events.Count
}

// Zone is a named area of the picture.
type Zone struct {
	Name string
	Area geom.Polygon
}

// Line is a named line of the picture. Side a is on the left hand of someone
// walking from its start to its end.
type Line struct {
	Name string
	geom.Segment
}

// Rule is what all kinds have in common.
type Rule struct {
	Camera   string         // slug
	Ref      events.RuleRef // name and version
	Zones    []Zone         // for kinds that need a zone
	Line     *Line          // for kinds that need a line
	Classes  []string       // of objects; empty is all
	Severity events.Severity
	MinScore float64           // of a track's best detection so far, in [0,1]
	MinSize  float64           // of a track: the least height of its box, as a share of the picture's; 0 is none
	MaxSize  float64           // the greatest; 0 is none
	Schedule schedule.Schedule // outside of it there are no signals
	Calendar schedule.Calendar // local time, also of the texts

	Ground geom.Homography // picture to metres; zero when the camera is not calibrated

	kind events.Kind // set by Definition.New
}

// Where says what a kind needs to be told about the picture.
type Where string

// What a kind needs.
const (
	WhereZone Where = "zone"
	WhereLine Where = "line"
	WhereNone Where = ""
)

// Need is something that a kind wants to know of each scene besides tracks. What
// no rule of a camera needs is not worked out for it.
type Need string

// What a kind may need. One that needs riders is shown them beside their
// vehicle, whatever the rule's classes; for the others a rider is part of the
// vehicle, see Definition.NeedsOf.
const (
	NeedRiders Need = "riders" // Track.Carrier and Track.Riders
	NeedHelmet Need = "helmet" // Track.Marks with the name "helmet"
	NeedStills Need = "stills" // Scene.Stills
	NeedView   Need = "view"   // Scene.View
	NeedGround Need = "ground" // Rule.Ground: a calibrated camera
)

// Definition describes a kind of rule.
type Definition struct {
	Kind     events.Kind
	Doc      events.Text // one sentence for the console
	Where    Where
	Severity events.Severity // unless the rule says another
	Delays   lifecycle.Rule  // with default parameters
	Needs    []Need

	params any // the defaults
	build  func(r Rule, params []byte) (Behaviour, lifecycle.Rule, error)
}

// New configures a rule of the kind with its own parameters, a YAML mapping, and
// returns the delays of its events. A severity that is not set is the kind's.
// Errors are events.FieldError, joined, whose fields are the names of
// parameters, "zone" or "line"; unknown parameters are errors.
func (d Definition) New(r Rule, params []byte) (Behaviour, lifecycle.Rule, error) {
	r.kind = d.Kind
	if r.Severity == "" {
		r.Severity = d.Severity
	}
	switch {
	case d.Where == WhereZone && len(r.Zones) == 0:
		return nil, lifecycle.Rule{}, &events.FieldError{Field: "zone", Reason: "is required"}
	case d.Where == WhereLine && r.Line == nil:
		return nil, lifecycle.Rule{}, &events.FieldError{Field: "line", Reason: "is required"}
	case slices.Contains(d.Needs, NeedGround) && r.Ground.IsZero():
		return nil, lifecycle.Rule{}, &events.FieldError{Field: "kind", Reason: "needs the camera's calibration: four points of the picture and the same on the ground in metres"}
	}
	return d.build(r, params)
}

var registry = make(map[events.Kind]Definition)

// Lookup returns the definition of kind.
func Lookup(kind events.Kind) (Definition, bool) {
	d, ok := registry[kind]
	return d, ok
}

// Kinds returns the known kinds in alphabetical order.
func Kinds() []events.Kind { return slices.Sorted(maps.Keys(registry)) }

// register adds a kind whose parameters have type P, a struct as paramField
// describes. Defaults are overwritten by what the configuration sets. build
// gets checked parameters and the tracks that match the rule.
func register[P any](d Definition, defaults P, build func(Rule, P) (Behaviour, lifecycle.Rule, error)) {
	if _, dup := registry[d.Kind]; dup {
		panic("behaviour: " + string(d.Kind) + " registered twice")
	}
	d.params = defaults
	d.build = func(r Rule, raw []byte) (Behaviour, lifecycle.Rule, error) {
		p, o := defaults, d.overrides()
		given, err := decodeParams(raw, &p, &o)
		if err != nil {
			return nil, lifecycle.Rule{}, err
		}
		b, delays, err := build(r, p)
		if err == nil {
			delays, err = o.apply(delays, given)
		}
		if err != nil {
			return nil, lifecycle.Rule{}, err
		}
		return newMatching(r, &d, b), delays, nil
	}
	registry[d.Kind] = d
}

// maxRemembered bounds what is remembered per track, should a tracker not say
// which ones ended.
const maxRemembered = 4096

// forget drops the state of tracks that ended.
func forget[S any](state map[uint64]S, s *vision.Scene) {
	for _, id := range s.Ended {
		delete(state, id)
	}
	if len(state) <= maxRemembered {
		return
	}
	maps.DeleteFunc(state, func(id uint64, _ S) bool {
		return !slices.ContainsFunc(s.Tracks, func(t vision.Track) bool { return t.ID == id })
	})
}

// signal returns the signal of a rule about one track.
func (r *Rule) signal(kind events.Kind, place string, t *vision.Track, at time.Time) events.Signal {
	return events.Signal{
		Key:      events.Key{Source: r.Camera, Kind: kind, Rule: r.Ref.Name, Zone: place, Object: strconv.FormatUint(t.ID, 10)},
		At:       at,
		Score:    t.Score,
		Severity: r.Severity,
		Rule:     r.Ref,
		Subject: &events.Subject{
			Track: t.ID, Class: t.Label, Score: t.Score,
			Box: [4]float64{t.Box.Min.X, t.Box.Min.Y, t.Box.Max.X, t.Box.Max.Y},
		},
	}
}

package behaviour

import (
	"fmt"
	"math"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// KindWrongWay is the kind of "an object moves against the zone's direction".
const KindWrongWay events.Kind = "wrong_way"

func init() {
	defaults := wrongWayParams{Tolerance: 60, Distance: 2}
	register(Definition{
		Kind: KindWrongWay,
		Doc: events.Text{
			VI: "Nghi vấn xe đi ngược chiều cho phép của vùng.",
			EN: "A vehicle is suspected of moving against the permitted direction of the zone.",
		},
		Where:    WhereZone,
		Severity: events.SeverityHigh,
		Delays:   defaults.delays(),
	}, defaults, newWrongWay)
}

// wrongWayParams: Direction is an arrow in the picture, as coordinates are: x to
// the right, y down, shares of its width and height. Angles are measured in the
// picture as it is seen. Distance is in units of the object's own size, the root
// of the area of its box where it is: about 2 m for a car from ahead, 2.5 m from
// the side, and further along the road in depth, which the picture shortens.
type wrongWayParams struct {
	Direction [2]float64 `yaml:"direction" min:"-1000" max:"1000" example:"[0, 1]" doc_vi:"Chiều được phép, là mũi tên [dx, dy] trong hình: x sang phải, y xuống dưới" doc_en:"The permitted direction, an arrow [dx, dy] in the picture: x to the right, y down"`
	Tolerance float64    `yaml:"tolerance" unit:"°" min:"1" max:"90" doc_vi:"Lệch khỏi chiều ngược lại không quá góc này thì vẫn là ngược chiều" doc_en:"How far from exactly the opposite direction still is against it"`
	Distance  float64    `yaml:"distance" min:"0.5" max:"50" doc_vi:"Phải đi ngược chiều bao xa mới tính, theo cỡ của đối tượng trong hình (ô tô: khoảng 2 m)" doc_en:"How far it must go against it to count, in units of its own size in the picture (about 2 m for a car)"`
}

const (
	wrongClear = 4 * time.Second // not going against it for this long, or not seen
	wrongKeep  = 3 * time.Second // an object lost for longer is forgotten
	wrongReach = 1.0
	wrongGrow  = .5
)

func (p wrongWayParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Clear: wrongClear, Stale: blindAfter}
}

func newWrongWay(r Rule, p wrongWayParams) (Behaviour, lifecycle.Rule, error) {
	if math.Hypot(p.Direction[0], p.Direction[1]) < 1e-9 {
		return nil, lifecycle.Rule{}, &events.FieldError{Field: "direction", Reason: "must have a length, such as [0, 1]"}
	}
	b := &wrongWay{wrongWayParams: p, rule: r, objects: newFollower[driver](wrongKeep, wrongReach, wrongGrow)}
	return b, p.delays(), nil
}

type wrongWay struct {
	wrongWayParams
	rule    Rule
	objects *follower[driver]
}

// driver is how an object has moved, and its ways by zone.
type driver struct {
	walk
	zones map[string]*drive
}

// drive is an object's way through a zone.
type drive struct {
	in     bool
	trail  []waypoint // oldest first, the present place not included
	from   geom.Point // the place where it began to go against the direction
	raised bool
}

// waypoint is where an object was.
type waypoint struct {
	at    time.Time
	place geom.Point
}

const (
	trailTime = 30 * time.Second // who takes longer for Distance is not driving
	trailStep = .2               // between two places of a trail, in sizes
	maxTrail  = 64               // places
)

// Observe implements Behaviour. One signal per object and zone while an object
// that has moved Distance against the direction is in the zone and does not turn
// back by as much. The way is that of the foot of the box from one detection to
// the next; a box that jumps to somewhere, as that of a track that changes over
// to another object does, begins a new way. Without classes the rule is about
// vehicles.
func (b *wrongWay) Observe(s *vision.Scene) []events.Signal {
	seen, blind := b.objects.observe(s)
	var out []events.Signal
	for _, o := range seen {
		if !b.rule.isAbout(o.label, vehicles()) {
			continue
		}
		d := &o.state
		if d.zones == nil {
			d.zones = make(map[string]*drive)
		}
		jump := d.step(b.objects.sight(&o), o.again || blind != 0)
		for i := range b.rule.Zones {
			z := &b.rule.Zones[i]
			v := d.zones[z.Name]
			if v == nil {
				v = &drive{}
				d.zones[z.Name] = v
			}
			v.in = inZone(z, o.box, v.in)
			if jump || !v.in {
				v.trail = v.trail[:0]
			}
			if v.in && b.against(s.At, d, v) {
				out = append(out, b.signal(s.At, z.Name, &o))
			}
			if !v.in {
				v.raised = false
			}
		}
	}
	return out
}

// against notes the place and reports whether the object is going against the
// direction.
func (b *wrongWay) against(at time.Time, d *driver, v *drive) bool {
	dx, dy := b.Direction[0]*b.objects.aspect, b.Direction[1]
	l := math.Hypot(dx, dy)
	dx, dy = dx/l, dy/l
	if v.raised { // until it has come back
		way := (d.place.X-v.from.X)*dx + (d.place.Y-v.from.Y)*dy
		if way < 0 { // further against it
			v.from = d.place
		}
		v.raised = way < b.Distance
		if !v.raised {
			v.trail = v.trail[:0]
		}
	}
	for i := len(v.trail) - 1; i >= 0 && !v.raised && at.Sub(v.trail[i].at) <= trailTime; i-- {
		wx, wy := d.place.X-v.trail[i].place.X, d.place.Y-v.trail[i].place.Y
		if w := math.Hypot(wx, wy); w >= b.Distance {
			if -(wx*dx + wy*dy) >= w*math.Cos(b.Tolerance*math.Pi/180) {
				v.raised, v.from = true, d.place
			}
			break
		}
	}
	n := len(v.trail)
	if n == 0 || math.Hypot(d.place.X-v.trail[n-1].place.X, d.place.Y-v.trail[n-1].place.Y) >= max(trailStep, b.Distance/(maxTrail/4)) {
		if n == maxTrail {
			v.trail = append(v.trail[:0], v.trail[1:]...)
		}
		v.trail = append(v.trail, waypoint{at, d.place})
	}
	return v.raised
}

func (b *wrongWay) signal(at time.Time, zone string, o *sighting[driver]) events.Signal {
	sig := o.signal(&b.rule, KindWrongWay, zone, at)
	sig.Attributes = map[string]any{"direction": b.Direction, "heading": heading(o.state.speed)}
	sig.Why = b.rule.why(at,
		fmt.Sprintf("nghi vấn: %s đi ngược chiều cho phép của vùng «%s»", someVI(o.class), zone),
		fmt.Sprintf("%s is suspected of moving against the permitted direction of zone “%s”", someEN(o.class), zone))
	return sig
}

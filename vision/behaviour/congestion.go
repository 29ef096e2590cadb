package behaviour

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindCongestion is the kind of "many vehicles, slow".
const KindCongestion events.Kind = "congestion"

func init() {
	defaults := congestionParams{Count: 5, Speed: .4, Parked: 600, Hold: 30}
	register(Definition{
		Kind: KindCongestion,
		Doc: events.Text{
			VI: "Nghi vấn ùn tắc: nhiều xe trong vùng và phần lớn đi rất chậm.",
			EN: "Suspected congestion: many vehicles are in the zone and most of them are slow.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   defaults.delays(),
	}, defaults, newCongestion)
}

// congestionParams: Speed is in sizes of the object a second, as wrongWayParams
// has them: 0.4 is about 3 km/h for a car that crosses the picture and up to
// 10 km/h for one that drives along it in depth. SpeedKMH is used in its place
// on a calibrated camera.
type congestionParams struct {
	Count    int     `yaml:"count" min:"2" max:"500" doc_vi:"Từ bao nhiêu xe thì tính" doc_en:"How many vehicles there must be, at least"`
	Speed    float64 `yaml:"speed" min:"0.01" max:"20" doc_vi:"Chậm là khi tốc độ trung vị dưới mức này, tính bằng số lần cỡ của xe trong hình mỗi giây (0,4: khoảng 3–10 km/h)" doc_en:"Slow is a median speed below this, in sizes of the vehicle in the picture a second (0.4: about 3–10 km/h)"`
	SpeedKMH float64 `yaml:"speed_kmh" unit:"km/h" min:"0" max:"100" doc_vi:"Nếu camera đã hiệu chuẩn: dùng mức này thay cho speed; 0 là không dùng" doc_en:"On a calibrated camera: used in place of speed; 0 is not used"`
	Parked   Seconds `yaml:"parked" unit:"s" min:"10" max:"86400" doc_vi:"Xe đứng yên lâu hơn chừng này là xe đỗ, không tính" doc_en:"A vehicle that stands for longer than this is parked and does not count"`
	Hold     Seconds `yaml:"hold" unit:"s" min:"0" max:"86400" doc_vi:"Tình trạng phải kéo dài bao lâu mới báo" doc_en:"How long it must last before it counts"`
}

const (
	jamClear   = 20 * time.Second // free for this long: it is over
	jamMiss    = 5 * time.Second
	jamSeen    = 2500 * time.Millisecond // a vehicle not found for this long no longer counts
	jamReach   = .6
	speedOver  = 2500 * time.Millisecond // a speed is that over so much time
	speedLeast = 800 * time.Millisecond  // or at least so much
	almostSlow = 1.3                     // of what is congested already
	maxSamples = 32                      // that a speed is made of
)

func (p congestionParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Hold: p.Hold.Duration(), Clear: jamClear, Stale: blindAfter, Miss: jamMiss}
}

func newCongestion(r Rule, p congestionParams) (Behaviour, lifecycle.Rule, error) {
	if p.SpeedKMH > 0 && r.Ground.IsZero() {
		return nil, lifecycle.Rule{}, &events.FieldError{Field: "speed_kmh", Reason: "needs the camera's calibration; use speed without it"}
	}
	c := &congestion{congestionParams: p, rule: r, jams: make([]gathering, len(r.Zones))}
	c.objects = newFollower[slowcoach](jamSeen, jamReach, 0)
	return c, p.delays(), nil
}

type congestion struct {
	congestionParams
	rule    Rule
	objects *follower[slowcoach]
	jams    []gathering // by zone
	speeds  []float64   // reused
	moving  []float64   // of those that have moved; reused
}

// slowcoach is what is known of a vehicle.
type slowcoach struct {
	walk
	stand
	moved bool       // it has been seen to leave a place: it is not parked since before anybody looked
	trail []waypoint // of the last speedOver, the latest one included
	in    []bool     // by zone
}

// Observe implements Behaviour. One signal per zone while at least Count
// vehicles whose speed is known are in it, without the parked ones, and their
// median speed is below Speed; of a jam that is there already a little less is
// enough. Without classes the rule is about vehicles.
func (b *congestion) Observe(s *vision.Scene) []events.Signal {
	seen, blind := b.objects.observe(s)
	for _, o := range seen {
		b.update(s.At, &o, blind)
	}
	var out []events.Signal
	for i := range b.rule.Zones {
		n, median := b.median(s.At, i)
		limit, jam := b.Speed, &b.jams[i]
		if b.SpeedKMH > 0 {
			limit = b.SpeedKMH
		}
		if blind != 0 {
			jam.afterBlindness(blind, b.delays())
		}
		holds := n >= b.Count && median < limit
		almost := n >= max(2, b.Count-max(1, b.Count/5)) && median < almostSlow*limit
		if jam.step(s.At, holds, almost, n, b.delays()) {
			out = append(out, b.signal(s.At, b.rule.Zones[i].Name, n, jam.peak, median))
		}
	}
	return out
}

// update notes where the vehicle is.
func (b *congestion) update(at time.Time, o *sighting[slowcoach], blind time.Duration) {
	v := &o.state
	if v.in == nil {
		v.in = make([]bool, len(b.rule.Zones))
	}
	about := b.rule.isAbout(o.label, vehicles())
	for i := range b.rule.Zones {
		v.in[i] = about && inZone(&b.rule.Zones[i], o.box, v.in[i])
	}
	if blind != 0 {
		v.since, v.strayed = v.since.Add(blind), v.strayed.Add(blind)
	}
	if known := v.boxes > 0; v.observe(at, o.now, b.objects.aspect) && known {
		v.moved = true
	}
	place := waypoint{at: at}
	if v.step(b.objects.sight(o), o.again || blind != 0) {
		v.trail = v.trail[:0]
	}
	place.place = v.place
	if b.SpeedKMH > 0 {
		ground, ok := b.rule.Ground.Map(o.box.Foot())
		if !ok {
			v.trail = v.trail[:0]
			return
		}
		place.place = ground
	}
	gone := slices.IndexFunc(v.trail, func(w waypoint) bool { return at.Sub(w.at) <= speedOver })
	if gone < 0 {
		gone = len(v.trail)
	}
	if len(v.trail) == maxSamples {
		gone = max(gone, 1)
	}
	v.trail = append(slices.Delete(v.trail, 0, gone), place)
}

// median returns how many vehicles of known speed are in zone i, without the
// parked ones, and their median speed. After a start nobody knows which are
// parked: those that have not moved since they were first seen count only while
// they are no more than those that have, as in a jam that creeps.
func (b *congestion) median(at time.Time, i int) (n int, speed float64) {
	b.speeds, b.moving = b.speeds[:0], b.moving[:0]
	for _, o := range b.objects.objects {
		v := &o.state
		if len(v.in) <= i || !v.in[i] || len(v.trail) < 2 || at.Sub(v.since) >= b.Parked.Duration() {
			continue
		}
		first, last := v.trail[0], v.trail[len(v.trail)-1]
		dt := last.at.Sub(first.at)
		if dt < speedLeast {
			continue
		}
		mps := math.Hypot(last.place.X-first.place.X, last.place.Y-first.place.Y) / dt.Seconds()
		if b.SpeedKMH > 0 {
			mps *= 3.6
		}
		b.speeds = append(b.speeds, mps)
		if v.moved {
			b.moving = append(b.moving, mps)
		}
	}
	if 2*len(b.moving) < len(b.speeds) {
		b.speeds = append(b.speeds[:0], b.moving...)
	}
	n = len(b.speeds)
	if n == 0 {
		return 0, 0
	}
	slices.Sort(b.speeds)
	return n, (b.speeds[(n-1)/2] + b.speeds[n/2]) / 2
}

func (b *congestion) signal(at time.Time, zone string, n, peak int, median float64) events.Signal {
	speed, vi, en := "median_speed", "phần lớn đi rất chậm", "most of them very slow"
	if b.SpeedKMH > 0 {
		speed = "median_kmh"
		vi, en = fmt.Sprintf("tốc độ trung vị khoảng %.0f km/h", median), fmt.Sprintf("with a median speed of about %.0f km/h", median)
	}
	return events.Signal{
		Key: events.Key{Source: b.rule.Camera, Kind: KindCongestion, Rule: b.rule.Ref.Name, Zone: zone},
		At:  at, Score: 1, Severity: b.rule.Severity, Rule: b.rule.Ref,
		Attributes: map[string]any{"count": n, "peak": peak, "limit": b.Count, speed: hundredths(median)},
		Why: b.rule.why(at,
			fmt.Sprintf("nghi vấn ùn tắc: %d xe trong vùng «%s», %s", n, zone, vi),
			fmt.Sprintf("congestion is suspected: %d vehicles were in zone “%s”, %s", n, zone, en)),
	}
}

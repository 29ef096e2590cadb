package behaviour

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindOverloadedMotorbike is the kind of "too many ride one motorcycle".
const KindOverloadedMotorbike events.Kind = "overloaded_motorbike"

func init() {
	register(Definition{
		Kind: KindOverloadedMotorbike,
		Doc: events.Text{
			VI: "Nghi vấn xe máy chở quá số người: nhiều người cùng ngồi trên một xe trong vùng.",
			EN: "A motorcycle in the zone seems to carry too many: several persons ride it together.",
		},
		Where:    WhereZone,
		Severity: events.SeverityLow,
		Delays:   ridersDelays(),
		Needs:    []Need{NeedRiders},
	}, overloadedParams{Count: 3, After: .8}, newOverloaded)
}

type overloadedParams struct {
	Count int     `yaml:"count" min:"2" max:"6" doc_vi:"Từ bao nhiêu người trên một xe thì báo, kể cả người lái; luật cho chở thêm trẻ em trong một số trường hợp" doc_en:"From how many riders on one motorcycle, the driver included; the law allows a child more in some cases"`
	After Seconds `yaml:"after" unit:"s" min:"0" max:"60" doc_vi:"Tổng thời gian phải nhìn thấy đủ số người đó" doc_en:"For how long in all that many must have been seen"`
}

const (
	overloadedLooks = 3   // with enough riders, however far apart
	doubtWeight     = .25 // of a look with fewer: riders hide each other, seats do not make riders
)

// overloaded watches the riders of each motorcycle.
type overloaded struct {
	overloadedParams
	rule     Rule
	vehicles map[uint64]*load
}

// load is what is known of a vehicle.
type load struct {
	object string // of the key: the first ID of the vehicle
	seen   time.Time
	riders []uint64              // when last detected
	with   map[int]time.Duration // time for which exactly so many were seen
	enough time.Duration         // time with enough of them, less a part of that with fewer
	looks  int                   // with enough of them
	told   bool
}

func newOverloaded(r Rule, p overloadedParams) (Behaviour, lifecycle.Rule, error) {
	if err := wantsMotorcycles(r); err != nil {
		return nil, lifecycle.Rule{}, err
	}
	return &overloaded{overloadedParams: p, rule: r, vehicles: make(map[uint64]*load)}, ridersDelays(), nil
}

// Observe implements Behaviour. One signal per motorcycle in the zone on which
// enough riders were seen together, not predicted, for long enough, looks with
// fewer weighing against it.
func (b *overloaded) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for i := range s.Tracks {
		v := &s.Tracks[i]
		if !slices.Contains(motorcycles, v.Label) {
			continue
		}
		l := b.vehicles[v.ID]
		if l == nil {
			if len(v.Riders) == 0 {
				continue
			}
			l = b.adopt(s, v)
			b.vehicles[v.ID] = l
		}
		if !v.Coasting(s.At) && !s.Held {
			b.update(s, v, l)
		}
		for _, z := range b.rule.Zones {
			if l.told && z.Area.Contains(v.Box.Foot()) {
				out = append(out, b.signal(s.At, z.Name, v, l))
			}
		}
	}
	maps.DeleteFunc(b.vehicles, func(_ uint64, l *load) bool { return s.At.Sub(l.seen) > forgetVehicle })
	return out
}

// update counts the riders that are seen.
func (b *overloaded) update(s *vision.Scene, v *vision.Track, l *load) {
	dt := min(max(s.At.Sub(l.seen), 0), lookMost)
	if l.seen.IsZero() {
		dt = 0
	}
	l.seen, l.riders = s.At, append(l.riders[:0], v.Riders...)
	n := b.riders(s, v)
	l.with[n] += dt
	if n >= b.Count {
		l.enough += dt
		l.looks++
	} else {
		l.enough = max(0, l.enough-time.Duration(doubtWeight*float64(dt)))
	}
	l.told = l.told || l.looks >= overloadedLooks && l.enough >= b.After.Duration()
}

// riders counts the persons that are seen on v, those with two boxes once.
func (b *overloaded) riders(s *vision.Scene, v *vision.Track) int {
	var on []*vision.Track
next:
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Carrier != v.ID || t.Coasting(s.At) {
			continue
		}
		for _, o := range on {
			if o.Box.IoU(t.Box) >= onePerson {
				continue next
			}
		}
		on = append(on, t)
	}
	return len(on)
}

// adopt returns what is known of a new track: that of a vehicle with one of the
// same riders that is no longer detected, or nothing.
func (b *overloaded) adopt(s *vision.Scene, v *vision.Track) *load {
	for _, id := range slices.Sorted(maps.Keys(b.vehicles)) {
		l := b.vehicles[id]
		if !detected(s, id) && slices.ContainsFunc(v.Riders, func(r uint64) bool { return slices.Contains(l.riders, r) }) {
			delete(b.vehicles, id)
			return l
		}
	}
	return &load{object: strconv.FormatUint(v.ID, 10), with: make(map[int]time.Duration)}
}

// number returns how many riders the vehicle has: the most that were seen for
// half of the time that makes an event.
func (b *overloaded) number(l *load) int {
	best, sum := b.Count, time.Duration(0)
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(l.with))) {
		if sum += l.with[n]; n > b.Count && sum >= max(b.After.Duration()/2, time.Second/2) {
			return n
		}
	}
	return best
}

func (b *overloaded) signal(at time.Time, zone string, v *vision.Track, l *load) events.Signal {
	sig := b.rule.signal(KindOverloadedMotorbike, zone, v, at)
	sig.Key.Object = l.object
	n := b.number(l)
	sig.Attributes = map[string]any{"riders": n, "confirm": true}
	sig.Why = b.rule.why(at,
		fmt.Sprintf("nghi vấn %d người đi trên một xe máy trong vùng «%s» (kể cả người lái; cần người xem lại và xác nhận)", n, zone),
		fmt.Sprintf("%d persons seem to ride one motorcycle in zone “%s” (the driver included; a person must confirm)", n, zone))
	return sig
}

package behaviour

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// KindNoHelmet is the kind of "somebody rides a motorcycle without a helmet".
const KindNoHelmet events.Kind = "no_helmet"

func init() {
	register(Definition{
		Kind: KindNoHelmet,
		Doc: events.Text{
			VI: "Nghi vấn người đi xe máy trong vùng không đội mũ bảo hiểm; luôn cần người xem lại và xác nhận.",
			EN: "Somebody on a motorcycle in the zone seems to wear no helmet; a person must always look and confirm.",
		},
		Where:    WhereZone,
		Severity: events.SeverityLow,
		Delays:   ridersDelays(),
		Needs:    []Need{NeedRiders, NeedHelmet},
	}, noHelmetParams{Votes: 3, Score: .85, After: .5}, newNoHelmet)
}

type noHelmetParams struct {
	Votes int     `yaml:"votes" min:"1" max:"50" doc_vi:"Số ảnh của một người phải được xem trước khi báo" doc_en:"How many pictures of a rider must have been looked at"`
	Score float64 `yaml:"score" min:"0.5" max:"1" doc_vi:"Xác suất trung bình không đội mũ, từ đó mới báo" doc_en:"Mean probability of no helmet from which it counts"`
	After Seconds `yaml:"after" unit:"s" min:"0" max:"60" doc_vi:"Kết luận đó phải giữ nguyên bao lâu" doc_en:"For how long this must have been the answer"`
}

const (
	markHelmet    = "helmet"
	helmetWithout = "without"

	samePlace = .3 // overlap from which a new vehicle is the one that was lost
)

// noHelmet watches the riders of each motorcycle.
type noHelmet struct {
	noHelmetParams
	rule     Rule
	vehicles map[uint64]*ride
}

// ride is what is known of a motorcycle and of those on it.
type ride struct {
	object string // of the key: the first ID of the vehicle
	seen   time.Time
	box    geom.Box             // of the vehicle, or of a rider while it is hidden, when last seen
	last   map[uint64]time.Time // when each rider was last detected
	held   time.Duration        // for how long somebody has been without
	bare   vision.Track         // the one who is, when last detected
	mark   vision.Mark          // of bare
	riders int                  // detected together, at most
	bares  int                  // without a helmet, at most together
	zone   string               // where the vehicle was last
}

func newNoHelmet(r Rule, p noHelmetParams) (Behaviour, lifecycle.Rule, error) {
	if err := wantsMotorcycles(r); err != nil {
		return nil, lifecycle.Rule{}, err
	}
	return &noHelmet{noHelmetParams: p, rule: r, vehicles: make(map[uint64]*ride)}, ridersDelays(), nil
}

// Observe implements Behaviour. One signal per motorcycle in the zone, however
// many on it wear no helmet. Riders that are predicted raise nothing. The
// motorcycle itself need not be detected: its riders hide it.
func (b *noHelmet) Observe(s *vision.Scene) []events.Signal {
	on := b.carried(s)
	var out []events.Signal
	for _, id := range slices.Sorted(maps.Keys(on)) {
		v := on[id]
		r := b.vehicles[id]
		if r == nil {
			r = b.adopt(s, id, v)
			b.vehicles[id] = r
		}
		if !s.Held {
			b.update(s.At, r, v)
		}
		if r.held < b.After.Duration() || r.bares == 0 {
			continue
		}
		for _, z := range b.rule.Zones {
			if inZone(&z, v.where().Box, r.zone == z.Name) {
				r.zone = z.Name
				out = append(out, b.signal(s.At, r, v))
				break
			}
		}
	}
	maps.DeleteFunc(b.vehicles, func(_ uint64, r *ride) bool { return s.At.Sub(r.seen) > forgetVehicle })
	return out
}

// carrying is a motorcycle of a scene.
type carrying struct {
	vehicle *vision.Track   // nil when it is hidden
	riders  []*vision.Track // of different persons, never empty
}

// where returns the track that says where the motorcycle is: itself, or else
// the rider whose feet are lowest.
func (c *carrying) where() *vision.Track {
	if c.vehicle != nil {
		return c.vehicle
	}
	return slices.MaxFunc(c.riders, func(a, b *vision.Track) int { return cmp.Compare(a.Box.Max.Y, b.Box.Max.Y) })
}

// carried returns the motorcycles with riders by their IDs.
func (b *noHelmet) carried(s *vision.Scene) map[uint64]*carrying {
	out := make(map[uint64]*carrying)
next:
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Label != classPerson || t.Carrier == 0 {
			continue
		}
		c := out[t.Carrier]
		if c == nil {
			c = &carrying{}
			at := slices.IndexFunc(s.Tracks, func(v vision.Track) bool { return v.ID == t.Carrier })
			if at >= 0 {
				c.vehicle = &s.Tracks[at]
			}
			if at >= 0 && !slices.Contains(motorcycles, c.vehicle.Label) {
				continue // no duty to wear one
			}
			out[t.Carrier] = c
		}
		for k, o := range c.riders {
			if o.Box.IoU(t.Box) >= onePerson { // the one of whom more is known
				if votesOf(t) > votesOf(o) {
					c.riders[k] = t
				}
				continue next
			}
		}
		c.riders = append(c.riders, t)
	}
	return out
}

// helmetOf returns the mark about the helmet.
func helmetOf(t *vision.Track) (vision.Mark, bool) {
	for _, m := range t.Marks {
		if m.Name == markHelmet {
			return m, true
		}
	}
	return vision.Mark{}, false
}

func votesOf(t *vision.Track) int {
	m, _ := helmetOf(t)
	return m.Votes
}

// isBare reports whether the rider wears no helmet, as far as the rule asks.
func (b *noHelmet) isBare(t *vision.Track) bool {
	m, ok := helmetOf(t)
	return ok && m.Value == helmetWithout && m.Votes >= b.Votes && m.Score >= b.Score
}

// update notes who is seen on the motorcycle.
func (b *noHelmet) update(at time.Time, r *ride, c *carrying) {
	riders, bares := 0, 0
	var worst *vision.Track
	for _, t := range c.riders {
		if t.Coasting(at) {
			continue
		}
		r.last[t.ID] = at
		riders++
		if !b.isBare(t) {
			continue
		}
		bares++
		if m, _ := helmetOf(t); worst == nil || m.Score > r.mark.Score {
			worst, r.bare, r.mark = t, *t, m
		}
	}
	if riders == 0 && (c.vehicle == nil || c.vehicle.Coasting(at)) {
		return
	}
	dt := min(max(at.Sub(r.seen), 0), lookMost)
	if r.seen.IsZero() {
		dt = 0
	}
	r.seen, r.box = at, c.where().Box
	r.riders = max(r.riders, riders)
	switch {
	case bares > 0:
		r.held += dt
		r.bares = max(r.bares, bares)
	case b.refuted(at, r, c):
		r.held, r.bares = 0, 0
	}
	maps.DeleteFunc(r.last, func(_ uint64, last time.Time) bool { return at.Sub(last) > forgetVehicle })
}

// refuted reports whether the one who seemed to be without is seen, and the
// answer is not that any more. Once it has been raised, less certainty alone
// does not take it back.
func (b *noHelmet) refuted(at time.Time, r *ride, c *carrying) bool {
	for _, t := range c.riders {
		if t.ID != r.bare.ID || t.Coasting(at) {
			continue
		}
		m, _ := helmetOf(t)
		return m.Value != helmetWithout || r.held < b.After.Duration()
	}
	return false
}

// adopt returns what is known of a vehicle with a new ID: that of one which is
// no longer there and had one of the same riders or was last seen right here,
// or nothing.
func (b *noHelmet) adopt(s *vision.Scene, vehicle uint64, c *carrying) *ride {
	same := func(r *ride) bool {
		return slices.ContainsFunc(c.riders, func(t *vision.Track) bool { _, ok := r.last[t.ID]; return ok })
	}
	here := func(r *ride) bool {
		return s.At.Sub(r.seen) <= lookMost && r.box.IoU(c.where().Box) >= samePlace
	}
	for _, is := range []func(*ride) bool{same, here} {
		for _, id := range slices.Sorted(maps.Keys(b.vehicles)) {
			if r := b.vehicles[id]; !detected(s, id) && is(r) {
				delete(b.vehicles, id)
				return r
			}
		}
	}
	return &ride{object: strconv.FormatUint(vehicle, 10), last: make(map[uint64]time.Time)}
}

// signal says what is suspected; a person decides.
func (b *noHelmet) signal(at time.Time, r *ride, c *carrying) events.Signal {
	sig := b.rule.signal(KindNoHelmet, r.zone, c.where(), at)
	sig.Key.Object = r.object
	sig.Score = r.mark.Score
	sig.Attributes = map[string]any{
		"riders": r.riders, "without": r.bares, "votes": r.mark.Votes, "rider": r.bare.ID, "confirm": true,
	}
	sure := int(r.mark.Score*100 + .5)
	vi := fmt.Sprintf("nghi vấn %d trong %d người thấy được trên xe máy không đội mũ bảo hiểm ở vùng «%s» (xem %d ảnh, xác suất %d %%; cần người xác nhận)",
		r.bares, r.riders, r.zone, r.mark.Votes, sure)
	en := fmt.Sprintf("%d of %d visible riders of a motorcycle seemed to wear no helmet in zone “%s” (%d pictures looked at, probability %d %%; a person must confirm)",
		r.bares, r.riders, r.zone, r.mark.Votes, sure)
	sig.Why = b.rule.why(at, vi, en)
	return sig
}

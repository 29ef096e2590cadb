package behaviour

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// KindStoppedVehicle is the kind of "a vehicle stands still in the zone".
const KindStoppedVehicle events.Kind = "stopped_vehicle"

func init() {
	defaults := stoppedParams{Dwell: 60, Grace: 15}
	register(Definition{
		Kind: KindStoppedVehicle,
		Doc: events.Text{
			VI: "Một xe dừng, đỗ trong vùng quá lâu; mỗi lần dừng là một sự kiện.",
			EN: "A vehicle stands still in the zone for too long; each stop is one event.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   defaults.delays(),
	}, defaults, newStopped)
}

type stoppedParams struct {
	Dwell Seconds `yaml:"dwell" unit:"s" min:"1" max:"86400" doc_vi:"Đứng yên bao lâu thì báo" doc_en:"How long it must stand still to count"`
	Grace Seconds `yaml:"grace" unit:"s" min:"0" max:"3600" doc_vi:"Bị che khuất không quá chừng này thì vẫn tính là đứng yên" doc_en:"Being hidden for no longer than this does not end a stop"`
}

func (p stoppedParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Clear: p.Grace.Duration() + settleAfter + slack, Stale: blindAfter}
}

// noReach is for objects that are only themselves while their track lasts: who
// stands where another one stood is decided by takeOver, once it stands.
const noReach = -1

func newStopped(r Rule, p stoppedParams) (Behaviour, lifecycle.Rule, error) {
	keep := p.Grace.Duration() + settleAfter + slack
	return &stopped{stoppedParams: p, rule: r, objects: newFollower[halt](keep, noReach, 0), said: make(sayings)}, p.delays(), nil
}

type stopped struct {
	stoppedParams
	rule    Rule
	objects *follower[halt]
	said    sayings
}

// halt is where a vehicle stands.
type halt struct {
	stand
	seen    time.Duration // it was seen there, not hidden
	settled bool          // for long enough to be sure
	due     bool          // for long enough to count
	in      []bool        // by zone
	raised  []bool
}

// settleAfter is how long a vehicle must stand before it is asked whose place
// it stands on: others drive by.
const settleAfter = 1500 * time.Millisecond

// Observe implements Behaviour. One signal per vehicle and zone while it stands
// there, with its foot in the zone, for longer than Dwell, and is seen for at
// least half of the time. A vehicle that is there from the beginning stands
// since it was first seen; one that is hidden for up to Grace, or found again as
// another track, goes on standing. Without classes the rule is about vehicles.
func (b *stopped) Observe(s *vision.Scene) []events.Signal {
	seen, blind := b.objects.observe(s)
	if blind != 0 {
		b.afterBlindness(blind)
	}
	var out []events.Signal
	for _, o := range seen {
		if !b.rule.isAbout(o.label, vehicles()) {
			continue
		}
		h := &o.state
		if h.in == nil {
			h.in, h.raised = make([]bool, len(b.rule.Zones)), make([]bool, len(b.rule.Zones))
		}
		if h.observe(s.At, o.now, b.objects.aspect) {
			clear(h.raised)
			h.settled, h.due, h.seen = false, false, s.At.Sub(h.since)
			o.since = 0
		} else if !h.settled && !h.away && s.At.Sub(h.since) >= settleAfter {
			h.settled = true
			b.takeOver(s, &o)
		}
		if o.since <= briefly {
			h.seen += o.since
		}
		stop := s.At.Sub(h.since)
		due := stop >= b.Dwell.Duration() && (h.seen >= stop/2 || h.due)
		h.due = due
		for i := range b.rule.Zones {
			z := &b.rule.Zones[i]
			h.in[i] = inZone(z, h.anchor, h.in[i])
			if h.in[i] && due {
				h.raised[i] = true
				out = append(out, b.signal(s.At, z.Name, &o))
			} else {
				h.raised[i] = false
			}
		}
	}
	return out
}

// takeOver gives an object that has come to stand the time of the vehicle that
// stood there and was lost: the tracker took one for the other when they met.
func (b *stopped) takeOver(s *vision.Scene, o *sighting[halt]) {
	for _, id := range slices.Sorted(maps.Keys(b.objects.objects)) {
		lost := b.objects.objects[id]
		if lost == o.object || !lost.state.settled || !sameGroup(lost.label, o.label) || o.state.since.Sub(lost.seen) > b.Grace.Duration() ||
			detected(s, id) || displaced(lost.state.anchor, o.box, b.objects.aspect) > 1 {
			continue
		}
		o.name, o.class, o.state = lost.name, lost.class, lost.state
		delete(b.objects.objects, id)
		return
	}
}

// afterBlindness starts over what was pending and goes on with what was raised.
func (b *stopped) afterBlindness(gap time.Duration) {
	for _, o := range b.objects.objects {
		h := &o.state
		raised := false
		for _, r := range h.raised {
			raised = raised || r
		}
		if gap > 0 && !raised {
			h.stand = stand{}
			continue
		}
		h.since, h.strayed = h.since.Add(gap), h.strayed.Add(gap)
	}
}

func (b *stopped) signal(at time.Time, zone string, o *sighting[halt]) events.Signal {
	sig := o.signal(&b.rule, KindStoppedVehicle, zone, at)
	stood := at.Sub(o.state.since).Truncate(time.Second).Seconds()
	sig.Attributes = map[string]any{"stood_s": stood}
	sig.Why = b.said.why(&b.rule, sayingOf{o.class, zone}, at, func() (vi, en string) {
		return fmt.Sprintf("%s dừng, đỗ trong vùng «%s» ít nhất %s giây", someVI(o.class), zone, numberVI(float64(b.Dwell), -1)),
			fmt.Sprintf("%s stood still in zone “%s” for at least %s s", someEN(o.class), zone, numberEN(float64(b.Dwell), -1))
	})
	return sig
}

// stand measures for how long an object has been at one place, whatever the box
// does there. It is what vision/track does for Track.StillFor, with more
// patience: an object that is hidden in part, or for a while, or changes its ID,
// stands all the same.
type stand struct {
	anchor  geom.Box // where it stands: the mean of the first boxes
	boxes   int      // of which it is the mean
	since   time.Time
	away    bool      // it is found elsewhere
	strayed time.Time // since then
	looks   int       // so often
}

const (
	standShift  = .3  // an object that moved by less of its size stands
	standGrowth = .45 // or whose sides both grew or shrank by less than this, as a logarithm
	standMean   = 10  // boxes averaged into an anchor
	strayFor    = time.Second
	strayLooks  = 2
)

// observe takes a detection and reports whether the object has moved to another
// place, or is seen for the first time.
func (h *stand) observe(at time.Time, t *vision.Track, aspect float64) bool {
	switch {
	case h.boxes == 0:
		*h = stand{anchor: t.Box, boxes: 1, since: at.Add(-t.StillFor)}
		return true
	case displaced(h.anchor, t.Box, aspect) <= 1:
		h.away = false
		if h.boxes < standMean {
			h.boxes++
			h.anchor = mix(h.anchor, t.Box, 1/float64(h.boxes))
		}
		return false
	case !h.away:
		h.away, h.strayed, h.looks = true, at, 1
		return false
	}
	h.looks++
	if at.Sub(h.strayed) < strayFor || h.looks <= strayLooks {
		return false
	}
	since := at.Add(-t.StillFor)
	if since.Before(h.strayed) {
		since = h.strayed
	}
	*h = stand{anchor: t.Box, boxes: 1, since: since}
	return true
}

// mix returns the box a share f of the way from a to b.
func mix(a, b geom.Box, f float64) geom.Box {
	m := func(x, y float64) float64 { return x + f*(y-x) }
	return geom.Box{
		Min: geom.Point{X: m(a.Min.X, b.Min.X), Y: m(a.Min.Y, b.Min.Y)},
		Max: geom.Point{X: m(a.Max.X, b.Max.X), Y: m(a.Max.Y, b.Max.Y)},
	}
}

// displaced returns how far an object has moved from a to b, where 1 is the most
// that may be jitter. A box of which one side moves is one that is hidden in
// part.
func displaced(a, b geom.Box, aspect float64) float64 {
	size := math.Sqrt(max(a.Width()*aspect*a.Height(), 1e-12))
	dx := commonShift(b.Min.X-a.Min.X, b.Max.X-a.Max.X) * aspect
	dy := commonShift(b.Min.Y-a.Min.Y, b.Max.Y-a.Max.Y)
	grown := math.Inf(1)
	if min(a.Width(), a.Height(), b.Width(), b.Height()) > 0 {
		grown = math.Abs(commonShift(math.Log(b.Width()/a.Width()), math.Log(b.Height()/a.Height())))
	}
	return max(math.Hypot(dx, dy)/size/standShift, grown/standGrowth)
}

// commonShift returns the smaller of two changes in the same direction, else 0.
func commonShift(a, b float64) float64 {
	if a*b <= 0 {
		return 0
	}
	return math.Copysign(min(math.Abs(a), math.Abs(b)), a)
}

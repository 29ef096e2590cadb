package behaviour

import (
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindLoitering is the kind of "one object stays in the zone".
const KindLoitering events.Kind = "loitering"

func init() {
	defaults := loiteringParams{Dwell: 60, Grace: 10}
	register(Definition{
		Kind: KindLoitering,
		Doc: events.Text{
			VI: "Một người (hoặc đối tượng khác) ở lại trong vùng quá lâu; mỗi lần ở lại là một sự kiện.",
			EN: "A person, or another object, stays in the zone for too long; each stay is one event.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   defaults.delays(),
	}, defaults, newLoitering)
}

type loiteringParams struct {
	Dwell Seconds `yaml:"dwell" unit:"s" min:"1" max:"86400" doc_vi:"Ở lại bao lâu thì báo" doc_en:"How long a stay must be to count"`
	Grace Seconds `yaml:"grace" unit:"s" min:"0" max:"3600" doc_vi:"Đi khỏi hoặc bị che khuất không quá chừng này thì vẫn tính là ở lại" doc_en:"Being away or hidden for no longer than this does not end a stay"`
}

// slack is added to what is forgiven before an event is over, so that a look
// that comes late does not make a second event of one stay.
const slack = 2 * time.Second

// briefly is how long an object may be missing without having been away.
const briefly = 2500 * time.Millisecond

func (p loiteringParams) delays() lifecycle.Rule {
	return lifecycle.Rule{Clear: p.Grace.Duration() + slack, Stale: blindAfter}
}

// Who is lost and found again this close to the place is the same person, in
// units of its size, further for each second in between.
const (
	loiterReach = .9
	loiterGrow  = .2
)

func newLoitering(r Rule, p loiteringParams) (Behaviour, lifecycle.Rule, error) {
	keep := p.Grace.Duration() + slack
	return &loitering{loiteringParams: p, rule: r, objects: newFollower[loiterer](keep, loiterReach, loiterGrow), said: make(sayings)}, p.delays(), nil
}

type loitering struct {
	loiteringParams
	rule    Rule
	objects *follower[loiterer]
	said    sayings
}

// loiterer is what is known of an object: its stays by zone.
type loiterer map[string]loiter

// loiter is an object's stay in a zone.
type loiter struct {
	since, last time.Time     // first and latest detection inside
	seen        time.Duration // of that, without the absences
	in          bool          // when last detected
	raised      bool
}

// Observe implements Behaviour. One signal per object and zone, for as long as
// the object is found there after Dwell. Absences up to Grace are part of the
// stay, also those of an object that comes back as another track close to where
// it was lost. Without classes the rule is about persons.
func (b *loitering) Observe(s *vision.Scene) []events.Signal {
	seen, blind := b.objects.observe(s)
	if blind != 0 {
		b.afterBlindness(blind)
	}
	var out []events.Signal
	for _, o := range seen {
		if !b.rule.isAbout(o.label, []string{"person"}) {
			continue
		}
		if o.state == nil {
			o.state = make(loiterer)
		}
		for i := range b.rule.Zones {
			z := &b.rule.Zones[i]
			if o.state.step(s.At, z, &o, b.Grace.Duration()) && b.due(s.At, o.state, z.Name) {
				out = append(out, b.signal(s.At, z.Name, &o))
			}
		}
	}
	return out
}

// step notes where the object is and reports whether it is in the zone.
func (l loiterer) step(at time.Time, z *Zone, o *sighting[loiterer], grace time.Duration) bool {
	y, known := l[z.Name]
	in := inZone(z, o.box, y.in)
	lately := known && (at.Sub(y.last) <= grace || y.in && o.since <= briefly)
	switch {
	case !in && !lately:
		delete(l, z.Name)
	case !in:
		y.in = false
		l[z.Name] = y
	case !lately:
		l[z.Name] = loiter{since: at, last: at, in: true}
	default:
		if away := at.Sub(y.last); away <= briefly {
			y.seen += away
		}
		y.last, y.in = at, true
		l[z.Name] = y
	}
	return in
}

// due reports whether the stay is long enough, and the object was there for at
// least half of the time: who shows up now and then for a moment does not stay.
func (b *loitering) due(at time.Time, l loiterer, zone string) bool {
	y := l[zone]
	if stay := at.Sub(y.since); stay >= b.Dwell.Duration() && y.seen >= stay/2 {
		y.raised = true
		l[zone] = y
	}
	return y.raised
}

// afterBlindness starts over what was pending and goes on with what was raised.
func (b *loitering) afterBlindness(gap time.Duration) {
	for _, o := range b.objects.objects {
		for zone, y := range o.state {
			if !y.raised && gap > 0 {
				delete(o.state, zone)
				continue
			}
			y.since, y.last = y.since.Add(gap), y.last.Add(gap)
			o.state[zone] = y
		}
	}
}

func (b *loitering) signal(at time.Time, zone string, o *sighting[loiterer]) events.Signal {
	sig := o.signal(&b.rule, KindLoitering, zone, at)
	stayed := at.Sub(o.state[zone].since).Truncate(time.Second).Seconds()
	sig.Attributes = map[string]any{"stayed_s": stayed}
	sig.Why = b.said.why(&b.rule, sayingOf{o.class, zone}, at, func() (vi, en string) {
		return fmt.Sprintf("%s ở lại trong vùng «%s» ít nhất %s giây", someVI(o.class), zone, numberVI(float64(b.Dwell), -1)),
			fmt.Sprintf("%s stayed in zone “%s” for at least %s s", someEN(o.class), zone, numberEN(float64(b.Dwell), -1))
	})
	return sig
}

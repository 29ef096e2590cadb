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

// KindIntrusion is the kind of "a track is inside the zone".
const KindIntrusion events.Kind = "intrusion"

func init() {
	defaults := intrusionParams{After: .5, Mode: modeInside}
	register(Definition{
		Kind: KindIntrusion,
		Doc: events.Text{
			VI: "Có đối tượng ở trong vùng, đi vào vùng hoặc đi ra khỏi vùng.",
			EN: "An object is in the zone, enters it or leaves it.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   defaults.delays(),
	}, defaults, newIntrusion)
}

const (
	modeInside = "inside"
	modeEnter  = "enter"
	modeExit   = "exit"
)

type intrusionParams struct {
	After Seconds `yaml:"after" unit:"s" min:"0" max:"86400" doc_vi:"Tình trạng phải kéo dài bao lâu mới báo" doc_en:"How long it must last before it counts"`
	Mode  string  `yaml:"mode" enum:"inside|enter|exit" doc_vi:"Báo khi ở trong vùng (inside), đi vào (enter) hay đi ra (exit)" doc_en:"Count being in the zone (inside), going in (enter) or going out (exit)"`
}

// Delays of "inside": one that leaves and is back within insideClear, and one
// that is not found for insideMiss, is still there.
const (
	insideClear = 3 * time.Second
	insideMiss  = 2500 * time.Millisecond
	insideStale = 5 * time.Second
)

func (p intrusionParams) delays() lifecycle.Rule {
	if p.Mode != modeInside {
		return lifecycle.Rule{} // a moment
	}
	return lifecycle.Rule{Hold: p.After.Duration(), Clear: insideClear, Stale: insideStale, Miss: insideMiss}
}

// Spatial tolerance, in units of the object's own width and height.
const (
	borderMargin = 0.1  // one that is inside leaves when its foot is this far outside
	sameDistance = 0.75 // a new track this close to a lost one is the same object
)

func newIntrusion(r Rule, p intrusionParams) (Behaviour, lifecycle.Rule, error) {
	if p.Mode == modeInside {
		return &inside{rule: r, after: p.After.Duration(), tracks: make(map[uint64]*insider), said: make(sayings)}, p.delays(), nil
	}
	return &passage{rule: r, mode: p.Mode, after: p.After.Duration(), tracks: make(map[uint64]map[string]*passer)}, p.delays(), nil
}

// inside signals every object in a zone.
type inside struct {
	rule   Rule
	after  time.Duration
	tracks map[uint64]*insider
	said   sayings
}

// insider is what is known of a track.
type insider struct {
	object string // of the key: the ID of the first track of this object
	label  string
	box    geom.Box        // when last detected
	seen   time.Time       // when last detected
	zones  map[string]stay // zones it was in lately
}

// stay is an object's time in a zone.
type stay struct {
	since, last time.Time // first and latest detection inside
	in          bool      // when last detected
}

// Observe implements Behaviour. One signal per object and zone. A track that is
// predicted, not detected, keeps alive what was raised and raises nothing.
func (b *inside) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for i := range s.Tracks {
		t := &s.Tracks[i]
		st, known := b.tracks[t.ID]
		if !known {
			if t.Coasting(s.At) {
				continue
			}
			st = b.adopt(s, t)
			b.tracks[t.ID] = st
		}
		if !t.Coasting(s.At) {
			b.update(s.At, st, t)
		}
		for _, z := range b.rule.Zones {
			y, in := st.zones[z.Name]
			if !in || !y.in || t.Coasting(s.At) && y.last.Sub(y.since) < b.after {
				continue
			}
			out = append(out, b.signal(s.At, z.Name, st, t))
		}
	}
	// A lost track is remembered for a while: the tracker may find the object
	// again under another ID.
	maps.DeleteFunc(b.tracks, func(_ uint64, st *insider) bool { return s.At.Sub(st.seen) > insideStale })
	return out
}

// update notes where the detected track is.
func (b *inside) update(at time.Time, st *insider, t *vision.Track) {
	st.label, st.box, st.seen = t.Label, t.Box, at
	unit := geom.Point{X: t.Box.Width(), Y: t.Box.Height()}
	for _, z := range b.rule.Zones {
		y, was := st.zones[z.Name]
		foot := t.Box.Foot()
		in := z.Area.Contains(foot) || y.in && z.Area.Distance(foot, unit) <= borderMargin
		switch lately := was && at.Sub(y.last) <= insideMiss; {
		case !in && !lately:
			delete(st.zones, z.Name)
		case !in:
			y.in = false
			st.zones[z.Name] = y
		case !lately:
			st.zones[z.Name] = stay{since: at, last: at, in: true}
		default:
			st.zones[z.Name] = stay{since: y.since, last: at, in: true}
		}
	}
}

// adopt returns the state of a new track: that of the nearest object of its
// class that was lost close by, or an empty one.
func (b *inside) adopt(s *vision.Scene, t *vision.Track) *insider {
	best, from := sameDistance, uint64(0)
	unit := geom.Point{X: t.Box.Width(), Y: t.Box.Height()}
	for _, id := range slices.Sorted(maps.Keys(b.tracks)) {
		st := b.tracks[id]
		if st.label != t.Label || len(st.zones) == 0 || s.At.Sub(st.seen) > insideMiss || detected(s, id) {
			continue
		}
		f := st.box.Foot()
		if d := (geom.Segment{From: f, To: f}).Distance(t.Box.Foot(), unit); d < best {
			best, from = d, id
		}
	}
	if from == 0 {
		return &insider{object: strconv.FormatUint(t.ID, 10), zones: make(map[string]stay)}
	}
	st := b.tracks[from]
	delete(b.tracks, from)
	return st
}

// detected reports whether the track is in the scene and not predicted.
func detected(s *vision.Scene, id uint64) bool {
	return slices.ContainsFunc(s.Tracks, func(t vision.Track) bool { return t.ID == id && !t.Coasting(s.At) })
}

func (b *inside) signal(at time.Time, zone string, st *insider, t *vision.Track) events.Signal {
	sig := b.rule.signal(KindIntrusion, zone, t, at)
	sig.Key.Object = st.object
	sig.Why = b.said.why(&b.rule, sayingOf{t.Label, zone}, at, func() (vi, en string) {
		vi, en = fmt.Sprintf("%s ở trong vùng «%s»", someVI(t.Label), zone), fmt.Sprintf("%s was in zone “%s”", someEN(t.Label), zone)
		if b.after >= 2*time.Second {
			vi += fmt.Sprintf(" ít nhất %s giây", numberVI(b.after.Seconds(), -1))
			en += fmt.Sprintf(" for at least %s s", numberEN(b.after.Seconds(), -1))
		}
		return vi, en
	})
	return sig
}

// passage signals the moments in which an object enters or leaves a zone.
type passage struct {
	rule   Rule
	mode   string
	after  time.Duration
	tracks map[uint64]map[string]*passer // by zone
}

// passer is where a track is with respect to one zone.
type passer struct {
	known bool // whether in is
	in    bool
	other time.Time // since when it has been found on the other side; zero when it is not
	count int       // of passages, to tell their events apart
	track vision.Track
}

// Observe implements Behaviour. A track that is first seen inside, or on the
// border, has not entered; one that is lost inside has not left.
func (b *passage) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Coasting(s.At) {
			continue
		}
		if b.tracks[t.ID] == nil {
			b.tracks[t.ID] = make(map[string]*passer)
		}
		for _, z := range b.rule.Zones {
			p := b.tracks[t.ID][z.Name]
			if p == nil {
				p = &passer{}
				b.tracks[t.ID][z.Name] = p
			}
			if p.update(s.At, z.Area, t, b.after) && p.in == (b.mode == modeEnter) {
				out = append(out, b.signal(s.At, z.Name, p))
			}
		}
	}
	for _, id := range s.Ended {
		for _, z := range b.rule.Zones { // out already, but not for long enough when it was lost
			if p := b.tracks[id][z.Name]; p != nil && p.in && !p.other.IsZero() && b.mode == modeExit {
				p.count++
				out = append(out, b.signal(s.At, z.Name, p))
			}
		}
	}
	forget(b.tracks, s)
	slices.SortFunc(out, func(x, y events.Signal) int {
		return cmp.Or(cmp.Compare(x.Key.Zone, y.Key.Zone), cmp.Compare(x.Subject.Track, y.Subject.Track))
	})
	return out
}

// update notes where the detected track is and reports whether it has passed
// the border.
func (p *passer) update(at time.Time, area geom.Polygon, t *vision.Track, after time.Duration) bool {
	p.track = *t
	foot, unit := t.Box.Foot(), geom.Point{X: t.Box.Width(), Y: t.Box.Height()}
	in := area.Contains(foot) || p.in && area.Distance(foot, unit) <= borderMargin
	switch {
	case !p.known: // on the border it is neither
		p.known, p.in = area.EdgeDistance(foot, unit) > borderMargin, in
		return false
	case in == p.in:
		p.other = time.Time{}
		return false
	case p.other.IsZero():
		p.other = at
	}
	if at.Sub(p.other) < after {
		return false
	}
	p.in, p.other = in, time.Time{}
	p.count++
	return true
}

func (b *passage) signal(at time.Time, zone string, p *passer) events.Signal {
	t := &p.track
	sig := b.rule.signal(KindIntrusion, zone, t, at)
	sig.Key.Object = fmt.Sprintf("%d/%d", t.ID, p.count)
	sig.Attributes = map[string]any{"mode": b.mode}
	vi, en := "%s đi vào vùng «%s»", "%s entered zone “%s”"
	if b.mode == modeExit {
		vi, en = "%s đi ra khỏi vùng «%s»", "%s left zone “%s”"
	}
	sig.Why = b.rule.why(at, fmt.Sprintf(vi, someVI(t.Label), zone), fmt.Sprintf(en, someEN(t.Label), zone))
	return sig
}

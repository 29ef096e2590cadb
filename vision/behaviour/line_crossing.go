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

// KindLineCrossing is the kind of "a track crosses the line".
const KindLineCrossing events.Kind = "line_crossing"

func init() {
	register(Definition{
		Kind: KindLineCrossing,
		Doc: events.Text{
			VI: "Có đối tượng đi qua vạch; mỗi lần qua là một sự kiện.",
			EN: "An object crosses the line; each crossing is one event.",
		},
		Where:    WhereLine,
		Severity: events.SeverityInfo,
	}, crossingParams{Direction: directionAny, Margin: .15}, newCrossing)
}

const directionAny = "any"

type crossingParams struct {
	Direction string  `yaml:"direction" enum:"a_to_b|b_to_a|any" doc_vi:"Chiều đi; bên a ở bên tay trái của người đi từ đầu đến cuối vạch" doc_en:"Which way; side a is on the left hand of someone walking from the line's start to its end"`
	Margin    float64 `yaml:"margin" min:"0" max:"2" doc_vi:"Phải đi quá vạch bao xa mới tính, theo cỡ của đối tượng" doc_en:"How far past the line an object must be to count, in units of its own size"`
}

// cutOff is where the lower edge of the picture cuts objects off: detectors end
// boxes a little above it. The real foot is out of the picture, further down.
const cutOff = .965

// An object that comes no further than the margin, because its way ends there,
// is on a side when it stays there, by a little, for a while.
const (
	settledMargin = .02 // in units of the object's own size
	settledAfter  = time.Second
	settledLooks  = 3 // looks that find it there: one that is held for long is one
)

// maxUnseen is the longest time between two detections of a track whose
// straight connection says where it went.
const maxUnseen = 5 * time.Second

type crossing struct {
	crossingParams
	rule   Rule
	tracks map[uint64]*walker
}

// walker is what is known of a track.
type walker struct {
	track vision.Track // when last detected
	side  geom.Side    // on which it was last clearly; OnIt when never
	far   geom.Side    // on which it was clearly in the latest scene, if not side
	near  geom.Side    // on which it has been, clearly or not, since
	since time.Time
	looks int // that found it on near since
	net   int // crossings of the segment since it was clearly on side, +1 a to b, -1 b to a
	count int // of crossings, to tell their events apart
}

func newCrossing(r Rule, p crossingParams) (Behaviour, lifecycle.Rule, error) {
	return &crossing{crossingParams: p, rule: r, tracks: make(map[uint64]*walker)}, lifecycle.Rule{}, nil
}

// Observe implements Behaviour. A crossing counts once the foot of the track has
// passed through the line, straight from one detection to the next, and is then
// found further than the margin on the other side in two scenes, or in the last
// one before the track ends, or stays on the other side for a second. Hovering on the line counts nothing, and neither do
// predicted positions: a track that was hidden counts when it comes out. A track
// that is first seen on the line counts only when it crosses again.
func (c *crossing) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Coasting(s.At) {
			continue
		}
		w, known := c.tracks[t.ID]
		if !known {
			w = &walker{}
			c.tracks[t.ID] = w
		}
		if !known || s.At.Sub(w.track.Seen) > maxUnseen {
			side := c.clear(t, min(c.Margin/2, settledMargin))
			*w = walker{track: *t, side: side, near: side, since: s.At, looks: 1, count: w.count}
			continue
		}
		if c.step(w, t, s.Held) {
			out = c.add(out, s.At, w)
		}
	}
	for _, id := range s.Ended {
		w := c.tracks[id]
		if w == nil {
			continue
		}
		if side := c.clear(&w.track, c.Margin/2); c.passed(w, side) {
			w.side = side
			w.count++
			out = c.add(out, s.At, w)
		}
	}
	forget(c.tracks, s)
	return out
}

// step moves w to the detected track and reports whether it has crossed.
func (c *crossing) step(w *walker, t *vision.Track, held bool) bool {
	w.net += int(c.rule.Line.Crosses(w.track.Box.Foot(), t.Box.Foot()))
	w.track = *t
	if near := c.clear(t, min(c.Margin, settledMargin)); near != w.near {
		w.near, w.since, w.looks = near, t.Seen, 0
	}
	if !held {
		w.looks++
	}
	side := c.clear(t, c.Margin)
	if side == geom.OnIt && t.Seen.Sub(w.since) >= settledAfter && w.looks >= settledLooks {
		side, w.far = w.near, w.near
	}
	switch {
	case side == geom.OnIt: // neither here nor there
		w.far = geom.OnIt
		return false
	case side == w.side: // here, or back again
		w.far, w.net = geom.OnIt, 0
		return false
	case w.side == geom.OnIt:
		w.side, w.far, w.net = side, geom.OnIt, 0
		return false
	case w.far != side: // for the first time
		w.far = side
		return false
	}
	crossed := c.passed(w, side)
	w.side, w.far, w.net = side, geom.OnIt, 0
	if crossed {
		w.count++
	}
	return crossed
}

// add appends the signal of a crossing to the side on which w is, if the rule
// wants it.
func (c *crossing) add(out []events.Signal, at time.Time, w *walker) []events.Signal {
	way := geom.BToA
	vi, en := "b→a", "from b to a"
	if w.side == geom.SideB {
		way = geom.AToB
		vi, en = "a→b", "from a to b"
	}
	if c.Direction != directionAny && c.Direction != way.String() {
		return out
	}
	t, line := &w.track, c.rule.Line.Name
	sig := c.rule.signal(KindLineCrossing, line, t, at)
	sig.Key.Object = fmt.Sprintf("%d/%d", t.ID, w.count)
	sig.Attributes = map[string]any{"direction": way.String(), "line": line}
	sig.Why = c.rule.why(at,
		fmt.Sprintf("%s đi qua vạch «%s» theo chiều %s", someVI(t.Label), line, vi),
		fmt.Sprintf("%s crossed line “%s” %s", someEN(t.Label), line, en))
	return append(out, sig)
}

// passed reports whether the way to the given side led through the segment, not
// around its end.
func (c *crossing) passed(w *walker, side geom.Side) bool {
	return w.side != geom.OnIt && side == -w.side && w.net*int(side) > 0
}

// clear returns the side on which the foot is further than margin, in units of
// the box, or OnIt.
func (c *crossing) clear(t *vision.Track, margin float64) geom.Side {
	foot, unit := t.Box.Foot(), geom.Point{X: t.Box.Width(), Y: t.Box.Height()}
	d := c.rule.Line.Depth(foot, unit)
	if foot.Y >= cutOff {
		foot.Y += .2 * t.Box.Height()
		if below := c.rule.Line.Depth(foot, unit); below*d > 0 {
			d = below
		} else {
			d = 0 // only one of the two is over the line
		}
	}
	switch {
	case math.IsNaN(d) || math.Abs(d) < margin || d == 0:
		return geom.OnIt
	case d < 0:
		return geom.SideA
	default:
		return geom.SideB
	}
}

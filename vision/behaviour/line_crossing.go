package behaviour

import (
	"fmt"
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
		Needs:    []Need{NeedRiders},
	}, crossingParams{Direction: directionAny, Margin: .15}, newCrossing)
}

const directionAny = "any"

type crossingParams struct {
	Direction string  `yaml:"direction" enum:"a_to_b|b_to_a|any" doc_vi:"Chiều đi; bên a ở bên tay trái của người đi từ đầu đến cuối vạch" doc_en:"Which way; side a is on the left hand of someone walking from the line's start to its end"`
	Margin    float64 `yaml:"margin" min:"0" max:"2" doc_vi:"Phải đi quá vạch bao xa mới tính, theo cỡ của đối tượng" doc_en:"How far past the line an object must be to count, in units of its own size"`
}

type crossing struct {
	crossingParams
	rule  Rule
	lines *crossings
}

func newCrossing(r Rule, p crossingParams) (Behaviour, lifecycle.Rule, error) {
	return &crossing{crossingParams: p, rule: r, lines: newCrossings(r.Line.Segment, p.Margin)}, lifecycle.Rule{}, nil
}

// Observe implements Behaviour. Each crossing is one signal; see crossings for
// what counts as one. A motorcycle and its riders are one object.
func (c *crossing) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for _, x := range c.lines.observe(s) {
		if c.Direction == directionAny || c.Direction == x.way.String() {
			out = append(out, c.signal(s.At, &x))
		}
	}
	return out
}

func (c *crossing) signal(at time.Time, x *crossed) events.Signal {
	vi, en := "b→a", "from b to a"
	if x.way == geom.AToB {
		vi, en = "a→b", "from a to b"
	}
	t, line := &x.track, c.rule.Line.Name
	sig := c.rule.signal(KindLineCrossing, line, t, at)
	sig.Subject.Class = x.class
	sig.Key.Object = fmt.Sprintf("%d/%d", t.ID, x.nth)
	sig.Attributes = map[string]any{"direction": x.way.String(), "line": line}
	sig.Why = c.rule.why(at,
		fmt.Sprintf("%s đi qua vạch «%s» theo chiều %s", someVI(x.class), line, vi),
		fmt.Sprintf("%s crossed line “%s” %s", someEN(x.class), line, en))
	return sig
}

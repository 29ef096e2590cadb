package behaviour

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/vision"
)

// KindCameraTampered is the kind of "something is wrong with the whole picture".
const KindCameraTampered events.Kind = "camera_tampered"

func init() {
	defaults := tamperedParams{After: 10, Sensitivity: .5, Faults: viewFaults()}
	register(Definition{
		Kind: KindCameraTampered,
		Doc: events.Text{
			VI: "Nghi vấn camera bị can thiệp: ống kính bị che, mất nét, bị xoay đi, hình bị đứng hoặc tối đen.",
			EN: "The camera may be tampered with: its lens is covered or out of focus, it was turned away, its picture is frozen or dark.",
		},
		Where:    WhereNone,
		Severity: events.SeverityHigh,
		Delays:   lifecycle.Rule{Clear: tamperedClear, Stale: tamperedStale},
		Needs:    []Need{NeedView},
	}, defaults, newTampered)
}

type tamperedParams struct {
	After       Seconds  `yaml:"after" unit:"s" min:"0" max:"86400" doc_vi:"Tình trạng phải kéo dài bao lâu mới báo" doc_en:"How long it must last before it counts"`
	Sensitivity float64  `yaml:"sensitivity" min:"0" max:"1" doc_vi:"Độ nhạy: 1 báo cả khi chỉ nghi ngờ, 0 chỉ báo khi chắc chắn" doc_en:"1 also tells of a doubt, 0 only of what is certain"`
	Faults      []string `yaml:"faults" doc_vi:"Những tình trạng cần báo: covered (bị che), blurred (mất nét), moved (bị xoay), frozen (đứng hình), dark (tối đen)" doc_en:"What to tell of: covered, blurred, moved, frozen, dark"`
}

// Delays: a fault that is gone for less than tamperedClear goes on.
const (
	tamperedClear = 5 * time.Second
	tamperedStale = 10 * time.Second
)

// viewFaults returns the kinds of faults, as in vision.ViewFault.
func viewFaults() []string { return []string{"covered", "blurred", "moved", "frozen", "dark"} }

// faultTexts say what a fault is, so that "at 22:14" can follow.
var faultTexts = map[string]events.Text{
	"covered": {VI: "ống kính bị che hoặc không còn thấy cảnh quen thuộc", EN: "its lens was covered, or what it usually shows was gone,"},
	"blurred": {VI: "hình bị mất nét hoặc ống kính bị mờ", EN: "its picture went out of focus, or its lens was smeared,"},
	"moved":   {VI: "camera bị xoay hoặc xê dịch khỏi vị trí cũ", EN: "it was turned or pushed away"},
	"frozen":  {VI: "hình bị đứng, không thay đổi dù camera vẫn đang truyền", EN: "its picture froze, though the stream went on,"},
	"dark":    {VI: "hình tối đột ngột", EN: "its picture suddenly went dark"},
}

func newTampered(r Rule, p tamperedParams) (Behaviour, lifecycle.Rule, error) {
	delays := lifecycle.Rule{Clear: tamperedClear, Stale: tamperedStale}
	if len(p.Faults) == 0 {
		return nil, delays, &events.FieldError{Field: "faults", Reason: "must name at least one of " + strings.Join(viewFaults(), ", ")}
	}
	for _, f := range p.Faults {
		if !slices.Contains(viewFaults(), f) {
			return nil, delays, &events.FieldError{Field: "faults", Reason: fmt.Sprintf("%.40q is not one of %v", f, viewFaults())}
		}
	}
	return &tampered{
		rule: r, after: p.After.Duration(), least: 1 - p.Sensitivity, faults: p.Faults, told: make(map[string]time.Time),
	}, delays, nil
}

// tampered signals each fault of the view that is watched for.
type tampered struct {
	rule   Rule
	after  time.Duration
	least  float64 // score
	faults []string
	told   map[string]time.Time // faults that were signalled, and when last
}

// keeps is the share of the least score down to which a fault that was told
// goes on.
const keeps = 0.5

// Observe implements Behaviour. One signal per kind of fault.
func (b *tampered) Observe(s *vision.Scene) []events.Signal {
	var out []events.Signal
	for i := range s.View {
		f := &s.View[i]
		if !slices.Contains(b.faults, f.Kind) || s.At.Sub(f.Since) < b.after {
			continue
		}
		least := b.least
		if last, told := b.told[f.Kind]; told && s.At.Sub(last) <= tamperedClear {
			least *= keeps
		}
		if f.Score < least {
			continue
		}
		b.told[f.Kind] = s.At
		out = append(out, b.signal(s.At, f))
	}
	return out
}

func (b *tampered) signal(at time.Time, f *vision.ViewFault) events.Signal {
	text := faultTexts[f.Kind]
	return events.Signal{
		Key:        events.Key{Source: b.rule.Camera, Kind: KindCameraTampered, Rule: b.rule.Ref.Name, Object: f.Kind},
		At:         at,
		Score:      f.Score,
		Severity:   b.rule.Severity,
		Rule:       b.rule.Ref,
		Why:        b.rule.why(f.Since, "nghi vấn camera bị can thiệp: "+text.VI, "the camera may have been tampered with: "+text.EN),
		Attributes: map[string]any{"fault": f.Kind},
	}
}

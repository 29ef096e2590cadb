package behaviour

import (
	"reflect"
	"slices"
	"strings"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
)

// overrides are parameters that every kind has whose events last: how long the
// condition must hold and be gone. A kind whose own parameters say the first
// under another name ("after", "dwell", "over", "hold") has only the second.
type overrides struct {
	Hold  Seconds `yaml:"hold" unit:"s" min:"0" max:"86400" doc_vi:"Tình trạng phải kéo dài bao lâu mới báo" doc_en:"How long the condition must hold before the event is raised"`
	Clear Seconds `yaml:"clear" unit:"s" min:"1" max:"86400" doc_vi:"Tình trạng phải hết bao lâu thì sự kiện mới kết thúc" doc_en:"How long the condition must be gone before the event is cleared"`

	offered []string // names of those that the kind has; a kind of moments has none
}

// overrides returns the kind's own delays.
func (d Definition) overrides() overrides {
	o := overrides{Hold: Seconds(d.Delays.Hold.Seconds()), Clear: Seconds(d.Delays.Clear.Seconds())}
	if d.Delays.Clear <= 0 {
		return o
	}
	own := paramFields(reflect.TypeOf(d.params))
	has := func(names ...string) bool {
		return slices.ContainsFunc(own, func(f paramField) bool { return slices.Contains(names, f.name) })
	}
	if !has("hold", "after", "dwell", "over") {
		o.offered = append(o.offered, "hold")
	}
	if !has("clear") {
		o.offered = append(o.offered, "clear")
	}
	return o
}

// fields returns those that the kind has.
func (o *overrides) fields() []paramField {
	t := reflect.TypeFor[overrides]()
	var out []paramField
	for _, f := range []string{"Hold", "Clear"} {
		if field, _ := t.FieldByName(f); o.offers(strings.ToLower(f)) {
			out = append(out, newParamField(field))
		}
	}
	return out
}

func (o *overrides) offers(name string) bool { return slices.Contains(o.offered, name) }

// apply changes the delays by what was given.
func (o *overrides) apply(delays lifecycle.Rule, given map[string]bool) (lifecycle.Rule, error) {
	moment := delays.Clear <= 0 // the kind lasts, but not the way this rule uses it
	if given["clear"] && o.offers("clear") {
		if moment {
			return delays, &events.FieldError{Field: "clear", Reason: "is not for events of one moment"}
		}
		delays.Clear = o.Clear.Duration()
	}
	if given["hold"] && o.offers("hold") {
		if moment {
			return delays, &events.FieldError{Field: "hold", Reason: "is not for events of one moment"}
		}
		delays.Hold = o.Hold.Duration()
	}
	return delays, nil
}

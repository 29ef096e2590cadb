package camera

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
)

// ClassNames returns the rule's classes as detections name them: a rule about
// motorbikes is about the motorcycles of any model.
func (r *Rule) ClassNames() []string { return models.ClassNames(r.Classes) }

// build checks the rule and makes its behaviour; the results are of no use once
// c has a problem.
func (r *Rule) build(c *checker, at string, f File, zones map[string]geom.Polygon, lines map[string]geom.Segment, ground geom.Homography, o Options) (behaviour.Behaviour, lifecycle.Rule) {
	b := behaviour.Rule{
		Camera:   f.Camera,
		Ref:      events.RuleRef{Name: r.Name, Version: max(1, o.Versions[r.Name])},
		Classes:  r.ClassNames(),
		Severity: r.Severity,
		MinScore: r.MinScore,
		MinSize:  r.MinSize,
		MaxSize:  r.MaxSize,
		Calendar: o.Calendar,
		Ground:   ground,
	}
	if r.Severity != "" && !slices.Contains(events.Severities(), r.Severity) {
		c.bad(at+"severity", "%.40q is not one of %v", r.Severity, events.Severities())
	}
	r.checkLimits(c, at)
	if len(r.Classes) > 100 {
		c.bad(at+"classes", "has %d entries, at most 100 are allowed", len(r.Classes))
	}
	for i, class := range r.Classes {
		if class == "" || len(class) > maxText || !printable(class) {
			c.bad(fmt.Sprintf("%sclasses[%d]", at, i), "must be the name of a class")
		}
	}
	s, err := schedule.Parse(r.Schedule)
	if err != nil {
		c.bad(at+"schedule", "%s", err)
	}
	b.Schedule = s
	def, known := behaviour.Lookup(r.Kind)
	if !known {
		c.bad(at+"kind", "%.70q is not one of %v", r.Kind, behaviour.Kinds())
		return nil, lifecycle.Rule{}
	}
	r.place(c, at, def, &b, zones, lines)
	params, reason := r.paramText()
	if reason != "" {
		c.bad(at[:len(at)-1], "%s", reason)
		return nil, lifecycle.Rule{}
	}
	made, delays, err := def.New(b, params)
	c.nested(at, err)
	delays.MaxPerMinute = r.MaxPerMinute
	return made, delays
}

// maxPerMinute bounds the limit of events; more is written as "no limit".
const maxPerMinute = 10_000

func (r *Rule) checkLimits(c *checker, at string) {
	c.number(at+"min_score", r.MinScore, 0, 1)
	c.number(at+"min_size", r.MinSize, 0, 1)
	c.number(at+"max_size", r.MaxSize, 0, 1)
	if r.MaxSize > 0 && r.MaxSize < r.MinSize {
		c.bad(at+"max_size", "%g is less than min_size %g", r.MaxSize, r.MinSize)
	}
	if r.MaxPerMinute < -1 || r.MaxPerMinute > maxPerMinute {
		c.bad(at+"max_per_minute", "%d must be from 1 to %d, 0 for the default or -1 for no limit", r.MaxPerMinute, maxPerMinute)
	}
}

// place resolves the rule's zone or line. A missing one is reported by the kind;
// one that is not known is replaced, so that the rest is still checked.
func (r *Rule) place(c *checker, at string, def behaviour.Definition, b *behaviour.Rule, zones map[string]geom.Polygon, lines map[string]geom.Segment) {
	if r.Zone != "" {
		z, ok := zones[r.Zone]
		switch {
		case def.Where != behaviour.WhereZone:
			c.bad(at+"zone", "a rule of kind %s has no zone", r.Kind)
		case !ok:
			c.bad(at+"zone", "%.70q is not one of the camera's zones", r.Zone)
		}
		b.Zones = []behaviour.Zone{{Name: r.Zone, Area: z}}
	}
	if r.Line != "" {
		l, ok := lines[r.Line]
		switch {
		case def.Where != behaviour.WhereLine:
			c.bad(at+"line", "a rule of kind %s has no line", r.Kind)
		case !ok:
			c.bad(at+"line", "%.70q is not one of the camera's lines", r.Line)
		}
		b.Line = &behaviour.Line{Name: r.Line, Segment: l}
	}
}

// paramText returns the parameters as YAML, or what is wrong with them.
func (r *Rule) paramText() ([]byte, string) {
	for k, v := range r.Params {
		if slices.Contains(common(), k) || !plain(k, 0) || !plain(v, 0) {
			return nil, fmt.Sprintf("parameter %.70q must be made of texts, numbers, true and false, at most %d levels deep", k, maxDepth)
		}
	}
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b).Encode(r.Params); err != nil {
		return nil, "parameters cannot be written as YAML"
	}
	if b.Len() > maxParams {
		return nil, fmt.Sprintf("parameters are %d bytes long, at most %d are allowed", b.Len(), maxParams)
	}
	return b.Bytes(), ""
}

// plain reports whether v is what JSON and YAML both hold without loss.
func plain(v any, depth int) bool {
	if depth > maxDepth {
		return false
	}
	switch v := v.(type) {
	case nil, bool, int:
		return true
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	case string:
		return printable(v)
	case []any:
		return !slices.ContainsFunc(v, func(x any) bool { return !plain(x, depth+1) })
	case map[string]any:
		for k, x := range v {
			if !printable(k) || !plain(x, depth+1) {
				return false
			}
		}
		return true
	default: // dates, binary, maps with other keys
		return false
	}
}

package behaviour

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
)

// Seconds is a duration as it is written in a rule: a number, fractions
// included.
type Seconds float64

// Duration converts s, cut to microseconds.
func (s Seconds) Duration() time.Duration {
	return time.Duration(math.Round(float64(s)*1e6)) * time.Microsecond
}

// paramField is one field of a struct of parameters. Its tags are
//
//	yaml    name, required
//	doc_vi  what it does, in Vietnamese
//	doc_en  the same in English
//	unit    "s", "km/h" …; optional
//	min     smallest value of a number
//	max     largest
//	enum    allowed texts, separated by |
//	example what a value looks like, as YAML; with it the parameter is required
//
// and its type is a number, a string, a bool, a fixed or open list of numbers,
// each of them from min to max, or what else YAML can decode.
type paramField struct {
	reflect.StructField
	name     string
	enum     []string
	example  string
	min, max float64 // NaN for none
}

func paramFields(t reflect.Type) []paramField {
	out := make([]paramField, 0, t.NumField())
	for f := range t.Fields() {
		out = append(out, newParamField(f))
	}
	return out
}

func newParamField(f reflect.StructField) paramField {
	p := paramField{StructField: f, min: math.NaN(), max: math.NaN()}
	p.name, _, _ = strings.Cut(f.Tag.Get("yaml"), ",")
	if s := f.Tag.Get("enum"); s != "" {
		p.enum = strings.Split(s, "|")
	}
	p.example = f.Tag.Get("example")
	for tag, to := range map[string]*float64{"min": &p.min, "max": &p.max} {
		if s, ok := f.Tag.Lookup(tag); ok {
			v, err := strconv.ParseFloat(s, 64)
			if err != nil || p.name == "" {
				panic("behaviour: bad tags on parameter " + f.Name)
			}
			*to = v
		}
	}
	return p
}

// decodeParams reads a YAML mapping into the struct that to points to, and into
// over what all kinds have. It returns the names that were given. Every problem
// is reported, as an events.FieldError with the parameter's name.
func decodeParams[P any](raw []byte, to *P, over *overrides) (map[string]bool, error) {
	var given map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&given); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("parameters: %w", err)
	}
	var errs []error
	var names []string
	done := make(map[string]bool)
	decode := func(v reflect.Value, fields []paramField) {
		for _, f := range fields {
			names = append(names, f.name)
			node, ok := given[f.name]
			if !ok {
				if f.example != "" {
					errs = append(errs, &events.FieldError{Field: f.name, Reason: "is required; it " + f.wanted()})
				}
				continue
			}
			delete(given, f.name)
			done[f.name] = true
			if reason := f.decode(&node, v.FieldByIndex(f.Index)); reason != "" {
				errs = append(errs, &events.FieldError{Field: f.name, Reason: reason})
			}
		}
	}
	decode(reflect.ValueOf(to).Elem(), paramFields(reflect.TypeFor[P]()))
	decode(reflect.ValueOf(over).Elem(), over.fields())
	slices.Sort(names)
	for name := range given {
		reason := "is not a parameter of this kind; it has none"
		if len(names) > 0 {
			reason = "is not a parameter of this kind; it has " + strings.Join(names, ", ")
		}
		errs = append(errs, &events.FieldError{Field: name, Reason: reason})
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return done, errors.Join(errs...)
}

// decode sets v from the node and returns what is wrong, or "".
func (f *paramField) decode(node *yaml.Node, v reflect.Value) string {
	if node.Tag == "!!null" {
		return f.wanted()
	}
	text, err := yaml.Marshal(node)
	if err != nil {
		return f.wanted()
	}
	if x := 0.0; v.CanInt() && (yaml.Unmarshal(text, &x) != nil || x != math.Trunc(x)) { // the decoder would cut it off
		return f.wanted()
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true) // not with node.Decode
	if err := dec.Decode(v.Addr().Interface()); err != nil {
		return f.wanted()
	}
	switch {
	case !f.within(v):
		return f.wanted()
	case v.Kind() == reflect.String && f.enum != nil:
		if !slices.Contains(f.enum, v.String()) {
			return fmt.Sprintf("%.40q is not one of %v", v.String(), f.enum)
		}
	}
	return ""
}

// within reports whether the value, or every number of a list, is finite and
// from min to max. What is no number is.
func (f *paramField) within(v reflect.Value) bool {
	switch {
	case v.CanFloat():
		x := v.Float()
		return !math.IsNaN(x) && !math.IsInf(x, 0) && !(x < f.min) && !(x > f.max)
	case v.CanInt():
		x := float64(v.Int())
		return !(x < f.min) && !(x > f.max)
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Array:
		for i := range v.Len() {
			if !f.within(v.Index(i)) {
				return false
			}
		}
	}
	return true
}

// wanted says what a value of the parameter looks like.
func (f *paramField) wanted() string {
	what := map[string]string{"number": "a number", "integer": "a whole number", "boolean": "true or false", "string": "a text"}[jsonType(f.Type)]
	if k := f.Type.Kind(); k == reflect.Array {
		what = fmt.Sprintf("a list of %d numbers", f.Type.Len())
	} else if k == reflect.Slice {
		what = "a list"
	}
	if what == "" {
		what = "valid"
	}
	if f.example != "" {
		what += " such as " + f.example
	}
	if f.enum != nil {
		what = fmt.Sprintf("one of %v", f.enum)
	}
	if u := f.Tag.Get("unit"); u != "" {
		what += " (" + u + ")"
	}
	switch hasMin, hasMax := !math.IsNaN(f.min), !math.IsNaN(f.max); {
	case hasMin && hasMax:
		what += fmt.Sprintf(" from %g to %g", f.min, f.max)
	case hasMin:
		what += fmt.Sprintf(" of at least %g", f.min)
	case hasMax:
		what += fmt.Sprintf(" of at most %g", f.max)
	}
	return "must be " + what
}

func jsonType(t reflect.Type) string {
	switch v := reflect.Zero(t); {
	case v.CanFloat():
		return "number"
	case v.CanInt(), v.CanUint():
		return "integer"
	case v.Kind() == reflect.Bool:
		return "boolean"
	case v.Kind() == reflect.String:
		return "string"
	case v.Kind() == reflect.Slice, v.Kind() == reflect.Array:
		return "array"
	default:
		return "object"
	}
}

// Schema returns the JSON Schema (2020-12) of the kind's own parameters, made
// of maps, slices and plain values. The descriptions are English;
// "x-description-vi" and "x-unit" hold the rest. A parameter that is required
// has "examples" in place of a default.
func (d Definition) Schema() map[string]any {
	props := make(map[string]any)
	var required []string
	add := func(f paramField, v reflect.Value) {
		p := f.limits(f.Type)
		p["description"] = f.Tag.Get("doc_en")
		p["x-description-vi"] = f.Tag.Get("doc_vi")
		if f.example == "" {
			p["default"] = v.FieldByIndex(f.Index).Interface()
		} else {
			var example any
			if err := yaml.Unmarshal([]byte(f.example), &example); err != nil {
				panic("behaviour: bad example of parameter " + f.name)
			}
			p["examples"] = []any{example}
			required = append(required, f.name)
		}
		if u := f.Tag.Get("unit"); u != "" {
			p["x-unit"] = u
		}
		if f.enum != nil {
			p["enum"] = f.enum
		}
		props[f.name] = p
	}
	v, o := reflect.ValueOf(d.params), d.overrides()
	for _, f := range paramFields(v.Type()) {
		add(f, v)
	}
	for _, f := range o.fields() {
		add(f, reflect.ValueOf(o))
	}
	out := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required != nil {
		out["required"] = required
	}
	return out
}

// limits returns type and limits of a value of type t, for the schema.
func (f *paramField) limits(t reflect.Type) map[string]any {
	p := map[string]any{"type": jsonType(t)}
	if k := t.Kind(); k == reflect.Array || k == reflect.Slice {
		if k == reflect.Array {
			p["minItems"], p["maxItems"] = t.Len(), t.Len()
		}
		p["items"] = f.limits(t.Elem())
		return p
	}
	if !math.IsNaN(f.min) {
		p["minimum"] = f.min
	}
	if !math.IsNaN(f.max) {
		p["maximum"] = f.max
	}
	return p
}

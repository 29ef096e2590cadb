package models

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// Params say how a model's output is to be read where its family leaves it
// open. The zero value takes the family's defaults. A family ignores what it
// has no use for.
type Params struct {
	Strides    []int             `yaml:"strides,flow,omitempty"` // input pixels of a cell, one for each grid, ascending
	Anchors    [][]float64       `yaml:"anchors,flow,omitempty"` // yolov5: [w1, h1, w2, h2, …] in input pixels, one list for each stride
	RegMax     int               `yaml:"reg_max,omitempty"`      // nanodet: largest distance in strides, 1 to 64
	Activation string            `yaml:"activation,omitempty"`   // what makes a probability of a class's number: "none", "sigmoid" or "softmax"
	Boxes      string            `yaml:"boxes,omitempty"`        // ssd, rtdetr: order of a box, "xyxy", "yxyx" or "cxcywh"
	Units      string            `yaml:"units,omitempty"`        // ssd, rtdetr: "relative" to the input, or its "pixels"
	FirstClass *int              `yaml:"first_class,omitempty"`  // ssd, rtdetr: the number of the first label; lower ones are background
	Outputs    map[string]string `yaml:"outputs,omitempty"`      // ssd, rtdetr: name of the output for boxes, classes, scores, count, logits
	Quant      map[string]Quant  `yaml:"quant,omitempty"`        // of outputs with whole numbers, by name
}

// Quant turns whole numbers into what they stand for: (number − Zero) × Scale.
type Quant struct {
	Scale float64 `yaml:"scale"` // above 0
	Zero  float64 `yaml:"zero"`
}

// IsZero reports whether nothing is set, for YAML.
func (p Params) IsZero() bool {
	return len(p.Strides) == 0 && len(p.Anchors) == 0 && p.RegMax == 0 && p.Activation == "" && p.Boxes == "" &&
		p.Units == "" && p.FirstClass == nil && len(p.Outputs) == 0 && len(p.Quant) == 0
}

// Roles are the keys of Params.Outputs.
func Roles() []string { return []string{"boxes", "classes", "count", "logits", "scores"} }

func (p *Params) validate() (errs []error) {
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(field, value string, words ...string) {
		check(value == "" || slices.Contains(words, value), "params.%s: %q is not one of %v", field, value, words)
	}
	check(len(p.Strides) <= 8, "params.strides: %d grids are more than 8", len(p.Strides))
	for i, s := range p.Strides {
		check(s >= 1 && s <= 256 && (i == 0 || s > p.Strides[i-1]), "params.strides[%d]: %d is not in 1…256 and ascending", i, s)
	}
	p.validateAnchors(check)
	check(p.RegMax >= 0 && p.RegMax <= 64, "params.reg_max: %d is not in 1…64", p.RegMax)
	oneOf("activation", p.Activation, "none", "sigmoid", "softmax")
	oneOf("boxes", p.Boxes, "xyxy", "yxyx", "cxcywh")
	oneOf("units", p.Units, "relative", "pixels")
	check(p.FirstClass == nil || *p.FirstClass >= 0 && *p.FirstClass <= 1000, "params.first_class: is not in 0…1000")
	used := make(map[string]string, len(p.Outputs))
	for _, role := range slices.Sorted(maps.Keys(p.Outputs)) {
		name := p.Outputs[role]
		check(slices.Contains(Roles(), role), "params.outputs: %q is not one of %v", role, Roles())
		check(name != "", "params.outputs.%s: is empty", role)
		check(used[name] == "", "params.outputs: %q is both %s and %s", name, used[name], role)
		used[name] = role
	}
	check(len(p.Quant) <= 16, "params.quant: %d outputs are more than 16", len(p.Quant))
	for _, name := range slices.Sorted(maps.Keys(p.Quant)) {
		q := p.Quant[name]
		check(q.Scale > 0 && q.Scale <= 1e6, "params.quant[%q].scale: %v is not in (0,1e6]", name, q.Scale)
		check(math.Abs(q.Zero) <= 1e6, "params.quant[%q].zero: %v is not a usable number", name, q.Zero)
	}
	return errs
}

func (p *Params) validateAnchors(check func(ok bool, format string, args ...any)) {
	check(len(p.Anchors) == 0 || len(p.Anchors) == len(p.Strides),
		"params.anchors: %d lists for %d strides", len(p.Anchors), len(p.Strides))
	for i, list := range p.Anchors {
		check(len(list) >= 2 && len(list)%2 == 0 && len(list) <= 32 && len(list) == len(p.Anchors[0]),
			"params.anchors[%d]: %d numbers are not pairs of width and height, as many for each stride", i, len(list))
		for k, v := range list {
			check(v > 0 && v <= 1e4, "params.anchors[%d][%d]: %v is not in (0,10000]", i, k, v)
		}
	}
}

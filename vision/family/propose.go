package family

import (
	"cmp"
	"slices"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

// Spec is what is known of a model: the size of its picture in pixels and the
// outputs of one run on an empty picture.
type Spec struct {
	Width, Height int
	Outputs       []vision.Tensor
	Sizes         bool // an input takes the size of the picture, as D-FINE's orig_target_sizes
}

// Proposal is one way to read a model's outputs.
type Proposal struct {
	Family  string
	Classes int                     // that the output has; 0 when it does not say
	Output  vision.Tensor           // the one that says it
	Shape   func(classes int) []int // what the shape of Output would be; nil when it does not say
	Input   models.Input            // how models of this family usually want their picture; only what is usual is set
	Params  models.Params
	Notes   []string // what was guessed, in sentences
	weight  int      // of the evidence
}

// Propose returns the ways in which the outputs can be read, the likeliest
// first; none when they fit no family.
func Propose(s Spec) []Proposal {
	var out []Proposal
	for _, name := range Names() {
		if match := registry[name].match; match != nil {
			for _, p := range match(s) {
				p.Family = name
				out = append(out, p)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Proposal) int { return cmp.Compare(b.weight, a.weight) })
	return out
}

// single returns the only output as rows of columns, or false.
func (s Spec) single() (t vision.Tensor, rows, columns int, ok bool) {
	if len(s.Outputs) != 1 || len(s.Outputs[0].Shape) != 3 || s.Outputs[0].Shape[0] != 1 {
		return vision.Tensor{}, 0, 0, false
	}
	t = s.Outputs[0]
	return t, t.Shape[1], t.Shape[2], true
}

// cells returns how many cells grids of the given strides have together.
func cells(width, height int, strides ...int) int {
	n := 0
	for _, s := range strides {
		n += (width / s) * (height / s)
	}
	return n
}

// largest returns the largest of every step-th number from the given one on.
func largest(data []float32, from, step int) float32 {
	var v float32
	for i := from; i < len(data); i += step {
		v = max(v, data[i])
	}
	return v
}

// probabilities reports whether every step-th number from the given one on lies
// in [0,1].
func probabilities(data []float32, from, step int) bool {
	for i := from; i < len(data); i += step {
		if !(data[i] >= 0 && data[i] <= 1) {
			return false
		}
	}
	return true
}

// Usual inputs.
func ultralytics() models.Input {
	return models.Input{Channels: "rgb", Scale: 1. / 255, Letterbox: "center", Pad: 114}
}

func transformer() models.Input {
	return models.Input{Channels: "rgb", Scale: 1. / 255, Letterbox: "stretch"}
}

// Package family turns the raw output of detection models into detections.
// Each family of models is one file that registers itself; see yolox.go for
// the shape. Everything here is pure Go on []float32 and runs without a model.
package family

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

// Errors a caller may branch on.
var (
	ErrShape     = errors.New("the model's output has another shape than its family")
	ErrNotFinite = errors.New("the model's output is not a number")
	ErrScore     = errors.New("the model's output is not a probability")
	ErrClass     = errors.New("the model's output names a class without a label")
)

// Params tune decoding.
type Params struct {
	MinScore float64  // detections below it are left out; [0,1)
	NMS      float64  // overlap (IoU) above which the weaker box of a class is left out; (0,1]; end-to-end families have done it
	Labels   []string // class names in the order of the output

	models.Params // what the manifest says of the output; models.Parse has checked it
}

// Decoder turns the outputs of one inference into detections, best first:
// clipped to the picture, never empty, scores in [0,1]. It neither keeps nor
// modifies the tensors. It is safe for concurrent use. Errors wrap ErrShape,
// ErrNotFinite, ErrScore or ErrClass.
type Decoder func(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error)

// entry is a registered family.
type entry struct {
	decode Decoder
	match  func(Spec) []Proposal
}

var registry = make(map[string]entry)

// register adds a family: how its outputs are read, and how they are known.
func register(name string, d Decoder, match func(Spec) []Proposal) {
	if _, dup := registry[name]; dup {
		panic("family: " + name + " registered twice")
	}
	registry[name] = entry{d, match}
}

// Lookup returns the decoder of a family; the error lists those that exist.
func Lookup(name string) (Decoder, error) {
	if e, ok := registry[name]; ok {
		return e.decode, nil
	}
	return nil, fmt.Errorf("unknown model family %q; there are %s", name, strings.Join(Names(), ", "))
}

// Names returns the known families in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }

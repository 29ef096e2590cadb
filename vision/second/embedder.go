package second

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/ort"
)

// FamilyEmbedding is the family of the manifests of embedders: one output of n
// numbers whose direction says how an object looks. The labels are the classes
// the model is for, min_score is the similarity, as reid.Similarity measures it,
// from which two objects look the same.
const FamilyEmbedding = "embedding"

// Embedder turns crops into directions: crops of one object lie close together.
// It is safe for concurrent use. Whoever made it closes it.
type Embedder struct {
	*model

	labels []string // as models.ClassName has them
	length int
}

// maxEmbedding bounds how many numbers describe a crop.
const maxEmbedding = 8192

// NewEmbedder loads the model and tries it on a grey crop: what is missing,
// damaged, of another shape or answers with NaN is refused here.
func NewEmbedder(rt *ort.Runtime, cfg ModelConfig) (*Embedder, error) {
	m, err := load(rt, cfg, "embedder", FamilyEmbedding)
	if err != nil {
		return nil, err
	}
	e := &Embedder{model: m, labels: models.ClassNames(cfg.Manifest.Labels)}
	if err := e.try(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return e, nil
}

// try runs the model once and takes the length of its answer.
func (e *Embedder) try() error {
	outs := e.session.Outputs()
	if len(outs) != 1 {
		return fmt.Errorf("embedder %s: %w: its outputs are %v, not one", e.manifest.Name, ort.ErrBadModel, outs)
	}
	return e.run(context.Background(), e.grey(), func(out vision.Tensor) error {
		e.length = len(out.Data)
		if n := largest(out.Shape); e.length < 2 || e.length > maxEmbedding || n != e.length {
			return fmt.Errorf("%w: its output %v is not one row of 2 to %d numbers", ort.ErrBadModel, out, maxEmbedding)
		}
		_, err := normalise(nil, out.Data, true)
		return err
	})
}

func largest(shape []int) int {
	if len(shape) == 0 {
		return 0
	}
	return slices.Max(shape)
}

// Labels returns the classes the model is for. The caller must not modify it.
func (e *Embedder) Labels() []string { return e.labels }

// Alike returns the similarity from which two objects look the same, in (0,1).
func (e *Embedder) Alike() float64 { return e.manifest.MinScore }

// Embed appends the direction of the crop, of length 1, to dst. The crop is
// packed BGR of Size. It waits for a free worker, or until ctx ends.
func (e *Embedder) Embed(ctx context.Context, dst []float32, crop []byte) ([]float32, error) {
	err := e.run(ctx, crop, func(out vision.Tensor) (err error) {
		if len(out.Data) != e.length {
			return fmt.Errorf("%d numbers, not %d", len(out.Data), e.length)
		}
		dst, err = normalise(dst, out.Data, false)
		return err
	})
	return dst, err
}

// errNoDirection is for an output that points nowhere.
var errNoDirection = errors.New("the answer has no direction")

// normalise appends v at length 1. Of an empty picture zero may be an answer.
func normalise(dst, v []float32, zero bool) ([]float32, error) {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	norm := math.Sqrt(sum)
	if math.IsNaN(norm) || math.IsInf(norm, 0) || norm == 0 && !zero {
		return dst, errNoDirection
	}
	for _, x := range v {
		dst = append(dst, float32(float64(x)/max(norm, 1e-12)))
	}
	return dst, nil
}

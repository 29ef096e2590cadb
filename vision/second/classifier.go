// Package second is the second stage of the analysis: models look at crops of
// chosen tracks, within a budget. A classifier's answers are put together over
// time into marks of the tracks; what an embedder makes of them tells objects of
// one class apart.
package second

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/ort"
)

// Family is the family of the manifests of classifiers: one output [1 n] of
// probabilities, in the order of the labels.
const Family = "classifier"

// Classifier runs a model on single crops. It is safe for concurrent use.
// Whoever made it closes it.
type Classifier struct{ *model }

// NewClassifier loads the model and tries it on a grey crop: what is missing,
// damaged, of another shape or answers with NaN is refused here.
func NewClassifier(rt *ort.Runtime, cfg ModelConfig) (*Classifier, error) {
	m, err := load(rt, cfg, "classifier", Family)
	if err != nil {
		return nil, err
	}
	c := &Classifier{m}
	if err := c.try(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return c, nil
}

// try runs the model once.
func (c *Classifier) try() error {
	if outs := c.session.Outputs(); len(outs) != 1 || !slices.Equal(outs[0].Shape, []int{1, len(c.manifest.Labels)}) {
		return fmt.Errorf("classifier %s: %w: its outputs are %v, not one of [1 %d] for the labels %v",
			c.manifest.Name, ort.ErrBadModel, outs, len(c.manifest.Labels), c.manifest.Labels)
	}
	_, err := c.Classify(context.Background(), nil, c.grey())
	return err
}

// Labels returns what is told apart. The caller must not modify it.
func (c *Classifier) Labels() []string { return c.manifest.Labels }

// Classify appends the probability of each label to dst. The crop is packed
// BGR of Size. It waits for a free worker, or until ctx ends.
func (c *Classifier) Classify(ctx context.Context, dst []float64, crop []byte) ([]float64, error) {
	err := c.run(ctx, crop, func(out vision.Tensor) error {
		for _, v := range out.Data {
			p := float64(v)
			if !(p >= -1e-3 && p <= 1+1e-3) || math.IsNaN(p) {
				return fmt.Errorf("the answer %v is no probability", p)
			}
			dst = append(dst, min(max(p, 0), 1))
		}
		return nil
	})
	return dst, err
}

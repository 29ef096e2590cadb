package family

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/xacam/xacam/vision"
)

// holds reports whether t has the given shape, where 0 stands for any size,
// and as many numbers as its shape says.
func holds(t vision.Tensor, shape ...int) bool {
	if len(t.Shape) != len(shape) {
		return false
	}
	n := 1
	for i, want := range shape {
		d := t.Shape[i]
		if d < 0 || want > 0 && d != want {
			return false
		}
		n *= d
	}
	return n == len(t.Data)
}

// misfit is the error for outputs that do not have the shape wanted, in words.
func misfit(family string, out []vision.Tensor, in vision.Geometry, p Params, wanted string, args ...any) error {
	return fmt.Errorf("%s: %w: %v, not %s (input %dx%d, %d labels)",
		family, ErrShape, out, fmt.Sprintf(wanted, args...), in.Width, in.Height, len(p.Labels))
}

// probability checks a score: rounding may carry it a little out of [0,1], an
// activation that is missing in the manifest carries it far.
func probability(family string, index int, t vision.Tensor, v float64) error {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return fmt.Errorf("%s: row %d of %s: %w", family, index, t, ErrNotFinite)
	case v < -0.01 || v > 1.01:
		return fmt.Errorf("%s: row %d of %s: %w: %g; the manifest's params.activation may have to be sigmoid", family, index, t, ErrScore, v)
	}
	return nil
}

// add appends a box after a check of its numbers. Boxes without extent are left
// out.
func add(found []candidate, family string, t vision.Tensor, c candidate) ([]candidate, error) {
	if !finite(c.score, c.x0, c.y0, c.x1, c.y1) {
		return nil, fmt.Errorf("%s: row %d of %s: %w", family, c.index, t, ErrNotFinite)
	}
	if c.x1 <= c.x0 || c.y1 <= c.y0 {
		return found, nil
	}
	c.score = min(max(c.score, 0), 1)
	return append(found, c), nil
}

// rank sorts by score, then by position in the output, without suppression.
func rank(c []candidate) []candidate {
	slices.SortFunc(c, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.index, b.index), cmp.Compare(a.class, b.class))
	})
	return c[:min(len(c), maxCandidates)]
}

// best returns the highest of a row's numbers and its position; -Inf when none
// is a number.
func best(row []float32) (class int, value float64) {
	top := float32(math.Inf(-1))
	for i, v := range row {
		if v > top {
			class, top = i, v
		}
	}
	return class, float64(top)
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// same returns x unchanged: the activation of outputs that had theirs.
func same(v float64) float64 { return v }

// around returns the corners of a box given by its centre and size.
func around(cx, cy, w, h float64) (x0, y0, x1, y1 float64) {
	return cx - w/2, cy - h/2, cx + w/2, cy + h/2
}

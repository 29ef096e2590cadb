package family

import (
	"cmp"
	"math"
	"slices"

	"github.com/xacam/xacam/vision"
)

// candidate is a box in input pixels before suppression.
type candidate struct {
	x0, y0, x1, y1 float64
	score          float64
	class, index   int // index is the position in the output: breaks ties
}

func (a *candidate) iou(b *candidate) float64 {
	w := math.Min(a.x1, b.x1) - math.Max(a.x0, b.x0)
	h := math.Min(a.y1, b.y1) - math.Max(a.y0, b.y0)
	if w <= 0 || h <= 0 {
		return 0
	}
	inter := w * h
	return inter / ((a.x1-a.x0)*(a.y1-a.y0) + (b.x1-b.x0)*(b.y1-b.y0) - inter)
}

// maxCandidates bounds the quadratic step; the best ones stay. A COCO picture
// has a few hundred at a score of 0.01.
const maxCandidates = 4096

// suppress is exact greedy non-maximum suppression within each class. The
// result is sorted by score, then by position in the output, and shares c's
// memory.
func suppress(c []candidate, limit float64) []candidate {
	slices.SortFunc(c, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.index, b.index), cmp.Compare(a.class, b.class))
	})
	c = c[:min(len(c), maxCandidates)]
	kept := c[:0]
next:
	for i := range c {
		for k := range kept {
			if kept[k].class == c[i].class && kept[k].iou(&c[i]) > limit {
				continue next
			}
		}
		kept = append(kept, c[i])
	}
	return kept
}

// detections converts what is left into the picture's coordinates. A box that
// lies outside the picture is left out.
func detections(c []candidate, in vision.Geometry, labels []string) []vision.Detection {
	if len(c) == 0 {
		return nil
	}
	out := make([]vision.Detection, 0, len(c))
	for _, k := range c {
		if b, ok := in.Box(k.x0, k.y0, k.x1, k.y1); ok {
			out = append(out, vision.Detection{Label: labels[k.class], Score: k.score, Box: b})
		}
	}
	return out
}

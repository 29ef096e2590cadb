package family

import (
	"math"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

// NanoDet and NanoDet-Plus differ in where a cell's point is and in the number
// of grids.
func init() {
	old, plus := nanodet{"nanodet", 0.5, []int{8, 16, 32}}, nanodet{"nanodet-plus", 0, []int{8, 16, 32, 64}}
	register(old.name, old.decode, old.match)
	register(plus.name, plus.decode, plus.match)
}

// nanodet is a variant of the family.
type nanodet struct {
	name    string
	offset  float64 // of a cell's point from its upper left corner, in strides
	strides []int
}

// usualRegMax is the largest distance in the released models.
const usualRegMax = 7

// heads are the outputs for one grid.
type heads struct {
	class, box   []float32 // a cell's first number is at its index times the width
	classW, boxW int
	t            vision.Tensor // for messages
	first        int           // index of the first cell
}

// decode reads NanoDet's outputs: for each cell of each grid the classes'
// probabilities, and for each side of the box a distribution over its distance
// from the cell's point in strides, 0 to reg_max, whose mean counts (Li et al.
// 2020, "Generalized Focal Loss"; github.com/RangiLyu/nanodet, nanodet_head.py
// and nanodet_plus_head.py). The heads come as one [1 cells classes+4·(reg_max+1)],
// or as two outputs for each grid, [1 cells classes] and [1 cells 4·(reg_max+1)],
// in any order.
func (n nanodet) decode(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	strides, bins := n.strides, usualRegMax+1
	if len(p.Strides) > 0 {
		strides = p.Strides
	}
	if p.RegMax > 0 {
		bins = p.RegMax + 1
	}
	if len(p.Labels) == 0 {
		return nil, misfit(n.name, out, in, p, "labelled")
	}
	grids, err := n.split(out, in, p, strides, bins)
	if err != nil {
		return nil, err
	}
	var found []candidate
	for k, stride := range strides {
		if found, err = n.grid(found, grids[k], in, p, stride, bins); err != nil {
			return nil, err
		}
	}
	return detections(suppress(found, p.NMS), in, p.Labels), nil
}

// ceilDiv returns how many cells a side has; the last one may stick out.
func ceilDiv(size, stride int) int { return (size + stride - 1) / stride }

// split finds each grid's part of the outputs.
func (n nanodet) split(out []vision.Tensor, in vision.Geometry, p Params, strides []int, bins int) ([]heads, error) {
	classes, sides := len(p.Labels), 4*bins
	grids, total := make([]heads, len(strides)), 0
	for k, s := range strides {
		grids[k] = heads{first: total, classW: classes, boxW: sides}
		total += ceilDiv(in.Width, s) * ceilDiv(in.Height, s)
	}
	if len(out) == 1 && holds(out[0], 1, total, classes+sides) {
		for k := range grids {
			g := &grids[k]
			g.t, g.classW, g.boxW = out[0], classes+sides, classes+sides
			g.class = out[0].Data[g.first*g.classW:]
			g.box = g.class[classes:]
		}
		return grids, nil
	}
	used := make([]bool, len(out))
	take := func(cells, width int) (vision.Tensor, bool) {
		for i, t := range out {
			if !used[i] && (holds(t, 1, cells, width) || holds(t, cells, width)) {
				used[i] = true
				return t, true
			}
		}
		return vision.Tensor{}, false
	}
	for k, s := range strides {
		cells := ceilDiv(in.Width, s) * ceilDiv(in.Height, s)
		class, ok1 := take(cells, classes)
		box, ok2 := take(cells, sides)
		if !ok1 || !ok2 || len(out) != 2*len(strides) {
			return nil, misfit(n.name, out, in, p, "[1 %d %d], or two outputs for each stride of %v: for %d [1 %d %d] and [1 %d %d]",
				total, classes+sides, strides, s, cells, classes, cells, sides)
		}
		grids[k].t, grids[k].class, grids[k].box = class, class.Data, box.Data
	}
	return grids, nil
}

// grid adds what one grid says.
func (n nanodet) grid(found []candidate, g heads, in vision.Geometry, p Params, stride, bins int) ([]candidate, error) {
	gw, gh, s := ceilDiv(in.Width, stride), ceilDiv(in.Height, stride), float64(stride)
	for i := range gw * gh {
		class, score := best(g.class[i*g.classW : i*g.classW+len(p.Labels)])
		if p.Activation == "sigmoid" {
			score = sigmoid(score)
		}
		if err := probability(n.name, g.first+i, g.t, score); err != nil {
			return nil, err
		}
		if score < p.MinScore || score <= 0 {
			continue
		}
		var side [4]float64 // left, up, right, down
		for k := range side {
			at := i*g.boxW + k*bins
			side[k] = mean(g.box[at:at+bins]) * s
		}
		x, y := (float64(i%gw)+n.offset)*s, (float64(i/gw)+n.offset)*s
		var err error
		found, err = add(found, n.name, g.t, candidate{
			x0: x - side[0], y0: y - side[1], x1: x + side[2], y1: y + side[3], score: score, class: class, index: g.first + i,
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// mean returns the mean of the positions 0, 1, 2 … under the softmax of row.
func mean(row []float32) float64 {
	top := math.Inf(-1)
	for _, v := range row {
		top = math.Max(top, float64(v)) // NaN stays
	}
	sum, weighted := 0.0, 0.0
	for i, v := range row {
		e := math.Exp(float64(v) - top)
		sum += e
		weighted += e * float64(i)
	}
	return weighted / sum
}

// match knows the released models, whose reg_max is 7.
func (n nanodet) match(s Spec) []Proposal {
	const sides = 4 * (usualRegMax + 1)
	p := Proposal{
		weight: 4,
		Input: models.Input{
			Channels: "bgr", Scale: 1, Letterbox: "center",
			Mean: []float64{103.53, 116.28, 123.675}, Std: []float64{57.375, 57.12, 58.395},
		},
		Notes: []string{"reg_max is taken to be 7 and the strides to be the family's, as in the released models."},
	}
	total := 0
	for _, stride := range n.strides {
		total += ceilDiv(s.Width, stride) * ceilDiv(s.Height, stride)
	}
	if t, rows, columns, ok := s.single(); ok {
		if rows != total || columns <= sides || !probabilities(t.Data, 0, columns) {
			return nil
		}
		p.Output, p.Classes, p.weight = t, columns-sides, 2
		p.Shape = func(c int) []int { return []int{1, rows, c + sides} }
		return []Proposal{p}
	}
	if len(s.Outputs) != 2*len(n.strides) {
		return nil
	}
	first := ceilDiv(s.Width, n.strides[0]) * ceilDiv(s.Height, n.strides[0])
	boxes := 0
	for _, t := range s.Outputs {
		if holds(t, 1, first, 0) && (t.Shape[2] != sides || boxes > 0 || probabilities(t.Data, 0, 1)) && p.Classes == 0 {
			p.Output, p.Classes = t, t.Shape[2]
		} else if holds(t, 1, first, sides) {
			boxes++
		}
	}
	if boxes != 1 || p.Classes == 0 {
		return nil
	}
	p.Shape = func(c int) []int { return []int{1, first, c} }
	return []Proposal{p}
}

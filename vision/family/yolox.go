package family

import (
	"fmt"
	"math"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

func init() { register("yolox", decodeYOLOX, matchYOLOX) }

// decodeYOLOX reads YOLOX's only output, [1 cells 5+classes], as its ONNX
// export leaves it: for each cell of three grids the offset of the centre and
// the logarithm of the size, both in strides, then objectness and the classes'
// probabilities after their sigmoid (Ge et al. 2021, "YOLOX: Exceeding YOLO
// Series in 2021"; yolox/utils/demo_utils.py, demo_postprocess).
func decodeYOLOX(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	data, strides, err := yoloxData(out, in, p)
	if err != nil {
		return nil, err
	}
	width := 5 + len(p.Labels)
	var found []candidate
	cell := 0
	for _, stride := range strides {
		for gy := range in.Height / stride {
			for gx := range in.Width / stride {
				row := data[cell*width : (cell+1)*width]
				index := cell
				cell++
				objectness := float64(row[4])
				if objectness < p.MinScore {
					continue // a class's probability does not exceed 1
				}
				class, best := 0, float32(math.Inf(-1))
				for i, v := range row[5:] {
					if v > best {
						class, best = i, v
					}
				}
				score := objectness * float64(best)
				if score < p.MinScore || score <= 0 {
					continue
				}
				s := float64(stride)
				x, y := (float64(row[0])+float64(gx))*s, (float64(row[1])+float64(gy))*s
				w, h := math.Exp(float64(row[2]))*s, math.Exp(float64(row[3]))*s
				if !finite(score, x, y, w, h) {
					return nil, fmt.Errorf("yolox: cell %d of %s: %w", index, out[0], ErrNotFinite)
				}
				found = append(found, candidate{
					x0: x - w/2, y0: y - h/2, x1: x + w/2, y1: y + h/2,
					score: math.Min(score, 1), class: class, index: index,
				})
			}
		}
	}
	return detections(suppress(found, p.NMS), in, p.Labels), nil
}

// yoloxStrides finds the grids whose cells add up to what the output has: the
// usual three, or four in the models for large pictures.
func yoloxStrides(in vision.Geometry, cells int) (strides []int, usual int) {
	grid := func(stride int) int { return (in.Width / stride) * (in.Height / stride) }
	usual = grid(8) + grid(16) + grid(32)
	switch cells {
	case 0:
		return nil, usual
	case usual:
		return []int{8, 16, 32}, usual
	case usual + grid(64):
		return []int{8, 16, 32, 64}, usual
	}
	return nil, usual
}

// yoloxData checks the shape against input size and labels, and that every
// objectness is a number: one that is not would hide behind the comparison
// with the minimum score.
func yoloxData(out []vision.Tensor, in vision.Geometry, p Params) ([]float32, []int, error) {
	width := 5 + len(p.Labels)
	var t vision.Tensor
	if len(out) == 1 {
		t = out[0]
	}
	cells := 0
	if len(t.Shape) == 3 {
		cells = t.Shape[1]
	}
	strides, usual := yoloxStrides(in, cells)
	if len(p.Labels) == 0 || strides == nil || t.Shape[0] != 1 || t.Shape[2] != width || len(t.Data) != cells*width {
		return nil, nil, fmt.Errorf("yolox: %w: %v with %d numbers, not [1 %d %d] (input %dx%d, %d labels)",
			ErrShape, out, len(t.Data), usual, width, in.Width, in.Height, len(p.Labels))
	}
	for i := 4; i < len(t.Data); i += width {
		if v := float64(t.Data[i]); math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, nil, fmt.Errorf("yolox: cell %d of %s: %w", i/width, t, ErrNotFinite)
		}
	}
	return t.Data, strides, nil
}

func matchYOLOX(s Spec) []Proposal {
	t, rows, columns, ok := s.single()
	if !ok || columns < 6 {
		return nil
	}
	strides, _ := yoloxStrides(vision.Geometry{Width: s.Width, Height: s.Height}, rows)
	if strides == nil || largest(t.Data, 0, columns) > float32(s.Width)/4 || !probabilities(t.Data, 4, columns) {
		return nil
	}
	return []Proposal{{
		Classes: columns - 5, Output: t, weight: 4,
		Input: models.Input{Channels: "bgr", Scale: 1, Letterbox: "top_left", Pad: 114},
		Shape: func(n int) []int { return []int{1, rows, 5 + n} },
		Notes: []string{"YOLOX before version 0.1.1 wanted rgb with mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225] and scale 1/255."},
	}}
}

// finite reports whether every number can be computed with: no NaN, and far
// below where products overflow.
func finite(v ...float64) bool {
	for _, x := range v {
		if !(math.Abs(x) < 1e12) {
			return false
		}
	}
	return true
}

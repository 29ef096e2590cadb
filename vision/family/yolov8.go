package family

import (
	"math"

	"github.com/xacam/xacam/vision"
)

func init() { register("yolov8", decodeYOLOv8, matchYOLOv8) }

// decodeYOLOv8 reads [1 4+classes boxes]: centre and size in input pixels, then
// the classes' probabilities, each a row of its own (YOLOv8, v9, 11, 12; format
// at docs.ultralytics.com/modes/export). The transposed form is read too.
func decodeYOLOv8(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	width := 4 + len(p.Labels)
	if len(p.Labels) == 0 || len(out) != 1 || !holds(out[0], 1, width, 0) && !holds(out[0], 1, 0, width) {
		return nil, misfit("yolov8", out, in, p, "[1 %d boxes]", width)
	}
	t := out[0]
	n, column, row := t.Shape[2], 1, t.Shape[2] // steps to the next box and to its next number
	if t.Shape[1] != width {
		n, column, row = t.Shape[1], width, 1
	}
	// Blocks of boxes, so that memory is read in its order without a table of
	// the best classes.
	const block = 256
	var top [block]float32
	var class [block]int
	var found []candidate
	for first := 0; first < n; first += block {
		size := min(block, n-first)
		for i := range size {
			top[i], class[i] = float32(math.Inf(-1)), 0
		}
		for c := range p.Labels {
			at := (4+c)*row + first*column
			for i := range size {
				if v := t.Data[at+i*column]; v > top[i] {
					top[i], class[i] = v, c
				}
			}
		}
		for i := range size {
			score, index := float64(top[i]), first+i
			if p.Activation == "sigmoid" {
				score = sigmoid(score)
			}
			if err := probability("yolov8", index, t, score); err != nil {
				return nil, err
			}
			if score < p.MinScore || score <= 0 {
				continue
			}
			c := candidate{score: score, class: class[i], index: index}
			v := func(k int) float64 { return float64(t.Data[k*row+index*column]) }
			c.x0, c.y0, c.x1, c.y1 = around(v(0), v(1), v(2), v(3))
			var err error
			if found, err = add(found, "yolov8", t, c); err != nil {
				return nil, err
			}
		}
	}
	return detections(suppress(found, p.NMS), in, p.Labels), nil
}

func matchYOLOv8(s Spec) []Proposal {
	t, rows, columns, ok := s.single()
	if !ok {
		return nil
	}
	grid := cells(s.Width, s.Height, 8, 16, 32)
	grids := func(n int) bool {
		return n == grid || n == grid+cells(s.Width, s.Height, 64) || n == grid+cells(s.Width, s.Height, 4)
	}
	switch {
	case grids(columns) && rows > 4:
		return []Proposal{{
			Classes: rows - 4, Output: t, Input: ultralytics(), weight: 5,
			Shape: func(n int) []int { return []int{1, 4 + n, columns} },
		}}
	case grids(rows) && columns > 4 && largest(t.Data, 0, columns) > float32(s.Width)/2:
		return []Proposal{{
			Classes: columns - 4, Output: t, Input: ultralytics(), weight: 1,
			Shape: func(n int) []int { return []int{1, rows, 4 + n} },
		}}
	}
	return nil
}

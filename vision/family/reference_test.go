package family_test

import (
	"math"
	"sort"
)

// The reference decoder: written from YOLOX's Python (demo_postprocess,
// multiclass_nms), one array after the other, in float64, without a shortcut.
// It must not use anything of the package under test.

type refBox struct {
	Class int        `json:"class"`
	Score float64    `json:"score"`
	Box   [4]float64 `json:"box"` // normalised x0 y0 x1 y1
}

func refDecode(data []float32, classes, inW, inH int, ratio float64, srcW, srcH int, minScore, nms float64) []refBox {
	var gridX, gridY, strides []float64
	for _, s := range []int{8, 16, 32} {
		for y := 0; y < inH/s; y++ {
			for x := 0; x < inW/s; x++ {
				gridX, gridY, strides = append(gridX, float64(x)), append(gridY, float64(y)), append(strides, float64(s))
			}
		}
	}
	perClass := make([][]refBox, classes)
	for i := range strides {
		row := data[i*(5+classes) : (i+1)*(5+classes)]
		cx := (float64(row[0]) + gridX[i]) * strides[i] / ratio
		cy := (float64(row[1]) + gridY[i]) * strides[i] / ratio
		w, h := math.Exp(float64(row[2]))*strides[i]/ratio, math.Exp(float64(row[3]))*strides[i]/ratio
		top := 0
		for c := range classes {
			if row[5+c] > row[5+top] {
				top = c
			}
		}
		if score := float64(row[4]) * float64(row[5+top]); score >= minScore {
			perClass[top] = append(perClass[top], refBox{top, score, [4]float64{cx - w/2, cy - h/2, cx + w/2, cy + h/2}})
		}
	}
	var out []refBox
	for _, boxes := range perClass {
		sort.SliceStable(boxes, func(i, j int) bool { return boxes[i].Score > boxes[j].Score })
		dead := make([]bool, len(boxes))
		for i := range boxes {
			if dead[i] {
				continue
			}
			out = append(out, boxes[i])
			for j := i + 1; j < len(boxes); j++ {
				if refIoU(boxes[i].Box, boxes[j].Box) > nms {
					dead[j] = true
				}
			}
		}
	}
	kept := out[:0]
	for _, b := range out {
		for k := range b.Box {
			size := float64([]int{srcW, srcH}[k%2])
			b.Box[k] = min(max(b.Box[k]/size, 0), 1)
		}
		if b.Box[2] > b.Box[0] && b.Box[3] > b.Box[1] {
			kept = append(kept, b)
		}
	}
	sort.SliceStable(kept, func(i, j int) bool { return kept[i].Score > kept[j].Score })
	return kept
}

func refIoU(a, b [4]float64) float64 {
	w := math.Max(0, math.Min(a[2], b[2])-math.Max(a[0], b[0]))
	h := math.Max(0, math.Min(a[3], b[3])-math.Max(a[1], b[1]))
	return w * h / ((a[2]-a[0])*(a[3]-a[1]) + (b[2]-b[0])*(b[3]-b[1]) - w*h)
}

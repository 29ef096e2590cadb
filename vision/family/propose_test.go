package family_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/family"
)

// filled returns an output of one number throughout.
func filled(name string, v float32, shape ...int) vision.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := vision.Tensor{Name: name, Shape: shape, Data: make([]float32, n)}
	for i := range t.Data {
		t.Data[i] = v
	}
	return t
}

// pixels returns rows whose first number is a position in the input.
func pixels(rows, columns int) vision.Tensor {
	t := filled("output", 0.5, 1, rows, columns)
	for i := range rows {
		t.Data[i*columns] = float32(i % 416)
	}
	return t
}

func TestPropose(t *testing.T) {
	t.Parallel()
	heads := func(strides ...int) []vision.Tensor {
		var out []vision.Tensor
		for _, v := range []float32{-1, 0.5} { // distances, then as many classes
			for _, s := range strides {
				n := (416 + s - 1) / s
				out = append(out, filled(map[bool]string{true: "cls", false: "dis"}[v > 0], v, 1, n*n, 32))
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		out     []vision.Tensor
		sizes   bool
		family  string // "" is none
		classes int
		shape   []int // for three classes
		check   func(*testing.T, family.Proposal)
	}{
		"yolox":           {[]vision.Tensor{filled("o", 0.5, 1, 3549, 85)}, false, "yolox", 80, []int{1, 3549, 8}, nil},
		"yolov6, decoded": {[]vision.Tensor{pixels(3549, 85)}, false, "yolov5", 80, []int{1, 3549, 8}, nil},
		"yolov5": {[]vision.Tensor{pixels(10647, 85)}, false, "yolov5", 80, []int{1, 10647, 8}, func(t *testing.T, p family.Proposal) {
			t.Helper()
			assert.Empty(t, p.Params.Anchors)
		}},
		"yolov5, anchors": {[]vision.Tensor{filled("o", 0.5, 1, 10647, 9)}, false, "yolov5", 4, []int{1, 10647, 8}, func(t *testing.T, p family.Proposal) {
			t.Helper()
			assert.Len(t, p.Params.Anchors, 3)
			assert.Empty(t, p.Params.Activation)
		}},
		"yolov5, grids, logits": {
			[]vision.Tensor{filled("a", -3, 1, 3, 52, 52, 7), filled("b", -3, 1, 3, 26, 26, 7), filled("c", -3, 1, 3, 13, 13, 7)},
			false, "yolov5", 2,
			[]int{1, 3, 52, 52, 8},
			func(t *testing.T, p family.Proposal) {
				t.Helper()
				assert.Equal(t, "sigmoid", p.Params.Activation)
			},
		},
		"yolov8":            {[]vision.Tensor{filled("o", 0.5, 1, 84, 3549)}, false, "yolov8", 80, []int{1, 7, 3549}, nil},
		"yolov8, one class": {[]vision.Tensor{filled("o", 0.5, 1, 5, 3549)}, false, "yolov8", 1, []int{1, 7, 3549}, nil},
		"yolov10":           {[]vision.Tensor{filled("o", 0.5, 1, 300, 6)}, false, "yolov10", 0, nil, nil},
		"nanodet": {heads(8, 16, 32), false, "nanodet", 32, []int{1, 2704, 3}, func(t *testing.T, p family.Proposal) {
			t.Helper()
			assert.Equal(t, "cls", p.Output.Name)
		}},
		"nanodet-plus":     {heads(8, 16, 32, 64), false, "nanodet-plus", 32, []int{1, 2704, 3}, nil},
		"nanodet-plus, 1":  {[]vision.Tensor{filled("o", 0.5, 1, 3598, 33)}, false, "nanodet-plus", 1, []int{1, 3598, 35}, nil},
		"fastestdet":       {[]vision.Tensor{filled("o", 0.5, 1, 85, 26, 26)}, false, "fastestdet", 80, []int{1, 8, 26, 26}, nil},
		"ultralytics detr": {[]vision.Tensor{filled("o", 0.5, 1, 300, 84)}, false, "rtdetr", 80, []int{1, 300, 7}, nil},
		"detr": {
			[]vision.Tensor{filled("pred_boxes", 0.5, 1, 300, 4), filled("logits", -4, 1, 300, 80)},
			false,
			"rtdetr", 80,
			[]int{1, 300, 3},
			func(t *testing.T, p family.Proposal) {
				t.Helper()
				assert.Equal(t, map[string]string{"boxes": "pred_boxes", "logits": "logits"}, p.Params.Outputs)
			},
		},
		"d-fine": {
			[]vision.Tensor{filled("labels", 1, 1, 300), filled("boxes", 3, 1, 300, 4), filled("scores", 0.1, 1, 300)},
			true,
			"rtdetr", 0, nil, nil,
		},
		"torchvision": {
			[]vision.Tensor{filled("boxes", 3, 0, 4), filled("scores", 0, 0), filled("labels", 0, 0)},
			false,
			"ssd", 0, nil, func(t *testing.T, p family.Proposal) {
				t.Helper()
				assert.Equal(t, "xyxy", p.Params.Boxes)
			},
		},
		"tensorflow": {
			[]vision.Tensor{
				filled("detection_boxes", 0.1, 1, 100, 4), filled("detection_classes", 1, 1, 100),
				filled("detection_scores", 0.1, 1, 100), filled("num_detections", 100, 1),
			},
			false,
			"ssd", 0, nil, func(t *testing.T, p family.Proposal) {
				t.Helper()
				assert.Equal(t, "yxyx", p.Params.Boxes)
				assert.Equal(t, 1, *p.Params.FirstClass)
			},
		},
		"a classifier": {[]vision.Tensor{filled("o", 0.5, 1, 1000)}, false, "", 0, nil, nil},
		"nothing":      {nil, false, "", 0, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := family.Propose(family.Spec{Width: 416, Height: 416, Outputs: c.out, Sizes: c.sizes})
			if c.family == "" {
				require.Empty(t, got)
				return
			}
			require.NotEmpty(t, got)
			p := got[0]
			assert.Equal(t, c.family, p.Family)
			assert.Equal(t, c.classes, p.Classes)
			if c.shape != nil {
				assert.Equal(t, c.shape, p.Shape(3))
			}
			assert.NotEmpty(t, p.Input.Channels)
			if c.check != nil {
				c.check(t, p)
			}
		})
	}
}

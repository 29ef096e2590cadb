package family

import (
	"fmt"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

func init() { register("yolov5", decodeYOLOv5, matchYOLOv5) }

// decodeYOLOv5 reads [1 rows 5+classes]: centre, size, objectness and classes
// (YOLOv5, v6, v7, and YOLOX exported with decode_in_inference). With anchors
// in the manifest the boxes are still relative to cells and anchors, as models
// for small devices leave them: one such output, or one [1 anchors height width
// 5+classes] for each stride (github.com/ultralytics/yolov5, models/yolo.py,
// Detect.forward, written from the formulas in its documentation; the anchors
// lie outside of the cells, the cells row by row). An activation of sigmoid
// says that the sigmoid is missing too.
func decodeYOLOv5(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	width := 5 + len(p.Labels)
	if len(p.Labels) == 0 || len(out) == 0 {
		return nil, misfit("yolov5", out, in, p, "[1 rows %d]", width)
	}
	var found []candidate
	var err error
	if len(p.Anchors) > 0 {
		found, err = yolov5Anchors(out, in, p)
	} else {
		if len(out) != 1 || !holds(out[0], 1, 0, width) {
			return nil, misfit("yolov5", out, in, p, "[1 rows %d]", width)
		}
		found, err = yolov5Rows(nil, out[0], out[0].Data, p, 0, func(_ int, row []float32) (x0, y0, x1, y1 float64) {
			return around(float64(row[0]), float64(row[1]), float64(row[2]), float64(row[3]))
		})
	}
	if err != nil {
		return nil, err
	}
	return detections(suppress(found, p.NMS), in, p.Labels), nil
}

// yolov5Rows adds what rows of numbers say; box returns the corners of the i-th
// one in input pixels.
func yolov5Rows(found []candidate, t vision.Tensor, data []float32, p Params, first int,
	box func(i int, row []float32) (x0, y0, x1, y1 float64),
) ([]candidate, error) {
	act := same
	if p.Activation == "sigmoid" {
		act = sigmoid
	}
	width := 5 + len(p.Labels)
	for i := range len(data) / width {
		row := data[i*width : (i+1)*width]
		objectness := act(float64(row[4]))
		if err := probability("yolov5", first+i, t, objectness); err != nil {
			return nil, err
		}
		if objectness < p.MinScore {
			continue
		}
		class, top := best(row[5:])
		top = act(top)
		if err := probability("yolov5", first+i, t, top); err != nil {
			return nil, err
		}
		score := objectness * top
		if score < p.MinScore || score <= 0 {
			continue
		}
		c := candidate{score: score, class: class, index: first + i}
		c.x0, c.y0, c.x1, c.y1 = box(i, row)
		var err error
		if found, err = add(found, "yolov5", t, c); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// yolov5Anchors walks the grids of one output after the other, or of one that
// has them all.
func yolov5Anchors(out []vision.Tensor, in vision.Geometry, p Params) ([]candidate, error) {
	width, per := 5+len(p.Labels), len(p.Anchors[0])/2
	rows := per * cells(in.Width, in.Height, p.Strides...)
	joined := len(out) == 1 && holds(out[0], 1, rows, width)
	if !joined && len(out) != len(p.Strides) {
		return nil, misfit("yolov5", out, in, p, "[1 %d %d] or one output for each of %d strides", rows, width, len(p.Strides))
	}
	act := same
	if p.Activation == "sigmoid" {
		act = sigmoid
	}
	var found []candidate
	first := 0
	for k, stride := range p.Strides {
		t, gw, gh := out[0], in.Width/stride, in.Height/stride
		n := per * gw * gh
		data := t.Data
		if joined {
			data = data[first*width : (first+n)*width]
		} else {
			t = out[k]
			data = t.Data
			if !holds(t, 1, per, gh, gw, width) {
				return nil, misfit("yolov5", out, in, p, "[1 %d %d %d %d] for stride %d", per, gh, gw, width, stride)
			}
		}
		anchors, s := p.Anchors[k], float64(stride)
		var err error
		found, err = yolov5Rows(found, t, data, p, first, func(i int, row []float32) (x0, y0, x1, y1 float64) {
			a := i / (gw * gh)
			x, y := float64(i%gw), float64(i/gw%gh)
			w, h := 2*act(float64(row[2])), 2*act(float64(row[3]))
			return around((2*act(float64(row[0]))-0.5+x)*s, (2*act(float64(row[1]))-0.5+y)*s, w*w*anchors[2*a], h*h*anchors[2*a+1])
		})
		if err != nil {
			return nil, err
		}
		first += n
	}
	return found, nil
}

// yolov5COCO are the anchors of the models that were trained on COCO.
func yolov5COCO() models.Params {
	return models.Params{
		Strides: []int{8, 16, 32},
		Anchors: [][]float64{
			{10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326},
		},
	}
}

func matchYOLOv5(s Spec) []Proposal {
	if p, ok := yolov5Grids(s); ok {
		return []Proposal{p}
	}
	t, rows, columns, ok := s.single()
	grid := cells(s.Width, s.Height, 8, 16, 32)
	if !ok || columns < 6 || rows != 3*grid && rows != grid && rows != 3*(grid+cells(s.Width, s.Height, 64)) {
		return nil
	}
	p := Proposal{
		Classes: columns - 5, Output: t, Input: ultralytics(), weight: 3,
		Shape: func(n int) []int { return []int{1, rows, 5 + n} },
	}
	switch decoded := largest(t.Data, 0, columns) > float32(s.Width)/2; {
	case !decoded && rows == 3*grid:
		p.Params = yolov5COCO()
		p.Notes = append(p.Notes, "The boxes are relative to anchors. The proposed anchors are those of YOLOv5's models for COCO; "+
			"a model that was trained on other pictures may have its own (in its training configuration).")
		if !probabilities(t.Data, 4, columns) {
			p.Params.Activation = "sigmoid"
		}
	case !decoded:
		return nil
	case rows == grid:
		p.weight = 2
		p.Notes = append(p.Notes, fmt.Sprintf("With %d rows it is YOLOv6 (rgb, 0–1) or YOLOX exported with decode_in_inference (bgr, 0–255, top_left).", rows))
	}
	return []Proposal{p}
}

// yolov5Grids knows models with one output for each stride.
func yolov5Grids(s Spec) (Proposal, bool) {
	p := Proposal{Input: ultralytics(), Params: yolov5COCO(), weight: 4}
	if len(s.Outputs) != len(p.Params.Strides) {
		return p, false
	}
	for i, stride := range p.Params.Strides {
		t := s.Outputs[i]
		if len(t.Shape) != 5 || t.Shape[4] < 6 || !holds(t, 1, 3, s.Height/stride, s.Width/stride, 0) {
			return p, false
		}
		if !probabilities(t.Data, 4, t.Shape[4]) {
			p.Params.Activation = "sigmoid"
		}
	}
	p.Output = s.Outputs[0]
	p.Classes = p.Output.Shape[4] - 5
	p.Shape = func(n int) []int { return []int{1, 3, s.Height / 8, s.Width / 8, 5 + n} }
	p.Notes = []string{"The boxes are relative to anchors; the proposed ones are those of YOLOv5's models for COCO."}
	return p, true
}

package family

import (
	"math"

	"github.com/xacam/xacam/vision"
)

func init() { register("rtdetr", decodeRTDETR, matchRTDETR) }

// decodeRTDETR reads what transformers give, a set without duplicates:
//
//   - labels, boxes and scores: x0 y0 x1 y1 in the units of the second input,
//     orig_target_sizes, which the manifest sets to the size of the first
//     (RT-DETR, D-FINE, DEIM: github.com/lyuwenyu/RT-DETR, tools/export_onnx.py);
//   - logits [1 queries classes] and boxes [1 queries 4] as centre and size
//     relative to the input, sigmoid missing; a query may have several classes,
//     as in the original's choice of the best pairs. With the activation softmax
//     the last class is "no object" (DETR);
//   - [1 queries 4+classes] with the sigmoid done (Ultralytics' export).
func decodeRTDETR(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	r := assign(out, p)
	if l, ok := newList(r); ok && len(p.Labels) > 0 {
		return decodeList("rtdetr", l, in, p, "xyxy", "pixels", 0)
	}
	q, ok := newQueries(out, r, p)
	if !ok {
		classes := len(p.Labels)
		if p.Activation == "softmax" {
			classes++
		}
		return nil, misfit("rtdetr", out, in, p,
			"logits [1 queries %d] and boxes [1 queries 4], nor labels, boxes and scores, nor [1 queries %d]; params.outputs names them",
			classes, 4+len(p.Labels))
	}
	order, units := "cxcywh", "relative"
	if p.Boxes != "" {
		order = p.Boxes
	}
	if p.Units != "" {
		units = p.Units
	}
	var found []candidate
	scores := make([]float64, len(p.Labels))
	for i := range q.n {
		if err := q.scores(scores, i); err != nil {
			return nil, err
		}
		for class, score := range scores {
			if score < p.MinScore || score <= 0 {
				continue
			}
			c := corners(q.boxes[i*q.boxW:i*q.boxW+4], order, units, in)
			c.score, c.class, c.index = score, class, i
			var err error
			if found, err = add(found, "rtdetr", q.t, c); err != nil {
				return nil, err
			}
		}
	}
	found = rank(found)
	return detections(found[:min(len(found), q.n)], in, p.Labels), nil
}

// queries are the sets of numbers, one for each box.
type queries struct {
	class, boxes []float32
	classW, boxW int
	n            int
	act          string
	t            vision.Tensor // for messages
}

// newQueries finds logits and boxes, or an output that has both.
func newQueries(out []vision.Tensor, r roles, p Params) (queries, bool) {
	classes := len(p.Labels)
	q := queries{act: p.Activation, classW: classes, boxW: 4}
	if q.act == "softmax" {
		q.classW++
	}
	if classes == 0 {
		return q, false
	}
	if len(out) == 1 && holds(out[0], 1, 0, 4+q.classW) {
		q.t, q.n, q.boxes, q.boxW = out[0], out[0].Shape[1], out[0].Data, 4+q.classW
		if q.n > 0 {
			q.class, q.classW = out[0].Data[4:], q.boxW
		}
		return q, true
	}
	logits, ok := r["logits"]
	if !ok {
		logits = r["scores"]
	}
	boxes := r["boxes"]
	if !holds(boxes, 1, 0, 4) || !holds(logits, 1, boxes.Shape[1], q.classW) {
		return q, false
	}
	if q.act == "" {
		q.act = "sigmoid"
	}
	q.t, q.n, q.class, q.boxes = logits, boxes.Shape[1], logits.Data, boxes.Data
	return q, true
}

// scores fills dst with the probabilities of the i-th query's classes.
func (q *queries) scores(dst []float64, i int) error {
	row := q.class[i*q.classW:]
	sum, top := 0.0, math.Inf(-1)
	if q.act == "softmax" {
		row = row[:len(dst)+1]
		for _, v := range row {
			top = math.Max(top, float64(v)) // NaN stays
		}
		for _, v := range row {
			sum += math.Exp(float64(v) - top)
		}
	}
	for c := range dst {
		v := float64(row[c])
		switch q.act {
		case "softmax":
			v = math.Exp(v-top) / sum
		case "sigmoid":
			v = sigmoid(v)
		}
		if err := probability("rtdetr", i, q.t, v); err != nil {
			return err
		}
		dst[c] = v
	}
	return nil
}

func matchRTDETR(s Spec) []Proposal {
	r := assign(s.Outputs, Params{})
	p := Proposal{Input: transformer(), weight: 5}
	if _, ok := newList(r); ok && s.Sizes {
		p.Params.Outputs = map[string]string{"boxes": r["boxes"].Name, "classes": r["classes"].Name, "scores": r["scores"].Name}
		p.Notes = []string{
			"The output does not say how many classes there are: the labels are not checked until a class without one is seen.",
			"Some exports of RT-DETR and D-FINE number COCO's classes from 0 to 79, others give COCO's own 1 to 90.",
		}
		return []Proposal{p}
	}
	if t, rows, columns, ok := s.single(); ok {
		grid := cells(s.Width, s.Height, 8, 16, 32)
		if rows > 1000 || rows%grid == 0 || columns <= 4 || columns == 6 || !probabilities(t.Data, 0, 1) {
			return nil
		}
		p.Output, p.Classes, p.weight = t, columns-4, 2
		p.Shape = func(n int) []int { return []int{1, rows, 4 + n} }
		return []Proposal{p}
	}
	logits, ok := r["logits"]
	if !ok {
		logits = r["scores"]
	}
	boxes := r["boxes"]
	if len(s.Outputs) < 2 || !holds(boxes, 1, 0, 4) || !holds(logits, 1, boxes.Shape[1], 0) {
		return nil
	}
	p.Output, p.Classes = logits, logits.Shape[2]
	p.Params.Outputs = map[string]string{"boxes": boxes.Name, "logits": logits.Name}
	p.Shape = func(n int) []int { return []int{1, boxes.Shape[1], n} }
	p.Notes = []string{"The classes are taken to be independent (sigmoid); for DETR itself set params.activation to softmax, " +
		"which has one number more than there are labels."}
	if probabilities(logits.Data, 0, 1) {
		p.Params.Activation = "none"
		p.Notes = []string{"The classes' numbers are taken to be probabilities already."}
	}
	return []Proposal{p}
}

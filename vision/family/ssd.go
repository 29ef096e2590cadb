package family

import (
	"math"
	"strings"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

func init() { register("ssd", decodeSSD, matchSSD) }

// roles are outputs by what they hold.
type roles map[string]vision.Tensor

// assign finds the outputs that params.outputs names; without names, those
// whose own name gives them away: detection_boxes, labels, num_detections and so on.
func assign(out []vision.Tensor, p Params) roles {
	r := make(roles)
	for role, name := range p.Outputs {
		for _, t := range out {
			if t.Name == name {
				r[role] = t
			}
		}
	}
	if len(p.Outputs) > 0 {
		return r
	}
	for _, t := range out {
		if role := roleOf(t.Name); role != "" {
			if _, dup := r[role]; !dup {
				r[role] = t
			}
		}
	}
	return r
}

// roleOf guesses what an output of this name holds; "" where the name says
// nothing.
func roleOf(name string) string {
	name = strings.ToLower(name)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(name, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("num", "count"):
		return "count"
	case has("logit"):
		return "logits"
	case has("box", "dets"):
		return "boxes"
	case has("score", "conf", "prob"):
		return "scores"
	case has("class", "label"):
		return "classes"
	}
	return ""
}

// list is what post-processed models give: boxes, best first or not, with class
// and score.
type list struct {
	boxes, classes, scores vision.Tensor
	n                      int // boxes
	width                  int // numbers of a box: 4, or 5 with the score
}

// newList checks the outputs of a post-processed model: boxes [1 n 4] or [n 4],
// classes and scores [1 n] or [n], and perhaps how many of the n there are; or
// boxes [1 n 5] with the score as the fifth number.
func newList(r roles) (list, bool) {
	l := list{boxes: r["boxes"], classes: r["classes"], scores: r["scores"], width: 4}
	shape := l.boxes.Shape
	if len(shape) == 3 && shape[0] == 1 {
		shape = shape[1:]
	}
	if len(shape) != 2 {
		return l, false
	}
	if l.n = shape[0]; shape[1] == 5 && len(l.scores.Shape) == 0 {
		l.width = 5
	}
	flat := func(t vision.Tensor) bool { return holds(t, 1, l.n) || holds(t, l.n) || holds(t, 1, l.n, 1) }
	if shape[1] != l.width || len(l.boxes.Data) != l.n*l.width || !flat(l.classes) || l.width == 4 && !flat(l.scores) {
		return l, false
	}
	if c, ok := r["count"]; ok {
		if len(c.Data) != 1 || !finite(float64(c.Data[0])) || c.Data[0] < 0 {
			return l, false
		}
		l.n = int(math.Min(float64(l.n), float64(c.Data[0])))
	}
	return l, true
}

// decodeSSD reads the outputs of models that end with their own suppression:
// boxes, classes, scores and perhaps their number. TensorFlow's detection_boxes
// are y0 x0 y1 x1 relative to the input, with classes from 1 on; torchvision's
// are x0 y0 x1 y1 in input pixels, with class 0 as background. The manifest says
// which: params.boxes, units and first_class; without it, TensorFlow's.
func decodeSSD(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	l, ok := newList(assign(out, p))
	if !ok || len(p.Labels) == 0 {
		return nil, misfit("ssd", out, in, p, "boxes [1 n 4], classes [1 n], scores [1 n] and perhaps a number of boxes; params.outputs names them")
	}
	return decodeList("ssd", l, in, p, "yxyx", "relative", 1)
}

// decodeList reads a post-processed list; order, units and first are the
// family's own.
func decodeList(family string, l list, in vision.Geometry, p Params, order, units string, first int) ([]vision.Detection, error) {
	if p.Boxes != "" {
		order = p.Boxes
	}
	if p.Units != "" {
		units = p.Units
	}
	var found []candidate
	for i := range l.n {
		row := l.boxes.Data[i*l.width : (i+1)*l.width]
		t, score := l.boxes, float64(row[l.width-1])
		if l.width == 4 {
			t, score = l.scores, float64(l.scores.Data[i])
		}
		if err := probability(family, i, t, score); err != nil {
			return nil, err
		}
		if score < p.MinScore || score <= 0 {
			continue
		}
		class, err := classOf(family, i, l.classes, float64(l.classes.Data[i]), first, p)
		if err != nil {
			return nil, err
		}
		if class < 0 {
			continue
		}
		c := corners(row, order, units, in)
		c.score, c.class, c.index = score, class, i
		if found, err = add(found, family, l.boxes, c); err != nil {
			return nil, err
		}
	}
	return detections(rank(found), in, p.Labels), nil
}

// corners converts a box of the given order and units into input pixels.
func corners(row []float32, order, units string, in vision.Geometry) (c candidate) {
	a, b, d, e := float64(row[0]), float64(row[1]), float64(row[2]), float64(row[3])
	switch order {
	case "yxyx":
		c.x0, c.y0, c.x1, c.y1 = b, a, e, d
	case "cxcywh":
		c.x0, c.y0, c.x1, c.y1 = around(a, b, d, e)
	default:
		c.x0, c.y0, c.x1, c.y1 = a, b, d, e
	}
	if units == "relative" {
		w, h := float64(in.Width), float64(in.Height)
		c.x0, c.y0, c.x1, c.y1 = c.x0*w, c.y0*h, c.x1*w, c.y1*h
	}
	return c
}

func matchSSD(s Spec) []Proposal {
	r := assign(s.Outputs, Params{})
	if _, ok := newList(r); !ok || s.Sizes {
		return nil
	}
	first := 1
	p := Proposal{
		Input: models.Input{Channels: "rgb", Scale: 1, Letterbox: "stretch"}, weight: 4,
		Params: models.Params{Boxes: "yxyx", Units: "relative", FirstClass: &first, Outputs: make(map[string]string)},
		Notes: []string{
			"The output does not say how many classes there are: the labels are not checked until a class without one is seen.",
			"params.first_class is the number of the first label: 1 for TensorFlow's and torchvision's own models, 0 for many others.",
		},
	}
	for role, t := range r {
		p.Params.Outputs[role] = t.Name
	}
	if !strings.Contains(r["boxes"].Name, "detection") { // not TensorFlow's
		p.Params.Boxes, p.Params.Units = "xyxy", "pixels"
		p.Input.Scale = 1. / 255
		p.Notes = append(p.Notes, "The boxes are taken to be x0 y0 x1 y1 in pixels, as torchvision and mmdeploy have them.")
	}
	return []Proposal{p}
}

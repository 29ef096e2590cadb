package family

import (
	"math"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
)

func init() { register("fastestdet", decodeFastestDet, matchFastestDet) }

// decodeFastestDet reads [1 5+classes height width], one cell of a single grid
// in each place: objectness, offset of the centre before its hyperbolic
// tangent, size before its sigmoid, and the classes' probabilities. The score
// is objectness^0.6 · probability^0.4 (github.com/dog-qiuqiu/FastestDet,
// example/onnx-runtime).
func decodeFastestDet(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	planes := 5 + len(p.Labels)
	if len(p.Labels) == 0 || len(out) != 1 || !holds(out[0], 1, planes, 0, 0) {
		return nil, misfit("fastestdet", out, in, p, "[1 %d height width]", planes)
	}
	t := out[0]
	gh, gw := t.Shape[2], t.Shape[3]
	area := gw * gh
	var found []candidate
	for i := range area {
		at := func(plane int) float64 { return float64(t.Data[plane*area+i]) }
		objectness := at(0)
		if err := probability("fastestdet", i, t, objectness); err != nil {
			return nil, err
		}
		if math.Pow(max(objectness, 0), 0.6) < p.MinScore {
			continue
		}
		class, top := 0, math.Inf(-1)
		for c := range p.Labels {
			if v := at(5 + c); v > top {
				class, top = c, v
			}
		}
		if err := probability("fastestdet", i, t, top); err != nil {
			return nil, err
		}
		score := math.Pow(max(objectness, 0), 0.6) * math.Pow(max(top, 0), 0.4)
		if score < p.MinScore || score <= 0 {
			continue
		}
		c := candidate{score: score, class: class, index: i}
		cellW, cellH := float64(in.Width)/float64(gw), float64(in.Height)/float64(gh)
		c.x0, c.y0, c.x1, c.y1 = around(
			(float64(i%gw)+math.Tanh(at(1)))*cellW, (float64(i/gw)+math.Tanh(at(2)))*cellH,
			sigmoid(at(3))*float64(in.Width), sigmoid(at(4))*float64(in.Height))
		var err error
		if found, err = add(found, "fastestdet", t, c); err != nil {
			return nil, err
		}
	}
	return detections(suppress(found, p.NMS), in, p.Labels), nil
}

func matchFastestDet(s Spec) []Proposal {
	if len(s.Outputs) != 1 || len(s.Outputs[0].Shape) != 4 {
		return nil
	}
	t := s.Outputs[0]
	planes, gh, gw := t.Shape[1], t.Shape[2], t.Shape[3]
	if t.Shape[0] != 1 || planes < 6 || gh == 0 || gw == 0 || s.Height/gh != s.Width/gw || len(t.Data) != planes*gh*gw ||
		!probabilities(t.Data[:gh*gw], 0, 1) {
		return nil
	}
	return []Proposal{{
		Classes: planes - 5, Output: t, weight: 5,
		Input: models.Input{Channels: "bgr", Scale: 1. / 255, Letterbox: "stretch"},
		Shape: func(n int) []int { return []int{1, 5 + n, gh, gw} },
	}}
}

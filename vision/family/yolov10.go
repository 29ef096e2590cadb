package family

import (
	"fmt"

	"github.com/xacam/xacam/vision"
)

func init() { register("yolov10", decodeYOLOv10, matchYOLOv10) }

// decodeYOLOv10 reads [1 boxes 6]: corners in input pixels, score and class,
// without need of suppression (YOLOv10 and 26, and YOLOv8 to 12 exported with
// nms=True; format at docs.ultralytics.com/modes/export). Rows with a score of
// 0 are empty.
func decodeYOLOv10(out []vision.Tensor, in vision.Geometry, p Params) ([]vision.Detection, error) {
	if len(p.Labels) == 0 || len(out) != 1 || !holds(out[0], 1, 0, 6) {
		return nil, misfit("yolov10", out, in, p, "[1 boxes 6]")
	}
	t := out[0]
	var found []candidate
	for i := range t.Shape[1] {
		row := t.Data[i*6 : i*6+6]
		score := float64(row[4])
		if err := probability("yolov10", i, t, score); err != nil {
			return nil, err
		}
		if score < p.MinScore || score <= 0 {
			continue
		}
		class, err := classOf("yolov10", i, t, float64(row[5]), 0, p)
		if err != nil {
			return nil, err
		}
		if class < 0 {
			continue
		}
		found, err = add(found, "yolov10", t, candidate{
			x0: float64(row[0]), y0: float64(row[1]), x1: float64(row[2]), y1: float64(row[3]),
			score: score, class: class, index: i,
		})
		if err != nil {
			return nil, err
		}
	}
	return detections(rank(found), in, p.Labels), nil
}

// classOf converts a class's number into the position of its label; first is
// the number of the first one, and what is below is background: -1. A number
// beyond the labels is an error, as then every label may be wrong.
func classOf(family string, index int, t vision.Tensor, v float64, first int, p Params) (int, error) {
	if p.FirstClass != nil {
		first = *p.FirstClass
	}
	switch class := v - float64(first); {
	case !finite(v):
		return 0, fmt.Errorf("%s: row %d of %s: %w", family, index, t, ErrNotFinite)
	case v < 0 || v != float64(int(v)):
		return 0, fmt.Errorf("%s: row %d of %s: %w: %g is no class", family, index, t, ErrClass, v)
	case class < 0:
		return -1, nil
	case class >= float64(len(p.Labels)):
		return 0, fmt.Errorf("%s: row %d of %s: %w: class %g, and %d labels from %d on",
			family, index, t, ErrClass, v, len(p.Labels), first)
	default:
		return int(class), nil
	}
}

func matchYOLOv10(s Spec) []Proposal {
	t, rows, columns, ok := s.single()
	if !ok || columns != 6 || rows > 1000 || !probabilities(t.Data, 4, 6) {
		return nil
	}
	return []Proposal{{
		Output: t, Input: ultralytics(), weight: 4,
		Notes: []string{"The output does not say how many classes there are: the labels are not checked until a class without one is seen."},
	}}
}

package evidence

import (
	"encoding/json"
	"slices"
)

// Box is an object in the picture of the act, as the record lists it.
type Box struct {
	Class   string     `json:"class"`
	Box     [4]float64 `json:"box"`     // x0, y0, x1, y1 in [0,1]
	Subject bool       `json:"subject"` // the event is about it
}

// boxesOf returns the objects that a record lists; false when it lists none
// because they are not known.
func boxesOf(record json.RawMessage) ([]Box, bool) {
	var r struct {
		Boxes *[]Box `json:"boxes"`
	}
	if err := json.Unmarshal(record, &r); err != nil || r.Boxes == nil {
		return nil, false
	}
	return *r.Boxes, true
}

// areas returns the parts of the picture that must not be recognised. Of others
// that is the whole person, whose clothes tell as much as the face; a number
// plate is on the lower half of a vehicle.
func areas(boxes []Box, mode Blur) [][4]float64 {
	if mode == BlurNone {
		return nil
	}
	var out [][4]float64
	for _, b := range boxes {
		w, h := b.Box[2]-b.Box[0], b.Box[3]-b.Box[1]
		switch {
		case !(w > 0) || !(h > 0) || b.Subject && mode != BlurAll:
		case b.Class == "person" && !b.Subject:
			out = append(out, clamp(b.Box))
		case b.Class == "person": // the head, with a margin for a bent one
			out = append(out, clamp([4]float64{b.Box[0] - w/10, b.Box[1] - h/20, b.Box[2] + w/10, b.Box[1] + 0.3*h}))
		case slices.Contains([]string{"car", "truck", "bus", "motorcycle", "train"}, b.Class):
			out = append(out, clamp([4]float64{b.Box[0], b.Box[1] + h/2, b.Box[2], b.Box[3] + h/20}))
		}
	}
	return out
}

func clamp(b [4]float64) [4]float64 {
	for i, v := range b {
		b[i] = min(max(v, 0), 1)
	}
	return b
}

package evidence

import (
	"cmp"
	"encoding/json"
	"slices"
	"sort"
	"time"
)

// Veil says what must not be recognised on the copy of a clip, at a time since
// its first picture: areas (x0, y0, x1, y1 in [0,1]), or the whole picture. A nil
// Veil hides nothing.
type Veil func(at time.Duration) (areas [][4]float64, whole bool)

// What is known at single moments hides more than what was there then: between
// two looks people move, and the clip may be of another stream of the camera
// than the one that was looked at.
const (
	veilReach  = 400 * time.Millisecond  // everything that was hidden so shortly before or after is
	veilGap    = 1200 * time.Millisecond // a longer time without a look is not known
	veilLinger = 1500 * time.Millisecond // who appears or is lost was, or is, there for so long
	veilDrift  = 0.15                    // of the picture in a second, that such a one may move
	veilMargin = 0.1                     // of an object's size, on each side
)

// seenTrack is what the file "track" of a package says of everyone.
type seenTrack struct {
	From     time.Time    `json:"from"`
	Complete []int64      `json:"complete_ms"` // looks in which everyone who was seen is listed, after From by the clip's clock
	Objects  []seenObject `json:"objects"`
}

type seenObject struct {
	Role   string `json:"role"`
	Class  string `json:"class"`
	Points []struct {
		At    time.Time  `json:"at"`
		Box   [4]float64 `json:"box"`
		Class string     `json:"class"`   // "" for that of the object
		Skew  int64      `json:"skew_ms"` // of the clip's clock against that of At
	} `json:"points"`
}

// filmed is what the record says of the clip and of what was never looked at.
type filmed struct {
	Clip *struct {
		Path string    `json:"path"`
		End  time.Time `json:"end"`
	} `json:"clip"`
}

// veil is what is known of a clip; times are since its first picture.
type veil struct {
	line  timeline
	looks []time.Duration // sorted
	fixed [][4]float64    // hidden always
	moved [][]veiledAt    // of each object, sorted
}

// veiledAt is an area that was hidden at a moment.
type veiledAt struct {
	at   time.Duration
	area [4]float64
}

// newVeil returns what is known of the clip at path; one that knows nothing hides
// everything. track is the file of that type, nil for none; line reads the times
// of the clip, whose last picture was taken at last.
func newVeil(record json.RawMessage, track []byte, path string, mode Blur, line func(last time.Time) timeline) *veil {
	v := &veil{fixed: masked(record)}
	var r filmed
	if err := json.Unmarshal(record, &r); err != nil || r.Clip == nil || r.Clip.Path != path || r.Clip.End.IsZero() {
		return v
	}
	var t seenTrack
	if err := json.Unmarshal(track, &t); err != nil {
		return v
	}
	v.line = line(r.Clip.End)
	for _, ms := range t.Complete {
		if at, sure := v.line.places(t.From.Add(time.Duration(ms) * time.Millisecond)); sure {
			v.looks = append(v.looks, at[0])
		}
	}
	slices.Sort(v.looks)
	for i := range t.Objects {
		if path := t.Objects[i].path(v.line, mode); len(path) > 0 {
			v.moved = append(v.moved, path)
		}
	}
	return v
}

// path returns what of the object is hidden, where and when. Whoever was taken
// for a person once is one.
func (o *seenObject) path(line timeline, mode Blur) []veiledAt {
	classes := []string{o.Class}
	for _, p := range o.Points {
		if p.Class != "" && !slices.Contains(classes, p.Class) {
			classes = append(classes, p.Class)
		}
	}
	var out []veiledAt
	for _, p := range o.Points {
		places, _ := line.places(p.At.Add(time.Duration(p.Skew) * time.Millisecond))
		var boxes []Box
		for _, c := range classes {
			boxes = append(boxes, Box{Class: c, Box: p.Box, Subject: o.Role == "subject" || o.Role == "thing"})
		}
		for _, a := range areas(boxes, mode) {
			for _, at := range places {
				out = append(out, veiledAt{at, a})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b veiledAt) int { return cmp.Compare(a.at, b.at) })
	return out
}

// at implements Veil.
func (v *veil) at(at time.Duration) (hide [][4]float64, whole bool) {
	if !v.known(at) {
		return nil, true
	}
	hide = slices.Clone(v.fixed)
	for _, path := range v.moved {
		if a, ok := around(path, at); ok {
			hide = append(hide, a)
		}
	}
	return hide, false
}

// known reports whether a look was so near that nobody can be there unseen.
func (v *veil) known(at time.Duration) bool {
	if !v.line.sure(at) {
		return false
	}
	i := sort.Search(len(v.looks), func(i int) bool { return v.looks[i] >= at })
	before, after := i > 0, i < len(v.looks)
	switch {
	case before && after && v.looks[i]-v.looks[i-1] <= veilGap:
		return true
	case before && at-v.looks[i-1] <= veilReach:
		return true
	}
	return after && v.looks[i]-at <= veilReach
}

// around returns an area that covers where an object was around a moment; false
// when it was nowhere near.
func around(path []veiledAt, at time.Duration) (area [4]float64, ok bool) {
	i := sort.Search(len(path), func(i int) bool { return path[i].at > at-veilReach })
	j := sort.Search(len(path), func(j int) bool { return path[j].at >= at+veilReach })
	if i > 0 && at-path[i-1].at <= veilLinger {
		i--
	}
	if j < len(path) && path[j].at-at <= veilLinger {
		j++
	}
	if i >= j {
		return area, false
	}
	area = path[i].area
	for _, p := range path[i+1 : j] {
		area = [4]float64{min(area[0], p.area[0]), min(area[1], p.area[1]), max(area[2], p.area[2]), max(area[3], p.area[3])}
	}
	drift := veilDrift * max(0, path[i].at-at, at-path[j-1].at).Seconds()
	dx, dy := veilMargin*(area[2]-area[0])+drift, veilMargin*(area[3]-area[1])+drift
	return clamp([4]float64{area[0] - dx, area[1] - dy, area[2] + dx, area[3] + dy}), true
}

// coverage says for how much of a clip people can be told apart.
type coverage int

const (
	knownThroughout coverage = iota
	knownInPart
	knownNowhere
)

func (v *veil) coverage() coverage {
	const step = 100 * time.Millisecond
	known, times := 0, 0
	for at := time.Duration(0); at <= v.line.end() && times < 1<<16; at += step {
		times++
		if v.known(at) {
			known++
		}
	}
	switch known {
	case times:
		return knownThroughout
	case 0:
		return knownNowhere
	}
	return knownInPart
}

// Detections that stand in a mask are dropped, so who is there is not known. A
// person who stands in it reaches out of it.
const (
	maskUp   = 0.3 // of the picture
	maskSide = 0.1
)

// masked returns the areas that the camera never looks at, as the record has
// them.
func masked(record json.RawMessage) [][4]float64 {
	var r struct {
		Masks [][][2]float64 `json:"masks"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return nil
	}
	var out [][4]float64
	for _, mask := range r.Masks {
		if len(mask) == 0 {
			continue
		}
		a := [4]float64{mask[0][0], mask[0][1], mask[0][0], mask[0][1]}
		for _, p := range mask[1:] {
			a = [4]float64{min(a[0], p[0]), min(a[1], p[1]), max(a[2], p[0]), max(a[3], p[1])}
		}
		out = append(out, clamp([4]float64{a[0] - maskSide, a[1] - maskUp, a[2] + maskSide, a[3]}))
	}
	return out
}

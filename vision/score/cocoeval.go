package score

import (
	"cmp"
	"math"
	"slices"
)

// COCO holds COCO's twelve figures for boxes (cocodataset.org, detection
// evaluation), computed as pycocotools does. All lie in [0,1]; a figure is -1
// where there is no object to find.
type COCO struct {
	AP       float64 // mean of the overlaps 0.50, 0.55 … 0.95 and of the classes
	AP50     float64 // at an overlap of 0.50
	AP75     float64 // at an overlap of 0.75
	APSmall  float64 // of objects under 32² px
	APMedium float64 // of objects from 32² to 96² px
	APLarge  float64 // of objects over 96² px
	AR1      float64 // recall with the best detection of each class in each picture
	AR10     float64 // with the best ten
	AR100    float64 // with the best hundred
	ARSmall  float64
	ARMedium float64
	ARLarge  float64

	Classes []COCOClass // by name; those with an object or a detection in the truth's categories
}

// COCOClass are the figures of one category, with at most 100 detections a picture.
type COCOClass struct {
	Category       string
	AP, AP50, AP75 float64 // in [0,1], -1 where there is no object
	AR             float64 // as AP
	Truths         int     // objects that count
	Found          int     // detections
}

const (
	overlaps   = 10  // thresholds of overlap
	recalls    = 101 // points of the precision-recall curve
	mostBoxes  = 100 // detections of one class in one picture that are looked at
	sizeRanges = 4   // all, small, medium, large
)

// threshold returns the overlap with the given number, as NumPy's linspace does.
func threshold(i int) float64 {
	start, stop := 0.5, 0.95
	return start + float64(i)*((stop-start)/(overlaps-1))
}

// sizeRange returns the least and the largest area of a range in px².
func sizeRange(i int) (least, most float64) {
	switch i {
	case 1:
		return 0, 32 * 32
	case 2:
		return 32 * 32, 96 * 96
	case 3:
		return 96 * 96, 1e10
	}
	return 0, 1e10
}

// ComputeCOCO scores detections. Those of a category that no picture is
// annotated for are not looked at. Objects with Ignore that are no crowd, which
// COCO does not have, may be found any number of times.
func ComputeCOCO(d *Dataset, found []Found) COCO {
	var all cocoSums
	var out COCO
	for _, c := range d.byCategory(found) {
		class := COCOClass{Category: c.name, Found: c.found, Truths: c.truths, AP: -1, AP50: -1, AP75: -1, AR: -1}
		for size := range sizeRanges {
			curve := c.evaluate(size)
			if curve == nil {
				continue
			}
			all.add(size, curve)
			if size == 0 {
				class.AP, class.AP50, class.AP75 = mean(curve.ap[:]), curve.ap[0], curve.ap[5]
				class.AR = mean(curve.recall[2][:])
			}
		}
		out.Classes = append(out.Classes, class)
	}
	all.finish(&out)
	return out
}

// cocoClass is one category: what is in each picture, and what was found.
type cocoClass struct {
	name          string
	images        []cocoPicture
	truths, found int
}

type cocoPicture struct {
	truths []Truth
	found  []Found // best first, at most mostBoxes
	iou    []float64
}

// byCategory sorts truth and detections into categories and pictures, in the
// order of the pictures' IDs.
func (d *Dataset) byCategory(found []Found) []cocoClass {
	type key struct{ category, image string }
	truths, finds := make(map[key][]Truth), make(map[key][]Found)
	classes := make(map[string]*cocoClass)
	for _, name := range d.categories {
		classes[name] = &cocoClass{name: name}
	}
	for _, t := range d.Truths {
		k := key{t.Category, t.Image}
		truths[k] = append(truths[k], t)
		if classes[t.Category] == nil {
			classes[t.Category] = &cocoClass{name: t.Category}
		}
		if !t.Ignore {
			classes[t.Category].truths++
		}
	}
	for _, f := range found {
		if c := classes[f.Category]; c != nil {
			k := key{f.Category, f.Image}
			finds[k] = append(finds[k], f)
			c.found++
		}
	}
	order := d.order
	if order == nil {
		order = d.Images
	}
	var out []cocoClass
	for _, c := range classes {
		for _, image := range order {
			k := key{c.name, image}
			if len(truths[k])+len(finds[k]) > 0 {
				c.images = append(c.images, newPicture(truths[k], finds[k]))
			}
		}
		if len(c.images) > 0 {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(a, b cocoClass) int { return cmp.Compare(a.name, b.name) })
	return out
}

func newPicture(truths []Truth, found []Found) cocoPicture {
	slices.SortStableFunc(found, func(a, b Found) int { return cmp.Compare(b.Score, a.Score) })
	p := cocoPicture{truths: truths, found: found[:min(len(found), mostBoxes)]}
	for _, f := range p.found {
		for _, t := range truths {
			p.iou = append(p.iou, cocoOverlap(f.Box, &t))
		}
	}
	return p
}

// cocoOverlap is the overlap of a detection with an object; with a crowd it is
// the share of the detection that lies in it.
func cocoOverlap(a Rect, t *Truth) float64 {
	b := t.Box
	w := math.Min(a[0]+a[2], b[0]+b[2]) - math.Max(a[0], b[0])
	h := math.Min(a[1]+a[3], b[1]+b[3]) - math.Max(a[1], b[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	if t.Crowd {
		return w * h / (a[2] * a[3])
	}
	return w * h / (a[2]*a[3] + b[2]*b[3] - w*h)
}

// verdict is what a detection is at each threshold of overlap.
type verdict struct {
	score   float64
	rank    int // among those of its picture, from 0
	right   [overlaps]bool
	ignored [overlaps]bool
}

// judge matches the detections of a picture, best first, with the objects of
// the given size, and returns how many objects count.
func (p *cocoPicture) judge(size int) (verdicts []verdict, objects int) {
	least, most := sizeRange(size)
	outside := func(area float64) bool { return area < least || area > most }
	ignore := make([]bool, len(p.truths))
	var order []int // objects that count first
	for i, t := range p.truths {
		area := t.Area
		if area == 0 {
			area = t.Box[2] * t.Box[3]
		}
		if ignore[i] = t.Ignore || outside(area); !ignore[i] {
			order = append(order, i)
		}
	}
	objects = len(order)
	for i := range p.truths {
		if ignore[i] {
			order = append(order, i)
		}
	}
	verdicts = make([]verdict, len(p.found))
	taken := make([]bool, len(p.truths))
	for level := range overlaps {
		clear(taken)
		for i, f := range p.found {
			v := &verdicts[i]
			v.score, v.rank = f.Score, i
			m := p.best(i, level, order, ignore, taken)
			if m >= 0 {
				taken[m] = true
				v.right[level], v.ignored[level] = true, ignore[m]
			} else {
				v.ignored[level] = outside(f.Box[2] * f.Box[3])
			}
		}
	}
	return verdicts, objects
}

// best returns the object that the detection goes to, or -1: the one that it
// overlaps most, those that count before the others.
func (p *cocoPicture) best(found, level int, order []int, ignore, taken []bool) int {
	m, need := -1, min(threshold(level), 1-1e-10)
	for _, i := range order {
		t := &p.truths[i]
		if taken[i] && !t.Ignore { // a crowd may be found any number of times
			continue
		}
		if m >= 0 && !ignore[m] && ignore[i] {
			break
		}
		if o := p.iou[found*len(p.truths)+i]; o >= need {
			m, need = i, o
		}
	}
	return m
}

// curve is the result of one category and size.
type curve struct {
	ap     [overlaps]float64
	recall [3][overlaps]float64 // with 1, 10 and 100 detections a picture
}

// evaluate returns nil where there is no object to find.
func (c *cocoClass) evaluate(size int) *curve {
	var verdicts []verdict
	objects := 0
	for i := range c.images {
		v, n := c.images[i].judge(size)
		verdicts = append(verdicts, v...)
		objects += n
	}
	if objects == 0 {
		return nil
	}
	slices.SortStableFunc(verdicts, func(a, b verdict) int { return cmp.Compare(b.score, a.score) })
	out := &curve{}
	for level := range overlaps {
		out.ap[level] = precisionAt(verdicts, level, objects)
		for m, most := range []int{1, 10, mostBoxes} {
			hits := 0
			for i := range verdicts {
				if v := &verdicts[i]; v.rank < most && v.right[level] && !v.ignored[level] {
					hits++
				}
			}
			out.recall[m][level] = float64(hits) / float64(objects)
		}
	}
	return out
}

// precisionAt is the mean of the precision, made non-increasing, at 101 recalls.
func precisionAt(verdicts []verdict, level, objects int) float64 {
	recall, precision := make([]float64, 0, len(verdicts)), make([]float64, 0, len(verdicts))
	right, wrong := 0.0, 0.0
	for i := range verdicts {
		switch v := &verdicts[i]; {
		case v.ignored[level]:
		case v.right[level]:
			right++
		default:
			wrong++
		}
		recall = append(recall, right/float64(objects))
		precision = append(precision, right/(right+wrong+epsilon))
	}
	for i := len(precision) - 1; i > 0; i-- {
		precision[i-1] = math.Max(precision[i], precision[i-1])
	}
	sum, step := 0.0, 0.01
	for i := range recalls {
		at := float64(i) * step
		if k, _ := slices.BinarySearch(recall, at); k < len(recall) {
			sum += precision[k]
		}
	}
	return sum / recalls
}

// cocoSums add up curves of all categories.
type cocoSums struct {
	ap, recall [sizeRanges][]float64
	ap50, ap75 []float64
	few        [2][]float64 // recall with 1 and 10 detections
}

func (s *cocoSums) add(size int, c *curve) {
	s.ap[size] = append(s.ap[size], c.ap[:]...)
	s.recall[size] = append(s.recall[size], c.recall[2][:]...)
	if size == 0 {
		s.ap50, s.ap75 = append(s.ap50, c.ap[0]), append(s.ap75, c.ap[5])
		for m := range s.few {
			s.few[m] = append(s.few[m], c.recall[m][:]...)
		}
	}
}

func (s *cocoSums) finish(c *COCO) {
	c.AP, c.AP50, c.AP75 = mean(s.ap[0]), mean(s.ap50), mean(s.ap75)
	c.APSmall, c.APMedium, c.APLarge = mean(s.ap[1]), mean(s.ap[2]), mean(s.ap[3])
	c.AR1, c.AR10, c.AR100 = mean(s.few[0]), mean(s.few[1]), mean(s.recall[0])
	c.ARSmall, c.ARMedium, c.ARLarge = mean(s.recall[1]), mean(s.recall[2]), mean(s.recall[3])
}

// mean returns -1 for nothing.
func mean(v []float64) float64 {
	if len(v) == 0 {
		return -1
	}
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

package score

import (
	"cmp"
	"math"
	"slices"
)

// Rect is a rectangle in pixels: left, top, width, height, as COCO writes it.
type Rect [4]float64

// Truth is one annotated object.
type Truth struct {
	Image, Category string
	Box             Rect
	Ignore          bool    // "difficult" or a crowd: neither a miss nor, when found, a mistake
	Crowd           bool    // a group under one box: a detection inside it overlaps it fully, for ComputeCOCO
	Area            float64 // px², of the outline where there is one; 0 is that of Box
}

// Found is one detection.
type Found struct {
	Image, Category string
	Box             Rect
	Score           float64
}

// ClassAP is the result for one category.
type ClassAP struct {
	Category string
	AP       float64 // average precision in [0,1]
	Truths   int     // annotated objects that count
	Found    int     // detections
}

// AP returns the average precision of every category that has at least one
// object that counts, in alphabetical order, and their mean.
//
// Matching and precision are those of PASCAL VOC since 2010 (Everingham et
// al., development kit, section 3.4.1): detections in descending score, each
// compared with the object it overlaps most; an overlap (IoU) below minIoU or
// an object found before is a mistake, an ignored object does not count; the
// area under the precision made monotonic, at every recall, without
// interpolation at fixed points. Equal scores keep the given order.
func AP(truths []Truth, found []Found, minIoU float64) (classes []ClassAP, mean float64) {
	counts := make(map[string]int)
	for _, t := range truths {
		if !t.Ignore {
			counts[t.Category]++
		}
	}
	for category, n := range counts {
		c := ClassAP{Category: category, Truths: n}
		c.AP, c.Found = classAP(category, n, truths, found, minIoU)
		classes = append(classes, c)
	}
	slices.SortFunc(classes, func(a, b ClassAP) int { return cmp.Compare(a.Category, b.Category) })
	for _, c := range classes {
		mean += c.AP / float64(len(classes))
	}
	return classes, mean
}

func classAP(category string, n int, truths []Truth, found []Found, minIoU float64) (ap float64, detections int) {
	byImage := make(map[string][]Truth)
	for _, t := range truths {
		if t.Category == category {
			byImage[t.Image] = append(byImage[t.Image], t)
		}
	}
	var mine []Found
	for _, f := range found {
		if f.Category == category {
			mine = append(mine, f)
		}
	}
	slices.SortStableFunc(mine, func(a, b Found) int { return cmp.Compare(b.Score, a.Score) })

	taken := make(map[string]map[int]bool)
	var recall, precision []float64
	right, wrong := 0, 0
	for _, f := range mine {
		best, at := 0.0, -1
		for i, t := range byImage[f.Image] {
			if o := overlap(f.Box, t.Box); o > best {
				best, at = o, i
			}
		}
		switch {
		case at < 0 || best < minIoU:
			wrong++
		case byImage[f.Image][at].Ignore:
			continue
		case taken[f.Image][at]:
			wrong++
		default:
			if taken[f.Image] == nil {
				taken[f.Image] = make(map[int]bool)
			}
			taken[f.Image][at] = true
			right++
		}
		recall = append(recall, float64(right)/float64(n))
		precision = append(precision, float64(right)/float64(right+wrong))
	}
	return area(recall, precision), len(mine)
}

// area is the area under the precision-recall curve with precision made
// non-increasing from the right.
func area(recall, precision []float64) float64 {
	for i := len(precision) - 2; i >= 0; i-- {
		precision[i] = math.Max(precision[i], precision[i+1])
	}
	sum, last := 0.0, 0.0
	for i, r := range recall {
		sum += (r - last) * precision[i]
		last = r
	}
	return sum
}

func overlap(a, b Rect) float64 {
	w := math.Min(a[0]+a[2], b[0]+b[2]) - math.Max(a[0], b[0])
	h := math.Min(a[1]+a[3], b[1]+b[3]) - math.Max(a[1], b[1])
	if w <= 0 || h <= 0 {
		return 0
	}
	return w * h / (a[2]*a[3] + b[2]*b[3] - w*h)
}

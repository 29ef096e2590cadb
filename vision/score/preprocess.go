package score

import (
	"fmt"

	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/track"
)

// Preprocess says what is left out of truth and result before a sequence is
// scored.
type Preprocess string

// Kinds of preprocessing, as TrackEval does it.
const (
	// PreprocessMOT15 leaves out truth with confidence 0.
	PreprocessMOT15 Preprocess = "mot15"
	// PreprocessMOT17, for MOT16 and MOT17, keeps of the truth only persons on
	// foot (class 1), and leaves out results that match someone on a vehicle,
	// standing forever, in a reflection, or otherwise marked as a distractor.
	PreprocessMOT17 Preprocess = "mot17"
	// PreprocessMOT20 is that of MOT17 with vehicles as distractors too.
	PreprocessMOT20 Preprocess = "mot20"
	// PreprocessAuto is that of MOT17 where every object of the truth has a
	// class, else that of MOT15.
	PreprocessAuto Preprocess = "auto"
)

// Classes of MOT16 and later.
const (
	motPedestrian      = 1
	motPersonOnVehicle = 2
	motNonMOTVehicle   = 6
	motStaticPerson    = 7
	motDistractor      = 8
	motReflection      = 12
	motClasses         = 13
)

// Prepare leaves out what must not be scored, and joins the rest as NewSequence
// does. It is an error when how is no kind of preprocessing, and when a class
// of the truth is none of the MOTChallenge's where classes matter.
func Prepare(length int, truth, result []mot.Row, how Preprocess) (*Sequence, error) {
	switch how {
	case PreprocessAuto:
		if how = PreprocessMOT17; !classified(truth) {
			how = PreprocessMOT15
		}
	case PreprocessMOT15, PreprocessMOT17, PreprocessMOT20:
	default:
		return nil, fmt.Errorf("prepare a sequence: %q is not one of auto, mot15, mot17, mot20", how)
	}
	if how == PreprocessMOT15 {
		return NewSequence(length, truth, result)
	}
	var people []mot.Row
	for _, r := range truth {
		if r.Class < 1 || r.Class > motClasses {
			return nil, fmt.Errorf("prepare a sequence: frame %d of the truth has the class %d", r.Frame, r.Class)
		}
		if r.Class == motPedestrian {
			people = append(people, r)
		}
	}
	return NewSequence(length, people, withoutDistracted(truth, result, how))
}

func classified(rows []mot.Row) bool {
	for _, r := range rows {
		if r.Class < 1 || r.Class > motClasses {
			return false
		}
	}
	return len(rows) > 0
}

func distracts(class int, how Preprocess) bool {
	switch class {
	case motPersonOnVehicle, motStaticPerson, motDistractor, motReflection:
		return true
	case motNonMOTVehicle:
		return how == PreprocessMOT20
	}
	return false
}

// withoutDistracted returns the results that are not matched to a distractor,
// frame by frame, from an overlap of 0.5 on.
func withoutDistracted(truth, result []mot.Row, how Preprocess) []mot.Row {
	there, found := make(map[int][]mot.Row), make(map[int][]int)
	for _, r := range truth {
		there[r.Frame] = append(there[r.Frame], r)
	}
	for i, r := range result {
		found[r.Frame] = append(found[r.Frame], i)
	}
	drop := make([]bool, len(result))
	var solver track.Assigner
	var cost []float64
	for frame, objects := range there {
		mine := found[frame]
		cost = cost[:0]
		for _, o := range objects {
			for _, i := range mine {
				iou := o.Box().IoU(result[i].Box())
				if iou < atLeast {
					iou = 0
				}
				cost = append(cost, -iou)
			}
		}
		for row, col := range solver.Solve(cost, len(objects), len(mine), 0) {
			if col >= 0 && distracts(objects[row].Class, how) {
				drop[mine[col]] = true
			}
		}
	}
	var out []mot.Row
	for i, r := range result {
		if !drop[i] {
			out = append(out, r)
		}
	}
	return out
}

package score

import (
	"fmt"

	"github.com/xacam/xacam/vision/track"
)

// IDF1 says how much of the video carries the right identity (Ristani et al.
// 2016), computed as TrackEval does: one identity of the result is given to one
// true identity for the whole sequence.
type IDF1 struct {
	IDF1 float64 // in [0,1]
	IDP  float64 // precision, in [0,1]
	IDR  float64 // recall, in [0,1]

	IDTP, IDFN, IDFP int // boxes
}

// ComputeIDF1 scores one sequence; boxes match from an overlap of 0.5 on.
// Errors are those of ComputeHOTA.
func ComputeIDF1(s *Sequence) (IDF1, error) {
	x, err := s.index()
	if err != nil {
		return IDF1{}, fmt.Errorf("compute IDF1: %w", err)
	}
	cols := len(x.resultN)
	together := make([]float64, len(x.truthN)*cols) // minus the frames in which both are at one place
	for i := range x.frames {
		f := &x.frames[i]
		for k, iou := range f.iou {
			if iou >= 0.5 {
				together[f.truth[k/len(f.result)]*cols+f.result[k%len(f.result)]]--
			}
		}
	}
	// Fewest false ones in all is most true ones in all: every box is either.
	var solver track.Assigner
	hits := 0
	for t, p := range solver.Solve(together, len(x.truthN), cols, 0) {
		if p >= 0 {
			hits -= int(together[t*cols+p])
		}
	}
	out := IDF1{IDTP: hits, IDFN: x.truths - hits, IDFP: x.results - hits}
	out.finish()
	return out, nil
}

// CombineIDF1 scores several sequences as one by adding their counts.
func CombineIDF1(all ...IDF1) IDF1 {
	var out IDF1
	for _, o := range all {
		out.IDTP += o.IDTP
		out.IDFN += o.IDFN
		out.IDFP += o.IDFP
	}
	out.finish()
	return out
}

func (o *IDF1) finish() {
	tp, fn, fp := float64(o.IDTP), float64(o.IDFN), float64(o.IDFP)
	o.IDR = tp / max(1, tp+fn)
	o.IDP = tp / max(1, tp+fp)
	o.IDF1 = tp / max(1, tp+0.5*fp+0.5*fn)
}

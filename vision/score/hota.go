package score

import (
	"fmt"
	"math"

	"github.com/xacam/xacam/vision/track"
)

const (
	alphas  = 19            // thresholds of overlap: 0.05, 0.10 … 0.95
	epsilon = 0x1p-52       // float64's, as TrackEval subtracts it from thresholds
	atLeast = 0.5 - epsilon // overlap that CLEAR takes for a match
)

// HOTA is the higher order tracking accuracy of one sequence or of several
// together (Luiten et al. 2020, IJCV 129:548), computed as TrackEval does. All
// figures lie in [0,1] and are means over the thresholds 0.05, 0.10 … 0.95.
type HOTA struct {
	HOTA float64
	DetA float64 // detection accuracy
	DetR float64 // detection recall
	DetP float64 // detection precision
	AssA float64 // association accuracy
	AssR float64 // association recall
	AssP float64 // association precision
	LocA float64 // localisation accuracy

	at [alphas]hotaCounts
}

type hotaCounts struct {
	tp, fn, fp             float64
	assA, assR, assP, locA float64 // sums over the true positives
}

// ComputeHOTA scores one sequence. Errors are those of an uneven sequence or an
// identity that occurs twice in one frame.
func ComputeHOTA(s *Sequence) (HOTA, error) {
	x, err := s.index()
	if err != nil {
		return HOTA{}, fmt.Errorf("compute HOTA: %w", err)
	}
	var h HOTA
	cols := len(x.resultN)
	align := x.alignment()
	matches := make([][alphas]int32, len(x.truthN)*cols)
	var solver track.Assigner
	var cost []float64
	for i := range x.frames {
		f := &x.frames[i]
		cost = cost[:0]
		for r, t := range f.truth {
			for c, p := range f.result {
				cost = append(cost, -align[t*cols+p]*f.iou[r*len(f.result)+c])
			}
		}
		for a := range h.at {
			h.at[a].fn += float64(len(f.truth))
			h.at[a].fp += float64(len(f.result))
		}
		for r, c := range solver.Solve(cost, len(f.truth), len(f.result), 0) {
			if c < 0 {
				continue
			}
			iou := f.iou[r*len(f.result)+c]
			for a := 0; a < alphas && iou >= alpha(a)-epsilon; a++ {
				h.at[a].tp++
				h.at[a].fn--
				h.at[a].fp--
				h.at[a].locA += iou
				matches[f.truth[r]*cols+f.result[c]][a]++
			}
		}
	}
	for i := range matches {
		nt, np := float64(x.truthN[i/cols]), float64(x.resultN[i%cols])
		for a, m := range matches[i] {
			n := float64(m)
			h.at[a].assA += n * n / max(1, nt+np-n)
			h.at[a].assR += n * n / max(1, nt)
			h.at[a].assP += n * n / max(1, np)
		}
	}
	h.finish()
	return h, nil
}

// alpha returns the threshold with the given number.
func alpha(i int) float64 { return 0.05 + float64(i)*0.05 }

// alignment returns, for every pair of a true and a resulting identity, how well
// they go together over the whole sequence: the soft Jaccard index of eq. 7's
// maximisation in TrackEval.
func (x *indexed) alignment() []float64 {
	cols := len(x.resultN)
	out := make([]float64, len(x.truthN)*cols)
	for i := range x.frames {
		f := &x.frames[i]
		byTruth, byResult := make([]float64, len(f.truth)), make([]float64, len(f.result))
		for k, s := range f.iou {
			byTruth[k/len(f.result)] += s
			byResult[k%len(f.result)] += s
		}
		for k, s := range f.iou {
			r, c := k/len(f.result), k%len(f.result)
			if d := byTruth[r] + byResult[c] - s; d > epsilon {
				out[f.truth[r]*cols+f.result[c]] += s / d
			}
		}
	}
	for i, m := range out {
		out[i] = m / (float64(x.truthN[i/cols]) + float64(x.resultN[i%cols]) - m)
	}
	return out
}

// CombineHOTA scores several sequences as one: counts are added, and for each
// threshold association is averaged with the true positives as weights.
func CombineHOTA(all ...HOTA) HOTA {
	var h HOTA
	for i := range all {
		for a := range h.at {
			sum, one := &h.at[a], all[i].at[a]
			sum.tp += one.tp
			sum.fn += one.fn
			sum.fp += one.fp
			sum.assA += one.assA
			sum.assR += one.assR
			sum.assP += one.assP
			sum.locA += one.locA
		}
	}
	h.finish()
	return h
}

func (h *HOTA) finish() {
	for _, c := range h.at {
		hits := max(1, c.tp)
		detA := c.tp / max(1, c.tp+c.fn+c.fp)
		assA := c.assA / hits
		h.HOTA += math.Sqrt(detA*assA) / alphas
		h.DetA += detA / alphas
		h.DetR += c.tp / max(1, c.tp+c.fn) / alphas
		h.DetP += c.tp / max(1, c.tp+c.fp) / alphas
		h.AssA += assA / alphas
		h.AssR += c.assR / hits / alphas
		h.AssP += c.assP / hits / alphas
		h.LocA += max(1e-10, c.locA) / max(1e-10, c.tp) / alphas
	}
}

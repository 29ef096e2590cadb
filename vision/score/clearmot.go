package score

import (
	"fmt"

	"github.com/xacam/xacam/vision/track"
)

// CLEAR holds the CLEAR MOT metrics (Bernardin and Stiefelhagen 2008), computed
// as TrackEval does.
type CLEAR struct {
	MOTA float64 // at most 1, negative when there are more errors than objects
	MOTP float64 // mean overlap of matched boxes, in [0,1]

	TP, FN, FP int // boxes
	IDSW       int // how often a true object got another identity
	Frag       int // how often a true object was lost and found again
	MT, PT, ML int // true objects tracked for over 80 %, between, and under 20 % of their boxes

	overlap float64 // sum over TP
}

// ComputeCLEAR scores one sequence; boxes match from an overlap of 0.5 on, and
// a pair of the frame before stays together where it can. Errors are those of
// ComputeHOTA.
func ComputeCLEAR(s *Sequence) (CLEAR, error) {
	x, err := s.index()
	if err != nil {
		return CLEAR{}, fmt.Errorf("compute CLEAR MOT: %w", err)
	}
	out := CLEAR{FN: x.truths, FP: x.results}
	if x.results == 0 || x.truths == 0 {
		out.ML = len(x.truthN)
		out.finish()
		return out, nil
	}
	m := newClearMatcher(len(x.truthN))
	for i := range x.frames {
		// TrackEval leaves the pairs of the frame before as they are where either side is empty.
		if f := &x.frames[i]; len(f.truth) > 0 && len(f.result) > 0 {
			m.step(f, &out)
		}
	}
	for t, n := range x.truthN {
		switch ratio := float64(m.matched[t]) / float64(n); {
		case ratio > 0.8:
			out.MT++
		case ratio >= 0.2:
			out.PT++
		default:
			out.ML++
		}
		out.Frag += max(0, m.begun[t]-1)
	}
	out.finish()
	return out, nil
}

type clearMatcher struct {
	solver   track.Assigner
	cost     []float64
	last     []int // identity a true object had last, -1 none yet
	previous []int // identity it had in the previous frame, -1 none
	matched  []int // boxes matched of each true object
	begun    []int // times its tracking began
}

func newClearMatcher(truths int) *clearMatcher {
	m := &clearMatcher{
		last: make([]int, truths), previous: make([]int, truths),
		matched: make([]int, truths), begun: make([]int, truths),
	}
	for i := range truths {
		m.last[i], m.previous[i] = -1, -1
	}
	return m
}

func (m *clearMatcher) step(f *frame, out *CLEAR) {
	m.cost = m.cost[:0]
	for k, iou := range f.iou {
		c := 0.0
		if iou >= atLeast {
			c = -iou
			if m.previous[f.truth[k/len(f.result)]] == f.result[k%len(f.result)] {
				c -= 1000
			}
		}
		m.cost = append(m.cost, c)
	}
	pairs := m.solver.Solve(m.cost, len(f.truth), len(f.result), 0)
	was := append([]int(nil), m.previous...)
	for i := range m.previous {
		m.previous[i] = -1
	}
	for r, c := range pairs {
		if c < 0 {
			continue
		}
		t, p := f.truth[r], f.result[c]
		if m.last[t] >= 0 && m.last[t] != p {
			out.IDSW++
		}
		if was[t] < 0 {
			m.begun[t]++
		}
		m.last[t], m.previous[t] = p, p
		m.matched[t]++
		out.TP++
		out.FN--
		out.FP--
		out.overlap += f.iou[r*len(f.result)+c]
	}
}

// CombineCLEAR scores several sequences as one by adding their counts.
func CombineCLEAR(all ...CLEAR) CLEAR {
	var out CLEAR
	for _, o := range all {
		out.TP += o.TP
		out.FN += o.FN
		out.FP += o.FP
		out.IDSW += o.IDSW
		out.Frag += o.Frag
		out.MT += o.MT
		out.PT += o.PT
		out.ML += o.ML
		out.overlap += o.overlap
	}
	out.finish()
	return out
}

func (o *CLEAR) finish() {
	o.MOTA = float64(o.TP-o.FP-o.IDSW) / max(1, float64(o.TP+o.FN))
	o.MOTP = o.overlap / max(1, float64(o.TP))
}

// Package score measures detectors, trackers and events against annotated truth:
// AP, HOTA, IDF1 and CLEAR MOT, each as the reference implementation computes it,
// and precision, recall and delay of events.
package score

import (
	"errors"
	"fmt"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/mot"
)

// Object is a box with an identity in one frame. The unit does not matter as
// long as truth and result share it.
type Object struct {
	ID  int64
	Box geom.Box
}

// Sequence is what really moved through a video and what a tracker said.
type Sequence struct {
	Truth  [][]Object // by frame
	Result [][]Object // by frame; as long as Truth
}

// NewSequence joins the rows of a gt.txt and a res.txt of a sequence with the
// given length in frames. Preprocessing is that of TrackEval for MOT15: truth
// with confidence 0 is left out and there are no distractors. It is an error
// when a frame lies outside the sequence or an identity occurs twice in one.
func NewSequence(length int, truth, result []mot.Row) (*Sequence, error) {
	if length < 1 || length > mot.MaxFrame {
		return nil, fmt.Errorf("join truth and result: length %d is not between 1 and %d", length, mot.MaxFrame)
	}
	s := &Sequence{Truth: make([][]Object, length), Result: make([][]Object, length)}
	for _, r := range truth {
		if r.Frame < 1 || r.Frame > length {
			return nil, fmt.Errorf("join truth and result: truth has frame %d of %d", r.Frame, length)
		}
		if int(r.Conf) != 0 {
			s.Truth[r.Frame-1] = append(s.Truth[r.Frame-1], Object{r.ID, r.Box()})
		}
	}
	for _, r := range result {
		if r.Frame < 1 || r.Frame > length {
			return nil, fmt.Errorf("join truth and result: result has frame %d of %d", r.Frame, length)
		}
		s.Result[r.Frame-1] = append(s.Result[r.Frame-1], Object{r.ID, r.Box()})
	}
	if _, err := s.index(); err != nil {
		return nil, fmt.Errorf("join truth and result: %w", err)
	}
	return s, nil
}

// Every returns the sequence as seen by someone who looks at every step-th
// frame only, beginning with the first. It shares memory with s.
func (s *Sequence) Every(step int) *Sequence {
	out := &Sequence{}
	for i := 0; i < len(s.Truth); i += max(1, step) {
		out.Truth = append(out.Truth, s.Truth[i])
		out.Result = append(out.Result, s.Result[i])
	}
	return out
}

// indexed is a sequence with identities renumbered from 0 and the overlap of
// every pair of boxes, as all three metrics want it.
type indexed struct {
	frames            []frame
	truthN, resultN   []int // boxes of each identity
	truths, results   int   // boxes in all
	truthID, resultID map[int64]int
}

type frame struct {
	truth, result []int     // identities
	iou           []float64 // len(truth)×len(result), row by row
}

var (
	errUneven = errors.New("truth and result differ in length")
	errTwice  = errors.New("an identity occurs twice in one frame")
)

func (s *Sequence) index() (*indexed, error) {
	if len(s.Truth) != len(s.Result) {
		return nil, fmt.Errorf("%w: %d and %d frames", errUneven, len(s.Truth), len(s.Result))
	}
	x := &indexed{frames: make([]frame, len(s.Truth)), truthID: map[int64]int{}, resultID: map[int64]int{}}
	for t := range x.frames {
		f := &x.frames[t]
		var err error
		if f.truth, x.truthN, err = renumber(s.Truth[t], x.truthID, x.truthN); err != nil {
			return nil, fmt.Errorf("truth, frame %d: %w", t+1, err)
		}
		if f.result, x.resultN, err = renumber(s.Result[t], x.resultID, x.resultN); err != nil {
			return nil, fmt.Errorf("result, frame %d: %w", t+1, err)
		}
		x.truths += len(f.truth)
		x.results += len(f.result)
		f.iou = make([]float64, 0, len(f.truth)*len(f.result))
		for _, a := range s.Truth[t] {
			for _, b := range s.Result[t] {
				f.iou = append(f.iou, a.Box.IoU(b.Box))
			}
		}
	}
	return x, nil
}

func renumber(objects []Object, ids map[int64]int, count []int) (numbers, counts []int, err error) {
	numbers = make([]int, 0, len(objects))
	here := make(map[int64]bool, len(objects))
	for _, o := range objects {
		if here[o.ID] {
			return nil, nil, fmt.Errorf("%w: %d", errTwice, o.ID)
		}
		here[o.ID] = true
		n, known := ids[o.ID]
		if !known {
			n = len(count)
			ids[o.ID] = n
			count = append(count, 0)
		}
		count[n]++
		numbers = append(numbers, n)
	}
	return numbers, count, nil
}

package second

import (
	"time"

	"github.com/xacam/xacam/vision"
)

// vote is what was seen of one track.
type vote struct {
	sums   []float64 // of the probabilities of each answer, by weight
	weight float64
	votes  int // answers
	looks  int // the ones that said nothing included
	asked  time.Time
	mark   vision.Mark // zero before the first answer
	marks  []vision.Mark
}

// memory is how much weight of old answers is kept: the rest fades, so that
// somebody who puts the helmet on is seen to.
const memory = 12.0

// add counts one answer: probabilities that add up to 1.
func (v *vote) add(p []float64, weight float64) {
	if v.sums == nil {
		v.sums = make([]float64, len(p))
	}
	if total := v.weight + weight; total > memory {
		keep := (memory - weight) / v.weight
		v.weight *= keep
		for i := range v.sums {
			v.sums[i] *= keep
		}
	}
	v.weight += weight
	for i := range p {
		v.sums[i] += weight * p[i]
	}
	v.votes++
}

// conclude works the mark out: the answer with the largest mean probability, or
// Unsure where it does not reach sure.
func (v *vote) conclude(name string, answers []string, sure float64) {
	best := 0
	for i := range v.sums {
		if v.sums[i] > v.sums[best] {
			best = i
		}
	}
	v.mark = vision.Mark{Name: name, Value: answers[best], Score: v.sums[best] / v.weight, Votes: v.votes}
	if v.mark.Score < sure {
		v.mark.Value = Unsure
	}
	v.marks = []vision.Mark{v.mark} // a new one: whoever has the old one keeps it
}

package reid

import "math"

// memory is how many crops an appearance is made of: older ones fade, so that it
// follows who turns round.
const memory = 8.0

// appearance is how an object looks: the mean direction of its crops. The zero
// value is of one that was not looked at.
type appearance struct {
	sum    []float64 // of directions, by weight
	weight float64
	crops  int
	asked  int64 // Unix nanoseconds of the latest attempt; 0 for none
}

// add takes one more crop, a direction of length 1.
func (a *appearance) add(v []float32) {
	if len(a.sum) != len(v) {
		a.sum, a.weight = make([]float64, len(v)), 0
	}
	a.fade(1)
	for i, x := range v {
		a.sum[i] += float64(x)
	}
	a.weight++
	a.crops++
}

// fade makes room for so much weight.
func (a *appearance) fade(weight float64) {
	if a.weight <= 0 || a.weight+weight <= memory {
		return
	}
	keep := max(0, memory-weight) / a.weight
	a.weight *= keep
	for i := range a.sum {
		a.sum[i] *= keep
	}
}

// join takes over what is known of the same object as another track.
func (a *appearance) join(b *appearance) {
	a.asked = max(a.asked, b.asked)
	if b.crops == 0 {
		return
	}
	if len(a.sum) != len(b.sum) {
		*a = *b
		return
	}
	a.fade(b.weight)
	for i := range a.sum {
		a.sum[i] += b.sum[i]
	}
	a.weight += b.weight
	a.crops += b.crops
}

// similarity returns the cosine of the angle between two appearances, in [-1,1];
// -1 where one is not known.
func (a *appearance) similarity(b *appearance) float64 {
	if a.crops == 0 || b.crops == 0 || len(a.sum) != len(b.sum) {
		return -1
	}
	var dot, aa, bb float64
	for i := range a.sum {
		dot += a.sum[i] * b.sum[i]
		aa += a.sum[i] * a.sum[i]
		bb += b.sum[i] * b.sum[i]
	}
	if aa <= 0 || bb <= 0 {
		return -1
	}
	return min(max(dot/math.Sqrt(aa*bb), -1), 1)
}

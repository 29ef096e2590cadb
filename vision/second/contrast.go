package second

import "math"

// contrast returns the standard deviation of the green channel of packed BGR,
// in 0 to 127.5: green is most of what is bright.
func contrast(bgr []byte) float64 {
	n := len(bgr) / 3
	if n == 0 {
		return 0
	}
	var sum, squares int
	for i := 1; i < len(bgr); i += 3 {
		v := int(bgr[i])
		sum += v
		squares += v * v
	}
	mean := float64(sum) / float64(n)
	return math.Sqrt(max(float64(squares)/float64(n)-mean*mean, 0))
}

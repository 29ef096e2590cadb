package geom

import (
	"math"
	"math/big"
)

// orient returns the sign of the cross product (b-a)×(c-a): with y down it is
// negative when c is on the left hand of someone walking from a to b, and 0
// when the three points are exactly on one line. The sign is exact: the
// floating point result is used where it cannot be wrong (error bound of
// J. R. Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust
// Geometric Predicates", 1997, stage A), else rational arithmetic decides. The
// points must be finite.
func orient(a, b, c Point) int {
	l := (a.X - c.X) * (b.Y - c.Y)
	r := (a.Y - c.Y) * (b.X - c.X)
	det := l - r
	const bound = 3.3306690738754716e-16 // (3+16ε)ε with ε = 2⁻⁵³
	if e := bound * (math.Abs(l) + math.Abs(r)); e > 1e-290 && (det > e || -det > e) {
		return sign(det)
	}
	return orientExact(a, b, c)
}

func orientExact(a, b, c Point) int {
	sub := func(x, y float64) *big.Rat {
		return new(big.Rat).Sub(new(big.Rat).SetFloat64(x), new(big.Rat).SetFloat64(y))
	}
	l := sub(a.X, c.X)
	l.Mul(l, sub(b.Y, c.Y))
	r := sub(a.Y, c.Y)
	r.Mul(r, sub(b.X, c.X))
	return l.Cmp(r)
}

func sign(x float64) int {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	default:
		return 0
	}
}

// meet reports whether the closed segments a-b and c-d share a point.
func meet(a, b, c, d Point) bool {
	o1, o2 := orient(a, b, c), orient(a, b, d)
	o3, o4 := orient(c, d, a), orient(c, d, b)
	if o1*o2 < 0 && o3*o4 < 0 {
		return true
	}
	return o1 == 0 && between(a, b, c) || o2 == 0 && between(a, b, d) ||
		o3 == 0 && between(c, d, a) || o4 == 0 && between(c, d, b)
}

// between reports whether p, known to be on the line through a and b, lies in
// the closed segment.
func between(a, b, p Point) bool {
	return min(a.X, b.X) <= p.X && p.X <= max(a.X, b.X) && min(a.Y, b.Y) <= p.Y && p.Y <= max(a.Y, b.Y)
}

package ort

import "math"

// number is an element type that is converted at the edge.
type number interface {
	~int8 | ~uint8 | ~int16 | ~uint16 | ~int32 | ~uint32 | ~int64 | ~uint64 | ~float64
}

// fromNumbers converts into dst, which is as long as src.
func fromNumbers[T number](dst []float32, src []T, q Quant) {
	if q.Scale == 0 || q == (Quant{Scale: 1}) {
		for i, v := range src {
			dst[i] = float32(v)
		}
		return
	}
	for i, v := range src {
		dst[i] = float32((float64(v) - q.Zero) * q.Scale)
	}
}

// toNumbers rounds src to the nearest numbers between lo and hi.
func toNumbers[T number](dst []T, src []float32, lo, hi float32) {
	for i, v := range src {
		dst[i] = T(math.RoundToEven(float64(min(max(v, lo), hi))))
	}
}

// toHalf converts to IEEE 754 binary16, to the nearest and ties to even.
func toHalf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign := uint16(bits>>16) & 0x8000
	bits &= 0x7fffffff
	switch {
	case bits > 0x7f800000: // not a number
		return sign | 0x7e00
	case bits >= 0x47800000: // 65536 and more
		return sign | 0x7c00
	case bits < 0x38800000: // below 2⁻¹⁴: adding ½ moves what is left of it to the end
		sum := math.Float32bits(math.Float32frombits(bits) + 0.5)
		return sign | uint16(sum-0x3f000000) //nolint:gosec // at most 1024
	}
	bits += 0xc8000fff + bits>>13&1 // exponent from 127 to 15, and half a unit less the tie
	return sign | uint16(bits>>13)  //nolint:gosec // at most 0x7c00
}

// fromHalf converts from IEEE 754 binary16, exactly.
func fromHalf(h uint16) float32 {
	const exponent = 0x7c00 << 13
	bits := uint32(h&0x7fff) << 13
	switch bits & exponent {
	case exponent: // infinite or not a number
		bits += (255 - 31) << 23
	case 0: // below 2⁻¹⁴
		bits = math.Float32bits(math.Float32frombits(bits+(113<<23)) - math.Float32frombits(113<<23))
	default:
		bits += (127 - 15) << 23
	}
	return math.Float32frombits(bits | uint32(h&0x8000)<<16)
}

func fromHalves(dst []float32, src []uint16) {
	for i, v := range src {
		dst[i] = fromHalf(v)
	}
}

func toHalves(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = toHalf(v)
	}
}

package ort

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHalf goes through every binary16: exact on the way out, the same on the
// way back, and every number between two neighbours goes to the nearer one.
func TestHalf(t *testing.T) {
	t.Parallel()
	for h := range 1 << 16 {
		v := fromHalf(uint16(h))
		sign, exponent, fraction := 1.0, h>>10&31, float64(h&1023)/1024
		if h>>15 == 1 {
			sign = -1
		}
		switch {
		case exponent == 31 && h&1023 != 0:
			require.True(t, math.IsNaN(float64(v)), "%#x", h)
			require.True(t, math.IsNaN(float64(fromHalf(toHalf(v)))), "%#x", h)
			continue
		case exponent == 31:
			require.True(t, math.IsInf(float64(v), int(sign)), "%#x", h)
		case exponent == 0:
			require.Equal(t, sign*math.Ldexp(fraction, -14), float64(v), "%#x", h)
		default:
			require.Equal(t, sign*math.Ldexp(1+fraction, exponent-15), float64(v), "%#x", h)
		}
		require.Equal(t, uint16(h), toHalf(v), "%#x", h)
		if h&0x7fff >= 0x7bff { // the largest number and what is above
			continue
		}
		next := fromHalf(uint16(h) + 1)
		mid := (float64(v) + float64(next)) / 2
		even := uint16(h) + uint16(h)&1
		require.Equal(t, even, toHalf(float32(mid)), "halfway after %#x", h)
		require.Equal(t, uint16(h), toHalf(float32(mid-(float64(next)-float64(v))/8)), "below halfway after %#x", h)
		require.Equal(t, uint16(h)+1, toHalf(float32(mid+(float64(next)-float64(v))/8)), "above halfway after %#x", h)
	}
	assert.Equal(t, uint16(0x7c00), toHalf(65520), "rounds to infinity")
	assert.Equal(t, uint16(0x7bff), toHalf(65519))
	assert.Equal(t, uint16(0xfc00), toHalf(-1e30))
	assert.Equal(t, uint16(0x8000), toHalf(float32(math.Copysign(1e-30, -1))))
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	got := make([]int8, 6)
	toNumbers(got, []float32{-200, -128, 0.5, 1.5, -1.2, 300}, math.MinInt8, math.MaxInt8)
	assert.Equal(t, []int8{-128, -128, 0, 2, -1, 127}, got)
	out := make([]float32, 3)
	fromNumbers(out, []uint8{0, 128, 255}, Quant{Scale: 0.5, Zero: 128})
	assert.Equal(t, []float32{-64, 0, 63.5}, out)
	fromNumbers(out, []int64{-3, 0, 91}, Quant{})
	assert.Equal(t, []float32{-3, 0, 91}, out)
}

// BenchmarkHalf is a 640×640 picture; budget 4 ms.
func BenchmarkHalf(b *testing.B) {
	src, dst := make([]float32, 3*640*640), make([]uint16, 3*640*640)
	for i := range src {
		src[i] = float32(i%256) / 255
	}
	b.ReportAllocs()
	for b.Loop() {
		toHalves(dst, src)
	}
}

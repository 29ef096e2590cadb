//go:build cgo

package prep_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/prep"
)

const (
	groundW = 320
	groundH = 240
)

// ground renders a place with texture as a camera sees it that was moved by dx,
// dy and turned by angle: BGR and grey.
func ground(dx, dy, angle float64) (bgr, gray []byte) {
	rng := rand.New(rand.NewPCG(5, 5))
	const cells = 64
	var level [cells * cells]float64
	for i := range level {
		level[i] = 40 + 170*rng.Float64()
	}
	sin, cos := math.Sincos(angle)
	for y := range groundH {
		for x := range groundW {
			px, py := float64(x)-groundW/2, float64(y)-groundH/2
			u := (cos*px-sin*py+dx+groundW/2)/9 + 16
			v := (sin*px+cos*py+dy+groundH/2)/9 + 16
			i, j := int(math.Floor(u)), int(math.Floor(v))
			fu, fv := u-float64(i), v-float64(j)
			at := func(a, b int) float64 { return level[(b&(cells-1))*cells+a&(cells-1)] }
			l := (at(i, j)*(1-fu)+at(i+1, j)*fu)*(1-fv) + (at(i, j+1)*(1-fu)+at(i+1, j+1)*fu)*fv
			gray = append(gray, byte(l))
			bgr = append(bgr, byte(l), byte(l), byte(l))
		}
	}
	return bgr, gray
}

func TestAlign(t *testing.T) {
	t.Parallel()
	unit := [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1}
	for name, c := range map[string]struct{ dx, dy, angle float64 }{
		"fixed": {}, "pole in the wind": {dx: 3.4, dy: -1.7, angle: .01}, "hand": {dx: -11, dy: 8, angle: .05},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, ref := ground(0, 0, 0)
			moved, gray := ground(c.dx, c.dy, c.angle)
			a, err := prep.NewAligner(groundW, groundH)
			require.NoError(t, err)
			n, err := a.Reference(ref, bytes.Repeat([]byte{255}, len(ref)))
			require.NoError(t, err)
			require.Greater(t, n, 60)
			m, share, err := a.Align(gray, unit)
			require.NoError(t, err)
			assert.Greater(t, share, .6)
			sin, cos := math.Sincos(c.angle)
			for _, p := range [][2]float64{{20, 20}, {300, 30}, {160, 120}, {40, 200}} {
				px, py := p[0]-groundW/2, p[1]-groundH/2
				w := m[6]*p[0] + m[7]*p[1] + m[8]
				assert.InDelta(t, cos*px-sin*py+c.dx+groundW/2, (m[0]*p[0]+m[1]*p[1]+m[2])/w, .5)
				assert.InDelta(t, sin*px+cos*py+c.dy+groundH/2, (m[3]*p[0]+m[4]*p[1]+m[5])/w, .5)
			}
			dst, outside := make([]byte, len(moved)), make([]byte, len(ref))
			require.NoError(t, a.Warp(dst, outside, moved, m))
			sum, inside := 0.0, 0
			for i, o := range outside {
				if o == 0 {
					sum, inside = sum+math.Abs(float64(dst[3*i])-float64(ref[i])), inside+1
				}
			}
			assert.Greater(t, inside, len(ref)*3/4)
			assert.Less(t, sum/float64(inside), 4.)
		})
	}
}

func TestAlignSaysNothing(t *testing.T) {
	t.Parallel()
	unit := [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1}
	a, err := prep.NewAligner(groundW, groundH)
	require.NoError(t, err)
	flat := bytes.Repeat([]byte{90}, groundW*groundH)
	n, err := a.Reference(flat, flat)
	require.NoError(t, err)
	assert.Zero(t, n, "no features in fog")
	_, share, err := a.Align(flat, unit)
	require.NoError(t, err)
	assert.Zero(t, share)
	_, ref := ground(0, 0, 0)
	n, err = a.Reference(ref, make([]byte, len(ref)))
	require.NoError(t, err)
	assert.Zero(t, n, "nothing may be used")
	_, err = a.Reference(ref, bytes.Repeat([]byte{1}, len(ref)))
	require.NoError(t, err)
	_, share, err = a.Align(flat, unit)
	require.NoError(t, err)
	assert.Zero(t, share)
	_, _, err = a.Align(flat[1:], unit)
	require.Error(t, err)
	_, _, err = a.Align(flat, [9]float64{})
	require.Error(t, err)
	_, err = prep.NewAligner(3, 3)
	require.Error(t, err)
}

// BenchmarkAlign is one picture of a fixed camera at the size that the search
// for still things works on. Budget: 3 ms.
func BenchmarkAlign(b *testing.B) {
	_, ref := ground(0, 0, 0)
	_, gray := ground(.2, .1, 0)
	a, err := prep.NewAligner(groundW, groundH)
	require.NoError(b, err)
	_, err = a.Reference(ref, bytes.Repeat([]byte{255}, len(ref)))
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := a.Align(gray, [9]float64{1, 0, 0, 0, 1, 0, 0, 0, 1}); err != nil {
			b.Fatal(err)
		}
	}
}

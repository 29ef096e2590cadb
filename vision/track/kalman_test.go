package track

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/geom"
)

// matrix is a small dense matrix for the textbook filter below.
type matrix [][]float64

func zeros(r, c int) matrix {
	m := make(matrix, r)
	for i := range m {
		m[i] = make([]float64, c)
	}
	return m
}

func (m matrix) mul(o matrix) matrix {
	out := zeros(len(m), len(o[0]))
	for i := range m {
		for j := range o[0] {
			for k := range o {
				out[i][j] += m[i][k] * o[k][j]
			}
		}
	}
	return out
}

func (m matrix) t() matrix {
	out := zeros(len(m[0]), len(m))
	for i := range m {
		for j := range m[0] {
			out[j][i] = m[i][j]
		}
	}
	return out
}

func (m matrix) add(o matrix, f float64) matrix {
	out := zeros(len(m), len(m[0]))
	for i := range m {
		for j := range m[0] {
			out[i][j] = m[i][j] + f*o[i][j]
		}
	}
	return out
}

// inverse is by Gauss–Jordan elimination.
func (m matrix) inverse() matrix {
	n := len(m)
	a := zeros(n, 2*n)
	for i := range n {
		copy(a[i], m[i])
		a[i][n+i] = 1
	}
	for i := range n {
		p := i
		for r := i; r < n; r++ {
			if math.Abs(a[r][i]) > math.Abs(a[p][i]) {
				p = r
			}
		}
		a[i], a[p] = a[p], a[i]
		d := a[i][i]
		for c := range a[i] {
			a[i][c] /= d
		}
		for r := range n {
			if f := a[r][i]; r != i {
				for c := range a[r] {
					a[r][c] -= f * a[i][c]
				}
			}
		}
	}
	out := zeros(n, n)
	for i := range n {
		copy(out[i], a[i][n:])
	}
	return out
}

// textbook is the Kalman filter as in the books: x=Fx, P=FPFᵀ+Q, K=PHᵀ(HPHᵀ+R)⁻¹
// with the state centre, size and their velocities, 8×8.
type textbook struct{ x, p matrix }

func startTextbook(z box, n [4]noise) *textbook {
	f := &textbook{x: zeros(8, 1), p: zeros(8, 8)}
	for i, v := range []float64{z.x, z.y, z.w, z.h} {
		f.x[i][0] = v
		f.p[i][i] = n[i].measure * n[i].measure
		f.p[i+4][i+4] = n[i].velocity * n[i].velocity
	}
	return f
}

// predict integrates the process noise numerically, so it shares no formula
// with the filter under test.
func (f *textbook) predict(dt float64, n [4]noise) {
	tr, q := zeros(8, 8), zeros(8, 8)
	for i := range 4 {
		tr[i][i], tr[i+4][i+4] = 1, math.Exp(-dt/n[i].fade)
		tr[i][i+4] = n[i].fade * (1 - tr[i+4][i+4])
		const steps = 2000
		q[i][i] = n[i].walk * n[i].walk * dt
		for k := range steps {
			left := dt * (float64(k) + 0.5) / steps // time from a push until dt
			v := math.Exp(-left / n[i].fade)
			p := n[i].fade * (1 - v)
			w := n[i].push * n[i].push * dt / steps
			q[i][i] += p * p * w
			q[i][i+4] += p * v * w
			q[i+4][i] += p * v * w
			q[i+4][i+4] += v * v * w
		}
	}
	f.x = tr.mul(f.x)
	f.p = tr.mul(f.p).mul(tr.t()).add(q, 1)
}

func (f *textbook) update(z box, n [4]noise) {
	h, r := zeros(4, 8), zeros(4, 4)
	y := zeros(4, 1)
	for i, v := range []float64{z.x, z.y, z.w, z.h} {
		h[i][i], r[i][i] = 1, n[i].measure*n[i].measure
		y[i][0] = v - f.x[i][0]
	}
	k := f.p.mul(h.t()).mul(h.mul(f.p).mul(h.t()).add(r, 1).inverse())
	f.x = f.x.add(k.mul(y), 1)
	f.p = f.p.add(k.mul(h).mul(f.p), -1)
}

func TestKalmanIsTheTextbookFilter(t *testing.T) {
	t.Parallel()
	z := box{0.4, 0.5, 0.1, 0.3}
	centre, size := noises(z.scale(), 1, 1)
	n := [4]noise{centre, centre, size, size}
	var k Kalman
	k.start(z, centre, size)
	book := startTextbook(z, n)
	for i, dt := range []float64{0.2, 1.0 / 30, 0.7, 0, 2.5, 0.1, 0.1} {
		k.predict(dt, centre, size)
		book.predict(dt, n)
		if i != 3 {
			z.x += 0.03 * dt * float64(i)
			z.y -= 0.02
			z.h *= 1.05
			k.update(z, centre, size)
			book.update(z, n)
		}
		for j, a := range []axis{k.x, k.y, k.w, k.h} {
			got := []float64{a.pos, a.vel, a.pp, a.pv, a.vv}
			want := []float64{book.x[j][0], book.x[j+4][0], book.p[j][j], book.p[j][j+4], book.p[j+4][j+4]}
			require.InDeltaSlice(t, want, got, 1e-6, "step %d coordinate %d", i, j)
		}
	}
	for i := range 8 {
		for j := range 8 {
			if i%4 != j%4 {
				assert.InDelta(t, 0, book.p[i][j], 1e-12, "coordinates are independent")
			}
		}
	}
}

// TestKalmanCountsSeconds: many short steps are one long one.
func TestKalmanCountsSeconds(t *testing.T) {
	t.Parallel()
	z := box{0.4, 0.5, 0.1, 0.3}
	centre, size := noises(z.scale(), 1, 1)
	var long, short Kalman
	long.start(z, centre, size)
	long.predict(0.1, centre, size)
	z.x += 0.02
	long.update(z, centre, size)
	short = long
	long.predict(0.9, centre, size)
	for range 27 {
		short.predict(0.9/27, centre, size)
	}
	for _, p := range [][2]axis{{long.x, short.x}, {long.h, short.h}} {
		assert.InDelta(t, p[0].pos, p[1].pos, 1e-12)
		assert.InDelta(t, p[0].vel, p[1].vel, 1e-12)
		assert.InDelta(t, p[0].pp, p[1].pp, 1e-12)
		assert.InDelta(t, p[0].pv, p[1].pv, 1e-12)
		assert.InDelta(t, p[0].vv, p[1].vv, 1e-12)
	}
}

func TestKalmanNeverTurnsInsideOut(t *testing.T) {
	t.Parallel()
	z := box{0.5, 0.5, 0.1, 0.3}
	centre, size := noises(z.scale(), 1, 1)
	var k Kalman
	k.start(z, centre, size)
	for range 20 {
		k.predict(0.2, centre, size)
		z.w, z.h = z.w*0.6, z.h*0.6
		k.update(z, centre, size)
	}
	k.predict(30, centre, size)
	b := k.box()
	assert.Positive(t, b.w)
	assert.Positive(t, b.h)
	for _, a := range []axis{k.x, k.y, k.w, k.h} {
		assert.Positive(t, a.pp)
		assert.Positive(t, a.vv)
		assert.LessOrEqual(t, a.pv*a.pv, a.pp*a.vv*(1+1e-9))
	}
}

func TestBoxUnits(t *testing.T) {
	t.Parallel()
	in := geom.Box{Min: geom.Point{X: 0.1, Y: 0.2}, Max: geom.Point{X: 0.3, Y: 0.6}}
	b := newBox(in, 2)
	assert.InDelta(t, 0.4, b.x, 1e-12)
	assert.InDelta(t, 0.4, b.w, 1e-12)
	assert.InDelta(t, 0.4, b.h, 1e-12)
	out := b.geom(2)
	assert.InDelta(t, 1, in.IoU(out), 1e-12)
	assert.InDelta(t, in.IoU(geom.Box{Min: geom.Point{X: 0.2, Y: 0.2}, Max: geom.Point{X: 0.5, Y: 0.7}}),
		overlap(b, newBox(geom.Box{Min: geom.Point{X: 0.2, Y: 0.2}, Max: geom.Point{X: 0.5, Y: 0.7}}, 2), 0, 0), 1e-12)
	edge := box{x: 1.95, y: 0.05, w: 0.4, h: 0.4}.geom(2)
	assert.Equal(t, geom.Point{X: 1, Y: 0.25}, edge.Max)
	assert.Equal(t, 0.0, edge.Min.Y)
}

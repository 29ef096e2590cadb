package still_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/still"
)

// claim is what an aligner says: that the picture lies m from where the
// reference was, or, of a camera that was turned, what is true.
type claim struct {
	m      [9]float64
	share  float64
	dx, dy float64 // by how much the camera was turned
	honest bool
}

// told is an aligner that says what it is told.
type told struct {
	*claim
	refX, refY float64
}

func (a *told) Reference([]byte, []byte) (int, error) {
	a.refX, a.refY = a.dx, a.dy
	return 60, nil
}

func (a *told) Align(_ []byte, guess [9]float64) ([9]float64, float64, error) {
	switch {
	case a.share == 0:
		return guess, 0, nil
	case a.honest:
		return move(a.dx-a.refX, a.dy-a.refY), a.share, nil
	}
	return a.m, a.share, nil
}

// Warp moves the picture by whole pixels.
func (*told) Warp(dst, outside, src []byte, m [9]float64) error {
	dx, dy := int(m[2]), int(m[5])
	for y := range high {
		for x := range wide {
			u, v := x-dx, y-dy
			outside[y*wide+x] = 255
			if u >= 2 && v >= 2 && u < wide-2 && v < high-2 {
				outside[y*wide+x] = 0
				copy(dst[3*(y*wide+x):3*(y*wide+x)+3], src[3*(v*wide+u):])
			}
		}
	}
	return nil
}

func move(dx, dy float64) [9]float64 { return [9]float64{1, 0, dx, 0, 1, dy, 0, 0, 1} }

func newAligned(t *testing.T, c *claim) *play {
	t.Helper()
	an, err := still.New(still.Config{NewAligner: func(int, int) (still.Aligner, error) { return &told{claim: c}, nil }})
	require.NoError(t, err)
	return &play{t: t, a: an, at: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC), ever: map[uint64]vision.Still{}}
}

// TestMotionThatIsNone: on a road without texture a few features agree by
// chance on a large motion, or none is found. The picture is where it was.
func TestMotionThatIsNone(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]func(a *claim, rng *rand.Rand){
		"chance agrees": func(a *claim, rng *rand.Rand) {
			a.m, a.share = [9]float64{1.2, 0, -40 + 8*rng.Float64(), 0, 1.2, -20 + 8*rng.Float64(), 0, 0, 1}, .5
		},
		"a view that cannot be": func(a *claim, rng *rand.Rand) {
			a.m, a.share = [9]float64{2, 0, -90, 0, 2, 90 * rng.Float64(), 0, 0, 1}, .5
		},
		"nothing agrees": func(a *claim, _ *rand.Rand) { a.share = 0 },
		"by turns": func(a *claim, rng *rand.Rand) {
			a.m, a.share = move(8+30*rng.Float64(), -6-12*rng.Float64()), []float64{0, .5, .2}[rng.IntN(3)]
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &claim{m: move(0, 0), share: .9}
			s, p, rng := newStreet(1), newAligned(t, a), rand.New(rand.NewPCG(4, 4))
			p.quiet(s, 1)
			says(a, rng)
			p.quiet(s, 5)
			for k := range 56 {
				says(a, rng)
				b, tr := person(7, 20+4*k, 112)
				if k < 25 {
					p.step(s.render(b), tr)
				} else {
					p.step(s.render(bag, b), tr)
				}
			}
			for range 5 * fps {
				says(a, rng)
				p.step(s.render(bag))
			}
			require.Len(t, p.last, 1)
			require.Len(t, p.ever, 1)
			want := geom.Box{Min: geom.Point{X: 122. / wide, Y: 96. / high}, Max: geom.Point{X: 134. / wide, Y: 110. / high}}
			assert.Greater(t, p.last[0].Box.IoU(want), .6, "%v", p.last[0].Box)
			require.NotNil(t, p.last[0].Actor)
		})
	}
}

// turned is the picture of a camera that was turned by so many pixels, to the
// right and down. What comes into the picture looks like its left side.
func turned(pic *picture, dx, dy int) *picture {
	out := &picture{bgr: append([]byte(nil), pic.bgr...)}
	for y := range high - dy {
		copy(out.bgr[3*y*wide:], pic.bgr[3*((y+dy)*wide+dx):3*(y+dy+1)*wide])
		copy(out.bgr[3*((y+1)*wide-dx):3*(y+1)*wide], pic.bgr[3*(y+dy)*wide:])
	}
	return out
}

// TestMotionThatIsOne: where the coarse picture shows it too, a camera that was
// turned is believed, and what lies there stays where it is.
func TestMotionThatIsOne(t *testing.T) {
	t.Parallel()
	a := &claim{share: .9, honest: true}
	s, p := newStreet(1), newAligned(t, a)
	p.quiet(s, 5)
	p.drop(s, 7)
	p.quiet(s, 2, bag)
	require.Len(t, p.last, 1)
	before := p.last[0]
	a.dx, a.dy = 12, 8
	for range 3 * fps {
		p.step(turned(s.render(bag), 12, 8))
		require.Len(t, p.last, 1)
		assert.Equal(t, before.ID, p.last[0].ID)
		want := before.Box
		want.Min.X, want.Max.X = want.Min.X-12./wide, want.Max.X-12./wide
		want.Min.Y, want.Max.Y = want.Min.Y-8./high, want.Max.Y-8./high
		assert.Greater(t, p.last[0].Box.IoU(want), .8)
	}
}

// TestBorderIsNoBackground: decoders leave a dark line along the picture's edge.
// Where the camera has been turned, it is not taken for what was there.
func TestBorderIsNoBackground(t *testing.T) {
	t.Parallel()
	a := &claim{share: .9, honest: true}
	s, p := newStreet(1), newAligned(t, a)
	dark := func(pic *picture) *picture {
		for y := range high {
			for k := range 6 {
				pic.bgr[3*(y+1)*wide-1-k] = 20
			}
		}
		return pic
	}
	for range 5 * fps {
		p.step(dark(s.render()))
	}
	a.dx = 16
	thing := block{x0: 230, y0: 96, x1: 240, y1: 110, b: 30, g: 30, r: 30}
	for k := range 10 * fps {
		if k < 20 {
			p.step(dark(turned(s.render(), 16, 0)))
		} else {
			p.step(dark(turned(s.render(thing), 16, 0)))
		}
	}
	require.Len(t, p.last, 1)
	want := geom.Box{Min: geom.Point{X: 214. / wide, Y: 96. / high}, Max: geom.Point{X: 224. / wide, Y: 110. / high}}
	assert.Greater(t, p.last[0].Box.IoU(want), .6, "%v", p.last[0].Box)
}

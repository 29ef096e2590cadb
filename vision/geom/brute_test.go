package geom

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// star returns a random polygon, mostly a concave one: vertices in the order of
// their direction from a point.
func star(t *testing.T, rng *rand.Rand) Polygon {
	t.Helper()
	for {
		n := 3 + rng.IntN(12)
		c, turn := Point{.3 + .4*rng.Float64(), .3 + .4*rng.Float64()}, 2*math.Pi*rng.Float64()
		pts := make([]Point, n)
		for i := range pts {
			a, r := turn+2*math.Pi*(float64(i)+.8*rng.Float64())/float64(n), .04+.26*rng.Float64()
			pts[i] = Point{c.X + r*math.Cos(a), c.Y + r*math.Sin(a)}
		}
		if rng.IntN(2) == 0 { // the other way around
			for i := range n / 2 {
				pts[i], pts[n-1-i] = pts[n-1-i], pts[i]
			}
		}
		if g, err := NewPolygon(pts...); err == nil {
			return g
		}
	}
}

// winds says whether p is inside by adding up the angles at which p sees the
// edges: another way than Contains goes.
func winds(g Polygon, p Point) bool {
	sum := 0.0
	for i, a := range g.pts {
		b := g.pts[(i+1)%len(g.pts)]
		ax, ay, bx, by := a.X-p.X, a.Y-p.Y, b.X-p.X, b.Y-p.Y
		sum += math.Atan2(ax*by-ay*bx, ax*bx+ay*by)
	}
	return math.Abs(sum) > math.Pi
}

// TestAgainstBruteForce compares what is computed with what counting points
// gives, on random polygons and boxes.
func TestAgainstBruteForce(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(11, 12))
	const grid = 200
	for range 30 {
		g := star(t, rng)
		inside := 0
		for y := range grid {
			for x := range grid {
				p := Point{(float64(x) + .5) / grid, (float64(y) + .5) / grid}
				in := g.Contains(p)
				if in {
					inside++
				}
				if in != winds(g, p) {
					require.Less(t, g.EdgeDistance(p, Point{}), 1e-9, "%v of %v", p, g.pts)
				}
			}
		}
		assert.InDelta(t, g.Area(), float64(inside)/grid/grid, .003)
		for range 6 {
			b := Box{Point{rng.Float64(), rng.Float64()}, Point{}}
			b.Max = Point{b.Min.X + .5*rng.Float64(), b.Min.Y + .5*rng.Float64()}
			other := Box{Point{rng.Float64(), rng.Float64()}, Point{1.2 * rng.Float64(), 1.2 * rng.Float64()}}
			of, either, both := 0, 0, 0
			for y := range grid {
				for x := range grid {
					// Beyond the border Contains counts as on it, ShareOf does not.
					p := Point{b.Min.X + (float64(x)+.5)/grid*b.Width(), b.Min.Y + (float64(y)+.5)/grid*b.Height()}
					if p.InPicture() && g.Contains(p) {
						of++
					}
					q := Point{1.5 * (float64(x) + .5) / grid, 1.5 * (float64(y) + .5) / grid}
					u, v := holds(b, q), holds(other, q)
					if u || v {
						either++
					}
					if u && v {
						both++
					}
				}
			}
			assert.InDelta(t, float64(of)/grid/grid, g.ShareOf(b), .01, "%v in %v", b, g.pts)
			if either > 0 {
				assert.InDelta(t, float64(both)/float64(either), b.IoU(other), .03, "%v %v", b, other)
			}
		}
	}
}

func holds(b Box, p Point) bool {
	return p.X >= b.Min.X && p.X < b.Max.X && p.Y >= b.Min.Y && p.Y < b.Max.Y
}

// TestDistanceAgainstBruteForce walks along the edges.
func TestDistanceAgainstBruteForce(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(13, 14))
	for range 200 {
		g := star(t, rng)
		p, unit := Point{rng.Float64(), rng.Float64()}, Point{.05 + rng.Float64(), .05 + rng.Float64()}
		nearest := math.Inf(1)
		const steps = 2000
		for i, a := range g.pts {
			b := g.pts[(i+1)%len(g.pts)]
			for k := range steps + 1 {
				f := float64(k) / steps
				nearest = min(nearest, math.Hypot((a.X+f*(b.X-a.X)-p.X)/unit.X, (a.Y+f*(b.Y-a.Y)-p.Y)/unit.Y))
			}
		}
		assert.InDelta(t, nearest, g.EdgeDistance(p, unit), .02)
		if g.Contains(p) {
			assert.Zero(t, g.Distance(p, unit))
		} else {
			assert.InDelta(t, nearest, g.Distance(p, unit), .02)
		}
	}
}

func TestShareOf(t *testing.T) {
	t.Parallel()
	g := poly(t, .2, .2, .6, .2, .6, .6, .2, .6)
	for name, c := range map[string]struct {
		box  Box
		want float64
	}{
		"inside":          {Box{Point{.3, .3}, Point{.4, .5}}, 1},
		"outside":         {Box{Point{.7, .3}, Point{.8, .5}}, 0},
		"half":            {Box{Point{.5, .3}, Point{.7, .5}}, .5},
		"a corner":        {Box{Point{.5, .5}, Point{.7, .7}}, .25},
		"around it":       {Box{Point{0, 0}, Point{.8, .8}}, .25},
		"the same":        {Box{Point{.2, .2}, Point{.6, .6}}, 1},
		"touches":         {Box{Point{.6, .2}, Point{.8, .6}}, 0},
		"a point inside":  {Box{Point{.3, .3}, Point{.3, .3}}, 1},
		"a point outside": {Box{Point{.7, .3}, Point{.7, .3}}, 0},
		"NaN":             {Box{Point{math.NaN(), .3}, Point{.7, .3}}, 0},
	} {
		assert.InDelta(t, c.want, g.ShareOf(c.box), 1e-12, name)
	}
	assert.Zero(t, Polygon{}.ShareOf(Box{Point{0, 0}, Point{1, 1}}))
	two := poly(t, 0, 0, 1, 0, 1, 1, .8, 1, .8, .2, .2, .2, .2, 1, 0, 1) // a gate
	assert.InDelta(t, .4, two.ShareOf(Box{Point{0, .5}, Point{1, .9}}), 1e-12, "two parts")
}

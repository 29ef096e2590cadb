package geom

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func poly(t *testing.T, xy ...float64) Polygon {
	t.Helper()
	g, err := NewPolygon(points(xy)...)
	require.NoError(t, err)
	return g
}

func points(xy []float64) []Point {
	var pts []Point
	for i := 0; i+1 < len(xy); i += 2 {
		pts = append(pts, Point{xy[i], xy[i+1]})
	}
	return pts
}

func TestNewPolygon(t *testing.T) {
	t.Parallel()
	many := make([]float64, 0, 402)
	for i := range 201 {
		a := 2 * math.Pi * float64(i) / 201
		many = append(many, .5+.4*math.Cos(a), .5+.4*math.Sin(a))
	}
	for _, tt := range []struct {
		name string
		xy   []float64
		want string // part of the error, "" for none
	}{
		{"triangle", []float64{0, 0, 1, 0, 0, 1}, ""},
		{"whole picture", []float64{0, 0, 1, 0, 1, 1, 0, 1}, ""},
		{"closed by hand", []float64{0, 0, 1, 0, 1, 1, 0, 1, 0, 0}, ""},
		{"rounding beyond the border", []float64{-1e-9, 0, 1.0000001, 0, 1, 1, 0, 1}, ""},
		{"concave", []float64{0, 0, 1, 0, 1, 1, .5, .2, 0, 1}, ""},
		{"straight angle", []float64{0, 0, .5, 0, 1, 0, 1, 1}, ""},
		{"200 points", many[:400], ""},
		{"201 points", many, "at most 200"},
		{"none", nil, "0 points"},
		{"two points", []float64{0, 0, 1, 1}, "2 points"},
		{"two points, closed", []float64{0, 0, 1, 1, 0, 0}, "no area"},
		{"NaN", []float64{0, 0, 1, 0, 1, math.NaN()}, "point 3 is outside"},
		{"infinite", []float64{0, 0, math.Inf(1), 0, 1, 1}, "point 2 is outside"},
		{"pixels", []float64{0, 0, 1920, 0, 1920, 1080}, "point 2 is outside"},
		{"on one line", []float64{0, 0, .5, .5, 1, 1}, "no area"},
		{"bow tie", []float64{0, 0, 1, 1, 1, 0, 0, .8}, "edges 1 and 3"},
		{"point twice", []float64{0, 0, 1, 0, 1, 0, 1, 1}, "at point 2"},
		{"touches itself", []float64{0, 0, 1, 0, .5, .5, 1, 1, 0, 1, .5, .5}, "cross or touch"},
		{"spike", []float64{0, 0, 1, 0, .5, 0, .5, 1}, "at point 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewPolygon(points(tt.xy)...)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestContains(t *testing.T) {
	t.Parallel()
	square := poly(t, .2, .2, .8, .2, .8, .8, .2, .8)
	assert.True(t, square.Contains(Point{.5, .5}))
	assert.False(t, square.Contains(Point{.1, .5}))
	assert.True(t, square.Contains(Point{.2, .2}), "top left belongs to it")
	assert.False(t, square.Contains(Point{.8, .8}), "bottom right does not")
	assert.False(t, square.Contains(Point{math.NaN(), .5}))
	assert.False(t, Polygon{}.Contains(Point{.5, .5}))
	assert.InDelta(t, .36, square.Area(), 1e-12)
	assert.Equal(t, Box{Point{.2, .2}, Point{.8, .8}}, square.Bounds())

	bottom := poly(t, .2, .5, 1, .5, 1, 1, .2, 1)
	assert.True(t, bottom.Contains(Point{.5, 1}), "a foot on the bottom border")
	assert.True(t, bottom.Contains(Point{1, 1}))
	assert.True(t, bottom.Contains(Point{.5, 1.02}), "a predicted foot below the picture")
	assert.False(t, bottom.Contains(Point{.1, 1}))
}

// TestTiling holds Contains to its promise: every point is in exactly one tile,
// vertices and edges included.
func TestTiling(t *testing.T) {
	t.Parallel()
	c := Point{.37, .61}
	ring := points([]float64{0, 0, .3, 0, 1, 0, 1, .7, 1, 1, .45, 1, 0, 1, 0, .2})
	var tiles []Polygon
	for i, p := range ring {
		q := ring[(i+1)%len(ring)]
		g, err := NewPolygon(c, p, q)
		if i%2 == 1 { // both directions of rotation
			g, err = NewPolygon(q, p, c)
		}
		require.NoError(t, err)
		tiles = append(tiles, g)
	}
	r := rand.New(rand.NewPCG(1, 2))
	check := func(p Point) {
		n := 0
		for _, g := range tiles {
			if g.Contains(p) {
				n++
			}
		}
		require.Equal(t, 1, n, "%v", p)
	}
	check(c)
	for i, p := range ring {
		q := ring[(i+1)%len(ring)]
		for range 200 {
			u := r.Float64()
			check(Point{r.Float64(), r.Float64()})
			check(Point{c.X + u*(p.X-c.X), c.Y + u*(p.Y-c.Y)})
			check(Point{p.X + u*(q.X-p.X), p.Y + u*(q.Y-p.Y)})
		}
		check(p)
	}
}

func TestSideAndCrosses(t *testing.T) {
	t.Parallel()
	right := Segment{Point{.1, .5}, Point{.9, .5}} // walked to the right: the left hand points up
	assert.Equal(t, SideA, right.Side(Point{.5, .2}))
	assert.Equal(t, SideB, right.Side(Point{.5, .8}))
	assert.Equal(t, OnIt, right.Side(Point{.95, .5}))
	down := Segment{Point{.5, .1}, Point{.5, .9}} // walked down: the left hand points to the right of the picture
	assert.Equal(t, SideA, down.Side(Point{.8, .5}))
	assert.Equal(t, SideB, down.Side(Point{.2, .5}))

	for _, tt := range []struct {
		name      string
		prev, now Point
		want      Direction
	}{
		{"downwards", Point{.5, .4}, Point{.5, .6}, AToB},
		{"upwards", Point{.5, .6}, Point{.5, .4}, BToA},
		{"far jump", Point{.2, .1}, Point{.8, .9}, AToB},
		{"no move", Point{.5, .5}, Point{.5, .5}, NoCrossing},
		{"stays above", Point{.2, .4}, Point{.8, .4}, NoCrossing},
		{"beyond the end", Point{.95, .4}, Point{.95, .6}, NoCrossing},
		{"just beyond the end", Point{.9000001, .4}, Point{.9000001, .6}, NoCrossing},
		{"just before the end", Point{.8999999, .4}, Point{.8999999, .6}, AToB},
		{"arrives from a", Point{.5, .4}, Point{.5, .5}, NoCrossing},
		{"leaves to b", Point{.5, .5}, Point{.5, .6}, AToB},
		{"arrives from b", Point{.5, .6}, Point{.5, .5}, BToA},
		{"leaves to a", Point{.5, .5}, Point{.5, .4}, NoCrossing},
		{"runs along", Point{.2, .5}, Point{.8, .5}, NoCrossing},
		{"runs past the end", Point{.8, .5}, Point{1, .5}, NoCrossing},
		{"NaN", Point{.5, math.NaN()}, Point{.5, .6}, NoCrossing},
		{"huge", Point{.5, -1e308}, Point{.5, 1e308}, AToB},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tt.want, right.Crosses(tt.prev, tt.now))
		})
	}
	assert.Equal(t, "a_to_b b_to_a none", AToB.String()+" "+BToA.String()+" "+NoCrossing.String())
}

// TestJoinedSegments: a path through the common end crosses exactly one.
func TestJoinedSegments(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		grid := func() Point { return Point{float64(r.IntN(7)+1) / 8, float64(r.IntN(9)) / 8} }
		// A line from left to right with a bend at v.
		v := Point{.5, float64(r.IntN(7)+1) / 8}
		l, e := Segment{Point{0, .5}, v}, Segment{v, Point{1, .5}}
		above, below := Point{grid().X, -1}, Point{grid().X, 2}
		n := int(l.Crosses(above, below)) + int(e.Crosses(above, below))
		require.Equal(t, 1, n, "%v %v %v", v, above, below)
		// The same in two steps, with a stop anywhere, on the line too.
		stop := grid()
		n = 0
		for _, s := range []Segment{l, e} {
			n += int(s.Crosses(above, stop)) + int(s.Crosses(stop, below))
		}
		require.Equal(t, 1, n, "%v %v %v %v", v, above, stop, below)
	}
}

// TestCrossesAgainstContains: on a coarse grid, full of degenerate cases, a
// path between two points off the border crosses it an odd number of times if
// and only if one of them is inside.
func TestCrossesAgainstContains(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	grid := func() Point { return Point{float64(r.IntN(9)) / 8, float64(r.IntN(9)) / 8} }
	done := 0
	for done < 20000 {
		g, err := NewPolygon([]Point{grid(), grid(), grid(), grid(), grid()}[:3+r.IntN(3)]...)
		if err != nil {
			continue
		}
		p, q := grid(), grid()
		v := g.Vertices()
		crossings, onBorder := 0, false
		for i := range v {
			s := Segment{v[i], v[(i+1)%len(v)]}
			for _, x := range []Point{p, q} {
				onBorder = onBorder || s.Side(x) == OnIt && between(s.From, s.To, x)
			}
			crossings += int(s.Crosses(p, q)) & 1
		}
		if onBorder {
			continue
		}
		done++
		require.Equal(t, g.Contains(p) != g.Contains(q), crossings%2 == 1, "%v: %v to %v", v, p, q)
	}
}

// TestOrientExact compares the filtered predicate with rational arithmetic near
// the line, where the plain product fails.
func TestOrientExact(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		a, b := Point{r.Float64(), r.Float64()}, Point{r.Float64(), r.Float64()}
		u := r.Float64()
		c := Point{a.X + u*(b.X-a.X), a.Y + u*(b.Y-a.Y)}
		require.Equal(t, orientExact(a, b, c), orient(a, b, c))
		require.Equal(t, -orient(a, b, c), orient(b, a, c))
	}
	assert.Equal(t, 1, orient(Point{0, 0}, Point{1e-200, 1e-200}, Point{1e-200, 2e-200}), "no underflow")
}

func TestDepthAndDistance(t *testing.T) {
	t.Parallel()
	s := Segment{Point{.1, .5}, Point{.9, .5}}
	assert.InDelta(t, -.3, s.Depth(Point{.5, .2}, Point{1, 1}), 1e-12)
	assert.InDelta(t, 1.5, s.Depth(Point{.5, .8}, Point{.1, .2}), 1e-12, "1.5 box heights past the line")
	assert.InDelta(t, .5, s.Distance(Point{.95, .5}, Point{.1, 1}), 1e-12)
	g := poly(t, 0, 0, .5, 0, .5, .5, 0, .5)
	assert.Zero(t, g.Distance(Point{.1, .1}, Point{}))
	assert.InDelta(t, .1, g.Distance(Point{.6, .2}, Point{}), 1e-12)
	assert.InDelta(t, .5, g.Distance(Point{.6, .2}, Point{.2, 1}), 1e-12)
}

func TestNewSegment(t *testing.T) {
	t.Parallel()
	_, err := NewSegment(Point{0, 0}, Point{1, 1})
	require.NoError(t, err)
	_, err = NewSegment(Point{0, 0}, Point{0, 1e-9})
	require.ErrorIs(t, err, ErrDegenerate)
	_, err = NewSegment(Point{0, 0}, Point{0, math.NaN()})
	require.ErrorIs(t, err, ErrOutside)
	_, err = NewSegment(Point{-1, 0}, Point{0, 0})
	require.ErrorIs(t, err, ErrOutside)
}

func TestHomography(t *testing.T) {
	t.Parallel()
	image := [4]Point{{.4, .3}, {.6, .3}, {.9, .9}, {.1, .9}}
	ground := [4]Point{{0, 20}, {6, 20}, {6, 0}, {0, 0}}
	h, err := NewHomography(image, ground)
	require.NoError(t, err)
	for i := range image {
		p, ok := h.Map(image[i])
		require.True(t, ok)
		assert.InDelta(t, ground[i].X, p.X, 1e-9)
		assert.InDelta(t, ground[i].Y, p.Y, 1e-9)
	}
	mid, ok := h.Map(Point{.5, .5}) // the axis of symmetry stays one
	require.True(t, ok)
	assert.InDelta(t, 3, mid.X, 1e-9)
	_, ok = h.Map(Point{.5, .05})
	assert.False(t, ok, "above the horizon (y = 0.1)")
	assert.True(t, Homography{}.IsZero())

	for name, bad := range map[string][4]Point{
		"three on a line": {{0, 0}, {.5, 0}, {1, 0}, {0, 1}},
		"one point":       {{.5, .5}, {.5, .5}, {.5, .5}, {.5, .5}},
		"crossed":         {{0, 0}, {1, 1}, {1, 0}, {0, 1}},
		"NaN":             {{0, 0}, {1, 0}, {1, math.NaN()}, {0, 1}},
		"huge":            {{-1e308, 0}, {1e308, 0}, {1e308, 1e308}, {0, 1e308}},
	} {
		_, err := NewHomography(bad, ground)
		require.ErrorIs(t, err, ErrCalibration, name)
		_, err = NewHomography(image, bad)
		require.ErrorIs(t, err, ErrCalibration, name)
	}
}

// TestHomographyRandom maps back and forth through random convex quadrangles.
func TestHomographyRandom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	quad := func(size float64) [4]Point {
		j := func(x, y float64) Point { return Point{size * (x + .3*r.Float64()), size * (y + .3*r.Float64())} }
		return [4]Point{j(0, 0), j(.7, 0), j(.7, .7), j(0, .7)}
	}
	for range 2000 {
		a, b := quad(1), quad(50)
		h, err := NewHomography(a, b)
		require.NoError(t, err)
		back, err := NewHomography(b, a)
		require.NoError(t, err)
		p := Point{.5, .5}
		q, ok := h.Map(p)
		require.True(t, ok)
		p2, ok := back.Map(q)
		require.True(t, ok)
		require.InDelta(t, p.X, p2.X, 1e-6)
		require.InDelta(t, p.Y, p2.Y, 1e-6)
	}
}

func TestBox(t *testing.T) {
	t.Parallel()
	b := Box{Point{.2, .2}, Point{.4, .6}}
	assert.InDelta(t, .08, b.Area(), 1e-12)
	assert.InDelta(t, 1, b.IoU(b), 1e-12)
	assert.Zero(t, b.IoU(Box{Point{.5, .5}, Point{.6, .6}}))
	assert.Zero(t, Box{}.IoU(Box{}))
	assert.InDelta(t, .3, b.Foot().X, 1e-12)
	assert.InDelta(t, .6, b.Foot().Y, 1e-12)
	assert.InDelta(t, .4, b.Center().Y, 1e-12)
	assert.Zero(t, Box{Point{1, 1}, Point{0, 0}}.Area())
}

func FuzzGeometry(f *testing.F) {
	f.Add(0., 0., 1., 0., 1., 1., 0., 1., .5, .5)
	f.Add(0., 0., 1., 1., 1., 0., 0., 1., math.NaN(), math.Inf(1))
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i, x, y float64) {
		q := [4]Point{{a, b}, {c, d}, {e, g}, {h, i}}
		p := Point{x, y}
		if z, err := NewPolygon(q[:]...); err == nil {
			in := z.Contains(p)
			if dist := z.Distance(p, Point{}); in != (dist == 0) && p.InPicture() && dist > 1e-12 {
				t.Fatalf("inside %v, distance %v", in, dist)
			}
		}
		if s, err := NewSegment(q[0], q[1]); err == nil {
			if s.Crosses(q[2], p) != -s.Crosses(p, q[2]) {
				t.Fatal("not symmetric")
			}
			s.Depth(p, q[3])
		}
		if m, err := NewHomography(q, [4]Point{{0, 0}, {6, 0}, {6, 20}, {0, 20}}); err == nil {
			m.Map(p)
		}
	})
}

func BenchmarkContains(b *testing.B) {
	pts := make([]Point, 50)
	for i := range pts {
		a := 2 * math.Pi * float64(i) / 50
		pts[i] = Point{.5 + .4*math.Cos(a), .5 + .4*math.Sin(a)}
	}
	g, err := NewPolygon(pts...)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		g.Contains(Point{.51, .49})
	}
}

package motion_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/motion"
)

const w, h = 160, 90

// scene draws a textured background with noise, a shift of brightness and an
// optional dark rectangle.
type scene struct {
	rng   *rand.Rand
	noise float64 // standard deviation, grey levels
	shift int
	gain  float64
}

func (s *scene) picture(x0, y0, x1, y1 int) []byte {
	px := make([]byte, w*h)
	for i := range px {
		x, y := i%w, i/w
		v := 90 + float64((x*7+y*13)%60) + float64(x)/4
		if x >= x0 && x < x1 && y >= y0 && y < y1 {
			v = 30
		}
		if s.gain != 0 {
			v *= s.gain
		}
		v += float64(s.shift) + s.rng.NormFloat64()*s.noise
		px[i] = byte(min(max(v, 0), 255))
	}
	return px
}

func gate(tb testing.TB, cfg motion.Config) *motion.Gate {
	tb.Helper()
	g, err := motion.New(cfg)
	require.NoError(tb, err)
	return g
}

func step(tb testing.TB, g *motion.Gate, px []byte) motion.Change {
	tb.Helper()
	c, err := g.Step(px)
	require.NoError(tb, err)
	return c
}

func TestQuietPicturesStayQuiet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		noise float64
		light func(i int) (shift int, gain float64)
	}{
		"clean":                    {0, nil},
		"day":                      {2, nil},
		"night, noisy":             {8, nil},
		"flickering lamp":          {2, func(i int) (int, float64) { return []int{0, 12, -9}[i%3], 1 }},
		"exposure":                 {2, func(i int) (int, float64) { return 0, []float64{1, 1.06, 0.95}[i%3] }},
		"sunset, one level a step": {2, func(i int) (int, float64) { return -i / 2, 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, motion.Config{})
			s := &scene{rng: rand.New(rand.NewPCG(1, 2)), noise: c.noise}
			require.True(t, step(t, g, s.picture(0, 0, 0, 0)).Changed, "the first")
			for i := range 100 {
				if c.light != nil {
					s.shift, s.gain = c.light(i)
				}
				require.False(t, step(t, g, s.picture(0, 0, 0, 0)).Changed, "picture %d", i)
			}
		})
	}
}

func TestObjectsAreNoticed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		noise      float64
		wide, high int
	}{
		"person far away": {2, 4, 9},
		"person at night": {6, 6, 14},
		"car":             {2, 30, 18},
		"large truck":     {2, 60, 80},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := gate(t, motion.Config{})
			s := &scene{rng: rand.New(rand.NewPCG(3, 4)), noise: c.noise}
			step(t, g, s.picture(0, 0, 0, 0))
			ch := step(t, g, s.picture(40, 0, 40+c.wide, c.high))
			require.True(t, ch.Changed)
			var hit bool
			for _, r := range ch.Regions {
				hit = hit || r.Min.X <= 44./w && r.Max.X >= 44./w && r.Min.Y <= 4./h
				require.True(t, r.Min.X >= 0 && r.Max.X <= 1 && r.Min.Y >= 0 && r.Max.Y <= 1)
			}
			require.True(t, hit, "%+v", ch.Regions)
			require.False(t, step(t, g, s.picture(40, 0, 40+c.wide, c.high)).Changed, "it stands still")
			require.True(t, step(t, g, s.picture(0, 0, 0, 0)).Changed, "it is gone")
		})
	}
}

// TestSlowObject moves a pixel every fourth picture: no two neighbours differ
// by much, but the object must not slip through.
func TestSlowObject(t *testing.T) {
	t.Parallel()
	g := gate(t, motion.Config{})
	s := &scene{rng: rand.New(rand.NewPCG(5, 6)), noise: 1}
	step(t, g, s.picture(20, 30, 28, 50))
	noticed := 0
	for i := range 100 {
		if step(t, g, s.picture(20+i/4, 30, 28+i/4, 50)).Changed {
			noticed++
		}
	}
	assert.GreaterOrEqual(t, noticed, 5)
}

func TestMask(t *testing.T) {
	t.Parallel()
	left, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 0.5}, geom.Point{X: 0.5, Y: 1}, geom.Point{Y: 1})
	require.NoError(t, err)
	g := gate(t, motion.Config{Masks: []geom.Polygon{left}})
	s := &scene{rng: rand.New(rand.NewPCG(7, 8)), noise: 1}
	step(t, g, s.picture(0, 0, 0, 0))
	require.False(t, step(t, g, s.picture(10, 10, 60, 60)).Changed)
	require.True(t, step(t, g, s.picture(100, 10, 120, 60)).Changed)

	all, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{Y: 1})
	require.NoError(t, err)
	g = gate(t, motion.Config{Masks: []geom.Polygon{all}})
	step(t, g, s.picture(0, 0, 0, 0))
	require.False(t, step(t, g, s.picture(0, 0, w, h)).Changed)
}

func TestGlobal(t *testing.T) {
	t.Parallel()
	g := gate(t, motion.Config{})
	s := &scene{rng: rand.New(rand.NewPCG(9, 9)), noise: 1}
	step(t, g, s.picture(0, 0, 0, 0))
	px := make([]byte, w*h) // an unlike picture: the camera was turned
	for i := range px {
		px[i] = byte(i * i >> 3)
	}
	c := step(t, g, px)
	require.True(t, c.Changed)
	g.Reset()
	require.True(t, step(t, g, px).Global)
	gw, gh := g.Size()
	require.Equal(t, []int{w, h}, []int{gw, gh})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]motion.Config{
		"tiny":  {Width: 8, Height: 8},
		"huge":  {Width: 4096, Height: 2160},
		"one":   {Width: 160},
		"noise": {Noise: 99},
		"area":  {MinArea: -1},
	} {
		_, err := motion.New(c)
		require.ErrorContains(t, err, "motion gate", name)
	}
	_, err := gate(t, motion.Config{}).Step(make([]byte, 5))
	require.ErrorContains(t, err, "5 bytes, not 14400")
}

// BenchmarkStep looks at quiet 160×90 pictures; budget 0.1 ms, no allocation.
func BenchmarkStep(b *testing.B) {
	g := gate(b, motion.Config{})
	s := &scene{rng: rand.New(rand.NewPCG(1, 2)), noise: 2}
	px := [2][]byte{s.picture(0, 0, 0, 0), s.picture(0, 0, 0, 0)}
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadCPU(b)
	for i := 0; b.Loop(); i++ {
		if _, err := g.Step(px[i%2]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((threadCPU(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
}

// threadCPU is the CPU time of the calling thread, which other load on the
// machine disturbs less than the clock.
func threadCPU(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_THREAD, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package tamper_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/tamper"
)

const (
	w    = tamper.Width
	h    = tamper.Height
	look = 400 * time.Millisecond
)

func start() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

// street draws houses with windows, a kerb, a road with lines and a tree, as a
// camera sees them by day, without noise.
func street() []float64 {
	p := make([]float64, w*h)
	fill := func(x0, y0, x1, y1 int, v float64) {
		for y := max(y0, 0); y < min(y1, h); y++ {
			for x := max(x0, 0); x < min(x1, w); x++ {
				p[y*w+x] = v
			}
		}
	}
	fill(0, 0, w, h, 190)
	for i := range 7 {
		left, top := i*w/7, 30+(i*37)%25
		fill(left, top, left+w/7-4, h/2, 90+float64(i*13%70))
		for r := range 3 {
			for c := range 3 {
				fill(left+6+c*15, top+8+r*20, left+14+c*15, top+20+r*20, 40+float64((i+r+c)%3*25))
			}
		}
	}
	fill(0, h/2, w, h, 110)
	fill(0, h/2, w, h/2+12, 150)
	for x := 0; x < w; x += 48 {
		fill(x, h*3/4, x+26, h*3/4+4, 215)
		fill(x+10, h/2+12, x+12, h/2+30, 75)
		fill(x, h-25, x+40, h-22, 80)
	}
	rng := rand.New(rand.NewPCG(3, 4)) // a tree
	for range 300 {
		x, y := 300+rng.IntN(60), 30+rng.IntN(60)
		fill(x, y, x+4, y+3, 30+float64(rng.IntN(60)))
	}
	return p
}

// film is a sequence of pictures, each a change of the street.
type film struct {
	tb    testing.TB
	w     *tamper.Watcher
	base  []float64
	noise float64
	gauss []float64
	rng   *rand.Rand
	at    time.Time
	step  time.Duration
	seen  []string // faults of each look, "" for none
}

func newFilm(tb testing.TB, cfg tamper.Config) *film {
	tb.Helper()
	watcher, err := tamper.New(cfg)
	require.NoError(tb, err)
	return &film{tb: tb, w: watcher, base: street(), noise: 3, gauss: gaussian(), rng: rand.New(rand.NewPCG(1, 2)), at: start(), step: look}
}

// gaussian is noise of which films use pieces: drawing it takes long.
func gaussian() []float64 {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]float64, 2*w*h)
	for i := range out {
		out[i] = rng.NormFloat64()
	}
	return out
}

type edit func(i int, p []float64)

// play shows the street for d, changed by the edits, and returns the kinds of
// faults that were reported at its end.
func (f *film) play(d time.Duration, edits ...edit) string {
	f.tb.Helper()
	p, gray := make([]float64, w*h), make([]byte, w*h)
	last := ""
	for i := range int(d / f.step) {
		copy(p, f.base)
		for _, e := range edits {
			e(i, p)
		}
		grain := f.rng.IntN(len(f.gauss) - len(p))
		for j, v := range p {
			gray[j] = uint8(min(max(v+f.noise*f.gauss[grain+j]+.5, 16), 235))
		}
		require.NoError(f.tb, f.w.Look(f.at, gray))
		f.at = f.at.Add(f.step)
		var kinds []string
		for _, v := range f.w.Faults() {
			if v.Score >= .5 {
				kinds = append(kinds, v.Kind)
			}
			assert.True(f.tb, v.Score >= 0 && v.Score <= 1)
			assert.False(f.tb, v.Since.After(f.at))
		}
		last = strings.Join(kinds, " ")
		f.seen = append(f.seen, last)
	}
	return last
}

// traffic drives a car and a truck past.
func traffic(i int, p []float64) {
	box(p, i*9%(w+60)-60, 150, 60, 35, 60)
	box(p, w-i*5%(w+90), 115, 90, 60, 170)
}

func box(p []float64, x0, y0, bw, bh int, v float64) {
	for y := max(y0, 0); y < min(y0+bh, h); y++ {
		for x := max(x0, 0); x < min(x0+bw, w); x++ {
			p[y*w+x] = v + float64((x-x0)/8%2*25)
		}
	}
}

func uniform(v float64) edit {
	return func(_ int, p []float64) {
		for i := range p {
			p[i] = v
		}
	}
}

func light(gain, offset float64) edit {
	return func(_ int, p []float64) {
		for i := range p {
			p[i] = p[i]*gain + offset
		}
	}
}

// blur averages 2r+1 pixels in both directions, twice.
func blur(r int) edit {
	return func(_ int, p []float64) {
		for range 2 {
			sweep(p, w, h, 1, w, r)
			sweep(p, h, w, w, 1, r)
		}
	}
}

func sweep(p []float64, n, lines, step, next, r int) {
	row := make([]float64, n)
	for l := range lines {
		for i := range n {
			row[i] = p[l*next+i*step]
		}
		for i := range n {
			sum, k := 0.0, 0.0
			for j := max(0, i-r); j <= min(n-1, i+r); j++ {
				sum += row[j]
				k++
			}
			p[l*next+i*step] = sum / k
		}
	}
}

func shifted(dx, dy int) edit {
	return func(_ int, p []float64) {
		from := append([]float64(nil), p...)
		for y := range h {
			for x := range w {
				p[y*w+x] = from[(y+dy+h)%h*w+(x+dx+w)%w]
			}
		}
	}
}

// infrared turns some contrasts round, as plants and paints do, and darkens what
// is far from the lamp.
func infrared(_ int, p []float64) {
	for y := range h {
		for x := range w {
			v := p[y*w+x]
			if x/64%3 == 0 {
				v = 200 - v
			}
			far := math.Hypot(float64(x-w/2)/w, float64(y-h)/h)
			p[y*w+x] = 25 + (v-25)*max(.25, 1-.8*far)
		}
	}
}

// TestFaults: each fault is reported within seconds, as what it is, and ends
// when it is over.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		want string
		edit edit
	}{
		{"white cover", tamper.Covered, uniform(235)},
		{"grey cover", tamper.Covered, uniform(120)},
		{"black cover", tamper.Covered, uniform(16)},
		{"bag over most of it", tamper.Covered, func(_ int, p []float64) { box2(p, 0, 0, w*93/100, h, 70) }},
		{"out of focus", tamper.Blurred, blur(3)},
		{"spray on the lens", tamper.Blurred, blur(14)},
		{"turned aside", tamper.Moved, shifted(90, 20)},
		{"pushed a little", tamper.Moved, shifted(14, 0)},
		{"upside down", tamper.Moved, func(_ int, p []float64) {
			for i := range len(p) / 2 {
				p[i], p[len(p)-1-i] = p[len(p)-1-i], p[i]
			}
		}},
		{"lamp off", tamper.Dark, light(.1, 14)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFilm(t, tamper.Config{})
			require.Empty(t, f.play(12*time.Second, traffic), "learned")
			began := f.at
			assert.Equal(t, tt.want, f.play(7*time.Second, traffic, tt.edit))
			require.NotEmpty(t, f.w.Faults())
			assert.WithinDuration(t, began, f.w.Faults()[0].Since, 2*time.Second)
			assert.Equal(t, tt.want, f.play(12*time.Second, traffic, tt.edit), "as long as it lasts")
			assert.Empty(t, f.play(6*time.Second, traffic))
			for _, s := range f.seen {
				assert.Contains(t, []string{"", tt.want}, s)
			}
		})
	}
}

func box2(p []float64, x0, y0, bw, bh int, v float64) {
	for y := y0; y < y0+bh; y++ {
		for x := x0; x < x0+bw; x++ {
			p[y*w+x] = v
		}
	}
}

// TestNoFault: what happens on every street is nothing to tell.
func TestNoFault(t *testing.T) {
	t.Parallel()
	noise := gaussian()
	for _, tt := range []struct {
		name  string
		film  time.Duration
		edits []edit
	}{
		{"nothing", 30 * time.Second, nil},
		{"light changes slowly", 3 * time.Minute, []edit{func(i int, p []float64) { light(1-.8*math.Sin(float64(i)/60), 10)(i, p) }}},
		{"dusk", 10 * time.Minute, []edit{func(i int, p []float64) { light(math.Exp(-float64(i)/200), 16)(i, p) }}},
		{"exposure jumps", 30 * time.Second, []edit{func(i int, p []float64) { light([]float64{1, .6, 1.3, .45}[i/18%4], 8)(i, p) }}},
		{"a truck fills half of it for long", 30 * time.Second, []edit{func(_ int, p []float64) { box(p, 0, 20, w/2, h, 80) }}},
		{"headlights", 30 * time.Second, []edit{func(i int, p []float64) {
			light(.35, 10)(i, p)
			for j := range p {
				d := math.Hypot(float64(j%w-i*7%w), float64(j/w-130))
				p[j] += 1200 / (1 + d*d/60)
			}
		}}},
		{"rain", 30 * time.Second, []edit{blurDrops, func(i int, p []float64) { streaks(i, p) }}},
		{"infrared at dusk and back", 30 * time.Second, []edit{func(i int, p []float64) {
			if i/25%2 == 1 {
				infrared(i, p)
			}
		}}},
		{"the pole sways", 30 * time.Second, []edit{func(i int, p []float64) {
			shifted(int(math.Round(4*math.Sin(float64(i)*1.3))), int(math.Round(2*math.Sin(float64(i)*.7))))(i, p)
		}}},
		{"a tremor of one pixel", 30 * time.Second, []edit{func(i int, p []float64) { shifted(i%2, 0)(i, p) }}},
		{"noise at night", 30 * time.Second, []edit{func(i int, p []float64) {
			grain := i * 7919 % (len(noise) - len(p))
			for j := range p {
				p[j] += 12 * noise[grain+j]
			}
		}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFilm(t, tamper.Config{})
			f.play(12*time.Second, traffic)
			if tt.film > time.Minute {
				f.step = time.Second
			}
			f.play(tt.film, append([]edit{traffic}, tt.edits...)...)
			f.play(12*time.Second, traffic)
			for i, s := range f.seen {
				assert.Empty(t, s, "look %d", i)
			}
		})
	}
}

// streaks draws rain.
func streaks(i int, p []float64) {
	rng := rand.New(rand.NewPCG(uint64(i), 5))
	for range 250 {
		x, y := rng.IntN(w), rng.IntN(h-12)
		for k := range 10 {
			p[(y+k)*w+x] += 40
		}
	}
}

// blurDrops smears a quarter of the picture, as drops on the glass do.
func blurDrops(i int, p []float64) {
	soft := append([]float64(nil), p...)
	blur(5)(i, soft)
	for j := range p {
		if (j%w/48+j/w/36)%4 == 0 {
			p[j] = soft[j]
		}
	}
}

// TestFrozen: the same picture again and again, which noise never gives.
func TestFrozen(t *testing.T) {
	t.Parallel()
	f := newFilm(t, tamper.Config{})
	require.Empty(t, f.play(15*time.Second, traffic))
	f.noise = 0
	began := f.at
	assert.Empty(t, f.play(12*time.Second), "a quiet moment")
	assert.Equal(t, tamper.Frozen, f.play(6*time.Second))
	assert.WithinDuration(t, began, f.w.Faults()[0].Since, time.Second)
	assert.Equal(t, tamper.Frozen, f.play(time.Minute))
	f.noise = 3
	assert.Empty(t, f.play(6*time.Second, traffic))

	// A frugal encoder that shows noise every 8 s only is not frozen, nor then
	// after twice as long.
	f = newFilm(t, tamper.Config{})
	for _, quiet := range []int{8, 8, 8, 14, 14, 18} {
		f.noise = 0
		f.play(time.Duration(quiet)*time.Second, uniformNoise(uint64(quiet)))
		f.noise = 3
		f.play(800 * time.Millisecond)
	}
	for _, s := range f.seen {
		assert.Empty(t, s)
	}
}

// uniformNoise adds noise that is the same in each picture.
func uniformNoise(seed uint64) edit {
	noise := gaussian()
	return func(_ int, p []float64) {
		for i := range p {
			p[i] += 3 * noise[int(seed)*1000+i]
		}
	}
}

// TestMovedStays: the fault stays as long as the camera looks elsewhere, unless
// its old view was hardly known.
func TestMovedStays(t *testing.T) {
	t.Parallel()
	away := shifted(90, 20)
	young := newFilm(t, tamper.Config{})
	young.step = time.Second
	young.play(20*time.Second, traffic)
	assert.Equal(t, tamper.Moved, young.play(time.Minute, traffic, away))
	assert.Empty(t, young.play(2*time.Minute, traffic, away), "20 s say little about what is usual")
	assert.Equal(t, tamper.Moved, young.play(10*time.Second, traffic), "the new view is the usual one now")

	for name, tt := range map[string]struct {
		relearn time.Duration
		want    string
	}{"never": {0, tamper.Moved}, "after four minutes": {4 * time.Minute, ""}} {
		old := newFilm(t, tamper.Config{Relearn: tt.relearn})
		old.step = 2 * time.Second
		old.play(6*time.Minute, traffic)
		assert.Equal(t, tamper.Moved, old.play(3*time.Minute, traffic, away), name)
		assert.Equal(t, tt.want, old.play(3*time.Minute, traffic, away), name)
	}
}

// TestGapsAndClocks: a gap keeps the fault, and what was only suspected starts
// over; a clock that is set back harms nothing.
func TestGapsAndClocks(t *testing.T) {
	t.Parallel()
	f := newFilm(t, tamper.Config{})
	f.play(12*time.Second, traffic)
	require.Equal(t, tamper.Covered, f.play(8*time.Second, uniform(90)))
	f.at = f.at.Add(time.Hour)
	assert.Equal(t, tamper.Covered, f.play(2*time.Second, uniform(90)))
	f.at = f.at.Add(-2 * time.Hour)
	assert.Equal(t, tamper.Covered, f.play(4*time.Second, uniform(90)))
	assert.False(t, f.w.Faults()[0].Since.After(f.at))
	assert.Empty(t, f.play(6*time.Second, traffic))
}

// TestMasked: what is masked is never looked at.
func TestMasked(t *testing.T) {
	t.Parallel()
	all, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{Y: 1})
	require.NoError(t, err)
	f := newFilm(t, tamper.Config{Masks: []geom.Polygon{all}})
	f.play(12*time.Second, traffic)
	assert.Empty(t, strings.ReplaceAll(f.play(12*time.Second, uniform(16)), tamper.Frozen, ""))

	// The whole view but a strip at the left is masked: what is covered is the strip.
	most, err := geom.NewPolygon(geom.Point{X: .4}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{X: .4, Y: 1})
	require.NoError(t, err)
	f = newFilm(t, tamper.Config{Masks: []geom.Polygon{most}})
	f.play(12*time.Second, traffic)
	assert.Equal(t, tamper.Covered, f.play(8*time.Second, func(_ int, p []float64) { box2(p, 0, 0, w/2, h, 90) }))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	_, err := tamper.New(tamper.Config{Relearn: -1})
	require.ErrorContains(t, err, "relearn")
	watcher, err := tamper.New(tamper.Config{})
	require.NoError(t, err)
	require.ErrorContains(t, watcher.Look(start(), make([]byte, 3)), "3 bytes")
}

func BenchmarkLook(b *testing.B) {
	f := newFilm(b, tamper.Config{})
	f.play(12 * time.Second)
	var pictures [8][]byte
	for i := range pictures {
		pictures[i] = make([]byte, w*h)
		for j, v := range f.base {
			pictures[i][j] = uint8(min(max(v+3*f.rng.NormFloat64(), 0), 255))
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f.at = f.at.Add(look)
		if err := f.w.Look(f.at, pictures[i%len(pictures)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

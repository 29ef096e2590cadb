package draw_test

import (
	"image/color"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/cmd/xacam/draw"
)

func white() color.NRGBA { return color.NRGBA{R: 255, G: 255, B: 255, A: 255} }

func canvas(w, h int) *draw.Canvas { return &draw.Canvas{Pix: make([]byte, 3*w*h), W: w, H: h} }

// ink is how many pixels were painted, broken ones included.
func ink(c *draw.Canvas) float64 {
	sum := 0.0
	for i := 0; i < len(c.Pix); i += 3 {
		sum += float64(c.Pix[i]) / 255
	}
	return sum
}

func TestFillCoversItsArea(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]struct {
		paint func(*draw.Canvas)
		want  float64
	}{
		"square":          {func(c *draw.Canvas) { c.Fill([]draw.Point{{10, 10}, {30, 10}, {30, 30}, {10, 30}}, white()) }, 400},
		"between pixels":  {func(c *draw.Canvas) { c.Fill([]draw.Point{{10.5, 10}, {20.25, 10}, {20.25, 20}, {10.5, 20}}, white()) }, 97.5},
		"triangle":        {func(c *draw.Canvas) { c.Fill([]draw.Point{{0, 0}, {60, 0}, {0, 60}}, white()) }, 1800},
		"out of the side": {func(c *draw.Canvas) { c.Fill([]draw.Point{{-50, 10}, {10, 10}, {10, 20}, {-50, 20}}, white()) }, 100},
		"far outside": {func(c *draw.Canvas) {
			c.Fill([]draw.Point{{-1e9, -1e9}, {1e9, -1e9}, {1e9, 1e9}, {-1e9, 1e9}}, white())
		}, 6400},
		"not a number": {func(c *draw.Canvas) { c.Fill([]draw.Point{{math.NaN(), 0}, {10, 0}, {10, 20}}, white()) }, 0},
		"two points":   {func(c *draw.Canvas) { c.Fill([]draw.Point{{0, 0}, {10, 0}}, white()) }, 0},
		"ring": {func(c *draw.Canvas) {
			c.Fill([]draw.Point{{0, 0}, {40, 0}, {40, 40}, {0, 40}, {0, 0}, {10, 10}, {30, 10}, {30, 30}, {10, 30}, {10, 10}}, white())
		}, 1200},
		"disc":      {func(c *draw.Canvas) { c.Disc(draw.Point{X: 40, Y: 40}, 20, white()) }, math.Pi * 400},
		"line":      {func(c *draw.Canvas) { c.Line(draw.Point{X: 10, Y: 10}, draw.Point{X: 50, Y: 40}, 3, white()) }, 53 * 3},
		"point":     {func(c *draw.Canvas) { c.Line(draw.Point{X: 10, Y: 10}, draw.Point{X: 10, Y: 10}, 4, white()) }, 16},
		"dashes":    {func(c *draw.Canvas) { c.Dash(draw.Point{X: 10, Y: 10}, draw.Point{X: 70, Y: 10}, 2, 6, 6, white()) }, 80},
		"no dashes": {func(c *draw.Canvas) { c.Dash(draw.Point{X: 10, Y: 10}, draw.Point{X: 70, Y: 10}, 2, 0, 6, white()) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := canvas(80, 80)
			s.paint(c)
			assert.InDelta(t, s.want, ink(c), .015*s.want+1)
		})
	}
	c := canvas(80, 80)
	c.Hatch([]draw.Point{{10, 10}, {70, 10}, {70, 70}, {10, 70}}, 10, 1, white())
	assert.InDelta(t, 600, ink(c), 120, "a line of 1 in 10, slanted")
	c.Fill([]draw.Point{{0, 0}, {80, 0}, {80, 80}, {0, 80}}, color.NRGBA{R: 10, G: 20, B: 30, A: 255})
	assert.Equal(t, []byte{30, 20, 10}, c.Pix[:3], "blue comes first")
}

func TestLetters(t *testing.T) {
	t.Parallel()
	l, err := draw.NewLetters()
	require.NoError(t, err)
	for _, size := range []float64{9, 13, 40, 61} {
		last := 0.0
		for _, text := range []string{"e", "ê", "ế"} { // each has more ink
			c := canvas(100, 100)
			l.Write(c, draw.Point{X: 10, Y: 10}, text, size, white())
			got := ink(c)
			assert.Greater(t, got, last, "%s at %g", text, size)
			last = got
		}
	}
	assert.InDelta(t, l.Width("ế", 20), l.Width("e\u0302\u0301", 20), 1e-9, "however it is encoded")
	assert.InDelta(t, l.Width("?", 20), l.Width("漢", 20), 1e-9, "what is not there")
	assert.InDelta(t, 2*l.Width("Ấp Đại Ẩn", 20), l.Width("Ấp Đại Ẩn", 40), 1e-9)

	c := canvas(30, 10)
	l.Write(c, draw.Point{X: -20, Y: -8}, "outside on every side, and far too long", 20, white())
	assert.Positive(t, ink(c))
}

func TestWrap(t *testing.T) {
	t.Parallel()
	l, err := draw.NewLetters()
	require.NoError(t, err)
	const text = "Một người đặt một vật xuống rồi bỏ đi"
	whole := l.Width(text, 20)
	assert.Equal(t, []string{text}, l.Wrap(text, 20, whole+1, 3))
	assert.Len(t, l.Wrap(text, 20, whole*.6, 3), 2)
	cut := l.Wrap(text, 20, whole*.3, 2)
	require.Len(t, cut, 2)
	assert.Contains(t, cut[1], "…")
	for _, line := range append(cut, l.Wrap("một-từ-rất-dài-không-có-chỗ-ngắt", 20, 100, 2)...) {
		assert.LessOrEqual(t, l.Width(line, 20), whole*.3+100)
	}
	assert.Empty(t, l.Wrap("  ", 20, 100, 2))
	assert.Equal(t, "…", l.Fit("abc", 20, 1))
}

// TestFillEqualsItsDefinition counts points instead of working out shares.
func TestFillEqualsItsDefinition(t *testing.T) {
	t.Parallel()
	star := []draw.Point{{3, 2}, {60.4, 70.3}, {33.3, -9}, {10, 75.5}, {90, 20}}
	c := canvas(80, 80)
	for i := range c.Pix {
		c.Pix[i] = byte(i * 7)
	}
	was := slices.Clone(c.Pix)
	col := color.NRGBA{R: 250, G: 20, B: 130, A: 90}
	c.Fill(star, col)
	const fine = 64
	for y := range 80 {
		for x := range 80 {
			inside := 0
			for s := range 4 {
				at := float64(y) + (float64(s)+.5)/4
				for k := range fine {
					odd := false
					for i, p := range star {
						q := star[(i+1)%len(star)]
						if (p.Y <= at) != (q.Y <= at) && p.X+(at-p.Y)/(q.Y-p.Y)*(q.X-p.X) > float64(x)+(float64(k)+.5)/fine {
							odd = !odd
						}
					}
					if odd {
						inside++
					}
				}
			}
			share := float64(inside) / (4 * fine) * float64(col.A) / 255
			for i, v := range []byte{col.B, col.G, col.R} {
				old := float64(was[3*(y*80+x)+i])
				require.InDelta(t, old+share*(float64(v)-old), float64(c.Pix[3*(y*80+x)+i]), 1.6, "%d,%d", x, y)
			}
		}
	}
}

func BenchmarkFill(b *testing.B) {
	c := canvas(1920, 1080)
	for b.Loop() {
		c.Fill([]draw.Point{{30, 20}, {1900, 40}, {1800, 1070}, {20, 1060}}, color.NRGBA{R: 250, A: 30})
	}
}

func BenchmarkWrite(b *testing.B) {
	l, err := draw.NewLetters()
	require.NoError(b, err)
	c := canvas(1920, 1080)
	b.ReportAllocs()
	for b.Loop() {
		l.Write(c, draw.Point{X: 10, Y: 10}, "Một người đặt một vật xuống rồi bỏ đi", 28, white())
	}
}

package vision_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
)

func TestLetterbox(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		w, h       int
		centred    bool
		cw, ch     int
		padX, padY int
	}{
		"1080p":           {1920, 1080, false, 416, 234, 0, 0},
		"1080p, centred":  {1920, 1080, true, 416, 234, 0, 91},
		"portrait":        {1080, 1920, true, 234, 416, 91, 0},
		"enlarged":        {104, 52, false, 416, 208, 0, 0},
		"rounded down":    {500, 333, false, 416, 277, 0, 0},
		"a line":          {5000, 1, false, 416, 1, 0, 0},
		"square, centred": {99, 99, true, 416, 416, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g, err := vision.Letterbox(416, 416, c.w, c.h, c.centred)
			require.NoError(t, err)
			w, h := g.Content()
			require.Equal(t, []int{c.cw, c.ch, c.padX, c.padY}, []int{w, h, g.PadX, g.PadY})
			// A box in picture pixels comes back as the same box.
			px, py := float64(g.PadX), float64(g.PadY)
			b, ok := g.Box(px, py, px+g.Scale*float64(c.w)/2, py+g.Scale*float64(c.h))
			require.True(t, ok)
			assert.InDelta(t, 0.5, b.Max.X, 1e-12)
			assert.InDelta(t, 1, b.Max.Y, 1e-12)
		})
	}
	for _, s := range [][2]int{{0, 10}, {10, 0}, {-1, 10}} {
		_, err := vision.Letterbox(416, 416, s[0], s[1], false)
		require.ErrorContains(t, err, "letterbox")
	}
}

func TestStretch(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{1920, 1080}, {333, 500}, {1, 4000}, {416, 256}} {
		g, err := vision.Stretch(416, 256, size[0], size[1])
		require.NoError(t, err)
		w, h := g.Content()
		require.Equal(t, []int{416, 256}, []int{w, h}, size)
		b, ok := g.Box(104, 64, 208, 256)
		require.True(t, ok)
		for i, v := range []float64{b.Min.X - 0.25, b.Min.Y - 0.25, b.Max.X - 0.5, b.Max.Y - 1} {
			assert.InDelta(t, 0, v, 1e-12, "%v %d", size, i)
		}
	}
	_, err := vision.Stretch(416, 256, 0, 4)
	require.ErrorContains(t, err, "0x4")
}

func TestGeometryBoxClips(t *testing.T) {
	t.Parallel()
	g, err := vision.Letterbox(100, 100, 100, 50, true)
	require.NoError(t, err)
	b, ok := g.Box(-10, 20, 200, 200)
	require.True(t, ok)
	assert.InDelta(t, 0, b.Min.X+b.Min.Y, 0)
	assert.InDelta(t, 2, b.Max.X+b.Max.Y, 0)
	for name, c := range map[string][4]float64{
		"in the padding": {10, 0, 20, 20},
		"inside out":     {20, 40, 10, 50},
		"empty":          {20, 40, 20, 50},
		"NaN":            {math.NaN(), 40, 20, 50},
	} {
		_, ok := g.Box(c[0], c[1], c[2], c[3])
		assert.False(t, ok, name)
	}
	assert.Equal(t, "output[1 2]", vision.Tensor{Name: "output", Shape: []int{1, 2}}.String())
}

package draw_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/cmd/xacam/draw"
)

func TestMosaicLeavesNothingToRead(t *testing.T) {
	t.Parallel()
	c := canvas(100, 60)
	for i := range c.Pix { // a fine pattern, as letters on a plate are
		c.Pix[i] = byte(255 * (i / 3 % 2))
	}
	before := append([]byte(nil), c.Pix...)
	c.Mosaic(draw.Rect{Left: 20.4, Top: 10, Right: 79.2, Bottom: 40})
	colours := map[[3]byte]bool{}
	for y := range 60 {
		for x := range 100 {
			i := 3 * (y*100 + x)
			if x >= 20 && x < 80 && y >= 10 && y < 40 {
				colours[[3]byte(c.Pix[i:i+3])] = true
				assert.InDelta(t, 127, c.Pix[i], 8)
				continue
			}
			assert.Equal(t, before[i], c.Pix[i], "outside stays as it is")
		}
	}
	assert.LessOrEqual(t, len(colours), 3*6)
	for _, r := range []draw.Rect{{}, {Left: -9, Top: -9, Right: -1, Bottom: -1}, {Left: 200, Top: 0, Right: 300, Bottom: 10}, {Left: -50, Top: -50, Right: 500, Bottom: 500}} {
		c.Mosaic(r) // outside, or beyond every edge
	}
}

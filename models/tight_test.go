package models_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/models"
)

func TestTight(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		multiple, width, height int
		wantW, wantH            int
	}{
		"wide":             {32, 1920, 1080, 416, 256}, // content 416×234
		"4:3":              {32, 640, 480, 416, 320},   // 416×312
		"portrait":         {32, 1080, 1920, 256, 416},
		"square":           {32, 500, 500, 416, 416},
		"exactly a step":   {32, 416, 256, 416, 256},
		"just over a step": {32, 416, 257, 416, 288},
		"very wide":        {32, 4000, 10, 416, 32},
		"smaller":          {32, 100, 50, 416, 224},
		"fixed":            {0, 1920, 1080, 416, 416},
		"no picture":       {32, 0, 0, 416, 416},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := models.Input{Width: 416, Height: 416, MultipleOf: c.multiple, Letterbox: "top_left", Pad: 114}
			got := in.Tight(c.width, c.height)
			assert.Equal(t, [2]int{c.wantW, c.wantH}, [2]int{got.Width, got.Height})
			got.Width, got.Height = in.Width, in.Height
			assert.Equal(t, in, got, "nothing else changes")
		})
	}
}

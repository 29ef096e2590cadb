package main

import (
	"math"
	"time"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/vision/prep"
)

// viewer makes the marked copies in a package of evidence. It is safe for
// concurrent use.
type viewer struct {
	letters *draw.Letters
	clips   chan struct{} // full while a clip is copied, which takes some 130 MB: one at a time
}

var _ evidence.Viewer = (*viewer)(nil)

func newViewer() (*viewer, error) {
	letters, err := draw.NewLetters()
	if err != nil {
		return nil, err
	}
	return &viewer{letters, make(chan struct{}, 1)}, nil
}

// Limits of the copy of a clip.
const (
	longestCopy = time.Minute
	longSide    = 1280 // pixels
	shortSide   = 720
	copyFPS     = 15.5 // more pictures in a second are left out
)

// Picture implements evidence.Viewer.
func (v *viewer) Picture(picture []byte, lines []string, areas [][4]float64) ([]byte, error) {
	m, err := prep.Decode(picture)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	w, h := m.Size()
	c := &draw.Canvas{Pix: make([]byte, 3*w*h), W: w, H: h}
	if err := m.BGR(c.Pix, w, h); err != nil {
		return nil, err
	}
	for _, a := range areas {
		c.Mosaic(draw.Rect{Left: a[0] * float64(w), Top: a[1] * float64(h), Right: a[2] * float64(w), Bottom: a[3] * float64(h)})
	}
	v.mark(c, lines)
	return prep.EncodeJPEG(c.Pix, w, h, snapshotQuality)
}

// mark writes the first line across the whole picture, so that no part of it
// can be shown without, and all of them into its upper right corner, where an
// annotated picture has its own text last.
func (v *viewer) mark(c *draw.Canvas, lines []string) {
	if len(lines) == 0 {
		return
	}
	w, h := float64(c.W), float64(c.H)
	size := math.Max(10, h/18)
	step := v.letters.Width(lines[0], size) + 2*size
	for row, y := 0, size; y < h-size; row, y = row+1, y+4*size {
		for x := -step * float64(row%2) / 2; x < w; x += step {
			v.letters.Write(c, draw.Point{X: x + 1, Y: y + 1}, lines[0], size, rgb(0, 0, 0, 60))
			v.letters.Write(c, draw.Point{X: x, Y: y}, lines[0], size, rgb(255, 255, 255, 80))
		}
	}
	small := math.Max(9, h/40)
	line := v.letters.Height(small)
	widest := 0.0
	for i := range lines {
		widest = math.Max(widest, v.letters.Width(lines[i], small))
	}
	left := math.Max(0, w-widest-2*small)
	c.Box(draw.Rect{Left: left, Top: 0, Right: w, Bottom: line*float64(len(lines)) + small}, 0, rgb(0, 0, 0, 190))
	for i, text := range lines {
		at := draw.Point{X: left + small, Y: small/2 + line*float64(i)}
		v.letters.Write(c, at, v.letters.Fit(text, small, w-2*small), small, rgb(255, 255, 255, 255))
	}
}

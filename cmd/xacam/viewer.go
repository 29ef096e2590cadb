package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/vision/prep"
)

// viewer makes the marked copies in a package of evidence. It is safe for
// concurrent use.
type viewer struct{ letters *draw.Letters }

var _ evidence.Viewer = (*viewer)(nil)

func newViewer() (*viewer, error) {
	letters, err := draw.NewLetters()
	if err != nil {
		return nil, err
	}
	return &viewer{letters}, nil
}

// Limits of the copy of a clip.
const (
	longestCopy = time.Minute
	widestCopy  = 1280 // pixels
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
// can be shown without, and all of them into its lower left corner.
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
	top := h - line*float64(len(lines)) - small
	c.Box(draw.Rect{Left: 0, Top: top, Right: math.Min(w, widest+2*small), Bottom: h}, 0, rgb(0, 0, 0, 190))
	for i, text := range lines {
		at := draw.Point{X: small, Y: top + small/2 + line*float64(i)}
		v.letters.Write(c, at, v.letters.Fit(text, small, w-2*small), small, rgb(255, 255, 255, 255))
	}
}

// Clip implements evidence.Viewer.
func (v *viewer) Clip(ctx context.Context, from, to string, lines []string) (note string, err error) {
	in, err := avdec.Open(from)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	var out *avdec.Writer
	defer func() {
		if out != nil {
			err = errors.Join(err, out.Close())
		}
	}()
	c := &draw.Canvas{}
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		f, err := in.ReadFrame()
		if errors.Is(err, io.EOF) && out != nil {
			return note, nil
		}
		if err != nil {
			return "", err
		}
		if f.PTS > longestCopy {
			f.Picture.Release()
			return fmt.Sprintf("the copy ends after %d s; the original is longer", int(longestCopy.Seconds())), nil
		}
		if out == nil {
			c.W, c.H = copySize(f.Picture.Size())
			c.Pix = make([]byte, 3*c.W*c.H)
			out, err = avdec.NewWriter(avdec.WriterConfig{Path: to, Width: c.W, Height: c.H, FPS: in.Format().FPS})
			if err != nil {
				f.Picture.Release()
				return "", err
			}
		}
		err = f.Picture.BGR(c.Pix, c.W, c.H)
		f.Picture.Release()
		if err != nil {
			return "", err
		}
		v.mark(c, lines)
		if err := out.Write(c.Pix, f.PTS); err != nil {
			return "", err
		}
	}
}

// copySize bounds the width of a copy.
func copySize(w, h int) (width, height int) {
	if w > widestCopy {
		w, h = widestCopy, max(2, h*widestCopy/w)
	}
	return w &^ 1, h &^ 1
}

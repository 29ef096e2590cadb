// Package prep turns pictures into model input and pictures for people:
// letterboxing, image files, JPEG and drawing.
//
// It is one of the three packages that need cgo (OpenCV, for files, JPEG and
// drawing). Built without cgo those return ErrUnavailable; Letterbox is pure
// Go and always works.
package prep

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
)

// ErrUnavailable is returned by what needs OpenCV in a build without cgo.
var ErrUnavailable = errors.New("prep: this program was built without cgo")

// Letterbox fills a model's input tensor from pictures: the decoder scales
// straight to the content's size, then one pass pads and converts. It owns a
// scratch picture, so it is used by one goroutine at a time; keep one for each
// tensor.
type Letterbox struct {
	in   models.Input
	bgr  []byte     // scaled picture, 3×content pixels
	mul  [3]float32 // by plane
	add  [3]float32
	from [3]int // which byte of a BGR pixel goes to the plane

	// The padding is written once for a tensor and a geometry.
	padded *float32
	last   vision.Geometry
}

// NewLetterbox prepares for the given input, which models.Parse has checked.
func NewLetterbox(in models.Input) (*Letterbox, error) {
	if in.Width <= 0 || in.Height <= 0 {
		return nil, fmt.Errorf("letterbox: an input of %dx%d pixels", in.Width, in.Height)
	}
	l := &Letterbox{in: in, bgr: make([]byte, 3*in.Width*in.Height), from: [3]int{0, 1, 2}}
	if in.Channels == "rgb" {
		l.from = [3]int{2, 1, 0}
	}
	for c := range 3 {
		mean, std := 0.0, 1.0
		if len(in.Mean) == 3 {
			mean = in.Mean[c]
		}
		if len(in.Std) == 3 {
			std = in.Std[c]
		}
		l.mul[c], l.add[c] = float32(in.Scale/std), float32(-mean/std)
	}
	return l, nil
}

// Fill writes the picture into dst, [3 height width] of the input, and returns
// where it lies. dst must hold 3×width×height numbers; what it holds outside
// of the picture must be left alone between calls with the same dst.
func (l *Letterbox) Fill(dst []float32, p media.Picture) (vision.Geometry, error) {
	area := l.in.Width * l.in.Height
	if len(dst) != 3*area {
		return vision.Geometry{}, fmt.Errorf("letterbox: a tensor of %d numbers for %dx%d pixels", len(dst), l.in.Width, l.in.Height)
	}
	srcW, srcH := p.Size()
	g, err := vision.Letterbox(l.in.Width, l.in.Height, srcW, srcH, l.in.Letterbox == "center")
	if err != nil {
		return g, err
	}
	w, h := g.Content()
	bgr := l.bgr[:3*w*h]
	if err := p.BGR(bgr, w, h); err != nil {
		return g, fmt.Errorf("letterbox: scale a %dx%d picture to %dx%d: %w", srcW, srcH, w, h, err)
	}
	if l.padded != unsafe.SliceData(dst) || l.last != g {
		l.pad(dst)
		l.padded, l.last = unsafe.SliceData(dst), g
	}
	for y := range h {
		at := (g.PadY+y)*l.in.Width + g.PadX
		l.row(dst[at:at+w], dst[area+at:area+at+w], dst[2*area+at:2*area+at+w], bgr[3*w*y:3*w*(y+1)])
	}
	return g, nil
}

// row converts one row of pixels into the three planes.
func (l *Letterbox) row(p0, p1, p2 []float32, px []byte) {
	m0, m1, m2 := l.mul[0], l.mul[1], l.mul[2]
	a0, a1, a2 := l.add[0], l.add[1], l.add[2]
	i0, i1, i2 := l.from[0], l.from[1], l.from[2]
	p1, p2 = p1[:len(p0)], p2[:len(p0)]
	for x := range p0 {
		q := px[3*x : 3*x+3 : 3*x+3]
		p0[x] = float32(q[i0])*m0 + a0
		p1[x] = float32(q[i1])*m1 + a1
		p2[x] = float32(q[i2])*m2 + a2
	}
}

func (l *Letterbox) pad(dst []float32) {
	area := l.in.Width * l.in.Height
	for c := range 3 {
		v := float32(l.in.Pad)*l.mul[c] + l.add[c]
		plane := dst[c*area : (c+1)*area]
		for i := range plane {
			plane[i] = v
		}
	}
}

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
	in  models.Input
	bgr []byte          // scaled picture, 3×content pixels
	lut [3][256]float32 // value of a byte in the plane; by plane
	rgb bool            // planes are in the order R, G, B
	hwc bool            // the channels of a pixel lie together

	// The padding is written once for a tensor and a geometry.
	padded *float32
	last   vision.Geometry
}

// NewLetterbox prepares for the given input, which models.Parse has checked.
func NewLetterbox(in models.Input) (*Letterbox, error) {
	if in.Width <= 0 || in.Height <= 0 {
		return nil, fmt.Errorf("letterbox: an input of %dx%d pixels", in.Width, in.Height)
	}
	l := &Letterbox{in: in, bgr: make([]byte, 3*in.Width*in.Height), rgb: in.Channels == "rgb", hwc: in.Layout == "nhwc"}
	for c := range 3 {
		mean, std := 0.0, 1.0
		if len(in.Mean) == 3 {
			mean = in.Mean[c]
		}
		if len(in.Std) == 3 {
			std = in.Std[c]
		}
		for v := range l.lut[c] {
			l.lut[c][v] = float32((float64(v)*in.Scale - mean) / std)
		}
	}
	return l, nil
}

// Fill writes the picture into dst, [3 height width] of the input, or [height
// width 3] where its layout is nhwc, and returns where it lies. dst must hold 3×width×height numbers; what it holds outside
// of the picture must be left alone between calls with the same dst.
func (l *Letterbox) Fill(dst []float32, p media.Picture) (vision.Geometry, error) {
	area := l.in.Width * l.in.Height
	if len(dst) != 3*area {
		return vision.Geometry{}, fmt.Errorf("letterbox: a tensor of %d numbers for %dx%d pixels", len(dst), l.in.Width, l.in.Height)
	}
	srcW, srcH := p.Size()
	g, err := l.place(srcW, srcH)
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
	l.convert(dst, bgr, g, w, h)
	return g, nil
}

// place returns where a picture of the given size lies.
func (l *Letterbox) place(srcW, srcH int) (vision.Geometry, error) {
	if l.in.Letterbox == "stretch" {
		return vision.Stretch(l.in.Width, l.in.Height, srcW, srcH)
	}
	return vision.Letterbox(l.in.Width, l.in.Height, srcW, srcH, l.in.Letterbox == "center")
}

// convert writes the w×h scaled pixels to their place.
func (l *Letterbox) convert(dst []float32, bgr []byte, g vision.Geometry, w, h int) {
	area := l.in.Width * l.in.Height
	blue, red := 0, 2
	if l.rgb {
		blue, red = 2, 0
	}
	for y := range h {
		px := bgr[3*w*y : 3*w*(y+1)]
		at := (g.PadY+y)*l.in.Width + g.PadX
		if l.hwc {
			weave(px, dst[3*at:3*(at+w)], blue, red, &l.lut)
			continue
		}
		row := func(plane int) []float32 { return dst[plane*area+at : plane*area+at+w] }
		split(px, row(blue), row(1), row(red), &l.lut[blue], &l.lut[1], &l.lut[red])
	}
}

// weave converts one row of BGR pixels into a row of pixels of three numbers.
func weave(px []byte, dst []float32, blue, red int, lut *[3][256]float32) {
	lb, lg, lr := &lut[blue], &lut[1], &lut[red]
	for len(px) >= 3 && len(dst) >= 3 {
		q, d := (*[3]byte)(px), (*[3]float32)(dst)
		d[blue], d[1], d[red] = lb[q[0]], lg[q[1]], lr[q[2]]
		px, dst = px[3:], dst[3:]
	}
}

// split converts one row of BGR pixels into a row of each plane, four pixels
// at a time: fixed sizes spare the bounds checks, and a table is faster than
// converting and multiplying.
func split(px []byte, b, g, r []float32, lb, lg, lr *[256]float32) {
	for len(b) >= 4 && len(g) >= 4 && len(r) >= 4 && len(px) >= 12 {
		q := (*[12]byte)(px)
		*(*[4]float32)(b) = [4]float32{lb[q[0]], lb[q[3]], lb[q[6]], lb[q[9]]}
		*(*[4]float32)(g) = [4]float32{lg[q[1]], lg[q[4]], lg[q[7]], lg[q[10]]}
		*(*[4]float32)(r) = [4]float32{lr[q[2]], lr[q[5]], lr[q[8]], lr[q[11]]}
		px, b, g, r = px[12:], b[4:], g[4:], r[4:]
	}
	for i := range b {
		b[i], g[i], r[i] = lb[px[3*i]], lg[px[3*i+1]], lr[px[3*i+2]]
	}
}

func (l *Letterbox) pad(dst []float32) {
	area := l.in.Width * l.in.Height
	if l.hwc {
		grey := min(max(l.in.Pad, 0), 255)
		for i := 0; i < len(dst); i += 3 {
			dst[i], dst[i+1], dst[i+2] = l.lut[0][grey], l.lut[1][grey], l.lut[2][grey]
		}
		return
	}
	for c := range 3 {
		v := l.lut[c][min(max(l.in.Pad, 0), 255)]
		plane := dst[c*area : (c+1)*area]
		for i := range plane {
			plane[i] = v
		}
	}
}

package media

import (
	"fmt"
	"math"
)

// Area is a part of an upright picture, in pixels, fractions allowed: the first
// pixel lies between 0 and 1.
type Area struct{ X, Y, W, H float64 }

// maxReach is how far an Area may lie beyond its picture, in sides of the
// picture.
const maxReach = 4

// Check says what is wrong with a as a part of a picture of that size. Parts of
// it may lie outside.
func (a Area) Check(width, height int) error {
	w, h := float64(width), float64(height)
	ok := a.W > 0 && a.H > 0 && math.Abs(a.X) <= maxReach*w && math.Abs(a.Y) <= maxReach*h && a.W <= maxReach*w && a.H <= maxReach*h
	if !ok { // also for NaN
		return fmt.Errorf("area %v is not a part of a picture of %d×%d pixels", a, width, height)
	}
	return nil
}

// Cropper is a Picture that gives parts of itself without touching the rest. It
// is optional: use Crop.
type Cropper interface {
	// CropBGR scales the area into dst, as Picture.BGR does the whole. Beyond the
	// picture its edge goes on. Reductions average.
	CropBGR(dst []byte, a Area, width, height int) error
}

// Crop scales a part of a picture into dst: 8 bits a channel, rows of exactly
// 3×width bytes. A picture that is no Cropper is converted as a whole, and
// sampled without averaging.
func Crop(p Picture, dst []byte, a Area, width, height int) error {
	if c, ok := p.(Cropper); ok {
		return c.CropBGR(dst, a, width, height)
	}
	w, h := p.Size()
	if err := a.Check(w, h); err != nil {
		return fmt.Errorf("crop picture: %w", err)
	}
	if width < 1 || height < 1 || len(dst) < 3*width*height {
		return fmt.Errorf("crop picture: buffer of %d bytes for %d×%d pixels", len(dst), width, height)
	}
	whole := make([]byte, 3*w*h)
	if err := p.BGR(whole, w, h); err != nil {
		return fmt.Errorf("crop picture: %w", err)
	}
	for y := range height {
		sy := a.Y + a.H*(float64(y)+.5)/float64(height) - .5
		for x := range width {
			sx := a.X + a.W*(float64(x)+.5)/float64(width) - .5
			sample(dst[3*(y*width+x):], whole, w, h, sx, sy)
		}
	}
	return nil
}

// sample writes the pixel at x, y, between the four around it.
func sample(dst, src []byte, w, h int, x, y float64) {
	x, y = min(max(x, 0), float64(w-1)), min(max(y, 0), float64(h-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, w-1), min(y0+1, h-1)
	fx, fy := x-float64(x0), y-float64(y0)
	at := func(x, y, c int) float64 { return float64(src[3*(y*w+x)+c]) }
	for c := range 3 {
		top := at(x0, y0, c)*(1-fx) + at(x1, y0, c)*fx
		low := at(x0, y1, c)*(1-fx) + at(x1, y1, c)*fx
		dst[c] = byte(top*(1-fy) + low*fy + .5)
	}
}

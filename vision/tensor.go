package vision

import (
	"fmt"
	"math"

	"github.com/xacam/xacam/vision/geom"
)

// Tensor is a dense array of float32, last dimension fastest. Whoever made it
// says how long Data stays valid.
type Tensor struct {
	Name  string // as the model calls it
	Shape []int
	Data  []float32 // as many as the product of Shape
}

// String returns name and shape, for messages: "output[1 3549 85]".
func (t Tensor) String() string { return fmt.Sprintf("%s%v", t.Name, t.Shape) }

// Geometry says where a picture lies in a model's input: scaled by Scale, with
// PadX and PadY empty pixels left of it and above it. The zero value is not
// usable: use Letterbox or Stretch.
type Geometry struct {
	Width, Height             int     // model input, pixels
	SourceWidth, SourceHeight int     // picture, pixels
	Scale                     float64 // input pixels per picture pixel
	ScaleY                    float64 // the same vertically, where it is another; 0 is Scale
	PadX, PadY                int     // input pixels
}

// Letterbox fits a picture into a width×height input without distorting it:
// into the top left corner, or centred. All sizes are pixels and positive.
func Letterbox(width, height, sourceWidth, sourceHeight int, centred bool) (Geometry, error) {
	if width <= 0 || height <= 0 || sourceWidth <= 0 || sourceHeight <= 0 {
		return Geometry{}, fmt.Errorf("letterbox: a %dx%d picture does not fit a %dx%d input",
			sourceWidth, sourceHeight, width, height)
	}
	g := Geometry{Width: width, Height: height, SourceWidth: sourceWidth, SourceHeight: sourceHeight}
	g.Scale = math.Min(float64(width)/float64(sourceWidth), float64(height)/float64(sourceHeight))
	if centred {
		w, h := g.Content()
		g.PadX, g.PadY = (width-w)/2, (height-h)/2
	}
	return g, nil
}

// Stretch fills a width×height input with a picture whatever its proportions.
// All sizes are pixels and positive.
func Stretch(width, height, sourceWidth, sourceHeight int) (Geometry, error) {
	g, err := Letterbox(width, height, sourceWidth, sourceHeight, false)
	if err != nil {
		return Geometry{}, err
	}
	g.Scale = float64(width) / float64(sourceWidth)
	g.ScaleY = float64(height) / float64(sourceHeight)
	return g, nil
}

// vertical returns the scale of the vertical axis.
func (g Geometry) vertical() float64 {
	if g.ScaleY != 0 {
		return g.ScaleY
	}
	return g.Scale
}

// Content returns the size of the scaled picture in input pixels, rounded
// down as YOLOX does, at least 1×1.
func (g Geometry) Content() (width, height int) {
	const eps = 1e-6 // 1080·(416/1920) is 234, not 233.99…
	width = int(float64(g.SourceWidth)*g.Scale + eps)
	height = int(float64(g.SourceHeight)*g.vertical() + eps)
	return min(max(width, 1), g.Width), min(max(height, 1), g.Height)
}

// Box converts corners in input pixels into a normalised box clipped to the
// picture. It reports false when nothing is left, or a number is not finite.
func (g Geometry) Box(x0, y0, x1, y1 float64) (geom.Box, bool) {
	sx, sy := g.Scale*float64(g.SourceWidth), g.vertical()*float64(g.SourceHeight)
	b := geom.Box{
		Min: geom.Point{X: clip01((x0 - float64(g.PadX)) / sx), Y: clip01((y0 - float64(g.PadY)) / sy)},
		Max: geom.Point{X: clip01((x1 - float64(g.PadX)) / sx), Y: clip01((y1 - float64(g.PadY)) / sy)},
	}
	return b, b.Max.X > b.Min.X && b.Max.Y > b.Min.Y // false for NaN
}

func clip01(v float64) float64 { return math.Min(math.Max(v, 0), 1) }

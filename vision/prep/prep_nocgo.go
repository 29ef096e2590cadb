//go:build !cgo

package prep

import (
	"image/color"

	"github.com/xacam/xacam/vision/geom"
)

// Image is never created in a build without cgo.
type Image struct{}

// Load returns ErrUnavailable.
func Load(string) (*Image, error) { return nil, ErrUnavailable }

// Decode returns ErrUnavailable.
func Decode([]byte) (*Image, error) { return nil, ErrUnavailable }

// Size returns 0, 0.
func (*Image) Size() (width, height int) { return 0, 0 }

// BGR returns ErrUnavailable.
func (*Image) BGR([]byte, int, int) error { return ErrUnavailable }

// Gray returns ErrUnavailable.
func (*Image) Gray([]byte, int, int) error { return ErrUnavailable }

// Release does nothing.
func (*Image) Release() {}

// EncodeJPEG returns ErrUnavailable.
func EncodeJPEG([]byte, int, int, int) ([]byte, error) { return nil, ErrUnavailable }

// Canvas is never created in a build without cgo.
type Canvas struct{}

// NewCanvas returns ErrUnavailable.
func NewCanvas([]byte, int, int) (*Canvas, error) { return nil, ErrUnavailable }

// Box does nothing.
func (*Canvas) Box(geom.Box, string, color.RGBA) {}

// Polygon does nothing.
func (*Canvas) Polygon([]geom.Point, string, color.RGBA) {}

// Line does nothing.
func (*Canvas) Line(_, _ geom.Point, _ string, _ color.RGBA) {}

// Text does nothing.
func (*Canvas) Text(geom.Point, string, color.RGBA) {}

// Pixels returns nothing.
func (*Canvas) Pixels() []byte { return nil }

// JPEG returns ErrUnavailable.
func (*Canvas) JPEG(int) ([]byte, error) { return nil, ErrUnavailable }

// Close does nothing.
func (*Canvas) Close() {}

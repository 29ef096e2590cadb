//go:build cgo

package prep

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg" // for image.DecodeConfig
	_ "image/png"  // for image.DecodeConfig
	"io"
	"os"
	"runtime"
	"sync"

	"gocv.io/x/gocv"

	"github.com/xacam/xacam/streams/media"
)

const (
	maxFile   = 256 << 20 // bytes of an image file
	maxPixels = 1 << 27   // of an image
	maxSide   = 1 << 15   // pixels
)

// Image is a picture from a file. It implements media.Picture, so pictures
// and video go the same way. Whoever loaded it releases it.
type Image struct {
	mu       sync.Mutex
	mat      gocv.Mat
	w, h     int
	released bool
}

var _ media.Picture = (*Image)(nil)

// Load reads a JPEG or PNG file and turns it upright as its EXIF data says.
func Load(path string) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load picture: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("load picture: %w", err)
	}
	m, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("load picture %s: %w", path, err)
	}
	return m, nil
}

// Decode is Load on the file's content. The size is checked before OpenCV sees
// the data, because it ends the process on a header with an absurd one.
func Decode(data []byte) (*Image, error) {
	cfg, format, err := image.DecodeConfig(bytes.NewReader(data))
	switch {
	case len(data) > maxFile:
		return nil, fmt.Errorf("more than %d MiB", maxFile>>20)
	case errors.Is(err, image.ErrFormat):
		return nil, errors.New("not a JPEG or PNG picture")
	case err != nil:
		return nil, fmt.Errorf("damaged picture: %w", err)
	case cfg.Width <= 0 || cfg.Height <= 0 || cfg.Width > maxSide || cfg.Height > maxSide || cfg.Width*cfg.Height > maxPixels:
		return nil, fmt.Errorf("a picture of %dx%d pixels is too large", cfg.Width, cfg.Height)
	}
	mat, err := gocv.IMDecode(data, gocv.IMReadColor)
	if err != nil {
		return nil, fmt.Errorf("damaged %s picture: %w", format, err)
	}
	if mat.Empty() {
		_ = mat.Close()
		return nil, fmt.Errorf("damaged %s picture", format)
	}
	return &Image{mat: mat, w: mat.Cols(), h: mat.Rows()}, nil
}

// Size implements media.Picture.
func (m *Image) Size() (width, height int) { return m.w, m.h }

var errReleased = errors.New("the picture was released")

// BGR implements media.Picture with bilinear scaling, as the reference
// implementations of the detectors do it.
func (m *Image) BGR(dst []byte, width, height int) error {
	return m.scale(dst, width, height, gocv.MatTypeCV8UC3)
}

// Gray implements media.Picture.
func (m *Image) Gray(dst []byte, width, height int) error {
	return m.scale(dst, width, height, gocv.MatTypeCV8UC1)
}

func (m *Image) scale(dst []byte, width, height int, typ gocv.MatType) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.released {
		return errReleased
	}
	to, done, err := wrap(dst, width, height, typ)
	if err != nil {
		return err
	}
	defer done()
	size := image.Pt(width, height)
	if typ == gocv.MatTypeCV8UC3 {
		gocv.Resize(m.mat, &to, size, 0, 0, gocv.InterpolationLinear)
		return nil
	}
	small := gocv.NewMat()
	defer func() { _ = small.Close() }()
	gocv.Resize(m.mat, &small, size, 0, 0, gocv.InterpolationArea)
	gocv.CvtColor(small, &to, gocv.ColorBGRToGray)
	return nil
}

// Release implements media.Picture.
func (m *Image) Release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.released {
		m.released = true
		_ = m.mat.Close()
	}
}

// wrap makes a Mat over Go memory, pinned until done is called. OpenCV writes
// into it as long as the operation's result has the same size and type.
func wrap(data []byte, width, height int, typ gocv.MatType) (mat gocv.Mat, done func(), err error) {
	depth := 1
	if typ == gocv.MatTypeCV8UC3 {
		depth = 3
	}
	if width <= 0 || height <= 0 || width > maxSide || height > maxSide || len(data) < depth*width*height {
		return mat, nil, fmt.Errorf("%d bytes for %dx%d pixels", len(data), width, height)
	}
	var pin runtime.Pinner
	pin.Pin(&data[0])
	mat, err = gocv.NewMatFromBytes(height, width, typ, data[:depth*width*height])
	if err != nil {
		pin.Unpin()
		return mat, nil, err
	}
	return mat, func() {
		_ = mat.Close()
		pin.Unpin()
	}, nil
}

// EncodeJPEG encodes a BGR picture with rows of exactly 3×width bytes. The
// quality is 1 to 100; 85 is a good choice for evidence, 70 for previews.
func EncodeJPEG(bgr []byte, width, height, quality int) ([]byte, error) {
	mat, done, err := wrap(bgr, width, height, gocv.MatTypeCV8UC3)
	if err != nil {
		return nil, fmt.Errorf("encode jpeg: %w", err)
	}
	defer done()
	buf, err := gocv.IMEncodeWithParams(gocv.JPEGFileExt, mat, []int{gocv.IMWriteJpegQuality, min(max(quality, 1), 100)})
	if err != nil {
		return nil, fmt.Errorf("encode jpeg: %w", err)
	}
	defer buf.Close()
	if buf.Len() == 0 {
		return nil, errors.New("encode jpeg: OpenCV returned nothing")
	}
	return bytes.Clone(buf.GetBytes()), nil
}

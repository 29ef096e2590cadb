package detect_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/ort/orttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// toyManifest describes a file of testdata/models.
func toyManifest(tb testing.TB, file string) (models.Manifest, string) {
	tb.Helper()
	path := filepath.Join(orttest.Root(tb), "testdata", "models", file)
	data, err := os.ReadFile(path)
	require.NoError(tb, err)
	sum := sha256.Sum256(data)
	return models.Manifest{
		Name: "toy", Family: "yolox", File: file, SHA256: hex.EncodeToString(sum[:]), Licence: "Apache-2.0",
		Labels: orttest.Labels(), NMS: 0.45,
		Input: models.Input{
			Width: orttest.Size, Height: orttest.Size,
			Layout: "nchw", Channels: "bgr", Scale: 1, Letterbox: "top_left", Pad: 114,
		},
	}, path
}

func toy(tb testing.TB, workers int) *detect.Detector {
	tb.Helper()
	m, path := toyManifest(tb, "toy.onnx")
	d, err := detect.New(orttest.Runtime(tb), detect.Config{Manifest: m, Path: path, Workers: workers})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, d.Close()) })
	return d
}

// nano is yolox-nano from the assets beside the repository.
func nano(tb testing.TB, cfg detect.Config) (d *detect.Detector, assets string) {
	tb.Helper()
	assets = orttest.Assets(tb)
	c, err := models.Builtin("")
	require.NoError(tb, err)
	cfg.Manifest, err = c.Lookup(models.Default)
	require.NoError(tb, err)
	cfg.Path = filepath.Join(assets, "models", cfg.Manifest.File)
	d, err = detect.New(orttest.Runtime(tb), cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, d.Close()) })
	return d, assets
}

// canvas is a picture of plain pixels, scaled by nearest neighbour.
type canvas struct {
	w, h int
	bgr  []byte
}

func newCanvas(w, h int) *canvas { return &canvas{w, h, make([]byte, 3*w*h)} }

func (c *canvas) fill(x0, y0, x1, y1 int, b, g, r byte) {
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			copy(c.bgr[3*(y*c.w+x):], []byte{b, g, r})
		}
	}
}

func (c *canvas) Size() (width, height int) { return c.w, c.h }

func (c *canvas) BGR(dst []byte, w, h int) error {
	for y := range h {
		for x := range w {
			from := 3 * (y*c.h/h*c.w + x*c.w/w)
			copy(dst[3*(y*w+x):], c.bgr[from:from+3])
		}
	}
	return nil
}

func (c *canvas) Gray(dst []byte, w, h int) error {
	clear(dst[:w*h])
	return nil
}

func (*canvas) Release() {}

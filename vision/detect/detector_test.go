package detect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/family"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/ort/orttest"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	d := toy(t, 2)
	p := newCanvas(128, 64) // half of the input's height is padding
	p.fill(32, 16, 48, 32, 0, 0, 255)
	p.fill(112, 48, 128, 64, 255, 0, 0)
	dets, err := d.Detect(t.Context(), &media.Frame{Picture: p})
	require.NoError(t, err)
	require.Len(t, dets, 2)
	for _, x := range dets {
		want := [4]float64{32. / 128, 16. / 64, 48. / 128, 32. / 64}
		if x.Label == "blue" {
			want = [4]float64{112. / 128, 48. / 64, 1, 1}
		}
		assert.Contains(t, []string{"blue", "red"}, x.Label)
		assert.Greater(t, x.Score, 0.9)
		for i, v := range []float64{x.Box.Min.X, x.Box.Min.Y, x.Box.Max.X, x.Box.Max.Y} {
			assert.InDelta(t, want[i], v, 0.01)
		}
	}
}

// TestDetectInOurWords: a list of classes with other words for them than COCO's.
func TestDetectInOurWords(t *testing.T) {
	t.Parallel()
	m, path := toyManifest(t, "toy.onnx")
	m.Labels = []string{"Motorbike", "tvmonitor", "biển số"}
	d, err := detect.New(orttest.Runtime(t), detect.Config{Manifest: m, Path: path, Workers: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	for _, c := range []struct {
		label   string
		b, g, r byte
	}{{"motorcycle", 255, 0, 0}, {"tv", 0, 255, 0}, {"biển số", 0, 0, 255}} {
		p := newCanvas(64, 64)
		p.fill(0, 0, 64, 64, c.b, c.g, c.r)
		dets, err := d.Detect(t.Context(), &media.Frame{Picture: p})
		require.NoError(t, err)
		require.NotEmpty(t, dets)
		assert.Equal(t, c.label, dets[0].Label)
	}
	assert.Equal(t, models.Labels{"Motorbike", "tvmonitor", "biển số"}, d.Manifest().Labels, "the manifest stays")
}

func TestDetectConcurrently(t *testing.T) {
	t.Parallel()
	d := toy(t, 2)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			p := newCanvas(64+i*16, 64) // another geometry for each caller
			p.fill(0, 0, 64, 64, 0, 255, 0)
			for range 20 {
				dets, err := d.Detect(t.Context(), &media.Frame{Picture: p})
				if !assert.NoError(t, err) || !assert.NotEmpty(t, dets) || !assert.Equal(t, "green", dets[0].Label) {
					return
				}
			}
		})
	}
	wg.Wait()
}

type broken struct{ canvas }

var errBroken = errors.New("decoder is gone")

func (*broken) BGR([]byte, int, int) error { return errBroken }

func TestDetectErrors(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, path := toyManifest(t, "toy.onnx")
	d, err := detect.New(orttest.Runtime(t), detect.Config{Manifest: m, Path: path, Workers: 1, Metrics: reg})
	require.NoError(t, err)
	_, err = d.Detect(t.Context(), &media.Frame{})
	require.ErrorContains(t, err, "no picture")
	_, err = d.Detect(t.Context(), &media.Frame{Picture: &broken{*newCanvas(4, 4)}})
	require.ErrorIs(t, err, errBroken)
	_, err = d.Detect(t.Context(), &media.Frame{Picture: newCanvas(0, 0)})
	require.ErrorContains(t, err, "0x0")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 { // either of two ready cases may win
		if _, err = d.Detect(ctx, &media.Frame{Picture: newCanvas(4, 4)}); err != nil {
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	n, err := testutil.GatherAndCount(reg, "xacam_detect_errors_total", "xacam_detect_seconds")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.NoError(t, d.Close())
	require.NoError(t, d.Close())
	_, err = d.Detect(t.Context(), &media.Frame{Picture: newCanvas(4, 4)})
	require.ErrorIs(t, err, detect.ErrClosed)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	rt := orttest.Runtime(t)
	for name, c := range map[string]struct {
		file   string
		change func(*detect.Config)
		is     error
		want   string
	}{
		"missing":      {"toy.onnx", func(c *detect.Config) { c.Path += "x" }, models.ErrMissing, "xacam models add"},
		"wrong sum":    {"toy.onnx", func(c *detect.Config) { c.Manifest.SHA256 = "ab" }, models.ErrDamaged, "sha256"},
		"corrupt":      {"toy_corrupt.onnx", nil, ort.ErrBadModel, "not a usable model"},
		"NaN":          {"toy_nan.onnx", nil, family.ErrNotFinite, "empty picture"},
		"family":       {"toy.onnx", func(c *detect.Config) { c.Manifest.Family = "nope" }, nil, "unknown model family"},
		"other labels": {"toy.onnx", func(c *detect.Config) { c.Manifest.Labels = models.COCO() }, family.ErrShape, "[1 84 85]"},
		"other size":   {"toy.onnx", func(c *detect.Config) { c.Manifest.Input.Width = 416 }, ort.ErrBadModel, "is not [1 3 64 416]"},
		"min_score":    {"toy.onnx", func(c *detect.Config) { c.MinScore = math.NaN() }, nil, "min_score"},
		"workers":      {"toy.onnx", func(c *detect.Config) { c.Workers = -1 }, nil, "workers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, path := toyManifest(t, c.file)
			cfg := detect.Config{Manifest: m, Path: path, Workers: 1}
			if c.change != nil {
				c.change(&cfg)
			}
			_, err := detect.New(rt, cfg)
			require.ErrorContains(t, err, c.want)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			t.Log(err)
		})
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	d := toy(t, 2)
	var out bytes.Buffer
	require.NoError(t, detect.Images(t.Context(), d, nil, &out, nil))
	require.JSONEq(t, "[]", out.String())

	bad := filepath.Join(t.TempDir(), "note.jpg")
	require.NoError(t, os.WriteFile(bad, []byte("not a picture"), 0o600))
	err := detect.Images(t.Context(), d, []string{bad}, &out, nil)
	require.ErrorContains(t, err, "note.jpg: not a JPEG or PNG picture")
	err = detect.Images(t.Context(), d, []string{bad + "x"}, &out, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestImagesIsDeterministic(t *testing.T) {
	t.Parallel()
	d, assets := nano(t, detect.Config{MinScore: 0.01})
	paths, err := filepath.Glob(filepath.Join(assets, "stills", "coco8", "images", "*", "*.jpg"))
	require.NoError(t, err)
	require.Len(t, paths, 8)
	var a, b bytes.Buffer
	last := 0
	require.NoError(t, detect.Images(t.Context(), d, paths, &a, func(n int) { last = n }))
	require.NoError(t, detect.Images(t.Context(), d, paths, &b, nil))
	require.Equal(t, a.String(), b.String())
	require.Equal(t, 8, last)
	var got []detect.ImageDetection
	require.NoError(t, json.Unmarshal(a.Bytes(), &got))
	require.Greater(t, len(got), 20)
}

package detect_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/family"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/ort/orttest"
)

// tiny describes a model of testdata/models/make.py: stretched, rgb, 0–1.
func tiny(tb testing.TB, family, file string) (models.Manifest, string) {
	tb.Helper()
	m, path := toyManifest(tb, file)
	m.Family, m.Labels = family, models.Labels{"red", "green", "blue"}
	m.Input = models.Input{
		Width: orttest.Size, Height: orttest.Size, Layout: "nchw", Channels: "rgb", Scale: 1. / 255, Letterbox: "stretch",
	}
	return m, path
}

// seen is what must be found.
type seen struct {
	label string
	score float64
	box   [4]float64
}

// quarters is a picture with a red, a half green and a blue quarter, and a
// black one.
func quarters() *canvas {
	p := newCanvas(160, 120)
	p.fill(0, 0, 80, 60, 0, 0, 255)
	p.fill(80, 0, 160, 60, 0, 128, 0)
	p.fill(0, 60, 80, 120, 255, 0, 0)
	return p
}

// TestFamilies runs a tiny model of each kind of input and output that no real
// model at hand has. What it must find follows from the picture alone.
func TestFamilies(t *testing.T) {
	t.Parallel()
	red := seen{"red", 1, [4]float64{0.125, 0.125, 0.375, 0.375}}
	blue := seen{"blue", 1, [4]float64{0.125, 0.625, 0.375, 0.875}}
	green := seen{"green", 128. / 255, [4]float64{0.625, 0.125, 0.875, 0.375}}
	half := green // logit 16·(128/255 − ½), nearly even
	half.score = 0.5078
	one, zero := 1, 0
	for name, c := range map[string]struct {
		family, file string
		change       func(*models.Manifest)
		want         []seen
	}{
		"ssd of tensorflow, uint8, nhwc": {"ssd", "ssd_tf.onnx", func(m *models.Manifest) {
			m.Input.Layout, m.Input.Scale = "nhwc", 1
			m.Params.Outputs = map[string]string{
				"boxes": "detection_boxes", "classes": "detection_classes", "scores": "detection_scores", "count": "num_detections",
			}
		}, []seen{red, blue, green}},
		"ssd of torchvision, open size": {"ssd", "ssd_torch.onnx", func(m *models.Manifest) {
			m.Params = models.Params{Boxes: "xyxy", Units: "pixels", FirstClass: &one}
		}, []seen{red, blue, green}},
		"ssd, int8 at both ends": {"ssd", "ssd_int8.onnx", func(m *models.Manifest) {
			m.Input.Layout, m.Input.Scale, m.Input.Mean = "nhwc", 1, []float64{128, 128, 128}
			m.Params = models.Params{Boxes: "xyxy", FirstClass: &zero, Quant: map[string]models.Quant{
				"boxes": {Scale: 1. / 128}, "scores": {Scale: 1. / 255, Zero: -128},
			}}
		}, []seen{red, blue, green}},
		"rtdetr, logits": {"rtdetr", "rtdetr_logits.onnx", nil, []seen{red, blue, half}},
		"d-fine, sizes as input": {"rtdetr", "dfine.onnx", func(m *models.Manifest) {
			m.Input.Extra = map[string][]float64{"orig_target_sizes": {64, 64}}
		}, []seen{red, blue, green}},
		"yolov8, float16 at both ends": {"yolov8", "yolov8_fp16.onnx", nil, []seen{red, blue, green}},
		"centred": {"yolov8", "yolov8_fp16.onnx", func(m *models.Manifest) {
			m.Input.Letterbox = "center" // 64×48 pixels with 8 above: three quarters of each quarter are seen
		}, []seen{
			{"red", 0.75, [4]float64{0.125, 0, 0.375, 1. / 3}},
			{"blue", 0.75, [4]float64{0.125, 2. / 3, 0.375, 1}},
			{"green", 0.75 * 128 / 255, [4]float64{0.625, 0, 0.875, 1. / 3}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, path := tiny(t, c.family, c.file)
			if c.change != nil {
				c.change(&m)
			}
			d, err := detect.New(orttest.Runtime(t), detect.Config{Manifest: m, Path: path, MinScore: 0.3, Workers: 1})
			require.NoError(t, err)
			defer func() { require.NoError(t, d.Close()) }()
			for range 2 { // the second one with used memory
				got, err := d.Detect(t.Context(), &media.Frame{Picture: quarters()})
				require.NoError(t, err)
				require.Len(t, got, len(c.want))
				for i, w := range c.want {
					assert.Equal(t, w.label, got[i].Label, i)
					assert.InDelta(t, w.score, got[i].Score, 0.003, w.label)
					b := got[i].Box
					for k, v := range []float64{b.Min.X, b.Min.Y, b.Max.X, b.Max.Y} {
						assert.InDelta(t, w.box[k], v, 1e-3, "%s: %v", w.label, b)
					}
				}
			}
		})
	}
}

// TestFamiliesRefuse: a manifest that does not fit the model is refused when it
// is loaded, with both shapes named.
func TestFamiliesRefuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		family, file string
		change       func(*models.Manifest)
		is           error
		want         []string
	}{
		"class count": {
			"yolov8", "yolov8_fp16.onnx", func(m *models.Manifest) { m.Labels = models.COCO()[:20] },
			family.ErrShape,
			[]string{"output0[1 7 84]", "[1 24 boxes]", "20 labels"},
		},
		"other family": {"yolov5", "yolov8_fp16.onnx", nil, family.ErrShape, []string{"output0[1 7 84]", "[1 rows 8]"}},
		"anchors that do not fit": {"yolov5", "yolov8_fp16.onnx", func(m *models.Manifest) {
			m.Params.Strides, m.Params.Anchors = []int{8}, [][]float64{{1, 1}}
		}, family.ErrShape, []string{"output0[1 7 84]", "[1 1 8 8 8]"}},
		"no values for an input": {
			"rtdetr", "dfine.onnx", nil, ort.ErrBadModel, []string{"images[-1 3 64 64]", "orig_target_sizes[-1 2]", "needs its values"},
		},
		"three values for two": {"rtdetr", "dfine.onnx", func(m *models.Manifest) {
			m.Input.Extra = map[string][]float64{"orig_target_sizes": {64, 64, 64}}
		}, ort.ErrBadModel, []string{"orig_target_sizes[-1 2]", "3 values"}},
		"values for no input": {"rtdetr", "rtdetr_logits.onnx", func(m *models.Manifest) {
			m.Input.Extra = map[string][]float64{"sizes": {64}}
		}, ort.ErrBadModel, []string{"[sizes]", "pixel_values[-1 3 -1 -1]"}},
		"an output that is not there": {"ssd", "ssd_tf.onnx", func(m *models.Manifest) {
			m.Input.Layout = "nhwc"
			m.Params.Outputs = map[string]string{"boxes": "boxes"}
		}, ort.ErrBadModel, []string{`no output "boxes"`, "detection_boxes[1 4 4]"}},
		"layout": {"ssd", "ssd_tf.onnx", nil, ort.ErrBadModel, []string{"image_tensor[1 64 64 3] is not [1 3 64 64]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, path := tiny(t, c.family, c.file)
			if c.change != nil {
				c.change(&m)
			}
			_, err := detect.New(orttest.Runtime(t), detect.Config{Manifest: m, Path: path, Workers: 1})
			require.ErrorIs(t, err, c.is)
			for _, w := range c.want {
				require.ErrorContains(t, err, w)
			}
			t.Log(err)
		})
	}
}

// TestInspect reads what files say of themselves.
func TestInspect(t *testing.T) {
	t.Parallel()
	rt := orttest.Runtime(t)
	for file, want := range map[string][2]string{
		"dfine.onnx":       {"[images[-1 3 64 64] orig_target_sizes[-1 2]]", "[labels[1 4] boxes[-1 4 4] scores[1 4]]"},
		"ssd_torch.onnx":   {"[image[3 64 64]]", "[boxes[-1 4] scores[-1] labels[-1]]"},
		"yolov8_fp16.onnx": {"[images[1 3 64 64]]", "[output0[1 7 84]]"},
	} {
		m, err := rt.Inspect(filepath.Join(orttest.Root(t), "testdata", "models", file))
		require.NoError(t, err)
		assert.Equal(t, want, [2]string{fmt.Sprint(m.Inputs), fmt.Sprint(m.Outputs)})
		assert.Len(t, m.SHA256, 64)
		if file == "yolov8_fp16.onnx" {
			assert.Equal(t, "float16", m.Inputs[0].Type)
			assert.Equal(t, "[64, 64]", m.Metadata["imgsz"])
		}
	}
	_, err := rt.Inspect(filepath.Join(orttest.Root(t), "testdata", "models", "toy_corrupt.onnx"))
	require.ErrorIs(t, err, ort.ErrBadModel)
}

package detect_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/ort/orttest"
	"github.com/xacam/xacam/vision/score"
)

// coco is a manifest of a model with COCO's classes. The sums are those of the
// files that the references were measured with.
func coco(family, file, sum string, in models.Input, p models.Params) models.Manifest {
	if in.Layout == "" {
		in.Layout = "nchw"
	}
	in.Height = in.Width
	return models.Manifest{
		Name: file[:len(file)-len(".onnx")], Family: family, File: file, SHA256: sum, Licence: "see the assets",
		Input: in, Params: p, Labels: models.COCO(), NMS: 0.45,
	}
}

// references are the models of the assets with the AP50 that an independent
// implementation gets on stills/voc2012_50.
func references(tb testing.TB, assets string) map[string]struct {
	m    models.Manifest
	mean float64
} {
	tb.Helper()
	imagenet := func(w int) models.Input {
		return models.Input{
			Width: w, Channels: "bgr", Scale: 1, Letterbox: "center",
			Mean: []float64{103.53, 116.28, 123.675}, Std: []float64{57.375, 57.12, 58.395},
		}
	}
	yolo := func(w int) models.Input {
		return models.Input{Width: w, Channels: "rgb", Scale: 1. / 255, Letterbox: "center", Pad: 114}
	}
	stretched := yolo(320) // as YOLOv5-Lite's own demonstration does it
	stretched.Letterbox = "stretch"
	type ref = struct {
		m    models.Manifest
		mean float64
	}
	out := map[string]ref{
		"yolox_nano": {coco("yolox", "yolox_nano.onnx", "c789161ed43c8269",
			models.Input{Width: 416, Channels: "bgr", Scale: 1, Letterbox: "top_left", Pad: 114}, models.Params{}), 0.805},
		"nanodet_m_416": {coco("nanodet", "nanodet_m_416.onnx", "08b62b9ee4a7878e", imagenet(416), models.Params{}), 0.825},
		"fastestdet": {coco("fastestdet", "fastestdet.onnx", "31cb14c017fce347",
			models.Input{Width: 352, Channels: "bgr", Scale: 1. / 255, Letterbox: "stretch"}, models.Params{}), 0.557},
		"yolov5_lite_e": {coco("yolov5", "yolov5_lite_e_320.onnx", "048345e253fa6de8", stretched, models.Params{
			Strides: []int{8, 16, 32},
			Anchors: [][]float64{{10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}},
		}), 0.800},
		"yolov8n_int8":  {coco("yolov8", "yolov8n_int8.onnx", "7d7d09d585691437", yolo(640), models.Params{}), 0.874},
		"yolov10n_int8": {coco("yolov10", "yolov10n_int8.onnx", "c210371d7793313e", yolo(640), models.Params{}), 0.922},
	}
	for name, r := range out {
		sum, err := orttest.SHA256(filepath.Join(assets, "models", r.m.File))
		require.NoError(tb, err)
		require.Equal(tb, r.m.SHA256, sum[:16], "%s is another file than the reference's", r.m.File)
		r.m.SHA256 = sum
		out[name] = r
	}
	return out
}

// TestReferenceAP holds the families, as we run them, to what an independent
// implementation gets on the same pictures (min_score 0.01, NMS 0.45).
func TestReferenceAP(t *testing.T) {
	t.Parallel()
	assets := orttest.Assets(t)
	for name, r := range references(t, assets) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			det, err := detect.New(orttest.Runtime(t), detect.Config{
				Manifest: r.m, Path: filepath.Join(assets, "models", r.m.File), MinScore: 0.01, NMS: 0.45, Whole: true,
			})
			require.NoError(t, err)
			defer func() { require.NoError(t, det.Close()) }()
			_, mean := ap(t, det, filepath.Join(assets, "stills", "voc2012_50"), func(s string) string { return s })
			require.InDelta(t, r.mean, mean, 0.01)
		})
	}
}

// TestReferenceStreetAP is the same on pictures of traffic.
func TestReferenceStreetAP(t *testing.T) {
	t.Parallel()
	det, assets := nano(t, detect.Config{MinScore: 0.01, NMS: 0.45, Whole: true})
	classes, _ := ap(t, det, filepath.Join(assets, "stills", "street_cctv_40"), street)
	for category, want := range map[string]float64{"vehicle": 0.679, "bus": 0.600} {
		require.InDelta(t, want, classes[category], 0.01, category)
	}
}

// street makes the categories of street_cctv_40 of COCO's.
func street(s string) string {
	switch s {
	case "car", "truck", "motorcycle":
		return "vehicle"
	}
	return s
}

// ap returns the AP50 of each class and their mean.
func ap(t *testing.T, det *detect.Detector, dir string, category func(string) string) (classes map[string]float64, mean float64) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "annotations.json"))
	require.NoError(t, err)
	defer f.Close()
	data, err := score.ReadCOCO(f)
	require.NoError(t, err)
	var paths []string
	for _, i := range data.Images {
		paths = append(paths, filepath.Join(dir, "images", i))
	}
	var out bytes.Buffer
	require.NoError(t, detect.Images(t.Context(), det, paths, &out, nil))
	var dets []detect.ImageDetection
	require.NoError(t, json.Unmarshal(out.Bytes(), &dets))
	found := make([]score.Found, len(dets))
	for i, d := range dets {
		found[i] = score.Found{Image: d.FileName, Category: category(d.Category), Box: d.Box, Score: d.Score}
	}
	list, mean := score.AP(data.Truths, found, 0.5)
	t.Logf("mean %.4f of %d classes, %d detections", mean, len(list), len(found))
	classes = make(map[string]float64, len(list))
	for _, k := range list {
		t.Logf("%-14s %.4f (%d objects, %d detections)", k.Category, k.AP, k.Truths, k.Found)
		classes[k.Category] = k.AP
	}
	return classes, mean
}

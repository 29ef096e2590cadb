package detect_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/score"
)

// TestReferenceAP holds yolox-nano, as we run it, to what an independent
// implementation gets on the same pictures (min_score 0.01, NMS 0.45).
func TestReferenceAP(t *testing.T) {
	t.Parallel()
	det, assets := nano(t, detect.Config{MinScore: 0.01, NMS: 0.45})
	for name, c := range map[string]struct {
		category func(string) string
		mean     float64 // of all classes; 0 is not checked
		class    map[string]float64
	}{
		"voc2012_50": {func(s string) string { return s }, 0.805, nil},
		"street_cctv_40": {func(s string) string {
			switch s {
			case "car", "truck", "motorcycle":
				return "vehicle"
			}
			return s
		}, 0, map[string]float64{"vehicle": 0.679, "bus": 0.600}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(assets, "stills", name)
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
				found[i] = score.Found{Image: d.FileName, Category: c.category(d.Category), Box: d.Box, Score: d.Score}
			}
			classes, mean := score.AP(data.Truths, found, 0.5)
			t.Logf("mean %.4f of %d classes, %d detections", mean, len(classes), len(found))
			if c.mean > 0 {
				require.InDelta(t, c.mean, mean, 0.01)
			}
			for _, k := range classes {
				t.Logf("%-14s %.4f (%d objects, %d detections)", k.Category, k.AP, k.Truths, k.Found)
				if want, ok := c.class[k.Category]; ok {
					require.InDelta(t, want, k.AP, 0.01, k.Category)
				}
			}
		})
	}
}

package detect_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/detect"
	"github.com/xacam/xacam/vision/ort/orttest"
	"github.com/xacam/xacam/vision/prep"
)

// TestTightFindsTheSame: without the grey around a picture the same objects are
// found at the same places.
func TestTightFindsTheSame(t *testing.T) {
	t.Parallel()
	tight, assets := nano(t, detect.Config{MinScore: .1})
	whole, _ := nano(t, detect.Config{MinScore: .1, Whole: true})
	paths, err := filepath.Glob(filepath.Join(assets, "stills", "street_cctv_40", "images", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	found, missed := 0, 0
	for _, path := range paths {
		img, err := prep.Load(path)
		require.NoError(t, err)
		f := &media.Frame{Picture: img}
		want, err := whole.Detect(t.Context(), f)
		require.NoError(t, err)
		got, err := tight.Detect(t.Context(), f)
		require.NoError(t, err)
		img.Release()
		for _, w := range want {
			if w.Score < .35 {
				continue
			}
			found++
			same := false
			for _, g := range got {
				same = same || g.Label == w.Label && g.Box.IoU(w.Box) > .8
			}
			if !same {
				missed++
			}
		}
	}
	t.Logf("%d of %d objects are found too", found-missed, found)
	assert.Greater(t, found, 50)
	assert.Less(t, float64(missed), .03*float64(found))
}

// TestTightAtTheSameTime: cameras of all shapes share a detector.
func TestTightAtTheSameTime(t *testing.T) {
	t.Parallel()
	d, _ := nano(t, detect.Config{Workers: 2})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			for j := range 3 {
				_, err := d.Detect(t.Context(), &media.Frame{Picture: newCanvas(64*(i+1), 64*(12-i)+j)})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

// TestTightFallsBack: a manifest that promises too much costs nothing.
func TestTightFallsBack(t *testing.T) {
	t.Parallel()
	m, path := toyManifest(t, "toy.onnx")
	m.Input.MultipleOf = 8
	d, err := detect.New(orttest.Runtime(t), detect.Config{Manifest: m, Path: path, Workers: 1})
	require.NoError(t, err)
	for range 2 {
		_, err = d.Detect(t.Context(), &media.Frame{Picture: newCanvas(64, 8)})
		require.NoError(t, err)
	}
	require.NoError(t, d.Close())
}

// TestTightAP: the reference scores hold without the grey too.
func TestTightAP(t *testing.T) {
	t.Parallel()
	det, assets := nano(t, detect.Config{MinScore: 0.01, NMS: 0.45})
	_, mean := ap(t, det, filepath.Join(assets, "stills", "voc2012_50"), func(s string) string { return s })
	assert.Greater(t, mean, 0.805-0.01)
	classes, _ := ap(t, det, filepath.Join(assets, "stills", "street_cctv_40"), street)
	assert.Greater(t, classes["vehicle"], 0.679-0.01)
	assert.Greater(t, classes["bus"], 0.600-0.01)
}

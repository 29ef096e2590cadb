//go:build cgo

package second_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/ort/orttest"
	"github.com/xacam/xacam/vision/prep"
	"github.com/xacam/xacam/vision/second"
)

func helmets(tb testing.TB) *second.Classifier {
	tb.Helper()
	m, data, err := models.Helmet()
	require.NoError(tb, err)
	c, err := second.NewClassifier(orttest.Runtime(tb), second.ModelConfig{Manifest: m, Data: data})
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, c.Close()) })
	return c
}

// TestHelmetModel compares the answer to a made-up picture with PyTorch's, which
// models/train/helmet/export.py printed.
func TestHelmetModel(t *testing.T) {
	t.Parallel()
	c := helmets(t)
	w, h := c.Size()
	require.Equal(t, []int{64, 64}, []int{w, h})
	require.Equal(t, []string{"with", "without", "other"}, c.Labels())
	crop := make([]byte, 0, 3*w*h)
	for y := range h {
		for x := range w {
			for channel := range 3 {
				crop = append(crop, byte(7*channel+3*y+5*x))
			}
		}
	}
	want := []float64{0.00016, 0.20146, 0.79837}
	var group sync.WaitGroup
	for range 4 { // at the same time
		group.Go(func() {
			got, err := c.Classify(context.Background(), nil, crop)
			assert.NoError(t, err)
			assert.InDeltaSlice(t, want, got, 2e-3)
		})
	}
	group.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Classify(ctx, nil, crop[:5])
	require.Error(t, err)
}

func TestClassifierRefuses(t *testing.T) {
	t.Parallel()
	m, data, err := models.Helmet()
	require.NoError(t, err)
	rt := orttest.Runtime(t)
	for name, change := range map[string]func(*models.Manifest){
		"another family":  func(m *models.Manifest) { m.Family = "yolox" },
		"another sum":     func(m *models.Manifest) { m.SHA256 = strings.Repeat("0", 64) },
		"too many labels": func(m *models.Manifest) { m.Labels = []string{"a", "b", "c", "d"} },
		"another size":    func(m *models.Manifest) { m.Input.Width = 96 },
	} {
		bad := m
		change(&bad)
		_, err := second.NewClassifier(rt, second.ModelConfig{Manifest: bad, Data: data})
		require.Error(t, err, name)
	}
}

// TestHelmetAccuracy asks about the heads of the pictures that were held out of
// training, through the code that a camera uses.
func TestHelmetAccuracy(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(orttest.Assets(t), "stills", "helmet_500")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no pictures in %s", dir)
	}
	names, err := os.ReadFile(filepath.Join(orttest.Root(t), "models", "train", "helmet", "test_pictures.txt"))
	require.NoError(t, err)
	var doc struct {
		Images []struct {
			ID   int    `json:"id"`
			File string `json:"file_name"`
		} `json:"images"`
		Annotations []struct {
			Image    int        `json:"image_id"`
			Category int        `json:"category_id"`
			Box      [4]float64 `json:"bbox"`
		} `json:"annotations"`
	}
	raw, err := os.ReadFile(filepath.Join(dir, "annotations.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &doc))
	held := make(map[string]bool)
	for n := range strings.FieldsSeq(string(names)) {
		held[n] = true
	}
	c := helmets(t)
	crop := make([]byte, 3*64*64)
	right, all := [3]float64{}, [3]float64{}
	for _, p := range doc.Images {
		if !held[p.File] {
			continue
		}
		img, err := prep.Load(filepath.Join(dir, "images", p.File))
		require.NoError(t, err)
		w, _ := img.Size()
		for _, a := range doc.Annotations {
			size := max(a.Box[2], a.Box[3])
			if a.Image != p.ID || size < 8 || a.Box[0] > float64(w) {
				continue
			}
			side := 1.5 * size
			area := media.Area{X: a.Box[0] + a.Box[2]/2 - side/2, Y: a.Box[1] + a.Box[3]/2 - side/2, W: side, H: side}
			require.NoError(t, media.Crop(img, crop, area, 64, 64))
			got, err := c.Classify(t.Context(), nil, crop)
			require.NoError(t, err)
			all[a.Category]++
			if (got[1] > got[0]) == (a.Category == 2) {
				right[a.Category]++
			}
		}
		img.Release()
	}
	require.Greater(t, all[1]+all[2], 150.)
	balanced := (right[1]/all[1] + right[2]/all[2]) / 2
	t.Logf("balanced accuracy %.3f: %v of %v", balanced, right[1:], all[1:])
	assert.Greater(t, balanced, .85)
}

func BenchmarkClassify(b *testing.B) {
	c := helmets(b)
	crop := make([]byte, 3*64*64)
	var probs []float64
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if probs, err = c.Classify(context.Background(), probs[:0], crop); err != nil {
			b.Fatal(err)
		}
	}
}

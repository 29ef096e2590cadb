//go:build cgo

package second_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/mot"
	"github.com/xacam/xacam/vision/ort/orttest"
	"github.com/xacam/xacam/vision/prep"
	"github.com/xacam/xacam/vision/second"
)

// reidModel describes the embedding model beside the repository.
func reidModel(tb testing.TB) second.ModelConfig {
	tb.Helper()
	path := filepath.Join(orttest.Assets(tb), "models", "person-reidentification-retail-0248.onnx")
	if _, err := os.Stat(path); err != nil {
		tb.Skip("no embedding model")
	}
	info, err := orttest.Runtime(tb).Inspect(path)
	require.NoError(tb, err)
	return second.ModelConfig{Path: path, Workers: 1, Manifest: models.Manifest{
		Name: "reid", Family: second.FamilyEmbedding, SHA256: info.SHA256, Labels: []string{"pedestrian"}, MinScore: .5,
		Input: models.Input{Width: 128, Height: 256, Layout: "nhwc", Channels: "bgr", Scale: 1, Letterbox: "stretch"},
	}}
}

// TestEmbedder measures how alike crops of one person and of others are: every
// seventh picture of TUD-Campus, true boxes. It tells whether the colours, the
// layout and the range of the input are right.
func TestEmbedder(t *testing.T) {
	t.Parallel()
	cfg := reidModel(t)
	e, err := second.NewEmbedder(orttest.Runtime(t), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	assert.Equal(t, []string{"person"}, e.Labels(), "in COCO's word")
	assert.InDelta(t, .5, e.Alike(), 0)

	root := filepath.Join(orttest.Assets(t), "mot", "TUD-Campus")
	f, err := os.Open(filepath.Join(root, "gt", "gt.txt"))
	require.NoError(t, err)
	defer f.Close()
	truth, err := mot.ReadTracks(f)
	require.NoError(t, err)
	type view struct {
		row mot.Row
		v   []float32
	}
	var views []view
	w, h := e.Size()
	crop := make([]byte, 3*w*h)
	for _, r := range truth {
		if r.Frame%7 != 1 {
			continue
		}
		p, err := prep.Load(filepath.Join(root, "img1", fmt.Sprintf("%06d.jpg", r.Frame)))
		require.NoError(t, err)
		require.NoError(t, media.Crop(p, crop, media.Area{X: r.Left, Y: r.Top, W: r.Width, H: r.Height}, w, h))
		p.Release()
		v, err := e.Embed(t.Context(), nil, crop)
		require.NoError(t, err)
		assert.InDelta(t, 1, dot(v, v), 1e-5)
		views = append(views, view{r, v})
	}
	var same, other []float64
	for i := range views {
		for j := range i {
			d := dot(views[i].v, views[j].v)
			switch a, b := views[i].row, views[j].row; {
			case a.ID != b.ID:
				other = append(other, d)
			case a.Frame-b.Frame >= 14 || b.Frame-a.Frame >= 14:
				same = append(same, d)
			}
		}
	}
	histogram(t, "same ", same)
	histogram(t, "other", other)
	assert.InDelta(t, .61, mean(same), .03)
	assert.InDelta(t, .25, mean(other), .03)
}

func TestEmbedderRefuses(t *testing.T) {
	t.Parallel()
	good := reidModel(t)
	for name, change := range map[string]func(*models.Manifest){
		"another family": func(m *models.Manifest) { m.Family = "yolox" },
		"another layout": func(m *models.Manifest) { m.Input.Layout = "nchw" },
		"another size":   func(m *models.Manifest) { m.Input.Width = 64 },
		"another sum":    func(m *models.Manifest) { m.SHA256 = strings.Repeat("0", 64) },
	} {
		bad := good
		change(&bad.Manifest)
		_, err := second.NewEmbedder(orttest.Runtime(t), bad)
		require.Error(t, err, name)
	}
	m, data, err := models.Helmet()
	require.NoError(t, err)
	m.Family = second.FamilyEmbedding
	e, err := second.NewEmbedder(orttest.Runtime(t), second.ModelConfig{Manifest: m, Data: data})
	require.NoError(t, err, "three numbers have a direction too")
	require.NoError(t, e.Close())
	_, err = e.Embed(t.Context(), nil, make([]byte, 3*64*64))
	require.ErrorIs(t, err, second.ErrClosed)
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func mean(v []float64) (sum float64) {
	for _, x := range v {
		sum += x / float64(len(v))
	}
	return sum
}

// histogram logs shares by tenths.
func histogram(t *testing.T, name string, v []float64) {
	t.Helper()
	slices.Sort(v)
	bins := make([]string, 0, 12)
	for low := -.1; low < .95; low += .1 {
		n := 0
		for _, x := range v {
			if x >= low && x < low+.1 {
				n++
			}
		}
		bins = append(bins, fmt.Sprintf("%.1f:%.0f%%", low, 100*float64(n)/float64(len(v))))
	}
	t.Logf("%s n=%d mean %.2f 5%% %.2f half %.2f 95%% %.2f | %s", name, len(v), mean(v), v[len(v)/20], v[len(v)/2], v[len(v)*19/20], strings.Join(bins, " "))
}

package family_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/family"
)

// golden is a case of testdata/tensors/make.py: outputs and the boxes that its
// own implementation, in numpy, finds in them.
type golden struct {
	Width        int      `json:"width"`
	Height       int      `json:"height"`
	SourceWidth  int      `json:"source_width"`
	SourceHeight int      `json:"source_height"`
	Letterbox    string   `json:"letterbox"`
	Labels       []string `json:"labels"`
	MinScore     float64  `json:"min_score"`
	NMS          float64  `json:"nms"`
	Params       struct {
		Strides    []int       `json:"strides"`
		Anchors    [][]float64 `json:"anchors"`
		RegMax     int         `json:"reg_max"`
		Activation string      `json:"activation"`
		Boxes      string      `json:"boxes"`
		Units      string      `json:"units"`
		FirstClass *int        `json:"first_class"`
	} `json:"params"`
	Outputs []struct {
		Name  string    `json:"name"`
		Shape []int     `json:"shape"`
		Data  []float32 `json:"data"`
	} `json:"outputs"`
	Boxes []refBox `json:"boxes"`
}

func (g *golden) tensors() []vision.Tensor {
	var out []vision.Tensor
	for _, o := range g.Outputs {
		out = append(out, vision.Tensor{Name: o.Name, Shape: slices.Clone(o.Shape), Data: slices.Clone(o.Data)})
	}
	return out
}

func (g *golden) geometry(tb testing.TB) vision.Geometry {
	tb.Helper()
	var out vision.Geometry
	var err error
	if g.Letterbox == "stretch" {
		out, err = vision.Stretch(g.Width, g.Height, g.SourceWidth, g.SourceHeight)
	} else {
		out, err = vision.Letterbox(g.Width, g.Height, g.SourceWidth, g.SourceHeight, g.Letterbox == "center")
	}
	require.NoError(tb, err)
	return out
}

func (g *golden) params() family.Params {
	p := g.Params
	return family.Params{MinScore: g.MinScore, NMS: g.NMS, Labels: g.Labels, Params: models.Params{
		Strides: p.Strides, Anchors: p.Anchors, RegMax: p.RegMax, Activation: p.Activation, Boxes: p.Boxes, Units: p.Units,
		FirstClass: p.FirstClass,
	}}
}

// goldens returns the cases of a family by name.
func goldens(tb testing.TB, name string) map[string]*golden {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("../../testdata/tensors", name, "*.json"))
	require.NoError(tb, err)
	require.NotEmpty(tb, files, "family %s has no case in testdata/tensors", name)
	out := make(map[string]*golden)
	for _, path := range files {
		raw, err := os.ReadFile(path)
		require.NoError(tb, err)
		var g golden
		require.NoError(tb, json.Unmarshal(raw, &g))
		out[strings.TrimSuffix(filepath.Base(path), ".json")] = &g
	}
	return out
}

// others are the families beside yolox, which has fixtures of its own kind.
func others() []string {
	return slices.DeleteFunc(family.Names(), func(s string) bool { return s == "yolox" })
}

func TestGolden(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"fastestdet", "nanodet", "nanodet-plus", "rtdetr", "ssd", "yolov10", "yolov5", "yolov8"}, others())
	for _, name := range others() {
		decode, err := family.Lookup(name)
		require.NoError(t, err)
		for file, g := range goldens(t, name) {
			t.Run(name+"/"+file, func(t *testing.T) {
				t.Parallel()
				in := g.tensors()
				got, err := decode(in, g.geometry(t), g.params())
				require.NoError(t, err)
				require.Equal(t, g.tensors(), in, "the tensors are not touched")
				require.Len(t, got, len(g.Boxes))
				for i, want := range g.Boxes {
					assert.Equal(t, g.Labels[want.Class], got[i].Label, i)
					assert.InDelta(t, want.Score, got[i].Score, 1e-6, i)
					for k, v := range []float64{got[i].Box.Min.X, got[i].Box.Min.Y, got[i].Box.Max.X, got[i].Box.Max.Y} {
						assert.InDelta(t, want.Box[k], v, 1e-6, "box %d", i)
					}
				}
			})
		}
	}
}

// TestRefuse damages each case: no decoder may accept other shapes, numbers
// that are none, or scores that are none, and none may panic.
func TestRefuse(t *testing.T) {
	t.Parallel()
	for _, name := range others() {
		decode, err := family.Lookup(name)
		require.NoError(t, err)
		for file, g := range goldens(t, name) {
			t.Run(name+"/"+file, func(t *testing.T) {
				t.Parallel()
				run := func(out []vision.Tensor, p family.Params) error {
					_, err := decode(out, g.geometry(t), p)
					return err
				}
				wrong := func(what string, out []vision.Tensor, p family.Params) {
					err := run(out, p)
					require.ErrorIs(t, err, family.ErrShape, what)
					require.ErrorContains(t, err, " not ", "both shapes are named")
				}
				p := g.params()
				p.Labels = nil
				wrong("no labels", g.tensors(), p)
				wrong("no output", nil, g.params())
				wrong("another output", append(g.tensors()[1:], vision.Tensor{Name: "x", Shape: []int{1, 2}, Data: []float32{0, 0}}), g.params())
				for i := range g.tensors() {
					if strings.HasPrefix(g.Outputs[i].Name, "num") {
						continue
					}
					out := g.tensors()
					out[i].Data = out[i].Data[:len(out[i].Data)-1]
					wrong("short", out, g.params())
					out = g.tensors()
					out[i].Shape[0] = -out[i].Shape[0]
					wrong("negative", out, g.params())
					out = g.tensors()
					for k := range out[i].Data {
						out[i].Data[k] = float32(math.NaN())
					}
					require.ErrorIs(t, run(out, g.params()), family.ErrNotFinite, out[i].Name)
				}
				p = g.params()
				p.Labels = append(p.Labels, "d")
				if name == "ssd" || name == "yolov10" || file == "list" { // do not say how many classes there are
					p.Labels = p.Labels[:1]
					require.ErrorIs(t, run(g.tensors(), p), family.ErrClass)
				} else {
					wrong("class count", g.tensors(), p)
				}
			})
		}
	}
}

func TestLogitsWithoutActivation(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{"rtdetr": "logits", "yolov5": "grids"} {
		decode, err := family.Lookup(name)
		require.NoError(t, err)
		g := goldens(t, name)[file]
		p := g.params()
		p.Activation = "none"
		_, err = decode(g.tensors(), g.geometry(t), p)
		require.ErrorIs(t, err, family.ErrScore)
		require.ErrorContains(t, err, "params.activation")
	}
}

package family_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/family"
)

var update = flag.Bool("update", false, "rewrite testdata/tensors")

// fixture is a saved output and the boxes the reference decoder gives. Cells
// that are not listed are zero.
type fixture struct {
	Width        int               `json:"width"`
	Height       int               `json:"height"`
	SourceWidth  int               `json:"source_width"`
	SourceHeight int               `json:"source_height"`
	Labels       []string          `json:"labels"`
	MinScore     float64           `json:"min_score"`
	NMS          float64           `json:"nms"`
	Cells        map[int][]float32 `json:"cells"`
	Boxes        []refBox          `json:"boxes"`
}

func (f *fixture) tensor() vision.Tensor {
	n, w := 0, 5+len(f.Labels)
	for _, s := range []int{8, 16, 32} {
		n += f.Width / s * (f.Height / s)
	}
	t := vision.Tensor{Name: "output", Shape: []int{1, n, w}, Data: make([]float32, n*w)}
	for i, row := range f.Cells {
		copy(t.Data[i*w:(i+1)*w], row)
	}
	return t
}

func (f *fixture) geometry(tb testing.TB) vision.Geometry {
	tb.Helper()
	g, err := vision.Letterbox(f.Width, f.Height, f.SourceWidth, f.SourceHeight, false)
	require.NoError(tb, err)
	return g
}

func (f *fixture) params() family.Params {
	return family.Params{MinScore: f.MinScore, NMS: f.NMS, Labels: f.Labels}
}

// synthetic makes outputs with clusters of overlapping boxes, some across the
// picture's edge, some in the padding.
func synthetic(seed uint64, width, height, srcW, srcH, cells int) *fixture {
	rng := rand.New(rand.NewPCG(seed, 1))
	f := &fixture{
		Width: width, Height: height, SourceWidth: srcW, SourceHeight: srcH,
		Labels: []string{"a", "b", "c"}, MinScore: 0.05, NMS: 0.45, Cells: map[int][]float32{},
	}
	n := len(f.tensor().Data) / 8
	for range cells {
		at := rng.IntN(n)
		for k := range 1 + rng.IntN(4) {
			row := make([]float32, 8)
			for i := range 2 {
				row[i] = float32(rng.NormFloat64())
				row[2+i] = float32(rng.NormFloat64() * 0.7)
			}
			for i := 4; i < 8; i++ {
				row[i] = rng.Float32()
			}
			f.Cells[min(at+k, n-1)] = row
		}
	}
	return f
}

func TestYOLOXFixtures(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("../../testdata/tensors", "yolox")
	if *update {
		writeYOLOX(t, dir)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no fixture in %s", dir)
	decode, err := family.Lookup("yolox")
	require.NoError(t, err)
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			var f fixture
			require.NoError(t, json.Unmarshal(raw, &f))
			got, err := decode([]vision.Tensor{f.tensor()}, f.geometry(t), f.params())
			require.NoError(t, err)
			require.Len(t, got, len(f.Boxes))
			for i, want := range f.Boxes {
				assert.Equal(t, f.Labels[want.Class], got[i].Label, i)
				assert.InDelta(t, want.Score, got[i].Score, 1e-9)
				for k, v := range []float64{got[i].Box.Min.X, got[i].Box.Min.Y, got[i].Box.Max.X, got[i].Box.Max.Y} {
					assert.InDelta(t, want.Box[k], v, 1e-9)
				}
			}
		})
	}
}

func writeYOLOX(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, f := range map[string]*fixture{
		"empty":    synthetic(1, 64, 64, 640, 480, 0),
		"wide":     synthetic(2, 128, 96, 1920, 1080, 25),
		"portrait": synthetic(3, 96, 128, 360, 640, 25),
		"enlarged": synthetic(4, 160, 160, 40, 30, 30),
	} {
		g := f.geometry(t)
		f.Boxes = refDecode(f.tensor().Data, len(f.Labels), f.Width, f.Height, g.Scale, f.SourceWidth, f.SourceHeight, f.MinScore, f.NMS)
		raw, err := json.Marshal(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), append(raw, '\n'), 0o644))
	}
}

// TestReference compares with the reference decoder on many random outputs.
func TestReference(t *testing.T) {
	t.Parallel()
	decode, err := family.Lookup("yolox")
	require.NoError(t, err)
	for seed := range uint64(200) {
		f := synthetic(seed, 96, 64, 500, 333, 40)
		g := f.geometry(t)
		want := refDecode(f.tensor().Data, 3, 96, 64, g.Scale, 500, 333, f.MinScore, f.NMS)
		got, err := decode([]vision.Tensor{f.tensor()}, g, f.params())
		require.NoError(t, err)
		require.Len(t, got, len(want), "seed %d", seed)
		for i := range want {
			require.InDelta(t, want[i].Score, got[i].Score, 1e-9)
			require.InDelta(t, want[i].Box[0], got[i].Box.Min.X, 1e-9)
		}
	}
}

// TestCatalogueFamiliesExist holds the manifests to the registry.
func TestCatalogueFamiliesExist(t *testing.T) {
	t.Parallel()
	c, err := models.Builtin("")
	require.NoError(t, err)
	for _, n := range c.Names() {
		m, err := c.Lookup(n)
		require.NoError(t, err)
		_, err = family.Lookup(m.Family)
		require.NoError(t, err)
	}
	_, err = family.Lookup("nope")
	require.ErrorContains(t, err, "yolox")
}

func TestYOLOXRefuses(t *testing.T) {
	t.Parallel()
	decode, err := family.Lookup("yolox")
	require.NoError(t, err)
	f := synthetic(1, 64, 64, 64, 64, 3)
	g := f.geometry(t)
	nan := func(column int, v float64) []vision.Tensor {
		x := f.tensor()
		x.Data[8*5+4], x.Data[8*5+5] = 1, 1
		x.Data[8*5+column] = float32(v)
		return []vision.Tensor{x}
	}
	reshaped := func(shape ...int) []vision.Tensor {
		x := f.tensor()
		x.Shape = shape
		return []vision.Tensor{x}
	}
	for name, c := range map[string]struct {
		out  []vision.Tensor
		want error
	}{
		"no tensor":          {nil, family.ErrShape},
		"two tensors":        {[]vision.Tensor{f.tensor(), f.tensor()}, family.ErrShape},
		"other labels":       {reshaped(1, 84, 85), family.ErrShape},
		"transposed":         {reshaped(1, 8, 84), family.ErrShape},
		"batch of two":       {reshaped(2, 42, 8), family.ErrShape},
		"flat":               {reshaped(672), family.ErrShape},
		"negative":           {reshaped(1, -84, -8), family.ErrShape},
		"short data":         {[]vision.Tensor{{Shape: []int{1, 84, 8}, Data: make([]float32, 8)}}, family.ErrShape},
		"objectness NaN":     {nan(4, math.NaN()), family.ErrNotFinite},
		"objectness -Inf":    {nan(4, math.Inf(-1)), family.ErrNotFinite},
		"offset NaN":         {nan(0, math.NaN()), family.ErrNotFinite},
		"height explodes":    {nan(3, 1000), family.ErrNotFinite},
		"probability is Inf": {nan(6, math.Inf(1)), family.ErrNotFinite},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := decode(c.out, g, f.params())
			require.ErrorIs(t, err, c.want)
			if c.want == family.ErrShape { //nolint:errorlint // compares table entries
				require.ErrorContains(t, err, "[1 84 8]", "names the shape it wants")
			}
		})
	}
}

func FuzzYOLOX(f *testing.F) {
	decode, err := family.Lookup("yolox")
	require.NoError(f, err)
	f.Add([]byte{0, 0, 128, 63, 0, 0, 128, 63, 0, 0, 128, 63}, 0.01, 0.45, 640, 480, true)
	f.Add([]byte{255, 255, 127, 127}, 0.0, 1.0, 1, 9999, false)
	f.Fuzz(func(t *testing.T, raw []byte, minScore, nms float64, srcW, srcH int, centred bool) {
		g, err := vision.Letterbox(64, 32, srcW, srcH, centred)
		if err != nil {
			return
		}
		x := vision.Tensor{Shape: []int{1, 42, 7}, Data: make([]float32, 42*7)}
		for i := range x.Data {
			if len(raw) >= 4 {
				k := i * 4 % (len(raw) - 3)
				x.Data[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[k:]))
			}
		}
		got, err := decode([]vision.Tensor{x}, g, family.Params{MinScore: minScore, NMS: nms, Labels: []string{"a", "b"}})
		if err != nil {
			return
		}
		for _, d := range got {
			in := func(v float64) bool { return v >= 0 && v <= 1 }
			if !in(d.Box.Min.X) || !in(d.Box.Min.Y) || !in(d.Box.Max.X) || !in(d.Box.Max.Y) || !in(d.Score) ||
				d.Box.Max.X <= d.Box.Min.X || d.Box.Max.Y <= d.Box.Min.Y {
				t.Fatalf("%+v", d)
			}
		}
		for i := 1; i < len(got); i++ {
			if got[i].Score > got[i-1].Score {
				t.Fatal("not sorted")
			}
		}
	})
}

// BenchmarkYOLOX decodes a busy 416×416 picture with 80 classes; budget 0.3 ms.
func BenchmarkYOLOX(b *testing.B) {
	decode, err := family.Lookup("yolox")
	require.NoError(b, err)
	labels := models.COCO()
	x := vision.Tensor{Shape: []int{1, 3549, 85}, Data: make([]float32, 3549*85)}
	rng := rand.New(rand.NewPCG(1, 1))
	for i := 4; i < len(x.Data); i += 85 {
		x.Data[i] = float32(math.Pow(rng.Float64(), 30)) // about 10 % above 0.05
		x.Data[i+1+rng.IntN(80)] = rng.Float32()
	}
	g, err := vision.Letterbox(416, 416, 1920, 1080, false)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decode([]vision.Tensor{x}, g, family.Params{MinScore: 0.1, NMS: 0.45, Labels: labels}); err != nil {
			b.Fatal(err)
		}
	}
}

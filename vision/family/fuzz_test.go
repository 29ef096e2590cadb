package family_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/family"
)

// value turns a byte into a number that a model might give: mostly
// probabilities, some coordinates, some that no model should give.
func value(b byte) float32 {
	switch {
	case b < 160:
		return float32(b) / 159
	case b < 240:
		return float32(int(b)-200) * 2
	}
	odd := []float64{
		math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32,
		1e10, -1e10, 1e13, 0.5, 7, -0.0001, 1.0001, 88, -88, 1e-30,
	}
	return float32(odd[b-240])
}

// fuzzFamily fills outputs of the family's cases with random numbers and
// changes their sizes: whatever comes, there is an error, or boxes within the
// picture, best first.
func fuzzFamily(f *testing.F, name string) {
	f.Helper()
	decode, err := family.Lookup(name)
	require.NoError(f, err)
	byName := goldens(f, name)
	var cases []*golden
	for _, n := range slices.Sorted(maps.Keys(byName)) {
		cases = append(cases, byName[n])
	}
	for i := range byte(4) {
		f.Add([]byte{10, 150, 3, 90, 200, 159, 0, 1, 77}, i, 0.01, 0.45, uint16(640), uint16(480), byte(0))
		f.Add([]byte{159, 120, 30, 241, 0, 2}, i, 0.0, 1.0, uint16(1), uint16(9999), i)
		f.Add([]byte{100, 240}, i, 0.5, 0.5, uint16(300), uint16(300), 16+i)
	}
	f.Fuzz(func(t *testing.T, raw []byte, which byte, minScore, nms float64, srcW, srcH uint16, reshape byte) {
		g := *cases[int(which)%len(cases)]
		g.SourceWidth, g.SourceHeight = 1+int(srcW), 1+int(srcH)
		g.MinScore, g.NMS = minScore, nms
		checkFilled(t, decode, &g, raw, reshape)
	})
}

// checkFilled decodes tensors of the case's shapes, or with one size more or
// less, that are filled with the values of raw.
func checkFilled(t *testing.T, decode family.Decoder, g *golden, raw []byte, reshape byte) {
	t.Helper()
	out := g.tensors()
	for i := range out {
		if i < 4 && reshape>>i&1 == 1 && len(out[i].Shape) > 1 {
			out[i].Shape[1] += int(reshape>>4)%3 - 1
		}
		n := 1
		for _, d := range out[i].Shape {
			n *= d
		}
		out[i].Data = make([]float32, max(n, 0))
		for k := range out[i].Data {
			if len(raw) > 0 {
				out[i].Data[k] = value(raw[(k+7*i)%len(raw)])
			}
		}
	}
	got, err := decode(out, g.geometry(t), g.params())
	if err != nil {
		return
	}
	for i, d := range got {
		in := func(v float64) bool { return v >= 0 && v <= 1 }
		if !in(d.Box.Min.X) || !in(d.Box.Min.Y) || !in(d.Box.Max.X) || !in(d.Box.Max.Y) || !in(d.Score) ||
			d.Box.Max.X <= d.Box.Min.X || d.Box.Max.Y <= d.Box.Min.Y || d.Label == "" {
			t.Fatalf("%+v", d)
		}
		if i > 0 && d.Score > got[i-1].Score {
			t.Fatal("not sorted")
		}
	}
}

// TestRandomTensors: what the fuzz targets look for at night, a little of it
// each time, for every family but yolox, which has a fixture of its own.
func TestRandomTensors(t *testing.T) {
	t.Parallel()
	for _, name := range others() {
		decode, err := family.Lookup(name)
		require.NoError(t, err)
		byName := goldens(t, name)
		names := slices.Sorted(maps.Keys(byName))
		require.NotEmpty(t, names)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(21, uint64(len(name))))
			for range 120 {
				g := *byName[names[rng.IntN(len(names))]]
				g.SourceWidth, g.SourceHeight = 1+rng.IntN(4000), 1+rng.IntN(4000)
				g.MinScore, g.NMS = rng.Float64(), rng.Float64()
				raw := make([]byte, 1+rng.IntN(4096))
				for i := range raw {
					raw[i] = byte(rng.IntN(256))
					if i%3 > 0 {
						raw[i] %= 160 // mostly what a model gives
					}
				}
				checkFilled(t, decode, &g, raw, byte(rng.IntN(4)*rng.IntN(64)))
			}
		})
	}
}

func FuzzYOLOv5(f *testing.F)      { fuzzFamily(f, "yolov5") }
func FuzzYOLOv8(f *testing.F)      { fuzzFamily(f, "yolov8") }
func FuzzYOLOv10(f *testing.F)     { fuzzFamily(f, "yolov10") }
func FuzzFastestDet(f *testing.F)  { fuzzFamily(f, "fastestdet") }
func FuzzNanoDet(f *testing.F)     { fuzzFamily(f, "nanodet") }
func FuzzNanoDetPlus(f *testing.F) { fuzzFamily(f, "nanodet-plus") }
func FuzzSSD(f *testing.F)         { fuzzFamily(f, "ssd") }
func FuzzRTDETR(f *testing.F)      { fuzzFamily(f, "rtdetr") }

// FuzzPropose: proposals for any outputs, without a panic, and each one's own
// decoder takes the shape.
func FuzzPropose(f *testing.F) {
	f.Add(uint8(1), uint8(84), uint8(7), uint8(0), []byte{1, 2, 3})
	f.Add(uint8(2), uint8(4), uint8(5), uint8(3), []byte{159})
	f.Fuzz(func(_ *testing.T, n, a, b, c uint8, raw []byte) {
		names := []string{"boxes", "scores", "labels", "logits", "x", "num"}
		s := family.Spec{Width: 64, Height: 64, Sizes: n&128 != 0}
		for i := range int(n % 8) {
			shape := [][]int{{1, int(a), int(b)}, {1, int(a)}, {int(a), 4}, {1, int(b), int(c), int(c)}, {1, 3, 8, 8, int(b)}, {1}}[(int(c)+i)%6]
			t := vision.Tensor{Name: names[(i+int(c))%6], Shape: shape}
			size := 1
			for _, d := range shape {
				size *= d
			}
			t.Data = make([]float32, size)
			for k := range t.Data {
				if len(raw) > 0 {
					t.Data[k] = value(raw[k%len(raw)])
				}
			}
			s.Outputs = append(s.Outputs, t)
		}
		for _, p := range family.Propose(s) {
			if p.Shape != nil {
				p.Shape(3)
			}
		}
	})
}

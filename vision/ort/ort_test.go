package ort_test

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/ort/orttest"
)

var update = flag.Bool("update", false, "rewrite the models in testdata/models")

// TestModelsAreTheGenerators holds the committed models to their generator.
func TestModelsAreTheGenerators(t *testing.T) {
	t.Parallel()
	toy := orttest.Toy(orttest.Plain)
	for name, want := range map[string][]byte{
		"toy.onnx":         toy,
		"toy_nan.onnx":     orttest.Toy(orttest.NaN),
		"toy_dynamic.onnx": orttest.Toy(orttest.Dynamic),
		"toy_corrupt.onnx": toy[:len(toy)/2],
	} {
		path := filepath.Join(orttest.Root(t), "testdata", "models", name)
		if *update {
			require.NoError(t, os.WriteFile(path, want, 0o600))
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err, "go test ./vision/ort -update writes it")
		require.Equal(t, want, got, name)
	}
}

func model(tb testing.TB, name string) string {
	tb.Helper()
	return filepath.Join(orttest.Root(tb), "testdata", "models", name)
}

func TestFindLibrary(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"libonnxruntime.so.1", "libonnxruntime.so"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, n), nil, 0o600))
	}
	t.Setenv(ort.LibraryEnv, "")
	got, err := ort.FindLibrary("", "", t.TempDir(), dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "libonnxruntime.so"), got)

	_, err = ort.FindLibrary(filepath.Join(dir, "none"), dir)
	require.ErrorIs(t, err, ort.ErrNoLibrary)
	require.ErrorContains(t, err, "the configuration")

	t.Setenv(ort.LibraryEnv, filepath.Join(dir, "other"))
	_, err = ort.FindLibrary("", dir)
	require.ErrorContains(t, err, ort.LibraryEnv)

	t.Setenv(ort.LibraryEnv, "")
	if _, err = ort.FindLibrary("", t.TempDir()); err != nil { // a system may have one
		require.ErrorIs(t, err, ort.ErrNoLibrary)
		require.ErrorContains(t, err, "make setup")
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	rt := orttest.Runtime(t)
	for _, name := range []string{"toy.onnx", "toy_dynamic.onnx"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := rt.Load(ort.Config{Path: model(t, name), Width: orttest.Size, Height: orttest.Size})
			require.NoError(t, err)
			require.Equal(t, "images[1 3 64 64]", s.Input().String())
			require.Equal(t, "output[1 84 8]", s.Outputs()[0].String())
			b, err := s.NewBuffers()
			require.NoError(t, err)
			in := b.Input()
			require.Len(t, in, 3*64*64)
			for i := 2 * 64 * 64; i < len(in); i++ {
				in[i] = 255 // all red
			}
			out, err := s.Run(b)
			require.NoError(t, err)
			require.Len(t, out, 1)
			require.Equal(t, []int{1, 84, 8}, out[0].Shape)
			for c := range 84 {
				row := out[0].Data[c*8 : c*8+8]
				require.InDelta(t, 0.5, row[0], 1e-3)
				require.Greater(t, row[4]*row[7], float32(0.99))
				require.Less(t, row[4]*row[5], float32(0.01))
			}
			require.Error(t, s.Close(), "buffers are open")
			b.Close()
			b.Close()
			_, err = s.Run(b)
			require.ErrorIs(t, err, ort.ErrClosed)
			require.NoError(t, s.Close())
			require.ErrorIs(t, s.Close(), ort.ErrClosed)
			_, err = s.NewBuffers()
			require.ErrorIs(t, err, ort.ErrClosed)
		})
	}
}

func TestRunConcurrently(t *testing.T) {
	t.Parallel()
	s, err := orttest.Runtime(t).Load(ort.Config{Path: model(t, "toy.onnx")})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			b, err := s.NewBuffers()
			if !assert.NoError(t, err) {
				return
			}
			defer b.Close()
			colour := worker % 3
			for range 50 {
				in := b.Input()
				clear(in)
				for i := colour * 64 * 64; i < (colour+1)*64*64; i++ {
					in[i] = 255
				}
				out, err := s.Run(b)
				if !assert.NoError(t, err) || !assert.Greater(t, out[0].Data[5+colour], float32(0.99)) {
					return
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.Close())
}

func TestRunAllocatesNothing(t *testing.T) { //nolint:paralleltest // counts allocations
	s, err := orttest.Runtime(t).Load(ort.Config{Path: model(t, "toy.onnx")})
	require.NoError(t, err)
	b, err := s.NewBuffers()
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(20, func() { _, _ = s.Run(b) }))
	b.Close()
	require.NoError(t, s.Close())
}

func TestNaNComesThrough(t *testing.T) {
	t.Parallel()
	s, err := orttest.Runtime(t).Load(ort.Config{Path: model(t, "toy_nan.onnx")})
	require.NoError(t, err)
	b, err := s.NewBuffers()
	require.NoError(t, err)
	out, err := s.Run(b)
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(out[0].Data, func(v float32) bool { return math.IsNaN(float64(v)) }))
	b.Close()
	require.NoError(t, s.Close())
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	rt := orttest.Runtime(t)
	empty := filepath.Join(t.TempDir(), "empty.onnx")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	text := filepath.Join(t.TempDir(), "page.onnx")
	require.NoError(t, os.WriteFile(text, []byte("<html>Not Found</html>"), 0o600))
	for name, c := range map[string]struct {
		cfg  ort.Config
		want string
	}{
		"missing":      {ort.Config{Path: "nowhere.onnx"}, "no such file"},
		"folder":       {ort.Config{Path: t.TempDir()}, "directory"},
		"empty":        {ort.Config{Path: empty}, "0 bytes"},
		"a web page":   {ort.Config{Path: text}, "not a usable model"},
		"cut in half":  {ort.Config{Path: model(t, "toy_corrupt.onnx")}, "not a usable model"},
		"wrong sum":    {ort.Config{Path: model(t, "toy.onnx"), SHA256: "00"}, "sha256"},
		"wrong size":   {ort.Config{Path: model(t, "toy.onnx"), Width: 416, Height: 416}, "input images[1 3 64 64] is not [1 3 416 416]"},
		"open size":    {ort.Config{Path: model(t, "toy_dynamic.onnx")}, "is not [1 3 0 0]"},
		"absurd size":  {ort.Config{Path: model(t, "toy_dynamic.onnx"), Width: 1 << 20, Height: 1 << 20}, "too large"},
		"second input": {ort.Config{Path: model(t, "toy.onnx"), Height: 63}, "is not"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := rt.Load(c.cfg)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "load model")
			t.Log(err)
		})
	}
}

func TestInitTwice(t *testing.T) {
	t.Parallel()
	orttest.Runtime(t)
	_, err := ort.Init("libonnxruntime.so")
	require.ErrorContains(t, err, "already initialised")
}

// FuzzLoad damages a good model: whatever happens, it must be an error or a
// usable session, not a crash.
func FuzzLoad(f *testing.F) {
	rt := orttest.Runtime(f)
	f.Add(orttest.Toy(orttest.Plain))
	f.Add(orttest.Toy(orttest.Dynamic))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "m.onnx")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		s, err := rt.Load(ort.Config{Path: path, Width: 64, Height: 64})
		if err == nil {
			require.NoError(t, s.Close())
		}
	})
}

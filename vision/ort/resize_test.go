package ort

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func toys(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob("../../testdata/models/*.onnx")
	require.NoError(tb, err)
	require.NotEmpty(tb, paths)
	out := make(map[string][]byte)
	for _, p := range paths {
		data, err := os.ReadFile(p)
		require.NoError(tb, err)
		out[filepath.Base(p)] = data
	}
	return out
}

// TestResizeTouchesSizesOnly: what is not a size stays as it was, byte for byte.
func TestResizeTouchesSizesOnly(t *testing.T) {
	t.Parallel()
	data := toys(t)["toy.onnx"]
	once, err := resize(data, "nchw", 32, 96)
	require.NoError(t, err)
	assert.NotEqual(t, data, once)
	other, err := resize(data, "nchw", 64, 32)
	require.NoError(t, err)
	assert.NotEqual(t, once, other)
	twice, err := resize(other, "nchw", 32, 96)
	require.NoError(t, err)
	assert.Equal(t, once, twice, "nothing else depends on the size before")
}

func TestResizeRefuses(t *testing.T) {
	t.Parallel()
	data := toys(t)["toy.onnx"]
	for name, bad := range map[string][]byte{
		"cut":      data[:len(data)/2],
		"no model": []byte("<html>not found</html>"),
	} {
		_, err := resize(bad, "nchw", 32, 32)
		require.ErrorIs(t, err, errNotONNX, name)
	}
}

func FuzzResize(f *testing.F) {
	for _, data := range toys(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := resize(data, "nchw", 32, 64)
		if err != nil {
			return
		}
		again, err := resize(out, "nchw", 32, 64)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("resized again: %v", err)
		}
	})
}

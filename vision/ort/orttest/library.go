package orttest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/xacam/xacam/vision/ort"
)

// Root returns the repository's root: the nearest folder above the test that
// has a go.mod.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	tb.Fatal("no go.mod above the test")
	return ""
}

// Assets returns the folder with real models and pictures, which is not part
// of the project, or skips the test. The variable XACAM_ASSETS says where it
// is; else it is ../shared/assets beside the repository.
func Assets(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("XACAM_ASSETS")
	if dir == "" {
		dir = filepath.Join(Root(tb), "..", "shared", "assets")
	}
	if _, err := os.Stat(dir); err != nil { //nolint:gosec // the tester names the folder
		tb.Skipf("no real models and pictures in %s; set XACAM_ASSETS", dir)
	}
	return dir
}

// SHA256 returns the sum of a file in hex, as manifests have it.
func SHA256(path string) (string, error) {
	data, err := os.ReadFile(path)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), err
}

var static struct { // one environment per process, never closed
	once sync.Once
	rt   *ort.Runtime
	err  error
}

// Runtime returns the process's environment. Without the library, or without
// cgo, it skips the test; with REQUIRE_ORT=1 it fails it.
func Runtime(tb testing.TB) *ort.Runtime {
	tb.Helper()
	static.once.Do(func() {
		var lib string
		if lib, static.err = ort.FindLibrary("", filepath.Join(Root(tb), ".cache", "ort")); static.err == nil {
			static.rt, static.err = ort.Init(lib)
		}
	})
	switch {
	case static.err == nil:
		return static.rt
	case os.Getenv("REQUIRE_ORT") == "1":
		tb.Fatal(static.err)
	default:
		tb.Skip(static.err)
	}
	return nil
}

// Write puts a toy model into the test's temporary folder and returns its path.
func Write(tb testing.TB, v Variant) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "toy.onnx")
	if err := os.WriteFile(path, Toy(v), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

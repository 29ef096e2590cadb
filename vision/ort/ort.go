// Package ort runs ONNX models with the ONNX Runtime shared library, which is
// loaded at run time: building needs neither the library nor its headers.
//
// It is one of the three packages that need cgo. Built without cgo it still
// compiles, and Init returns ErrUnavailable.
package ort

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Errors a caller may branch on.
var (
	ErrUnavailable = errors.New("onnx runtime: this program was built without cgo")
	ErrNoLibrary   = errors.New("the ONNX Runtime library was not found")
	ErrClosed      = errors.New("onnx runtime: already closed")
	ErrBadModel    = errors.New("not a usable model")
)

// LibraryEnv names the environment variable that says where the library is.
const LibraryEnv = "XACAM_ORT_LIBRARY"

// systemFolders are searched last.
func systemFolders() []string {
	return []string{"/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib", "/opt/onnxruntime/lib"}
}

// FindLibrary returns the path of libonnxruntime.so: the explicit path, else
// what the environment variable XACAM_ORT_LIBRARY names, else the first
// libonnxruntime.so* in the given folders, else in the system's. A path that
// was named but does not exist is an error, not a reason to look further. The
// error wraps ErrNoLibrary and says what to run.
func FindLibrary(explicit string, folders ...string) (string, error) {
	for _, named := range []struct{ path, by string }{
		{explicit, "the configuration"},
		{os.Getenv(LibraryEnv), LibraryEnv},
	} {
		if named.path == "" {
			continue
		}
		if fi, err := os.Stat(named.path); err != nil || !fi.Mode().IsRegular() {
			return "", fmt.Errorf("%w: there is no file %s, which %s names", ErrNoLibrary, named.path, named.by)
		}
		return named.path, nil
	}
	all := append(slices.Clone(folders), systemFolders()...)
	for _, dir := range all {
		if dir == "" {
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, "libonnxruntime.so*"))
		if err != nil || len(found) == 0 {
			continue
		}
		slices.Sort(found) // the plain name first, then versions
		return filepath.Abs(found[0])
	}
	return "", fmt.Errorf("%w in %s; run \"make setup\" in the source folder, or set %s to the path of libonnxruntime.so",
		ErrNoLibrary, strings.Join(all, ", "), LibraryEnv)
}

// Config describes one model to load.
type Config struct {
	Path   string // of the .onnx file
	SHA256 string // hex; the file is refused when its sum is another; empty skips the check
	Height int    // of the input, where the model leaves it open; pixels
	Width  int    // of the input, where the model leaves it open; pixels

	// Resize says that Height and Width replace the model's own, which must be
	// one that works at every size.
	Resize bool

	Layout  string               // of the picture: "nchw" (default), or "nhwc" where the channels of a pixel lie together
	Extra   map[string][]float64 // values of the inputs beside the picture, by name
	Outputs []string             // the outputs to compute, in this order; nil computes all in the model's order
	Quant   map[string]Quant     // what the numbers of an output stand for, by name; without, they stand for themselves
}

// Quant turns whole numbers into what they stand for: (number − Zero) × Scale.
type Quant struct{ Scale, Zero float64 }

// Info describes an input or output. Dimensions the model leaves open are -1.
type Info struct {
	Name  string
	Shape []int
	Type  string // of an element: "float32", "float16", "uint8", "int64" …
}

// String returns name and shape, for messages: "images[1 3 416 416]".
func (i Info) String() string { return fmt.Sprintf("%s%v", i.Name, i.Shape) }

// Model is what a file says of itself.
type Model struct {
	Inputs, Outputs []Info
	Metadata        map[string]string // what the exporter wrote, such as the names of the classes
	SHA256          string            // of the file, hex
	Bytes           int64
}

// sides returns how many of the picture's dimensions are what: the positions
// of channels, height and width in a shape, or false where the shape is no
// picture's. The batch may be missing.
func sides(shape []int, layout string) (channels, height, width int, ok bool) {
	first := len(shape) - 3 // 1 with a batch
	switch {
	case first != 0 && first != 1:
		return 0, 0, 0, false
	case layout == "nhwc":
		return first + 2, first, first + 1, true
	}
	return first, first + 1, first + 2, true
}

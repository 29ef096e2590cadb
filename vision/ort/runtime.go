//go:build cgo

package ort

import (
	"errors"
	"fmt"
	"sync"

	onnx "github.com/yalue/onnxruntime_go"
)

// Runtime is the process's one ONNX Runtime environment. The program's main
// part creates it and closes it after every session. It is safe for
// concurrent use.
type Runtime struct {
	mu       sync.Mutex
	closed   bool
	sessions int
}

// Init loads the shared library from libraryPath, which FindLibrary returns,
// and creates the environment. A process has one at a time: a second Init
// before Close is an error.
func Init(libraryPath string) (*Runtime, error) {
	if onnx.IsInitialized() {
		return nil, errors.New("onnx runtime: already initialised in this process")
	}
	onnx.SetSharedLibraryPath(libraryPath)
	// Errors come back as values; without this each is printed to stderr too.
	if err := onnx.InitializeEnvironment(onnx.WithLogLevelFatal()); err != nil {
		return nil, fmt.Errorf("load ONNX Runtime from %s: %w", libraryPath, err)
	}
	return &Runtime{}, nil
}

// Version returns the library's version, such as "1.30.0".
func (*Runtime) Version() string { return onnx.GetVersion() }

// Close ends the environment. It is an error while a session is open.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	if r.sessions > 0 {
		return fmt.Errorf("onnx runtime: %d sessions are still open", r.sessions)
	}
	r.closed = true
	if err := onnx.DestroyEnvironment(); err != nil {
		return fmt.Errorf("close ONNX Runtime: %w", err)
	}
	return nil
}

// hold counts a session in; release counts it out.
func (r *Runtime) hold() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.sessions++
	return nil
}

func (r *Runtime) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions--
}

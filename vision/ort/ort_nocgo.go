//go:build !cgo

package ort

import "github.com/xacam/xacam/vision"

// Runtime is never created in a build without cgo.
type Runtime struct{}

// Init returns ErrUnavailable.
func Init(string) (*Runtime, error) { return nil, ErrUnavailable }

// Version returns the empty string.
func (*Runtime) Version() string { return "" }

// Close returns ErrUnavailable.
func (*Runtime) Close() error { return ErrUnavailable }

// Load returns ErrUnavailable.
func (*Runtime) Load(Config) (*Session, error) { return nil, ErrUnavailable }

// Inspect returns ErrUnavailable.
func (*Runtime) Inspect(string) (Model, error) { return Model{}, ErrUnavailable }

// Session is never created in a build without cgo.
type Session struct{}

// Input returns nothing.
func (*Session) Input() Info { return Info{} }

// Outputs returns nothing.
func (*Session) Outputs() []Info { return nil }

// NewBuffers returns ErrUnavailable.
func (*Session) NewBuffers() (*Buffers, error) { return nil, ErrUnavailable }

// Run returns ErrUnavailable.
func (*Session) Run(*Buffers) ([]vision.Tensor, error) { return nil, ErrUnavailable }

// Close returns ErrUnavailable.
func (*Session) Close() error { return ErrUnavailable }

// Buffers are never created in a build without cgo.
type Buffers struct{}

// Input returns nothing.
func (*Buffers) Input() []float32 { return nil }

// Close does nothing.
func (*Buffers) Close() {}

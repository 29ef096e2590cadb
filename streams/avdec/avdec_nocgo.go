//go:build !cgo

package avdec

import (
	"fmt"
	"time"

	"github.com/xacam/xacam/streams/media"
)

// Decoder is not in this build.
type Decoder struct{}

// New checks cfg and returns ErrUnavailable.
func New(cfg Config) (*Decoder, error) {
	if _, err := cfg.withDefaults(); err != nil {
		return nil, err
	}
	return nil, ErrUnavailable
}

// Decode returns ErrUnavailable.
func (*Decoder) Decode(*media.AccessUnit) ([]*media.Frame, error) { return nil, ErrUnavailable }

// Flush returns ErrUnavailable.
func (*Decoder) Flush() ([]*media.Frame, error) { return nil, ErrUnavailable }

// SetEffort does nothing.
func (*Decoder) SetEffort(Effort) {}

// Stats returns zeros.
func (*Decoder) Stats() Stats { return Stats{} }

// Close does nothing.
func (*Decoder) Close() error { return nil }

// File is not in this build.
type File struct{}

// Open returns ErrUnavailable.
func Open(path string) (*File, error) { return OpenFile(FileConfig{Path: path}) }

// OpenFile returns ErrUnavailable.
func OpenFile(cfg FileConfig) (*File, error) {
	return nil, fmt.Errorf("open video %s: %w", cfg.Path, ErrUnavailable)
}

// Format returns the zero Format.
func (*File) Format() media.Format { return media.Format{} }

// Codec returns "".
func (*File) Codec() string { return "" }

// Duration returns 0.
func (*File) Duration() time.Duration { return 0 }

// Next returns ErrUnavailable.
func (*File) Next() (*media.AccessUnit, error) { return nil, ErrUnavailable }

// ReadFrame returns ErrUnavailable.
func (*File) ReadFrame() (*media.Frame, error) { return nil, ErrUnavailable }

// Rewind returns ErrUnavailable.
func (*File) Rewind() error { return ErrUnavailable }

// Close does nothing.
func (*File) Close() error { return nil }

// Writer is not in this build.
type Writer struct{}

// NewWriter returns ErrUnavailable.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	return nil, fmt.Errorf("write video %s: %w", cfg.Path, ErrUnavailable)
}

// Write returns ErrUnavailable.
func (*Writer) Write([]byte, time.Duration) error { return ErrUnavailable }

// Close does nothing.
func (*Writer) Close() error { return nil }

// QuietLog does nothing.
func QuietLog() {}

// VerboseLog does nothing.
func VerboseLog() {}

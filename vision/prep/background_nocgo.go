//go:build !cgo

package prep

// Aligner is never created in a build without cgo.
type Aligner struct{}

// NewAligner returns ErrUnavailable.
func NewAligner(int, int) (*Aligner, error) { return nil, ErrUnavailable }

// Reference returns ErrUnavailable.
func (*Aligner) Reference([]byte, []byte) (int, error) { return 0, ErrUnavailable }

// Align returns ErrUnavailable.
func (*Aligner) Align(_ []byte, guess [9]float64) ([9]float64, float64, error) {
	return guess, 0, ErrUnavailable
}

// Warp returns ErrUnavailable.
func (*Aligner) Warp([]byte, []byte, []byte, [9]float64) error { return ErrUnavailable }

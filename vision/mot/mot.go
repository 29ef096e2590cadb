// Package mot reads and writes the text files of the MOTChallenge (2D boxes):
// det.txt, gt.txt, res.txt and seqinfo.ini, and runs a tracker over them. The
// format is that of https://motchallenge.net/instructions: one object per line,
// "frame,id,left,top,width,height,conf,…", frames counted from 1, lengths in
// pixels.
package mot

import (
	"errors"
	"fmt"

	"github.com/xacam/xacam/vision/geom"
)

// Limits of what the parsers accept, so that no file can exhaust memory or time.
const (
	MaxFrame = 1_000_000 // highest frame number
	MaxRows  = 5_000_000 // lines with an object in one file
	maxPixel = 1e6       // largest magnitude of a coordinate or length
	maxID    = 1 << 53   // identities are exact in a float64
	maxLine  = 4096      // bytes
)

// ErrFormat is wrapped by every error about the content of a file.
var ErrFormat = errors.New("not a MOTChallenge file")

// Row is one object in one frame.
type Row struct {
	Frame  int     // from 1
	ID     int64   // -1 in det.txt, where identities are unknown
	Left   float64 // px, may lie outside the picture
	Top    float64 // px, y grows down
	Width  float64 // px, above 0
	Height float64 // px, above 0
	Conf   float64 // score of a detection or a track; in gt.txt 0 means "do not evaluate"
	Class  int     // eighth column of gt.txt from MOT16 on (1 pedestrian); -1 where there is none
}

// Box returns the box in pixels.
func (r Row) Box() geom.Box {
	return geom.Box{
		Min: geom.Point{X: r.Left, Y: r.Top},
		Max: geom.Point{X: r.Left + r.Width, Y: r.Top + r.Height},
	}
}

// LineError says which line of a file is wrong. It wraps ErrFormat.
type LineError struct {
	Line   int    // from 1
	Reason string // lower case, no end mark
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Unwrap returns ErrFormat.
func (e *LineError) Unwrap() error { return ErrFormat }

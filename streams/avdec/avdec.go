// Package avdec turns coded video into pictures with FFmpeg's libavcodec, and
// files into coded video or pictures with libavformat.
//
// Decoder takes the access units of one camera's session and returns frames
// in presentation order. File reads a recording: Next gives its access units
// as a camera would, ReadFrame gives decoded frames of any codec FFmpeg
// knows. Writer makes an MP4 file of pictures.
//
// Pictures stay in the decoder's YUV memory until somebody asks for a size.
// BGR scales and converts in one pass; Gray only averages luma. A picture
// keeps its memory alive by reference count, so it may outlive its Decoder.
//
// Without cgo every constructor returns ErrUnavailable.
package avdec

import (
	"errors"
	"fmt"
	"time"

	"github.com/xacam/xacam/streams/media"
)

// Errors of this package that a caller may want to tell apart.
var (
	ErrUnavailable = errors.New("video decoding is not in this build: it was made without cgo")
	ErrClosed      = errors.New("decoder or file is closed")
	ErrReleased    = errors.New("picture is already released")
)

// Effort is how much of a stream is decoded.
type Effort int32

// Efforts, from the dearest to the cheapest.
const (
	// Full decodes everything.
	Full Effort = iota
	// NoLoopFilter leaves the deblocking filter out, which saves about 18 % of
	// decoding 1080p H.264. Pictures get blockier from one key picture to the
	// next, because later ones build on them.
	NoLoopFilter
	// KeyOnly decodes key pictures alone, without the deblocking filter, and
	// gives each of them at once. With a key picture every 50 it costs about
	// an eighth of Full.
	KeyOnly
)

// String returns "full", "no loop filter" or "key pictures only".
func (e Effort) String() string {
	switch e {
	case Full:
		return "full"
	case NoLoopFilter:
		return "no loop filter"
	case KeyOnly:
		return "key pictures only"
	}
	return fmt.Sprintf("Effort(%d)", int32(e))
}

// Config describes a Decoder. Only Format.Codec is required.
type Config struct {
	Format    media.Format  // parameter sets are used when the stream itself brings none
	Threads   int           // slice threads, 1 to 16; default 1
	Effort    Effort        // to begin with; default Full
	Hold      time.Duration // how long pictures are withheld after damage while no key picture comes; default 2s, negative: not at all
	MaxPixels int           // larger pictures are refused; default 16,777,216 (4096 × 4096)
	MaxUnit   int           // bytes of an access unit; larger ones are refused; default 8 MiB
}

// withDefaults returns a copy with every field set, or an error that names
// the field that cannot be.
func (c Config) withDefaults() (Config, error) {
	if c.Format.Codec != media.H264 && c.Format.Codec != media.H265 {
		return c, fmt.Errorf("decoder: %v is not a codec of cameras", c.Format.Codec)
	}
	switch c.Format.Rotation {
	case 0, 90, 180, 270:
	default:
		return c, fmt.Errorf("decoder: rotation %d is not 0, 90, 180 or 270", c.Format.Rotation)
	}
	if c.Threads == 0 {
		c.Threads = 1
	}
	if c.Threads < 1 || c.Threads > 16 {
		return c, fmt.Errorf("decoder: %d threads are not 1 to 16", c.Threads)
	}
	if c.Effort < Full || c.Effort > KeyOnly {
		return c, fmt.Errorf("decoder: unknown effort %d", int32(c.Effort))
	}
	if c.Hold == 0 {
		c.Hold = 2 * time.Second
	}
	if c.MaxPixels <= 0 {
		c.MaxPixels = 4096 * 4096
	}
	if c.MaxUnit <= 0 {
		c.MaxUnit = 8 << 20
	}
	return c, nil
}

// Stats counts what a Decoder has seen since New.
type Stats struct {
	Units    uint64 // access units given to Decode
	Skipped  uint64 // of them not decoded: before a key picture, or spared by KeyOnly
	Errors   uint64 // of them refused: broken or too large
	Frames   uint64 // frames delivered
	Corrupt  uint64 // pictures libavcodec flagged as damaged; never delivered
	Withheld uint64 // whole pictures that build on damage, not delivered
	Live     int    // frames delivered and not yet released
}

// FileConfig describes a File. Only Path is required.
type FileConfig struct {
	Path    string
	Start   time.Time // Captured of the first picture; zero: 1970-01-01 UTC, so that the result depends on the file alone
	Threads int       // slice threads of ReadFrame, 1 to 16; default 1
}

// WriterConfig describes a Writer. Path, Width and Height are required.
type WriterConfig struct {
	Path    string  // of the MP4 file; replaced when it exists
	Width   int     // pixels of the pictures given to Write, 2 to 8192; an odd last column is cut off
	Height  int     // likewise
	FPS     float64 // nominal frames a second, up to 240; default 25
	Threads int     // of the encoder; default 1
}

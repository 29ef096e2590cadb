// Package media holds the types that carry video between packages.
package media

import (
	"fmt"
	"time"
)

// Codec is a video codec.
type Codec uint8

// Supported codecs.
const (
	H264 Codec = iota + 1 // ITU-T H.264, MPEG-4 AVC
	H265                  // ITU-T H.265, HEVC
)

// String returns "H.264" or "H.265".
func (c Codec) String() string {
	switch c {
	case H264:
		return "H.264"
	case H265:
		return "H.265"
	}
	return fmt.Sprintf("Codec(%d)", uint8(c))
}

// Format describes a stream. Parameter sets are without start codes and may
// be empty when they only travel inside the stream.
type Format struct {
	Codec         Codec
	VPS, SPS, PPS []byte  // VPS only for H.265
	Width, Height int     // pixels as coded; 0 when unknown
	FPS           float64 // frames a second; 0 when unknown
	Rotation      int     // degrees clockwise to show it upright: 0, 90, 180 or 270
}

// AccessUnit is one coded picture. NALUs are without start codes and owned by
// the receiver, which must not modify them: the ring and the decoder share
// them.
type AccessUnit struct {
	PTS      time.Duration // since the session's first access unit; may go back between neighbours when the stream has B-frames
	Captured time.Time     // UTC; RTCP sender report time, else arrival time; never decreases in decoding order beyond reordering
	Key      bool          // a decoder can start here (IDR or CRA, parameter sets present or known)
	Gap      bool          // something was lost or skipped just before it
	NALUs    [][]byte
}

// Size returns the number of payload bytes.
func (a *AccessUnit) Size() int {
	n := 0
	for _, b := range a.NALUs {
		n += len(b)
	}
	return n
}

// Picture is a decoded picture in the decoder's own memory and pixel format.
// It is upright: rotation metadata is already applied. Its methods must not
// be called at the same time from two goroutines.
type Picture interface {
	// Size returns width and height in pixels, upright.
	Size() (width, height int)
	// BGR scales the whole picture into dst: 8 bits per channel, rows of
	// exactly 3×width bytes. dst must hold 3×width×height bytes.
	BGR(dst []byte, width, height int) error
	// Gray scales the luma of the whole picture into dst, rows of exactly
	// width bytes, as cheaply as it can: meant for the motion gate.
	Gray(dst []byte, width, height int) error
	// Release gives the memory back to the decoder. It is safe to call twice.
	Release()
}

// Frame is one decoded picture with its times. Whoever holds a frame releases
// it.
type Frame struct {
	Seq      uint64        // position in the session, starts at 1
	PTS      time.Duration // since the session's first frame, monotonic
	Captured time.Time     // UTC capture time
	Picture  Picture
}

// Release gives the picture back to the decoder. It is safe to call twice and
// on a frame without a picture.
func (f *Frame) Release() {
	if f != nil && f.Picture != nil {
		f.Picture.Release()
	}
}

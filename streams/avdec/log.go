//go:build cgo

package avdec

import "github.com/asticode/go-astiav"

// QuietLog stops FFmpeg from writing to stderr, for the whole process. Call
// it once at the start: a camera that sends broken video makes FFmpeg write
// several lines for every picture. What went wrong is in Stats and in errors.
func QuietLog() { astiav.SetLogLevel(astiav.LogLevelQuiet) }

// VerboseLog lets FFmpeg write its warnings and errors to stderr, for the
// whole process: for the search for a fault by hand.
func VerboseLog() { astiav.SetLogLevel(astiav.LogLevelVerbose) }

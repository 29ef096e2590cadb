//go:build cgo

package avdec

import "github.com/asticode/go-astiav"

// RawPointers returns the C pointers found in a codec context and a format
// context.
func RawPointers() [2]bool {
	c, f := astiav.AllocCodecContext(nil), astiav.AllocFormatContext()
	defer c.Free()
	defer f.Free()
	return [2]bool{rawPointer(c) != nil, rawPointer(f) != nil}
}

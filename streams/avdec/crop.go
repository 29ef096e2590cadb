//go:build cgo

package avdec

// #include "libav.h"
import "C"

import (
	"errors"
	"fmt"

	"github.com/xacam/xacam/streams/media"
)

var _ media.Cropper = (*picture)(nil)

// errFormat is why a part of a picture is not available.
var errFormat = errors.New("its pixel format cannot be cut")

// CropBGR implements media.Cropper. Only the pixels of the area are read: a
// crop of 100×100 pixels to 64×64 takes some 0.1 CPU-ms, whatever the size of
// the picture. The matrix and range are those of BGR.
func (p *picture) CropBGR(dst []byte, a media.Area, width, height int) error {
	if err := checkTarget(len(dst), 3, width, height); err != nil {
		return fmt.Errorf("crop picture: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.av == nil {
		return fmt.Errorf("crop picture: %w", ErrReleased)
	}
	fullW, fullH := p.Size()
	if err := a.Check(fullW, fullH); err != nil {
		return fmt.Errorf("crop picture: %w", err)
	}
	w, h, direct := width, height, dst
	if p.sideways() {
		w, h = h, w
	}
	if p.rotation != 0 {
		direct = make([]byte, 3*w*h)
	}
	c := p.coded(a)
	if C.xav_crop(p.av, C.double(c.X), C.double(c.Y), C.double(c.W), C.double(c.H), bytePtr(direct), C.int(w), C.int(h)) == 0 {
		return fmt.Errorf("crop picture: %w", errFormat)
	}
	if p.rotation != 0 {
		C.xav_rotate(bytePtr(direct), C.int(3*w), C.int(w), C.int(h), 3, C.int(p.rotation), bytePtr(dst))
	}
	return nil
}

// coded returns where an area of the upright picture lies in the coded one.
func (p *picture) coded(a media.Area) media.Area {
	w, h := float64(p.w), float64(p.h)
	switch p.rotation {
	case 90:
		return media.Area{X: a.Y, Y: h - a.X - a.W, W: a.H, H: a.W}
	case 180:
		return media.Area{X: w - a.X - a.W, Y: h - a.Y - a.H, W: a.W, H: a.H}
	case 270:
		return media.Area{X: w - a.Y - a.H, Y: a.X, W: a.H, H: a.W}
	}
	return a
}

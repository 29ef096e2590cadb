//go:build cgo

package avdec

// #include "libav.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/xacam/xacam/streams/media"
)

// picture is a decoded frame in libavcodec's memory.
type picture struct {
	rotation int
	store    *store

	mu sync.Mutex // a Release in the wrong moment waits for the conversion
	av *C.AVFrame // nil once released
	w  int        // as coded
	h  int
}

var _ media.Picture = (*picture)(nil)

// newPicture takes f over. The caller's reference to f ends.
func newPicture(s *store, f *C.AVFrame, rotation int) *picture {
	s.count(1)
	return &picture{rotation: rotation, store: s, av: f, w: int(f.width), h: int(f.height)}
}

// Size implements media.Picture. It works after Release, too. Pixels are
// taken to be square.
func (p *picture) Size() (width, height int) {
	if p.sideways() {
		return p.h, p.w
	}
	return p.w, p.h
}

func (p *picture) sideways() bool { return p.rotation == 90 || p.rotation == 270 }

// BGR implements media.Picture. Matrix and range are those of the stream;
// BT.601 when it does not say, as ffmpeg and OpenCV have it. Reductions
// average the area (libswscale's SWS_AREA).
func (p *picture) BGR(dst []byte, width, height int) error {
	if err := checkTarget(len(dst), 3, width, height); err != nil {
		return fmt.Errorf("scale picture to BGR: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.scale(dst, 3, width, height, C.AV_PIX_FMT_BGR24); err != nil {
		return fmt.Errorf("scale picture to BGR: %w", err)
	}
	return nil
}

// Gray implements media.Picture. Each byte is the mean of all columns of up
// to two rows of its block, in the range the stream uses (16 to 235 for most
// cameras).
func (p *picture) Gray(dst []byte, width, height int) error {
	if err := checkTarget(len(dst), 1, width, height); err != nil {
		return fmt.Errorf("scale picture to gray: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.av == nil {
		return fmt.Errorf("scale picture to gray: %w", ErrReleased)
	}
	w, h := width, height
	if p.sideways() {
		w, h = h, w
	}
	direct := dst
	if p.rotation != 0 {
		direct = make([]byte, w*h)
	}
	if C.xav_gray(p.av, bytePtr(direct), C.int(w), C.int(h)) == 0 {
		if err := p.scale(dst, 1, width, height, C.AV_PIX_FMT_GRAY8); err != nil {
			return fmt.Errorf("scale picture to gray: %w", err)
		}
		return nil
	}
	if p.rotation != 0 {
		C.xav_rotate(bytePtr(direct), C.int(w), C.int(w), C.int(h), 1, C.int(p.rotation), bytePtr(dst))
	}
	return nil
}

// scale converts with libswscale. p.mu is held.
func (p *picture) scale(dst []byte, bytes, width, height int, format C.int) error {
	if p.av == nil {
		return ErrReleased
	}
	w, h := width, height
	if p.sideways() {
		w, h = h, w
	}
	c, err := p.store.borrow(p.av, w, h, format)
	if err != nil {
		return err
	}
	defer p.store.giveBack(c)
	if n := C.xav_scale(c.sws, p.av, (*C.uint8_t)(c.buf), C.int(c.stride)); int(n) != h {
		return fmt.Errorf("libswscale gave %d of %d rows", int(n), h)
	}
	C.xav_rotate((*C.uint8_t)(c.buf), C.int(c.stride), C.int(w), C.int(h), C.int(bytes), C.int(p.rotation), bytePtr(dst))
	return nil
}

// Release implements media.Picture. It may be called from any goroutine, any
// number of times, also after the decoder is closed.
func (p *picture) Release() {
	p.mu.Lock()
	f := p.av
	p.av = nil
	p.mu.Unlock()
	if f == nil {
		return
	}
	p.store.recycle(f)
	p.store.count(-1)
}

// checkTarget says what is wrong with a buffer for width × height pixels.
func checkTarget(have, bytes, width, height int) error {
	if width < 1 || height < 1 || width > maxDimension || height > maxDimension {
		return fmt.Errorf("size %d×%d is not 1 to %d pixels", width, height, maxDimension)
	}
	if need := bytes * width * height; have < need {
		return fmt.Errorf("buffer of %d bytes is too small for %d", have, need)
	}
	return nil
}

func bytePtr(b []byte) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(b))) }

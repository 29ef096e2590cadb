//go:build cgo

package avdec

// #cgo CFLAGS: -O3
// #cgo pkg-config: libavcodec libavformat libavutil libswscale
// #include "libav.h"
import "C"

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"
)

const (
	unscaledFlags = C.SWS_BILINEAR                  // libswscale's fast conversion: a fifth of the time, chroma not interpolated
	scaleFlags    = C.SWS_AREA | C.SWS_ACCURATE_RND // see BenchmarkBGR for why
	maxScalers    = 4                               // idle ones kept by a decoder
	maxFree       = 4                               // idle frame headers kept by a decoder
	maxDimension  = 16384
)

// store owns what the pictures of one decoder share: frame headers and
// scalers. It lives until the decoder is closed and the last picture is
// released. Safe for concurrent use.
type store struct {
	mu      sync.Mutex
	free    []*C.AVFrame
	scalers []*scaler // idle, most recently used last
	live    int       // pictures not yet released
	closed  bool
}

// frame returns an empty frame header.
func (s *store) frame() (*C.AVFrame, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		f := s.free[n-1]
		s.free = s.free[:n-1]
		return f, nil
	}
	f := C.av_frame_alloc()
	if f == nil {
		return nil, errMemory
	}
	return f, nil
}

// recycle drops what f refers to and keeps or frees the header.
func (s *store) recycle(f *C.AVFrame) {
	C.av_frame_unref(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && len(s.free) < maxFree {
		s.free = append(s.free, f)
		return
	}
	C.xav_free_frame(f)
}

// count adds n to the number of pictures that are out.
func (s *store) count(n int) {
	s.mu.Lock()
	s.live += n
	s.mu.Unlock()
}

// outstanding returns the number of pictures that are out.
func (s *store) outstanding() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

// close frees everything idle. What is in use is freed when it comes back.
func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, f := range s.free {
		C.xav_free_frame(f)
	}
	for _, c := range s.scalers {
		c.free()
	}
	s.free, s.scalers = nil, nil
}

// scaleKey is what a scaler was made for.
type scaleKey struct {
	srcW, srcH, srcFormat, space, colours C.int
	dstW, dstH, dstFormat                 C.int
}

// scaler is one libswscale context with a padded picture to write into:
// libswscale's vector code may write past the end of a row, which a caller's
// packed buffer has no room for.
type scaler struct {
	key    scaleKey
	sws    *C.struct_SwsContext
	buf    unsafe.Pointer
	stride int
}

func (c *scaler) free() {
	C.sws_freeContext(c.sws)
	C.av_free(c.buf)
}

// borrow returns a scaler from f to w × h for one caller's use.
func (s *store) borrow(f *C.AVFrame, w, h int, format C.int) (*scaler, error) {
	key := scaleKey{
		srcW: f.width, srcH: f.height, srcFormat: f.format,
		space: C.int(f.colorspace), colours: C.int(f.color_range),
		dstW: C.int(w), dstH: C.int(h), dstFormat: format,
	}
	if c := s.idle(key); c != nil {
		return c, nil
	}
	bytes := 1
	if format == C.AV_PIX_FMT_BGR24 {
		bytes = 3
	}
	c := &scaler{key: key, stride: (w*bytes + 63 + 64) &^ 63}
	flags := C.int(scaleFlags)
	if f.width == key.dstW && f.height == key.dstH {
		flags = unscaledFlags
	}
	c.sws = C.xav_scaler(f, key.dstW, key.dstH, format, flags)
	if c.sws == nil {
		return nil, fmt.Errorf("no conversion from pixel format %d at %d×%d to %d×%d", f.format, f.width, f.height, w, h)
	}
	c.buf = C.av_malloc(C.size_t(c.stride*h + 64))
	if c.buf == nil {
		c.free()
		return nil, errMemory
	}
	return c, nil
}

// idle takes a scaler for key out of the idle ones, or returns nil.
func (s *store) idle(key scaleKey) *scaler {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.scalers {
		if c.key == key {
			s.scalers = slices.Delete(s.scalers, i, i+1)
			return c
		}
	}
	return nil
}

// giveBack ends the use of a borrowed scaler.
func (s *store) giveBack(c *scaler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.free()
		return
	}
	s.scalers = append(s.scalers, c)
	if len(s.scalers) > maxScalers {
		s.scalers[0].free()
		s.scalers = slices.Delete(s.scalers, 0, 1)
	}
}

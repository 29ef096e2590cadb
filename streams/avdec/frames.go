//go:build cgo

package avdec

// #include "libav.h"
import "C"

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/asticode/go-astiav"

	"github.com/xacam/xacam/streams/media"
)

// frameReader decodes the packets of a File, whatever the codec.
type frameReader struct {
	ctx   *astiav.CodecContext
	raw   *C.AVCodecContext
	store *store
	ended error // what read returned at the end; nil before
	seq   uint64
	last  time.Duration
}

// close is safe on nil.
func (r *frameReader) close() {
	if r != nil {
		r.ctx.Free()
		r.store.close()
	}
}

// ReadFrame decodes the next picture, in presentation order, or returns
// io.EOF. The caller releases the frame, before or after closing the file.
// Pictures that libavcodec flags as corrupt are left out. A file without one
// good picture is an error.
func (f *File) ReadFrame() (*media.Frame, error) {
	if f.input == nil {
		return nil, ErrClosed
	}
	if f.frames == nil {
		r, err := f.openFrames()
		if err != nil {
			return nil, fmt.Errorf("decode video %s: %w", f.cfg.Path, err)
		}
		f.frames = r
	}
	r := f.frames
	for {
		frame, err := f.receive(r)
		if err != nil || frame != nil {
			return frame, err
		}
		if err := f.feed(r); err != nil {
			return nil, err
		}
	}
}

func (f *File) openFrames() (*frameReader, error) {
	par := f.video.CodecParameters()
	codec := astiav.FindDecoder(par.CodecID())
	if codec == nil {
		return nil, fmt.Errorf("this FFmpeg has no decoder for %s", f.codec)
	}
	ctx := astiav.AllocCodecContext(codec)
	if ctx == nil {
		return nil, errMemory
	}
	if err := par.ToCodecContext(ctx); err != nil {
		ctx.Free()
		return nil, err
	}
	raw := (*C.AVCodecContext)(rawPointer(ctx))
	C.xav_limits(raw, 8192*8192, C.int(f.cfg.Threads))
	C.xav_time_base(raw, C.int(f.video.TimeBase().Num()), C.int(f.video.TimeBase().Den()))
	if err := ctx.Open(codec, nil); err != nil {
		ctx.Free()
		return nil, fmt.Errorf("open %s decoder: %w", f.codec, err)
	}
	return &frameReader{ctx: ctx, raw: raw, store: &store{}}, nil
}

// feed gives libavcodec one more packet, or tells it that there are no more.
func (f *File) feed(r *frameReader) error {
	if r.ended != nil {
		if r.seq == 0 && errors.Is(r.ended, io.EOF) {
			return fmt.Errorf("decode video %s: no picture could be decoded", f.cfg.Path)
		}
		return r.ended
	}
	if r.ended = f.read(); r.ended != nil {
		if errors.Is(r.ended, ErrClosed) {
			return r.ended
		}
		C.avcodec_send_packet(r.raw, nil) // the pictures that wait come first
		return nil
	}
	if t := f.packet.Pts(); t != astiav.NoPtsValue {
		f.last = max(f.last, f.sinceStart(t))
	}
	if err := r.ctx.SendPacket(f.packet); errors.Is(err, astiav.Error(-C.ENOMEM)) {
		return fmt.Errorf("decode video %s: %w", f.cfg.Path, errMemory)
	}
	return nil // broken packets are passed over
}

// receive returns the next good picture, or nil when a packet is needed.
func (f *File) receive(r *frameReader) (*media.Frame, error) {
	for {
		av, err := r.store.frame()
		if err != nil {
			return nil, fmt.Errorf("decode video %s: %w", f.cfg.Path, err)
		}
		rc := C.avcodec_receive_frame(r.raw, av)
		if rc < 0 {
			r.store.recycle(av)
			if rc == -C.EAGAIN || rc == C.AVERROR_EOF {
				return nil, nil
			}
			continue // this picture could not be finished
		}
		if av.flags&C.AV_FRAME_FLAG_CORRUPT != 0 || av.decode_error_flags != 0 {
			r.store.recycle(av)
			continue
		}
		pts := f.sinceStart(int64(av.best_effort_timestamp))
		f.count++
		if r.seq > 0 && pts <= r.last {
			pts = r.last + step
		}
		r.seq++
		r.last = pts
		return &media.Frame{
			Seq: r.seq, PTS: pts, Captured: f.cfg.Start.Add(pts),
			Picture: newPicture(r.store, av, f.format.Rotation),
		}, nil
	}
}

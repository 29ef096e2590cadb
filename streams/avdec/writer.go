//go:build cgo

package avdec

// #include "libav.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"github.com/asticode/go-astiav"
)

// Writer makes an MP4 file of H.264 video, for people to look at. Not safe
// for concurrent use.
type Writer struct {
	path   string
	w, h   int // of the pictures given
	ctx    *astiav.CodecContext
	output *astiav.FormatContext
	file   *astiav.IOContext
	stream *astiav.Stream
	frame  *astiav.Frame
	packet *astiav.Packet
	sws    *C.struct_SwsContext
	buf    unsafe.Pointer // a padded copy of the picture
	begun  bool
	last   int64 // in writerBase
	tick   int64 // nominal duration of a picture, in writerBase
	failed bool
}

// writerBase are the ticks of a written file's clock in a second.
const writerBase = 90000

// NewWriter creates the file and opens the encoder (libx264). The caller
// closes the Writer; the file is playable only after that.
func NewWriter(cfg WriterConfig) (*Writer, error) {
	if cfg.FPS == 0 {
		cfg.FPS = 25
	}
	if cfg.Threads == 0 {
		cfg.Threads = 1
	}
	if cfg.Width < 2 || cfg.Height < 2 || cfg.Width > 8192 || cfg.Height > 8192 || cfg.FPS < 0 || cfg.FPS > 240 || cfg.Threads < 1 {
		return nil, fmt.Errorf("write video %s: %d×%d at %g frames/s cannot be encoded", cfg.Path, cfg.Width, cfg.Height, cfg.FPS)
	}
	w := &Writer{path: cfg.Path, w: cfg.Width, h: cfg.Height, last: -1, tick: int64(writerBase / cfg.FPS)}
	if err := w.open(cfg); err != nil {
		w.free()
		return nil, fmt.Errorf("write video %s: %w", cfg.Path, err)
	}
	return w, nil
}

func (w *Writer) open(cfg WriterConfig) error {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("folder: %w", underlying(err))
	}
	if err := w.openEncoder(cfg); err != nil {
		return err
	}
	output, err := astiav.AllocOutputFormatContext(nil, "mp4", "")
	if err != nil {
		return err
	}
	w.output = output
	if w.stream = output.NewStream(nil); w.stream == nil {
		return errMemory
	}
	if err := w.ctx.ToCodecParameters(w.stream.CodecParameters()); err != nil {
		return err
	}
	w.stream.SetTimeBase(w.ctx.TimeBase())
	if w.file, err = astiav.OpenIOContext("file:"+path, astiav.NewIOContextFlags(astiav.IOContextFlagWrite)); err != nil {
		return err
	}
	output.SetPb(w.file)
	if err := output.WriteHeader(nil); err != nil {
		return err
	}
	w.begun = true
	return nil
}

func (w *Writer) openEncoder(cfg WriterConfig) error {
	codec := astiav.FindEncoderByName("libx264")
	if codec == nil {
		return errors.New("this FFmpeg has no H.264 encoder (libx264)")
	}
	width, height := w.w&^1, w.h&^1
	w.ctx, w.frame, w.packet = astiav.AllocCodecContext(codec), astiav.AllocFrame(), astiav.AllocPacket()
	w.sws = C.xav_bgr_scaler(C.int(width), C.int(height), C.int(width), C.int(height))
	w.buf = C.av_malloc(C.size_t(3*w.w*w.h + 64))
	if w.ctx == nil || w.frame == nil || w.packet == nil || w.sws == nil || w.buf == nil {
		return errMemory
	}
	w.ctx.SetWidth(width)
	w.ctx.SetHeight(height)
	w.ctx.SetPixelFormat(astiav.PixelFormatYuv420P)
	w.ctx.SetTimeBase(astiav.NewRational(1, writerBase))
	w.ctx.SetFramerate(astiav.NewRational(int(cfg.FPS*1000+0.5), 1000))
	w.ctx.SetGopSize(max(1, int(cfg.FPS*4)))
	w.ctx.SetThreadCount(cfg.Threads)
	w.ctx.SetFlags(astiav.NewCodecContextFlags(astiav.CodecContextFlagGlobalHeader))
	options := astiav.NewDictionary()
	defer options.Free()
	for _, o := range [][2]string{
		{"preset", "veryfast"},
		{"crf", "23"},
		{"bf", "0"},
		{"colorspace", "smpte170m"},
		{"color_range", "tv"},
	} {
		if err := options.Set(o[0], o[1], 0); err != nil {
			return err
		}
	}
	if err := w.ctx.Open(codec, options); err != nil {
		return fmt.Errorf("open encoder: %w", err)
	}
	w.frame.SetWidth(width)
	w.frame.SetHeight(height)
	w.frame.SetPixelFormat(astiav.PixelFormatYuv420P)
	return nil
}

// Write appends one picture of packed BGR rows (3×width×height bytes, not
// kept) to be shown at pts. Times must not go back; equal ones are moved on.
func (w *Writer) Write(bgr []byte, pts time.Duration) error {
	if w.ctx == nil {
		return fmt.Errorf("write video %s: %w", w.path, os.ErrClosed)
	}
	if need := 3 * w.w * w.h; len(bgr) < need || pts < 0 {
		return fmt.Errorf("write video %s: %d bytes at %v are not a picture of %d×%d", w.path, len(bgr), pts, w.w, w.h)
	}
	if err := w.write(bgr, pts); err != nil {
		w.failed = true
		return fmt.Errorf("write video %s: %w", w.path, err)
	}
	return nil
}

func (w *Writer) write(bgr []byte, pts time.Duration) error {
	if err := w.frame.AllocBuffer(0); err != nil { // the encoder may still hold the last one
		return err
	}
	defer w.dropPicture()
	copy(unsafe.Slice((*byte)(w.buf), 3*w.w*w.h), bgr)
	av := (*C.AVFrame)(w.frame.UnsafePointer())
	if n := C.xav_from_bgr(w.sws, (*C.uint8_t)(w.buf), C.int(3*w.w), av); n != av.height {
		return fmt.Errorf("libswscale gave %d of %d rows", int(n), int(av.height))
	}
	w.last = max(w.last+1, int64(pts.Seconds()*writerBase+0.5))
	w.frame.SetPts(w.last)
	if err := w.ctx.SendFrame(w.frame); err != nil {
		return err
	}
	return w.flush()
}

// dropPicture frees the picture but keeps the header's description.
func (w *Writer) dropPicture() {
	width, height := w.frame.Width(), w.frame.Height()
	w.frame.Unref()
	w.frame.SetWidth(width)
	w.frame.SetHeight(height)
	w.frame.SetPixelFormat(astiav.PixelFormatYuv420P)
}

// flush writes the packets that are ready.
func (w *Writer) flush() error {
	for {
		err := w.ctx.ReceivePacket(w.packet)
		if errors.Is(err, astiav.ErrEagain) || errors.Is(err, astiav.ErrEof) {
			return nil
		}
		if err != nil {
			return err
		}
		w.packet.SetStreamIndex(w.stream.Index())
		if w.packet.Duration() == 0 {
			w.packet.SetDuration(w.tick) // without, the last picture is outside the edit list
		}
		w.packet.RescaleTs(w.ctx.TimeBase(), w.stream.TimeBase())
		if err := w.output.WriteInterleavedFrame(w.packet); err != nil {
			return err
		}
	}
}

// Close finishes the file and frees the encoder. It is safe to call twice;
// the second call returns nil.
func (w *Writer) Close() error {
	if w.ctx == nil {
		return nil
	}
	defer w.free()
	if w.failed || !w.begun {
		return nil
	}
	err := w.ctx.SendFrame(nil)
	if err == nil {
		err = w.flush()
	}
	if err == nil {
		err = w.output.WriteTrailer()
	}
	if closeErr := w.file.Close(); err == nil {
		err = closeErr
	}
	w.file = nil
	if err != nil {
		return fmt.Errorf("finish video %s: %w", w.path, err)
	}
	return nil
}

func (w *Writer) free() {
	if w.file != nil {
		_ = w.file.Close() // there is an error to report already
		w.file = nil
	}
	if w.output != nil {
		w.output.Free()
		w.output = nil
	}
	if w.ctx != nil {
		w.ctx.Free()
		w.frame.Free()
		w.packet.Free()
		w.ctx = nil
	}
	C.sws_freeContext(w.sws)
	C.av_free(w.buf)
	w.sws, w.buf = nil, nil
}

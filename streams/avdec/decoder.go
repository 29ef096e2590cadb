//go:build cgo

package avdec

// #include "libav.h"
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/asticode/go-astiav"

	"github.com/xacam/xacam/streams/media"
)

var errMemory = errors.New("out of memory")

const (
	// patience is how many access units are let go by while waiting for a key
	// picture. After that libavcodec may try: a stream that refreshes row by
	// row has recovery points only.
	patience = 300
	// window is how many access units back a picture may come from. The
	// deepest reordering of H.264 and H.265 is 16.
	window = 64
	// step is put between two frames whose stream times do not increase.
	step = time.Millisecond
)

// Decoder turns one session's access units into frames. Its methods may be
// called from any goroutine, one at a time; SetEffort and Stats at any time.
//
// Damage. A picture that libavcodec flags as corrupt is never delivered.
// Pictures that build on one, or come after a Gap, are withheld until the next
// key picture, for Config.Hold at most: a smeared picture makes false
// detections, but a camera whose next key picture is far off must not go
// blind.
//
// Latency. Without B-frames a frame leaves with its own access unit; with
// B-frames as many later as the stream's reordering needs. There are no frame
// threads.
//
// Memory. libavcodec keeps the stream's reference pictures (at most 16, as
// its level allows); the decoder itself keeps one access unit.
type Decoder struct {
	cfg    Config
	effort atomic.Int32
	store  *store

	mu      sync.Mutex
	ctx     *astiav.CodecContext // nil once closed
	raw     *C.AVCodecContext    // what ctx wraps
	packet  *C.AVPacket
	out     []*media.Frame
	times   [window]unitTime
	stats   Stats
	units   uint64 // access units sent to libavcodec; the packet's pts
	seq     uint64
	last    time.Duration // PTS of the last frame delivered
	applied Effort
	waiting int           // access units let go since a key picture is waited for; -1: not waiting
	damaged uint64        // the unit the damage began with; 0: none
	since   time.Duration // its PTS
}

// unitTime remembers an access unit until its picture appears.
type unitTime struct {
	unit     uint64
	pts      time.Duration
	captured time.Time
}

// New opens a decoder. It costs about 1 ms and starts no thread unless
// cfg.Threads is above 1. The caller closes it.
func New(cfg Config) (*Decoder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Decoder{cfg: cfg, store: &store{}}
	d.effort.Store(int32(cfg.Effort))
	if err := d.open(); err != nil {
		d.free()
		return nil, fmt.Errorf("open %v decoder: %w", cfg.Format.Codec, err)
	}
	return d, nil
}

func (d *Decoder) open() error {
	id := astiav.CodecIDH264
	if d.cfg.Format.Codec == media.H265 {
		id = astiav.CodecIDHevc
	}
	codec := astiav.FindDecoder(id)
	if codec == nil {
		return errors.New("this FFmpeg was built without it")
	}
	if d.ctx = astiav.AllocCodecContext(codec); d.ctx == nil {
		return errMemory
	}
	if d.packet = C.av_packet_alloc(); d.packet == nil {
		return errMemory
	}
	var extra []byte
	for _, set := range [][]byte{d.cfg.Format.VPS, d.cfg.Format.SPS, d.cfg.Format.PPS} {
		if len(set) > 0 {
			extra = append(append(extra, 0, 0, 0, 1), set...)
		}
	}
	if err := d.ctx.SetExtraData(extra); err != nil {
		return err
	}
	d.raw = (*C.AVCodecContext)(rawPointer(d.ctx))
	C.xav_limits(d.raw, C.int64_t(d.cfg.MaxPixels), C.int(d.cfg.Threads))
	return d.ctx.Open(codec, nil)
}

// rawPointer returns the C pointer inside a go-astiav object, which v0.15
// keeps in an unexported field c. TestRawPointer holds it to that.
func rawPointer(wrapper any) unsafe.Pointer {
	return reflect.ValueOf(wrapper).Elem().FieldByName("c").UnsafePointer()
}

// SetEffort changes how much is decoded, from the next access unit on.
// Coming back from KeyOnly, frames resume with the next key picture.
func (d *Decoder) SetEffort(e Effort) {
	if e >= Full && e <= KeyOnly {
		d.effort.Store(int32(e))
	}
}

// Decode takes one access unit and returns the frames that became ready, in
// presentation order: none, one, or several. The slice is valid until the
// next call; the frames belong to the caller, who releases them. Broken
// input is counted in Stats and is not an error: the decoder goes on with
// what follows. Errors are ErrClosed and lack of memory.
func (d *Decoder) Decode(au *media.AccessUnit) ([]*media.Frame, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = d.out[:0]
	if d.ctx == nil {
		return nil, ErrClosed
	}
	d.stats.Units++
	d.applyEffort()
	if au.Gap && !au.Key {
		d.damage(d.units+1, au.PTS)
	}
	if !d.wanted(au) {
		d.stats.Skipped++
		return nil, nil
	}
	size := 0
	for _, unit := range au.NALUs {
		size += len(unit) + 4
	}
	if size == 0 || size > d.cfg.MaxUnit {
		d.stats.Errors++
		d.damage(d.units+1, au.PTS)
		return nil, nil
	}
	if err := d.send(au, size); err != nil {
		return nil, err
	}
	err := d.receive()
	if err == nil && d.applied == KeyOnly {
		err = d.drain()
	}
	return d.out, err
}

// applyEffort hands a change over to libavcodec.
func (d *Decoder) applyEffort() {
	e := Effort(d.effort.Load())
	if e == d.applied {
		return
	}
	if d.applied == KeyOnly {
		d.waiting = 0 // what lies between was not decoded
	}
	C.xav_effort(d.raw, C.int(e))
	d.applied = e
}

// wanted says whether au is decoded at all.
func (d *Decoder) wanted(au *media.AccessUnit) bool {
	switch {
	case au.Key:
		d.waiting = -1
		return true
	case d.applied == KeyOnly:
		return false
	case d.waiting >= 0 && d.waiting < patience:
		d.waiting++
		return false
	}
	return true
}

// send copies au in Annex B form into the packet's buffer and decodes it.
func (d *Decoder) send(au *media.AccessUnit, size int) error {
	if C.xav_reserve(d.packet, C.int(size)) < 0 {
		return errMemory
	}
	buf := unsafe.Slice((*byte)(unsafe.Pointer(d.packet.data)), size)
	for _, unit := range au.NALUs {
		n := copy(buf, "\x00\x00\x00\x01")
		buf = buf[n+copy(buf[n:], unit):]
	}
	d.units++
	d.times[d.units%window] = unitTime{unit: d.units, pts: au.PTS, captured: au.Captured}
	key := C.int(0)
	if au.Key {
		key = 1
	}
	switch rc := C.xav_send(d.raw, d.packet, C.int(size), C.int64_t(d.units), key); {
	case rc == -C.ENOMEM:
		return errMemory
	case rc < 0:
		d.stats.Errors++
		d.damage(d.units, au.PTS)
	}
	return nil
}

// damage notes that pictures from unit on are not whole.
func (d *Decoder) damage(unit uint64, pts time.Duration) {
	if d.damaged == 0 {
		d.damaged, d.since = unit, pts
	}
}

// receive takes every picture that is ready.
func (d *Decoder) receive() error {
	for {
		f, err := d.store.frame()
		if err != nil {
			return err
		}
		switch rc := C.avcodec_receive_frame(d.raw, f); {
		case rc >= 0:
			d.deliver(f)
		case rc == -C.EAGAIN || rc == C.AVERROR_EOF:
			d.store.recycle(f)
			return nil
		case rc == -C.ENOMEM:
			d.store.recycle(f)
			return errMemory
		default: // a picture could not be finished; there may be more
			d.store.recycle(f)
			d.stats.Errors++
			d.damage(d.units, d.times[d.units%window].pts)
		}
	}
}

// deliver appends f to the frames that are returned, or drops it.
func (d *Decoder) deliver(f *C.AVFrame) {
	t := d.times[uint64(f.pts)%window]
	switch {
	case t.unit == 0 || int64(f.pts) != int64(t.unit):
		d.stats.Errors++ // a picture of an access unit long gone
		d.store.recycle(f)
		return
	case f.flags&C.AV_FRAME_FLAG_CORRUPT != 0 || f.decode_error_flags != 0:
		d.stats.Corrupt++
		d.damage(t.unit, t.pts)
		d.store.recycle(f)
		return
	case d.damaged != 0 && t.unit >= d.damaged && f.key_frame != 0:
		d.damaged = 0
	case d.damaged != 0 && t.unit >= d.damaged && t.pts-d.since < d.cfg.Hold:
		d.stats.Withheld++
		d.store.recycle(f)
		return
	}
	if d.seq > 0 && t.pts <= d.last {
		t.pts = d.last + step
	}
	d.seq++
	d.last = t.pts
	d.stats.Frames++
	d.out = append(d.out, &media.Frame{
		Seq: d.seq, PTS: t.pts, Captured: t.captured,
		Picture: newPicture(d.store, f, d.cfg.Format.Rotation),
	})
}

// drain gets the pictures that wait for reordering and starts afresh.
func (d *Decoder) drain() error {
	C.avcodec_send_packet(d.raw, nil)
	err := d.receive()
	C.avcodec_flush_buffers(d.raw)
	return err
}

// Flush returns the frames that still wait for reordering. Decoding resumes
// with the next key picture; Seq goes on. The slice is valid until the next
// call.
func (d *Decoder) Flush() ([]*media.Frame, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = d.out[:0]
	if d.ctx == nil {
		return nil, ErrClosed
	}
	err := d.drain()
	d.waiting, d.damaged = 0, 0
	return d.out, err
}

// Stats returns the counts so far.
func (d *Decoder) Stats() Stats {
	d.mu.Lock()
	s := d.stats
	d.mu.Unlock()
	s.Live = d.store.outstanding()
	return s
}

// Close frees the decoder. Frames that are out stay usable until they are
// released. It is safe to call twice.
func (d *Decoder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free()
	return nil
}

func (d *Decoder) free() {
	if d.ctx != nil {
		d.ctx.Free()
		d.ctx, d.raw = nil, nil
	}
	C.xav_free_packet(d.packet)
	d.packet = nil
	d.out = nil
	d.store.close()
}

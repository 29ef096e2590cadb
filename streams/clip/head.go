package clip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4"

	"github.com/xacam/xacam/streams/media"
)

// head is what comes before the first fragment.
type head struct {
	data []byte
	mehd int64 // position of the length of the clip
}

// head describes the stream, from its format or, where that knows nothing, from
// the parameter sets of its first access unit.
func (w *Writer) head(au *media.AccessUnit) (_ head, err error) {
	defer func() {
		if p := recover(); p != nil { // a parser of parameter sets
			err = fmt.Errorf("parameter sets: %v: %w", p, ErrFormat)
		}
	}()
	f := learn(w.cfg.Format, au)
	var codec mp4.Codec = &mp4.CodecH264{SPS: f.SPS, PPS: f.PPS}
	w.sets = [][]byte{f.SPS, f.PPS}
	if f.Codec == media.H265 {
		codec = &mp4.CodecH265{VPS: f.VPS, SPS: f.SPS, PPS: f.PPS}
		w.sets = [][]byte{f.VPS, f.SPS, f.PPS}
	}
	for _, s := range w.sets {
		if len(s) == 0 {
			return head{}, fmt.Errorf("a parameter set is missing: %w", ErrFormat)
		}
	}
	var out seekablebuffer.Buffer
	init := fmp4.Init{Tracks: []*fmp4.InitTrack{{ID: 1, TimeScale: timescale, Codec: codec}}}
	if err := init.Marshal(&out); err != nil {
		return head{}, errors.Join(ErrFormat, err)
	}
	b := out.Bytes()
	if i := bytes.Index(b, []byte("hev1")); i >= 0 && f.Codec == media.H265 {
		copy(b[i:], "hvc1") // the sets are in the head; some players know only this name
	}
	return w.dress(b, f.Rotation)
}

// learn completes a format with the parameter sets of an access unit.
func learn(f media.Format, au *media.AccessUnit) media.Format {
	for _, n := range au.NALUs {
		if len(n) < 2 {
			continue
		}
		set := map[byte]*[]byte{7: &f.SPS, 8: &f.PPS}[n[0]&0x1f]
		if f.Codec == media.H265 {
			set = map[byte]*[]byte{32: &f.VPS, 33: &f.SPS, 34: &f.PPS}[n[0]>>1&0x3f]
		}
		if set != nil && len(*set) == 0 {
			*set = n
		}
	}
	return f
}

// find returns where the box at the end of the path begins in b, and where it
// ends; -1 when there is none.
func find(b []byte, path ...string) (start, end int) {
	start, end = 0, len(b)
	inside := 0 // where the children begin
	for _, typ := range path {
		start = -1
		for at := inside; at+8 <= end; {
			size := int(binary.BigEndian.Uint32(b[at:]))
			if size < 8 || at+size > end {
				return -1, -1
			}
			if string(b[at+4:at+8]) == typ {
				start, end, inside = at, at+size, at+8
				break
			}
			at += size
		}
		if start < 0 {
			return -1, -1
		}
	}
	return start, end
}

// dress adds what mediacommon's head lacks: rotation, times, the length of the
// clip, the mark of the event and words.
func (w *Writer) dress(b []byte, rotation int) (head, error) {
	mvhd, _ := find(b, "moov", "mvhd")
	tkhd, _ := find(b, "moov", "trak", "tkhd")
	mdhd, _ := find(b, "moov", "trak", "mdia", "mdhd")
	mvex, mvexEnd := find(b, "moov", "mvex")
	moov, moovEnd := find(b, "moov")
	if mvhd < 0 || tkhd < 0 || mdhd < 0 || mvex < 0 || moovEnd != len(b) || b[mvhd+8]|b[tkhd+8]|b[mdhd+8] != 0 {
		return head{}, errors.New("the head of the clip has an unknown form")
	}
	created := uint32(mp4Time(w.start)) //nolint:gosec // 32 bits last until 2040
	for _, at := range []int{mvhd, tkhd, mdhd} {
		binary.BigEndian.PutUint32(b[at+12:], created)
		binary.BigEndian.PutUint32(b[at+16:], created)
	}
	width, height := binary.BigEndian.Uint32(b[tkhd+84:]), binary.BigEndian.Uint32(b[tkhd+88:])
	for i, v := range matrix(rotation, width, height) {
		binary.BigEndian.PutUint32(b[tkhd+48+4*i:], v)
	}
	trak, trakEnd := find(b, "moov", "trak")
	var x box
	if w.delay > 0 {
		x.b = append(x.b, b[:trakEnd]...)
		w.edit(&x)
		x.end(trak)
		b = append(x.b, b[trakEnd:]...)
		grown := len(b) - moovEnd
		mvex, mvexEnd = mvex+grown, mvexEnd+grown
		x.b = nil
	}
	x.b = append(x.b, b[:mvex+8]...)
	mehd := x.full("mehd", 1, 0) // ISO/IEC 14496-12, 8.8.2
	x.u64(0)
	x.end(mehd)
	x.b = append(x.b, b[mvex+8:mvexEnd]...)
	x.end(mvex)
	x.b = append(x.b, b[mvexEnd:]...)
	w.words(&x)
	x.end(moov)
	return head{data: x.b, mehd: int64(mehd + 12)}, nil
}

// edit begins the clip with its first picture, not with the decoding of it
// (ISO/IEC 14496-12, 8.6.6).
func (w *Writer) edit(x *box) {
	edts := x.open("edts")
	elst := x.full("elst", 0, 0)
	x.u32(1)
	x.u32(0)                      // to the end
	x.u32(uint32(ticks(w.delay))) //nolint:gosec // a second or so
	x.u32(1 << 16)
	x.end(elst)
	x.end(edts)
}

// matrix turns the picture clockwise and moves it back into view (ISO/IEC
// 14496-12, 8.3.2): u and v of a picture of width×height, both 16.16.
func matrix(rotation int, width, height uint32) [9]uint32 {
	const one, minus = 1 << 16, 0xffff0000
	const w = 1 << 30
	switch rotation {
	case 90:
		return [9]uint32{0, one, 0, minus, 0, 0, height, 0, w}
	case 180:
		return [9]uint32{minus, 0, 0, 0, minus, 0, width, height, w}
	case 270:
		return [9]uint32{0, minus, 0, one, 0, 0, 0, width, w}
	}
	return [9]uint32{one, 0, 0, 0, one, 0, 0, 0, w}
}

// words adds the chapter mark of the event (the box "chpl" that players know)
// and, in the form of iTunes, title, date and comment.
func (w *Writer) words(x *box) {
	udta := x.open("udta")
	if !w.cfg.Event.IsZero() {
		chpl := x.full("chpl", 1, 0)
		x.u32(0)
		offset := max(0, w.cfg.Event.Sub(w.start))
		marks := []struct {
			at   time.Duration
			name string
		}{{0, "before"}, {offset, w.cfg.Label}}
		if offset == 0 {
			marks = marks[1:]
		}
		x.u8(byte(len(marks))) //nolint:gosec // 1 or 2
		for _, m := range marks {
			x.u64(uint64(m.at / 100)) //nolint:gosec // 100 ns units, not negative
			name := short(m.name, 255)
			x.u8(byte(len(name))) //nolint:gosec // cut above
			x.str(name)
		}
		x.end(chpl)
	}
	meta := x.full("meta", 0, 0)
	hdlr := x.full("hdlr", 0, 0)
	x.u32(0)
	x.str("mdirappl")
	x.u64(0)
	x.u8(0)
	x.end(hdlr)
	ilst := x.open("ilst")
	item := func(typ, text string) {
		if text == "" {
			return
		}
		at := x.open(typ)
		data := x.open("data")
		x.u32(1) // UTF-8
		x.u32(0)
		x.str(text)
		x.end(data)
		x.end(at)
	}
	item("\xa9nam", w.cfg.Label)
	if !w.cfg.Event.IsZero() {
		item("\xa9day", w.cfg.Event.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	item("\xa9cmt", w.cfg.Comment)
	item("\xa9too", "xacam")
	x.end(ilst)
	x.end(meta)
	x.end(udta)
}

// short cuts s to at most n bytes, between characters.
func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

// putLength writes the length of the clip into its head.
func (w *Writer) putLength(d time.Duration) error {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(d.Milliseconds())) //nolint:gosec // not negative; mvhd's time scale is 1000
	_, err := w.file.WriteAt(b[:], w.mehd)
	return err
}

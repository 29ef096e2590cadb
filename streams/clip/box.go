package clip

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"

	"github.com/xacam/xacam/streams/media"
)

// box is a box of an MP4 file that is being put together.
type box struct{ b []byte }

func (x *box) u8(v ...byte) { x.b = append(x.b, v...) }
func (x *box) u32(v uint32) { x.b = binary.BigEndian.AppendUint32(x.b, v) }
func (x *box) u64(v uint64) { x.b = binary.BigEndian.AppendUint64(x.b, v) }
func (x *box) str(s string) { x.b = append(x.b, s...) }
func (x *box) open(typ string) (at int) {
	at = len(x.b)
	x.u32(0)
	x.str(typ)
	return at
}

// full opens a box with version and flags (ISO/IEC 14496-12, 4.2).
func (x *box) full(typ string, version uint8, flags uint32) (at int) {
	at = x.open(typ)
	x.u32(uint32(version)<<24 | flags)
	return at
}

// end closes the box that was opened at at.
func (x *box) end(at int) {
	binary.BigEndian.PutUint32(x.b[at:], uint32(len(x.b)-at)) //nolint:gosec // heads are small
}

const (
	ntpEpoch = 2208988800 // seconds from 1900 to 1970
	mp4Epoch = 2082844800 // seconds from 1904 to 1970

	flagSync    = 0x02000000 // depends on no other sample
	flagNonSync = 0x01010000 // depends on others, is no sync sample
)

// ntp is a time in NTP format, 32 bits of seconds and 32 of their fraction.
func ntp(at time.Time) uint64 {
	return uint64(at.Unix()+ntpEpoch)<<32 | uint64(at.Nanosecond())<<32/uint64(time.Second) //nolint:gosec // wraps in 2036 by design
}

// mp4Time is a time in seconds since 1904.
func mp4Time(at time.Time) uint64 { return uint64(max(0, at.Unix()+mp4Epoch)) }

// fragment writes "prft", "moof" and "mdat" of the pending samples, whose
// decoding times are given; end is when the next fragment may begin and first the
// UTC of the earliest time.
func (w *Writer) fragment(times []time.Duration, end time.Duration, first time.Time) (int64, error) {
	var x box
	base := ticks(times[0])
	prft := x.full("prft", 1, 0) // ISO/IEC 14496-12, 8.16.5
	x.u32(1)
	x.u64(ntp(first))
	x.u64(uint64(base + ticks(w.delay))) //nolint:gosec // not negative
	x.end(prft)

	moof := x.open("moof")
	mfhd := x.full("mfhd", 0, 0)
	x.u32(w.seq)
	x.end(mfhd)
	traf := x.open("traf")
	tfhd := x.full("tfhd", 0, 0x020000) // default-base-is-moof
	x.u32(1)
	x.end(tfhd)
	tfdt := x.full("tfdt", 1, 0)
	x.u64(uint64(base)) //nolint:gosec // not negative
	x.end(tfdt)
	trun := x.full("trun", 1, 0x000f01) // offset of the data; duration, size, flags, composition offset
	x.u32(uint32(len(w.pending)))       //nolint:gosec // bounded
	offset := len(x.b)
	x.u32(0)
	total := 0
	for i, s := range w.pending {
		next := end
		if i+1 < len(times) {
			next = times[i+1]
		}
		size := w.size(s.au)
		total += size
		x.u32(uint32(min(ticks(next)-ticks(times[i]), math.MaxInt32))) //nolint:gosec // bounded
		x.u32(uint32(size))                                            //nolint:gosec // bounded by the ring
		if s.au.Key {
			x.u32(flagSync)
		} else {
			x.u32(flagNonSync)
		}
		x.u32(uint32(int32(min(max(ticks(s.at+w.delay)-ticks(times[i]), math.MinInt32), math.MaxInt32)))) //nolint:gosec // signed in version 1
	}
	x.end(trun)
	x.end(traf)
	x.end(moof)
	binary.BigEndian.PutUint32(x.b[offset:], uint32(len(x.b)-moof+8)) //nolint:gosec // small
	x.u32(uint32(total + 8))
	x.str("mdat")
	if _, err := w.buf.Write(x.b); err != nil {
		return 0, err
	}
	for _, s := range w.pending {
		if err := w.payload(s.au); err != nil {
			return 0, err
		}
	}
	return int64(len(x.b) + total), nil
}

// size is that of the access unit in the file.
func (w *Writer) size(au *media.AccessUnit) int {
	n := 0
	for _, unit := range au.NALUs {
		if w.kept(unit) {
			n += 4 + len(unit)
		}
	}
	return n
}

// payload writes NAL units with their lengths (ISO/IEC 14496-15, 4.3.2).
func (w *Writer) payload(au *media.AccessUnit) error {
	var size [4]byte
	for _, unit := range au.NALUs {
		if !w.kept(unit) {
			continue
		}
		binary.BigEndian.PutUint32(size[:], uint32(len(unit))) //nolint:gosec // bounded by the ring
		if _, err := w.buf.Write(size[:]); err != nil {
			return err
		}
		if _, err := w.buf.Write(unit); err != nil {
			return err
		}
	}
	return nil
}

// kept reports whether a NAL unit goes into the file: not those that its head
// has already.
func (w *Writer) kept(unit []byte) bool {
	if len(unit) == 0 {
		return false
	}
	for _, s := range w.sets {
		if bytes.Equal(unit, s) {
			return false
		}
	}
	return true
}

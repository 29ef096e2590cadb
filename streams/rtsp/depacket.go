package rtsp

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/pion/rtp"

	"github.com/xacam/xacam/streams/media"
)

// maxUnitPackets bounds the packets of one access unit. gortsplib bounds its
// bytes (8 MiB) but not the number of empty fragments.
const maxUnitPackets = 1 << 14

// decoder is what both RTP decoders of gortsplib are.
type decoder interface {
	Decode(*rtp.Packet) ([][]byte, error)
}

func newDecoder(c media.Codec, packetization int) (decoder, error) {
	if c == media.H265 {
		d := &rtph265.Decoder{MaxDONDiff: packetization}
		return d, d.Init()
	}
	d := &rtph264.Decoder{PacketizationMode: packetization}
	return d, d.Init()
}

// unit is the NAL units of one access unit as they came.
type unit struct {
	nalus [][]byte
	ts    uint32
	gap   bool // something before it was lost
}

// depacketizer turns RTP packets into units (RFC 6184, RFC 7798). It wraps
// gortsplib's decoders and adds what they leave out: after a loss it drops the
// broken unit and starts again at the next whole one, and a unit ends when the
// timestamp changes, even if its sender never sets the marker (FLIR) or the
// packet with the marker was lost. For that it holds one packet back, unless
// the packet has the marker. It must not be used from two goroutines.
type depacketizer struct {
	codec         media.Codec
	packetization int // H.264: packetization-mode; H.265: sprop-max-don-diff

	dec     decoder
	held    *rtp.Packet // waits for the next one, which tells whether it is the last of its unit
	started bool
	seq     uint16 // of the last packet
	ts      uint32 // of the last packet
	marker  bool   // of the last packet
	resync  bool   // dropping packets up to the start of a unit
	gap     bool   // to be told with the next unit
	count   int    // packets since the last unit

	lost    uint64 // packets
	damaged uint64 // units dropped or cut short
}

// push takes the next packet and returns the units it completed: none, one
// or, when a marker was missing before it, two.
func (d *depacketizer) push(p *rtp.Packet) []unit {
	if d.started {
		switch step := int16(p.SequenceNumber - d.seq); { //nolint:gosec // wrap-around is the point
		case step == 1:
		case step <= 0 && step > -64:
			return nil // duplicate or late
		default:
			d.lost += uint64(max(int(step)-1, 1))
			d.abandon()
		}
	}
	fresh := !d.started || d.marker || p.Timestamp != d.ts
	var out []unit
	if d.held != nil {
		held := *d.held
		d.held = nil
		held.Marker = held.Timestamp != p.Timestamp
		out = d.decode(&held, out)
	}
	whole := fresh && (d.contiguous(p) || startsUnit(d.codec, p.Payload))
	skip := d.resync && !whole
	d.started, d.seq, d.ts, d.marker = true, p.SequenceNumber, p.Timestamp, p.Marker
	if skip {
		return out
	}
	d.resync = false
	if !p.Marker {
		d.held = p
		return out
	}
	return d.decode(p, out)
}

// contiguous reports whether p follows the last packet directly.
func (d *depacketizer) contiguous(p *rtp.Packet) bool {
	return d.started && p.SequenceNumber == d.seq+1
}

// abandon forgets the unit in work after a loss.
func (d *depacketizer) abandon() {
	d.dec, d.held = nil, nil
	d.resync, d.gap = true, true
	d.count = 0
	d.damaged++
}

func (d *depacketizer) decode(p *rtp.Packet, out []unit) []unit {
	if d.dec == nil {
		dec, err := newDecoder(d.codec, d.packetization)
		if err != nil {
			return out // newDepacketizer has tried the same arguments
		}
		d.dec = dec
	}
	d.count++
	nalus, err := d.dec.Decode(p)
	switch {
	case err == nil:
		d.count = 0
		u := unit{nalus: nalus, ts: p.Timestamp, gap: d.gap}
		d.gap = false
		return append(out, u)
	case errors.Is(err, rtph264.ErrMorePacketsNeeded), errors.Is(err, rtph265.ErrMorePacketsNeeded):
		if d.count > maxUnitPackets {
			d.abandon()
		}
	case errors.Is(err, rtph264.ErrNonStartingPacketAndNoPrevious), errors.Is(err, rtph265.ErrNonStartingPacketAndNoPrevious):
		d.gap = true // joined in the middle of a unit
	default:
		d.abandon()
	}
	return out
}

// newDepacketizer returns a depacketizer; the error names what of the stream
// is not supported.
func newDepacketizer(c media.Codec, packetization int) (*depacketizer, error) {
	dec, err := newDecoder(c, packetization)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	return &depacketizer{codec: c, packetization: packetization, dec: dec}, nil
}

// startsUnit reports whether an RTP payload begins an access unit: a
// delimiter, parameter set or SEI, or the first slice of a picture (H.264,
// 7.4.1.2.3; H.265, 7.4.2.4.4).
func startsUnit(c media.Codec, b []byte) bool {
	if c == media.H265 {
		return startsUnit265(b)
	}
	if len(b) < 2 {
		return false
	}
	switch typ := b[0] & 0x1f; typ {
	case 24: // STAP-A
		return len(b) > 4 && starts264(b[3]&0x1f, b[4])
	case 28: // FU-A
		return len(b) > 2 && b[1]&0x80 != 0 && starts264(b[1]&0x1f, b[2])
	default:
		return starts264(typ, b[1])
	}
}

func starts264(typ, slice byte) bool {
	switch typ {
	case 6, 7, 8, 9: // SEI, SPS, PPS, AUD
		return true
	case 1, 2, 5: // slices: first_mb_in_slice is 0 when its first bit is 1
		return slice&0x80 != 0
	}
	return false
}

func startsUnit265(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	switch typ := b[0] >> 1 & 0x3f; typ {
	case 48: // aggregation
		return len(b) > 6 && starts265(b[4]>>1&0x3f, b[6])
	case 49: // fragmentation
		return len(b) > 3 && b[2]&0x80 != 0 && starts265(b[2]&0x3f, b[3])
	default:
		return starts265(typ, b[2])
	}
}

func starts265(typ, slice byte) bool {
	switch {
	case typ >= 32 && typ <= 35, typ == 39: // VPS, SPS, PPS, AUD, prefix SEI
		return true
	case typ < 32: // first_slice_segment_in_pic_flag
		return slice&0x80 != 0
	}
	return false
}

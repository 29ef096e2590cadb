package avdec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/xacam/xacam/streams/media"
)

var errBitstream = errors.New("bitstream is broken")

// splitAnnexB returns the NAL units between start codes (H.264 and H.265,
// Annex B), without trailing zeros. They share b's memory.
func splitAnnexB(b []byte) [][]byte {
	var units [][]byte
	code := []byte{0, 0, 1}
	at := bytes.Index(b, code)
	for at >= 0 {
		b = b[at+len(code):]
		at = bytes.Index(b, code)
		unit := b
		if at >= 0 {
			unit = b[:at]
		}
		if unit = bytes.TrimRight(unit, "\x00"); len(unit) > 0 {
			units = append(units, unit)
		}
	}
	return units
}

// splitPrefixed returns the NAL units behind length fields of size bytes
// (ISO/IEC 14496-15, 5.3.2). They share b's memory. A length that points
// past the end is an error; the units before it are returned too.
func splitPrefixed(b []byte, size int) ([][]byte, error) {
	var units [][]byte
	for len(b) > 0 {
		if len(b) < size {
			return units, fmt.Errorf("%d bytes left for a length of %d: %w", len(b), size, errBitstream)
		}
		n := 0
		for _, v := range b[:size] {
			n = n<<8 | int(v)
		}
		b = b[size:]
		if n > len(b) {
			return units, fmt.Errorf("NAL unit of %d bytes with %d left: %w", n, len(b), errBitstream)
		}
		if n > 0 {
			units = append(units, b[:n:n])
		}
		b = b[n:]
	}
	return units, nil
}

// parameters are the sets of a stream and how its NAL units are delimited.
type parameters struct {
	vps, sps, pps [][]byte
	lengthSize    int // bytes of a length field; 0 for Annex B
}

// all returns the sets in the order a decoder wants them.
func (p *parameters) all() [][]byte {
	out := make([][]byte, 0, len(p.vps)+len(p.sps)+len(p.pps))
	out = append(out, p.vps...)
	out = append(out, p.sps...)
	return append(out, p.pps...)
}

// add sorts NAL units of parameter sets into p and ignores others.
func (p *parameters) add(codec media.Codec, units [][]byte) {
	for _, u := range units {
		switch kindOf(codec, u) {
		case unitVPS:
			p.vps = append(p.vps, u)
		case unitSPS:
			p.sps = append(p.sps, u)
		case unitPPS:
			p.pps = append(p.pps, u)
		case unitOther, unitKey:
		}
	}
}

// parseExtra reads a stream's extradata: avcC or hvcC (ISO/IEC 14496-15,
// 5.3.3.1 and 8.3.3.1) or Annex B. Empty extradata means Annex B.
func parseExtra(codec media.Codec, b []byte) (parameters, error) {
	var p parameters
	if len(b) == 0 || bytes.HasPrefix(b, []byte{0, 0, 1}) || bytes.HasPrefix(b, []byte{0, 0, 0, 1}) {
		p.add(codec, splitAnnexB(b))
		return p, nil
	}
	units, size, err := recordUnits(codec, b)
	p.lengthSize = size
	p.add(codec, units)
	return p, err
}

// recordUnits returns the NAL units of an avcC or hvcC record and the size of
// the stream's length fields.
func recordUnits(codec media.Codec, b []byte) ([][]byte, int, error) {
	var units [][]byte
	var err error
	take := func(rest []byte, n int) []byte {
		for range n {
			if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
				err = fmt.Errorf("parameter set is cut off: %w", errBitstream)
				return nil
			}
			size := int(binary.BigEndian.Uint16(rest))
			units = append(units, rest[2:2+size:2+size])
			rest = rest[2+size:]
		}
		return rest
	}
	if codec == media.H264 {
		if len(b) < 7 {
			return nil, 4, fmt.Errorf("avcC record of %d bytes: %w", len(b), errBitstream)
		}
		rest := take(b[6:], int(b[5]&0x1f))
		if err == nil && len(rest) > 0 {
			take(rest[1:], int(rest[0]))
		}
		return units, int(b[4]&3) + 1, err
	}
	if len(b) < 23 {
		return nil, 4, fmt.Errorf("hvcC record of %d bytes: %w", len(b), errBitstream)
	}
	rest := b[23:]
	for range b[22] {
		if err != nil || len(rest) < 3 {
			return units, int(b[21]&3) + 1, fmt.Errorf("hvcC record is cut off: %w", errBitstream)
		}
		rest = take(rest[3:], int(binary.BigEndian.Uint16(rest[1:])))
	}
	return units, int(b[21]&3) + 1, err
}

// unitKind is what a NAL unit is good for.
type unitKind uint8

const (
	unitOther unitKind = iota
	unitKey            // slice of an IDR, CRA or BLA picture
	unitVPS
	unitSPS
	unitPPS
)

// kindOf reads the NAL unit type (H.264 table 7-1, H.265 table 7-1).
func kindOf(codec media.Codec, unit []byte) unitKind {
	if len(unit) == 0 {
		return unitOther
	}
	if codec == media.H264 {
		switch unit[0] & 0x1f {
		case 5:
			return unitKey
		case 7:
			return unitSPS
		case 8:
			return unitPPS
		}
		return unitOther
	}
	switch t := unit[0] >> 1 & 0x3f; {
	case t >= 16 && t <= 21:
		return unitKey
	case t == 32:
		return unitVPS
	case t == 33:
		return unitSPS
	case t == 34:
		return unitPPS
	}
	return unitOther
}

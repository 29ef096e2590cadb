package rtsp

import (
	"bytes"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/xacam/xacam/streams/media"
)

const (
	maxParamSize = 4096 // bytes of one parameter set
	maxPPS       = 16   // picture parameter sets kept
	maxLoose     = 32   // NAL units kept for the next picture
)

// kind is what a NAL unit means to the assembler.
type kind uint8

const (
	other kind = iota
	delimiter
	vps
	sps
	pps
	key   // slice of a picture where decoding can start
	slice // slice of any other picture
)

func kindOf(c media.Codec, n []byte) kind {
	if len(n) == 0 {
		return other
	}
	if c == media.H264 {
		switch n[0] & 0x1f {
		case 1, 2, 3, 4:
			return slice
		case 5:
			return key
		case 7:
			return sps
		case 8:
			return pps
		case 9:
			return delimiter
		}
		return other
	}
	switch t := n[0] >> 1 & 0x3f; {
	case t >= 16 && t <= 21: // BLA, IDR, CRA (H.265, table 7-1)
		return key
	case t < 32:
		return slice
	case t == 32:
		return vps
	case t == 33:
		return sps
	case t == 34:
		return pps
	case t == 35:
		return delimiter
	}
	return other
}

// assembler keeps the current parameter sets and makes every key access unit
// decodable on its own. It must not be used from two goroutines.
type assembler struct {
	format  media.Format
	ppss    [][]byte // by order of arrival, one for each id
	loose   [][]byte // NAL units that came in a unit of their own, without a picture
	changed bool     // parameter sets changed since the last format was taken
}

// newAssembler starts with the parameter sets of the description, if any.
func newAssembler(c media.Codec, v, s, p []byte) *assembler {
	a := &assembler{format: media.Format{Codec: c}}
	for _, n := range [][]byte{v, s, p} {
		if len(n) > 0 {
			a.learn(kindOf(c, n), n)
		}
	}
	return a
}

// add takes the NAL units of one unit. It returns nil when they hold no
// picture.
func (a *assembler) add(nalus [][]byte) (out [][]byte, isKey bool) {
	var picture [][]byte
	hasSlice, hasKey, recovery := false, false, false
	var aud []byte
	for _, n := range nalus {
		k := kindOf(a.format.Codec, n)
		switch k {
		case vps, sps, pps:
			a.learn(k, n)
			continue
		case delimiter:
			aud = n
			continue
		case key:
			hasSlice, hasKey = true, true
		case slice:
			hasSlice = true
		case other:
			if len(n) == 0 {
				continue
			}
			recovery = recovery || a.format.Codec == media.H264 && recoveryPoint(n)
		}
		picture = append(picture, n)
	}
	if !hasSlice {
		if len(a.loose)+len(picture) <= maxLoose {
			a.loose = append(a.loose, picture...)
		}
		return nil, false
	}
	for _, n := range a.loose {
		recovery = recovery || a.format.Codec == media.H264 && recoveryPoint(n)
	}
	isKey = (hasKey || recovery) && a.complete()
	if aud != nil {
		out = append(out, aud)
	}
	if isKey {
		out = append(out, a.sets()...)
	}
	out = append(append(out, a.loose...), picture...)
	a.loose = nil
	return out, isKey
}

// complete reports whether every parameter set a decoder needs is known.
func (a *assembler) complete() bool {
	return len(a.format.SPS) > 0 && len(a.ppss) > 0 && (a.format.Codec == media.H264 || len(a.format.VPS) > 0)
}

func (a *assembler) sets() [][]byte {
	var out [][]byte
	if a.format.Codec == media.H265 {
		out = append(out, a.format.VPS)
	}
	return append(append(out, a.format.SPS), a.ppss...)
}

// learn keeps a parameter set. One that cannot be read does not replace one
// that could.
func (a *assembler) learn(k kind, n []byte) {
	if len(n) < 3 || len(n) > maxParamSize {
		return
	}
	switch k { //nolint:exhaustive // only parameter sets come here
	case vps:
		if a.format.Codec == media.H265 && !bytes.Equal(a.format.VPS, n) {
			a.format.VPS, a.changed = bytes.Clone(n), true
		}
	case sps:
		if bytes.Equal(a.format.SPS, n) {
			return
		}
		w, h, fps, ok := readSPS(a.format.Codec, n)
		if !ok && len(a.format.SPS) > 0 {
			return
		}
		a.format.SPS, a.format.Width, a.format.Height, a.format.FPS = bytes.Clone(n), w, h, fps
		a.ppss, a.format.PPS, a.changed = nil, nil, true // they belong to the old one
	case pps:
		a.learnPPS(n)
	}
}

func (a *assembler) learnPPS(n []byte) {
	if slices.ContainsFunc(a.ppss, func(p []byte) bool { return bytes.Equal(p, n) }) {
		return
	}
	n = bytes.Clone(n)
	a.changed = true
	id := ppsID(a.format.Codec, n)
	if i := slices.IndexFunc(a.ppss, func(p []byte) bool { return ppsID(a.format.Codec, p) == id }); i >= 0 {
		a.ppss = slices.Clone(a.ppss)
		a.ppss[i] = n
	} else if len(a.ppss) < maxPPS {
		a.ppss = append(slices.Clip(a.ppss), n)
	}
	a.format.PPS = a.ppss[0]
}

// ppsID reads pic_parameter_set_id, the first ue(v) after the header.
func ppsID(c media.Codec, n []byte) uint32 {
	head := 1
	if c == media.H265 {
		head = 2
	}
	id, _ := readUE(n[min(head, len(n)):])
	return id
}

// readUE reads the first Exp-Golomb code of b (H.264, 9.1).
func readUE(b []byte) (uint32, bool) {
	zeros := 0
	bit := func(i int) (uint32, bool) {
		if i/8 >= len(b) {
			return 0, false
		}
		return uint32(b[i/8]>>(7-i%8)) & 1, true
	}
	for ; ; zeros++ {
		v, ok := bit(zeros)
		if !ok || zeros > 31 {
			return 0, false
		}
		if v == 1 {
			break
		}
	}
	var v uint32
	for i := range zeros {
		x, ok := bit(zeros + 1 + i)
		if !ok {
			return 0, false
		}
		v = v<<1 | x
	}
	return v + 1<<zeros - 1, true
}

// recoveryPoint reports whether n is an SEI that lets a decoder start at its
// picture (H.264, D.2.8 with recovery_frame_cnt 0). Cameras with open GOPs or
// without IDR frames send it.
func recoveryPoint(n []byte) bool {
	if n[0]&0x1f != 6 {
		return false
	}
	for b := n[1:]; len(b) > 2; {
		typ, size := 0, 0
		for len(b) > 0 && b[0] == 0xff {
			typ, b = typ+255, b[1:]
		}
		if len(b) < 2 {
			return false
		}
		typ, b = typ+int(b[0]), b[1:]
		for len(b) > 0 && b[0] == 0xff {
			size, b = size+255, b[1:]
		}
		if len(b) == 0 {
			return false
		}
		size, b = size+int(b[0]), b[1:]
		if typ == 6 {
			cnt, ok := readUE(b)
			return ok && cnt == 0
		}
		b = b[min(size, len(b)):]
	}
	return false
}

// readSPS reads size and rate; ok is false when the set is broken. A panic of
// the parser is a broken set.
func readSPS(c media.Codec, n []byte) (w, h int, fps float64, ok bool) {
	defer func() {
		if recover() != nil {
			w, h, fps, ok = 0, 0, 0, false
		}
	}()
	if c == media.H265 {
		var s h265.SPS
		if s.Unmarshal(n) != nil {
			return 0, 0, 0, false
		}
		w, h, fps = s.Width(), s.Height(), s.FPS()
	} else {
		var s h264.SPS
		if s.Unmarshal(n) != nil {
			return 0, 0, 0, false
		}
		w, h, fps = s.Width(), s.Height(), s.FPS()
	}
	if w <= 0 || h <= 0 || w > 1<<14 || h > 1<<14 {
		return 0, 0, 0, false
	}
	if !(fps > 0 && fps < 1000) {
		fps = 0
	}
	return w, h, fps, true
}

// Package streamtest helps tests of everything that reads video: clips as
// sources, simulated cameras, and a recorder of what a client receives.
package streamtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/sim"
)

const (
	maxStream = 64 << 20 // bytes of a bitstream
	maxNALUs  = 256      // of one access unit
)

// Clip is a sim.Source in memory.
type Clip struct {
	format media.Format
	units  []*media.AccessUnit
	next   int
}

var _ sim.Source = (*Clip)(nil)

// NewClip returns a source of the given access units, in decoding order.
func NewClip(f media.Format, units []*media.AccessUnit) *Clip { return &Clip{format: f, units: units} }

// Format implements sim.Source.
func (c *Clip) Format() media.Format { return c.format }

// Next implements sim.Source.
func (c *Clip) Next() (*media.AccessUnit, error) {
	if c.next >= len(c.units) {
		return nil, io.EOF
	}
	u := *c.units[c.next]
	c.next++
	return &u, nil
}

// Rewind implements sim.Source.
func (c *Clip) Rewind() error {
	c.next = 0
	return nil
}

// Close implements sim.Source.
func (*Clip) Close() error { return nil }

// Units returns the access units; the caller must not modify them.
func (c *Clip) Units() []*media.AccessUnit { return c.units }

// ParseAnnexB reads a raw bitstream (H.264 and H.265, Annex B) without
// B-frames, whose pictures follow each other at fps. At most 64 MiB.
func ParseAnnexB(b []byte, codec media.Codec, fps float64) (*Clip, error) {
	if len(b) > maxStream {
		return nil, fmt.Errorf("read a bitstream: %d bytes are too many", len(b))
	}
	if !(fps > 0 && fps < 1000) {
		return nil, fmt.Errorf("read a bitstream: %v frames a second are not possible", fps)
	}
	if codec != media.H264 && codec != media.H265 {
		return nil, fmt.Errorf("read a bitstream: %s is not known", codec)
	}
	c := &Clip{format: media.Format{Codec: codec, FPS: fps}}
	var cur [][]byte
	pictures := false
	flush := func() {
		if pictures {
			c.append(cur, fps)
		}
		cur, pictures = nil, false
	}
	for n := range nalus(b) {
		start, picture := role(codec, n)
		if pictures && start {
			flush()
		}
		if len(cur) < maxNALUs {
			cur = append(cur, n)
		}
		pictures = pictures || picture
		c.learn(n)
	}
	flush()
	if len(c.units) == 0 || !c.units[0].Key {
		return nil, errors.New("read a bitstream: it does not begin with a key frame")
	}
	return c, c.measure()
}

func (c *Clip) append(nalus [][]byte, fps float64) {
	isKey := h264.IsRandomAccess(nalus)
	if c.format.Codec == media.H265 {
		isKey = h265.IsRandomAccess(nalus)
	}
	pts := time.Duration(float64(len(c.units)) * float64(time.Second) / fps)
	c.units = append(c.units, &media.AccessUnit{PTS: pts, Key: isKey, NALUs: nalus})
}

// learn keeps the first parameter set of each type.
func (c *Clip) learn(n []byte) {
	set := func(to *[]byte) {
		if *to == nil {
			*to = n
		}
	}
	if c.format.Codec == media.H264 {
		switch n[0] & 0x1f {
		case 7:
			set(&c.format.SPS)
		case 8:
			set(&c.format.PPS)
		}
		return
	}
	switch n[0] >> 1 & 0x3f {
	case 32:
		set(&c.format.VPS)
	case 33:
		set(&c.format.SPS)
	case 34:
		set(&c.format.PPS)
	}
}

// measure fills the size from the SPS.
func (c *Clip) measure() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read the SPS: %v", p)
		}
	}()
	if c.format.Codec == media.H264 {
		var s h264.SPS
		if err := s.Unmarshal(c.format.SPS); err != nil {
			return fmt.Errorf("read the SPS: %w", err)
		}
		c.format.Width, c.format.Height = s.Width(), s.Height()
		return nil
	}
	var s h265.SPS
	if err := s.Unmarshal(c.format.SPS); err != nil {
		return fmt.Errorf("read the SPS: %w", err)
	}
	c.format.Width, c.format.Height = s.Width(), s.Height()
	return nil
}

// nalus iterates over the NAL units between start codes; empty ones are left
// out.
func nalus(b []byte) func(func([]byte) bool) {
	code := []byte{0, 0, 1}
	return func(yield func([]byte) bool) {
		i := bytes.Index(b, code)
		for i >= 0 {
			b = b[i+3:]
			i = bytes.Index(b, code)
			n := b
			if i >= 0 {
				n = b[:i]
			}
			n = bytes.TrimRight(n, "\x00") // trailing zeros, or the first byte of a long start code
			if len(n) > 2 && !yield(n) {
				return
			}
		}
	}
}

// role tells whether n begins an access unit when a picture came before it,
// and whether it is a slice of a picture (H.264, 7.4.1.2.3; H.265, 7.4.2.4.4).
func role(c media.Codec, n []byte) (start, picture bool) {
	if c == media.H264 {
		switch t := n[0] & 0x1f; {
		case t >= 1 && t <= 5:
			return n[1]&0x80 != 0, true
		case t >= 6 && t <= 9:
			return true, false
		}
		return false, false
	}
	switch t := n[0] >> 1 & 0x3f; {
	case t < 32:
		return n[2]&0x80 != 0, true
	case t <= 35, t == 39:
		return true, false
	}
	return false, false
}

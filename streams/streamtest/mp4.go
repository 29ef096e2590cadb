package streamtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/xacam/xacam/streams/media"
)

const maxSamples = 1 << 20 // of one track

// box is one box of an MP4 file (ISO 14496-12, 4.2).
type box struct {
	typ  string
	body []byte
}

// boxes splits b; what does not fit is left out.
func boxes(b []byte) []box {
	var out []box
	for len(b) >= 8 {
		size, head := uint64(binary.BigEndian.Uint32(b)), uint64(8)
		if size == 1 && len(b) >= 16 {
			size, head = binary.BigEndian.Uint64(b[8:]), 16
		}
		if size < head || size > uint64(len(b)) {
			return out
		}
		out = append(out, box{typ: string(b[4:8]), body: b[head:size]})
		b = b[size:]
	}
	return out
}

// find follows a path of box types; nil when there is none.
func find(b []byte, path ...string) []byte {
	for _, p := range path {
		var next []byte
		for _, x := range boxes(b) {
			if x.typ == p {
				next = x.body
				break
			}
		}
		if next == nil {
			return nil
		}
		b = next
	}
	return b
}

// table reads a full box of rows of n 32-bit numbers.
func table(b []byte, head, n int) [][]uint32 {
	if len(b) < head+4 {
		return nil
	}
	count := int(binary.BigEndian.Uint32(b[head:]))
	b = b[head+4:]
	var out [][]uint32
	for range min(count, len(b)/(4*n), maxSamples) {
		row := make([]uint32, n)
		for i := range row {
			row[i] = binary.BigEndian.Uint32(b[4*i:])
		}
		out = append(out, row)
		b = b[4*n:]
	}
	return out
}

// ParseMP4 reads the first H.264 or H.265 track of an MP4 file into memory. It
// is meant for clips: no fragments, no edit lists.
func ParseMP4(b []byte) (*Clip, error) {
	for _, x := range boxes(find(b, "moov")) {
		stbl := find(x.body, "mdia", "minf", "stbl")
		mdhd := find(x.body, "mdia", "mdhd")
		if x.typ != "trak" || stbl == nil || len(mdhd) < 24 {
			continue
		}
		c := &Clip{}
		if !c.describe(find(stbl, "stsd")) {
			continue
		}
		scale := binary.BigEndian.Uint32(mdhd[12:])
		if mdhd[0] == 1 {
			scale = binary.BigEndian.Uint32(mdhd[20:])
		}
		if err := c.fill(b, stbl, scale); err != nil {
			return nil, fmt.Errorf("read mp4: %w", err)
		}
		return c, c.measure()
	}
	return nil, errors.New("read mp4: no H.264 or H.265 track")
}

// describe reads the sample description (ISO 14496-15, 5.3.3 and 8.3.3).
func (c *Clip) describe(stsd []byte) bool {
	if len(stsd) < 8 {
		return false
	}
	const visual = 78 // fields of a visual sample entry before its boxes
	for _, e := range boxes(stsd[8:]) {
		if len(e.body) < visual {
			continue
		}
		if cfg := find(e.body[visual:], "avcC"); len(cfg) > 6 {
			c.format.Codec = media.H264
			rest := c.sets(cfg[6:], int(cfg[5]&0x1f))
			if len(rest) > 0 {
				c.sets(rest[1:], int(rest[0]))
			}
			return true
		}
		if cfg := find(e.body[visual:], "hvcC"); len(cfg) > 23 {
			c.format.Codec = media.H265
			rest := cfg[23:]
			for range cfg[22] {
				if len(rest) < 3 {
					break
				}
				rest = c.sets(rest[3:], int(binary.BigEndian.Uint16(rest[1:])))
			}
			return true
		}
	}
	return false
}

// sets reads n parameter sets with 16-bit lengths and returns what follows.
func (c *Clip) sets(b []byte, n int) []byte {
	for range n {
		if len(b) < 2 {
			return nil
		}
		size := int(binary.BigEndian.Uint16(b))
		if size < 3 || size > len(b)-2 {
			return nil
		}
		c.learn(b[2 : 2+size])
		b = b[2+size:]
	}
	return b
}

// fill reads the samples.
func (c *Clip) fill(file, stbl []byte, scale uint32) error {
	sizes := table(find(stbl, "stsz"), 8, 1)
	if scale == 0 || len(sizes) == 0 {
		return errors.New("the track is empty")
	}
	offsets, err := offsets(stbl, sizes)
	if err != nil {
		return err
	}
	delta := spread(table(find(stbl, "stts"), 4, 2), len(sizes))
	shift := spread(table(find(stbl, "ctts"), 4, 2), len(sizes))
	sync := map[int]bool{}
	stss := table(find(stbl, "stss"), 4, 1)
	for _, r := range stss {
		sync[int(r[0])-1] = true
	}
	dts := int64(0)
	for i, off := range offsets {
		end := off + uint64(sizes[i][0])
		if end > uint64(len(file)) || end < off {
			return errors.New("the file is truncated")
		}
		var au h264.AVCC // the same length-prefixed form serves H.265
		if err := au.Unmarshal(file[off:end]); err != nil {
			return err
		}
		pts := dts + int64(int32(shift[i])) //nolint:gosec // signed in version 1
		c.units = append(c.units, &media.AccessUnit{
			PTS: time.Duration(pts) * time.Second / time.Duration(scale), Key: len(stss) == 0 || sync[i], NALUs: au,
		})
		dts += int64(delta[i])
	}
	first := c.units[0].PTS
	for _, u := range c.units {
		u.PTS -= first
	}
	if dts > 0 {
		c.format.FPS = float64(len(c.units)) * float64(scale) / float64(dts)
	}
	return nil
}

// offsets places every sample in the file.
func offsets(stbl []byte, sizes [][]uint32) ([]uint64, error) {
	var chunks []uint64
	for _, r := range table(find(stbl, "stco"), 4, 1) {
		chunks = append(chunks, uint64(r[0]))
	}
	for _, r := range table(find(stbl, "co64"), 4, 2) {
		chunks = append(chunks, uint64(r[0])<<32|uint64(r[1]))
	}
	runs := table(find(stbl, "stsc"), 4, 3)
	var out []uint64
	for i, at := range chunks {
		for len(runs) > 1 && int(runs[1][0]) <= i+1 {
			runs = runs[1:]
		}
		if len(runs) == 0 {
			break
		}
		for range runs[0][1] {
			if len(out) == len(sizes) {
				return out, nil
			}
			out = append(out, at)
			at += uint64(sizes[len(out)-1][0])
		}
	}
	if len(out) != len(sizes) {
		return nil, errors.New("the sample table is not consistent")
	}
	return out, nil
}

// spread expands run-length rows of (count, value) to n values.
func spread(rows [][]uint32, n int) []uint32 {
	out := make([]uint32, n)
	i := 0
	for _, r := range rows {
		for range r[0] {
			if i == n {
				return out
			}
			out[i] = r[1]
			i++
		}
	}
	return out
}

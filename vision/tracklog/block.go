package tracklog

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
)

// A block in a file: magic, length of the body (uint32, little-endian), CRC-32C
// of the body, body. A body begins with its type.
const (
	blockMagic = "xtr1"
	headBytes  = 12
	maxBody    = 4 << 20 // of a block, deflated
	maxRaw     = 4 << 20 // of a block's columns

	typeRun    = 1 // JSON of a Run
	typeScenes = 2
)

// frame wraps a body for the file.
func frame(dst, body []byte) []byte {
	dst = append(dst, blockMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body))) //nolint:gosec // below maxBody
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	return append(dst, body...)
}

// unframe returns the body of the block at the beginning of b and how long the
// block is; false when there is no whole block.
func unframe(b []byte) (body []byte, size int, ok bool) {
	if len(b) < headBytes || string(b[:4]) != blockMagic {
		return nil, 0, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n > maxBody || int(n) > len(b)-headBytes {
		return nil, 0, false
	}
	body = b[headBytes : headBytes+int(n)]
	if crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[8:]) {
		return nil, 0, false
	}
	return body, headBytes + int(n), true
}

// nextBlock finds the first whole block of b. skipped is how many bytes before it
// are none; rest is what comes after it. Without one, body is nil.
func nextBlock(b []byte) (body []byte, skipped int, rest []byte) {
	for {
		i := bytes.Index(b[skipped:], []byte(blockMagic))
		if i < 0 {
			return nil, len(b), nil
		}
		skipped += i
		if body, n, ok := unframe(b[skipped:]); ok {
			return body, skipped, b[skipped+n:]
		}
		skipped += len(blockMagic)
	}
}

// validPrefix returns where the last whole block of b ends.
func validPrefix(b []byte) int {
	end := 0
	for at := 0; at < len(b); {
		body, skipped, rest := nextBlock(b[at:])
		if body == nil {
			break
		}
		_ = skipped
		at = len(b) - len(rest)
		end = at
	}
	return end
}

// sceneHeader is what a block of scenes says of itself.
type sceneHeader struct {
	run         int64  // Run.Started, Unix milliseconds
	seq         uint64 // of the block in its run, from 0: a missing one was dropped or damaged
	first, last int64  // times of its first and last scene
	scenes      uint64
	lengths     [columns]int
}

// sealed is a block of scenes, not yet deflated.
type sealed struct {
	sceneHeader
	raw []byte
}

// body deflates the block.
func (s *sealed) body(z *deflater) ([]byte, error) {
	b := []byte{typeScenes}
	b = binary.AppendVarint(b, s.run)
	b = binary.AppendUvarint(b, s.seq)
	b = binary.AppendVarint(b, s.first-s.run)
	b = binary.AppendVarint(b, s.last-s.first)
	b = binary.AppendUvarint(b, s.scenes)
	for _, n := range s.lengths {
		b = binary.AppendUvarint(b, uint64(n)) //nolint:gosec // a length
	}
	return z.deflate(b, s.raw, s.lengths)
}

// parseHeader reads what body says before its columns.
func parseHeader(body []byte) (h sceneHeader, packed []byte, err error) {
	r := bytes.NewReader(body)
	var bad bool
	signed := func() int64 {
		v, err := binary.ReadVarint(r)
		bad = bad || err != nil
		return v
	}
	unsigned := func() uint64 {
		v, err := binary.ReadUvarint(r)
		bad = bad || err != nil
		return v
	}
	kind, _ := r.ReadByte()
	bad = kind != typeScenes
	h.run, h.seq = signed(), unsigned()
	h.first = h.run + signed()
	h.last = h.first + signed()
	h.scenes = unsigned()
	total := uint64(0)
	for i := range h.lengths {
		n := unsigned()
		total += min(n, maxRaw+1)
		h.lengths[i] = int(min(n, maxRaw+1)) //nolint:gosec // bounded
	}
	if bad || total > maxRaw || h.last < h.first {
		return h, nil, errCorrupt
	}
	return h, body[len(body)-r.Len():], nil
}

// deflater packs blocks one after the other with the same memory.
type deflater struct {
	w   *flate.Writer
	out bytes.Buffer
}

// splitFrom is the length from which a column gets a code of its own.
const splitFrom = 256

func (z *deflater) deflate(head, raw []byte, lengths [columns]int) ([]byte, error) {
	z.out.Reset()
	z.out.Write(head)
	var err error
	if z.w == nil {
		z.w, err = flate.NewWriter(&z.out, flate.BestSpeed) // numbers with noise: higher levels gain 1 %
	} else {
		z.w.Reset(&z.out)
	}
	before := 0
	for _, n := range lengths {
		if err == nil && max(n, before) >= splitFrom {
			err = z.w.Flush()
		}
		if err == nil {
			_, err = z.w.Write(raw[:n])
		}
		raw, before = raw[n:], n
	}
	if err == nil {
		err = z.w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("deflate: %w", err)
	}
	return z.out.Bytes(), nil
}

// inflater unpacks blocks.
type inflater struct {
	r io.ReadCloser
}

// columns returns the columns of a block, in dst's memory where that is enough.
func (z *inflater) columns(dst []byte, h *sceneHeader, packed []byte) ([]byte, [columns][]byte, error) {
	total := 0
	for _, n := range h.lengths {
		total += n
	}
	src := bytes.NewReader(packed)
	if z.r == nil {
		z.r = flate.NewReader(src)
	} else if err := z.r.(flate.Resetter).Reset(src, nil); err != nil { //nolint:errcheck // flate says so
		return dst, [columns][]byte{}, errCorrupt
	}
	dst = grown(dst[:0], total)
	if _, err := io.ReadFull(z.r, dst); err != nil {
		return dst, [columns][]byte{}, errCorrupt
	}
	col, err := splitColumns(dst, h.lengths)
	return dst, col, err
}

// runBody writes a Run.
func runBody(r *Run) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("describe the analysis: %w", err)
	}
	return append([]byte{typeRun}, b...), nil
}

func parseRun(body []byte) (*Run, error) {
	r := new(Run)
	if len(body) < 2 || body[0] != typeRun || json.Unmarshal(body[1:], r) != nil {
		return nil, errCorrupt
	}
	return r, nil
}

package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/xacam/xacam/events"
)

// A record is the length of its body (4 bytes, big endian), the CRC-32C of the
// body (4 bytes, big endian) and the body, a change as JSON.
const (
	headerBytes = 8
	maxBody     = 16 << 20 // a change is a few kB; more than this is damage
)

// errDamaged says that the bytes at hand are no record: a torn write, or the
// disk's fault.
var errDamaged = errors.New("damaged record")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// appendRecord encodes a change behind b.
func appendRecord(b []byte, change *events.Change) ([]byte, error) {
	body, err := json.Marshal(change)
	if err != nil {
		return b, fmt.Errorf("encode event %s: %w", change.Event.ID, err)
	}
	if len(body) > maxBody {
		return b, fmt.Errorf("encode event %s: %d bytes, at most %d fit", change.Event.ID, len(body), maxBody)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(body))) //nolint:gosec // bounded above
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli()))
	return append(b, body...), nil
}

// readRecord decodes the next record and returns its size. io.EOF means that
// there is none; errDamaged that there is something else.
func readRecord(r io.Reader) (change events.Change, size int64, err error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return change, 0, fmt.Errorf("%w: half a header", errDamaged)
		}
		return change, 0, err
	}
	n := binary.BigEndian.Uint32(header[:4])
	if n == 0 || n > maxBody {
		return change, 0, fmt.Errorf("%w: length %d", errDamaged, n)
	}
	// Read before allocating: a damaged length must not cost 16 MiB.
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return change, 0, err
	}
	if len(body) < int(n) {
		return change, 0, fmt.Errorf("%w: %d of %d bytes", errDamaged, len(body), n)
	}
	if crc32.Checksum(body, castagnoli()) != binary.BigEndian.Uint32(header[4:]) {
		return change, 0, fmt.Errorf("%w: checksum", errDamaged)
	}
	if err := json.Unmarshal(body, &change); err != nil {
		return change, 0, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return change, headerBytes + int64(n), nil
}

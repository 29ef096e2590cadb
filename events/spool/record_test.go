package spool

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// FuzzRecords reads any bytes as a file: no panic, no record out of nothing,
// and a whole record before them is always found.
func FuzzRecords(f *testing.F) {
	first := events.Change{Event: events.Event{
		ID: "0199", Kind: "intrusion", OccurredAt: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Why: events.Text{VI: "Một người"},
	}}
	whole, err := appendRecord(nil, &first)
	require.NoError(f, err)
	f.Add([]byte{})
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(whole[:5])
	f.Add(make([]byte, 64))
	f.Add(append([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, whole...))
	f.Add(append([]byte{0, 0xff, 0xff, 0xff, 1, 2, 3, 4}, whole...))
	f.Add(append([]byte{0, 0, 0, 2, 0xe8, 0xb4, 0x8f, 0x5c}, "{}"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := append(append([]byte(nil), whole...), b...)
		r := bytes.NewReader(file)
		offset := int64(0)
		for n := 0; ; n++ {
			got, size, err := readRecord(r)
			if err != nil {
				require.Positive(t, n, "the whole record is lost")
				require.True(t, errors.Is(err, errDamaged) || errors.Is(err, io.EOF), "%v", err)
				if errors.Is(err, io.EOF) {
					require.Equal(t, int64(len(file)), offset, "bytes were skipped in silence")
				}
				return
			}
			offset += size
			again, err := appendRecord(nil, &got)
			require.NoError(t, err)
			same, _, err := readRecord(bytes.NewReader(again))
			require.NoError(t, err)
			require.Equal(t, got, same)
			if n == 0 {
				require.Equal(t, first, got)
			}
		}
	})
}

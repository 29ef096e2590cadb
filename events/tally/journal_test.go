package tally

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// FuzzReadLines: whatever is in the file, what comes out was written by us.
func FuzzReadLines(f *testing.F) {
	good, err := encode([]events.Count{{
		Source: "cong-cho", Run: "r", Rule: "dem", Line: "vach-1", Class: "car", Direction: "a_to_b",
		Minute: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC), N: 3,
	}})
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:len(good)-4])
	f.Add(append([]byte("\n\nnonsense\n"), good...))
	f.Add(bytes.Repeat([]byte("x"), maxLine+10))
	f.Fuzz(func(t *testing.T, b []byte) {
		counts, damaged, err := readLines(bytes.NewReader(b))
		require.NoError(t, err)
		require.LessOrEqual(t, len(counts)+damaged, bytes.Count(b, []byte("\n"))+1)
		again, err := encode(counts)
		require.NoError(t, err)
		back, bad, err := readLines(bytes.NewReader(again))
		require.NoError(t, err)
		require.Zero(t, bad)
		require.Equal(t, counts, back)
	})
}

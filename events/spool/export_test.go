package spool

import (
	"testing"

	"github.com/xacam/xacam/events"
)

// Record encodes a change as it stands on disk.
func Record(tb testing.TB, change events.Change) []byte {
	tb.Helper()
	b, err := appendRecord(nil, &change)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

//go:build cgo

package main

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/prep"
)

// Pictures that have the same time, as when a clock is set back, do not replace
// each other.
func TestSnapshotsOfTheSameMoment(t *testing.T) {
	t.Parallel()
	store, err := evidence.Open(t.TempDir())
	require.NoError(t, err)
	var got []events.Change
	r := newRecorder(store, func(c ...events.Change) { got = append(got, c...) }, slog.New(slog.DiscardHandler))
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	jpeg, err := prep.EncodeJPEG(make([]byte, 3*16*16), 16, 16, 90)
	require.NoError(t, err)
	pic, err := prep.Decode(jpeg)
	require.NoError(t, err)
	defer pic.Release()
	for i := range 2 {
		cleared, ev := openEvent("loitering", "gate", at), openEvent("intrusion", "gate", at.Add(time.Duration(i)*time.Microsecond))
		cleared.State = events.StateCleared
		require.NoError(t, r.Record(t.Context(), &media.Frame{Captured: at, Picture: pic}, []events.Change{{Event: cleared}, {Event: ev}}))
	}
	require.Len(t, got, 4)
	first, second := got[1].Event, got[3].Event
	assert.Equal(t, "2026/11/23/gate-1795395723000-"+idTail(&first)+".jpg", first.Evidence[0].Path)
	assert.NotEqual(t, first.Evidence[0].Path, second.Evidence[0].Path)
}

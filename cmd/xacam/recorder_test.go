package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/streams/rtsp"
)

// What was queued when the server is told to end is still kept, in order and
// with its snapshots.
func TestRecorderKeepsWhatIsQueued(t *testing.T) {
	t.Parallel()
	store, err := evidence.Open(t.TempDir())
	require.NoError(t, err)
	var got []events.Change
	r := newRecorder(store, func(c ...events.Change) { got = append(got, c...) }, slog.New(slog.DiscardHandler))
	r.Queue()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for i := range 10 {
		ev := openEvent("intrusion", "gate", at.Add(time.Duration(i)*time.Second))
		r.take(job{changes: []events.Change{{Event: ev}}, jpeg: []byte("picture"), name: "gate-1.jpg", at: at})
		ev.State, ev.ClearedAt = events.StateCleared, ev.OccurredAt
		r.Submit([]events.Change{{Event: ev}})
	}
	require.Empty(t, got, "the caller does not wait for the disk")
	require.Empty(t, r.Open("gate"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, r.Run(ctx))
	require.Len(t, got, 20)
	for i, c := range got {
		require.Equal(t, at.Add(time.Duration(i/2)*time.Second), c.Event.OccurredAt)
		if i%2 == 0 {
			require.Equal(t, events.StateRaised, c.Event.State)
			require.Equal(t, "2026/11/23/gate-1.jpg", c.Event.Evidence[0].Path)
		} else {
			require.Equal(t, events.StateCleared, c.Event.State)
		}
	}
}

// A camera whose pictures cannot be analysed makes one event, however often the
// analysis is tried again, and the event clears when it runs for a minute.
func TestFailedAnalysisIsOneEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	r := &runner{plan: &plan{slug: "gate", source: events.Source{Type: "camera", ID: "gate", Name: "Cổng"}}}
	r.state = rtsp.State{Phase: rtsp.Online}
	_, ok := r.offlineSignal(at)
	require.False(t, ok)
	for range 30 { // fails every 10 s
		r.setBroken(at)
		for range 10 {
			s, ok := r.offlineSignal(at)
			require.True(t, ok)
			require.Equal(t, "analysis_failed", s.Attributes["reason"])
			require.NotEmpty(t, s.Why.VI)
			at = at.Add(time.Second)
		}
	}
	_, ok = r.offlineSignal(at.Add(brokenFor))
	require.False(t, ok)
}

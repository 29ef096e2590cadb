package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/pipeline"
)

// The clip is of another stream than the one that is looked at, and each has its
// own clock. What is not known to be at its time does not count.
func TestTrackTellsTheClipsClock(t *testing.T) {
	t.Parallel()
	var main, looked rtsp.Stats
	s := &sight{keep: 10 * time.Second, stats: func() rtsp.Stats { return main }, looked: func() rtsp.Stats { return looked }}
	from := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	f := s.follow(&events.Event{}, from)
	see := func(at time.Duration) {
		s.see(&pipeline.Look{Scene: &vision.Scene{At: from.Add(at), Tracks: []vision.Track{{ID: 1, Label: "person"}}}}, nil)
	}
	for at := time.Duration(0); at < 4*time.Second; at += 200 * time.Millisecond {
		if at == time.Second {
			main.Ahead = 3 * time.Second // its first report
		}
		looked.Ahead += time.Millisecond // drift is no step
		see(at)
	}
	track := newEvidenceTrack(&events.Event{}, s.leave(f, from.Add(time.Minute)), f)
	require.Len(t, track.Objects, 1)
	assert.Len(t, track.Objects[0].Points, 20)
	assert.Equal(t, int64(-1), track.Objects[0].Points[0].SkewMS)
	assert.InDelta(t, 2985, track.Objects[0].Points[19].SkewMS, 10)
	assert.Equal(t, []int64{-1, 198, 397, 596, 795}, track.Complete[:5])
	assert.Equal(t, int64(5586), track.Complete[5], "a second and a half after the step, by the clip's clock")
	assert.Len(t, track.Complete, 5+7)
}

// What was seen and is not confirmed yet is in no track, so such a look does not
// tell that nobody else is there; a scene that is held least of all.
func TestUnconfirmedIsNotComplete(t *testing.T) {
	t.Parallel()
	s := &sight{keep: 10 * time.Second}
	from := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	f := s.follow(&events.Event{}, from)
	for i, look := range []pipeline.Look{{}, {Tentative: true}, {Tentative: true, Held: true}, {Held: true}} {
		look.Scene = &vision.Scene{At: from.Add(time.Duration(i) * time.Second), Held: look.Held}
		s.see(&look, nil)
	}
	track := newEvidenceTrack(&events.Event{}, s.leave(f, from.Add(time.Minute)), f)
	assert.Equal(t, []int64{0, 3000}, track.Complete)
}

// The class of each point is kept where the last is another one.
func TestTrackKeepsClasses(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	looks := []seenLook{
		{at: at, boxes: []seenBox{{id: 1, class: "person"}}},
		{at: at.Add(time.Second), boxes: []seenBox{{id: 1, class: "motorcycle"}}},
	}
	track := newEvidenceTrack(&events.Event{}, looks, &following{})
	require.Len(t, track.Objects, 1)
	assert.Equal(t, "motorcycle", track.Objects[0].Class)
	assert.Equal(t, "person", track.Objects[0].Points[0].Class)
	assert.Empty(t, track.Objects[0].Points[1].Class)
}

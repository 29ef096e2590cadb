//go:build cgo

package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/still"
)

// A disk that is full when a package is complete delays it, and makes it known.
func TestDraftWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	g := newGathering(t, EvidenceConfig{Before: time.Second, After: 2 * time.Second})
	failures := 0
	g.failed = func() { failures++ }
	g.play(3 * time.Second)
	g.raise()
	g.play(time.Second)
	drafts := filepath.Join(filepath.Dir(g.store.Full("")), "evidence-drafts")
	require.NoError(t, os.Rename(drafts, drafts+".x"))
	require.NoError(t, os.WriteFile(drafts, nil, 0o600)) // a file where the folder should be
	g.play(5 * time.Second)
	require.Empty(t, g.captures)
	require.Len(t, g.unsaved, 1)
	require.Empty(t, g.done, "it is not given to the sealer")
	require.Positive(t, failures)
	d := g.unsaved[0].draft
	d.Ready = false
	assert.False(t, g.Late(&d), "it is still worked on")

	require.NoError(t, os.Remove(drafts))
	require.NoError(t, os.Rename(drafts+".x", drafts))
	g.play(2500 * time.Millisecond)
	require.Len(t, g.done, 1)
	list := g.drafts(t)
	require.Len(t, list, 1)
	assert.True(t, list[0].Ready)
	assert.Contains(t, filesOf(list[0]), "clip")
	assert.Empty(t, g.unsaved)
	assert.Empty(t, g.held)

	// Nobody will finish this one: what there is of it is found by its names.
	stale := list[0]
	stale.Ready, stale.Files = false, nil
	stale.Clip = "2026/11/23/" + fileBase(&stale.Event) + ".mp4"
	require.True(t, g.Late(&stale))
	assert.ElementsMatch(t, []string{"clip", "record"}, filesOf(stale))
}

// The end is the last attempt.
func TestDraftIsTriedAtTheEnd(t *testing.T) {
	t.Parallel()
	g := newGathering(t, EvidenceConfig{Before: time.Second, After: 2 * time.Second})
	g.play(3 * time.Second)
	ev := g.raise()
	k := g.captures[ev.ID]
	delete(g.captures, ev.ID)
	k.draft.Ready = true
	g.unsaved = []*capture{k}
	g.end()
	require.Len(t, g.done, 1)
	assert.Empty(t, g.unsaved)
}

func filesOf(d evidence.Draft) []string {
	var out []string
	for _, f := range d.Files {
		out = append(out, f.Type)
	}
	return out
}

// Stills that were made while the server stopped are found by their names.
func TestStillsMadeAtTheEnd(t *testing.T) {
	t.Parallel()
	g := newGathering(t, EvidenceConfig{Before: time.Second, After: 2 * time.Second})
	g.play(3 * time.Second)
	ev := g.raise()
	_, err := g.store.Put("still", fileBase(&ev)+"-act.jpg", ev.OccurredAt, []byte("jpeg"))
	require.NoError(t, err)
	g.captures[ev.ID].penned = true
	g.end()
	require.Len(t, g.done, 1)
	assert.Contains(t, filesOf(g.done[0]), "still")
}

// What RunStills has made when the server stops is handed over.
func TestLastStillsAreHandedOver(t *testing.T) {
	t.Parallel()
	for range 20 { // a select with both ready takes either
		g := newGathering(t, defaultEvidence())
		g.play(5 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		g.pens <- stillsJob{event: openEvent("intrusion", "gate", g.clock), base: "x", sight: g.sight, state: g.sight.deck.state()}
		done := make(chan error, 1)
		go func() { done <- g.RunStills(ctx) }()
		for len(g.pens) > 0 {
			time.Sleep(100 * time.Microsecond)
		}
		cancel()
		require.NoError(t, <-done)
		require.Len(t, g.stills, 1)
	}
}

// One event that nobody can draw costs its own stills only.
func TestBadStillsCostThemselves(t *testing.T) {
	t.Parallel()
	g := newGathering(t, defaultEvidence())
	g.play(5 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	bad, good := openEvent("intrusion", "gate", g.clock), openEvent("intrusion", "gate", g.clock.Add(time.Second))
	g.pens <- stillsJob{event: bad, base: "x", state: g.sight.deck.state()} // without a sight
	g.pens <- stillsJob{event: good, base: "y", sight: g.sight, state: g.sight.deck.state()}
	done := make(chan error, 1)
	go func() { done <- g.RunStills(ctx) }()
	first, second := <-g.stills, <-g.stills
	cancel()
	require.NoError(t, <-done)
	assert.Equal(t, bad.ID, first.event)
	assert.Contains(t, first.flaws, "not all stills could be made")
	assert.Equal(t, good.ID, second.event)
	assert.NotContains(t, second.flaws, "not all stills could be made")
}

// Pictures of things go with their event, also where nobody draws it.
func TestPicturesAreNotKeptForEver(t *testing.T) {
	t.Parallel()
	g := newGathering(t, EvidenceConfig{Before: time.Second, After: time.Second})
	pics := func(uint64) (still.Pictures, bool) { return still.Pictures{Width: 1, Height: 1}, true }
	see := func(n int) events.Event {
		ev := openEvent("dumping", "gate", g.clock.Add(time.Duration(n)*time.Millisecond))
		ev.Attributes = map[string]any{"thing": map[string]any{"id": uint64(3), "box": [4]float64{.1, .1, .2, .2}}}
		g.sight.see(&pipeline.Look{Scene: &vision.Scene{At: ev.OccurredAt}, Changes: []events.Change{{Event: ev}}}, pics)
		return ev
	}
	ev := see(0)
	g.play(2 * time.Second)
	g.Begin(&ev)
	g.play(6 * time.Second)
	require.Len(t, g.done, 1)
	assert.Empty(t, g.sight.pictures)
	var last events.Event
	for n := range mostPictures + 5 {
		last = see(n)
	}
	assert.Len(t, g.sight.pictures, mostPictures)
	_, ok := g.sight.takePictures(last.ID)
	assert.True(t, ok, "the newest are kept")
	assert.Len(t, g.sight.order, mostPictures-1)
}

// A clock that is set back makes no clip without end.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	g := newGathering(t, EvidenceConfig{Before: time.Second, After: 2 * time.Second})
	g.play(3 * time.Second)
	g.raise()
	g.play(time.Second)
	g.clock = g.clock.Add(-time.Hour)
	g.play(50 * time.Second)
	require.Len(t, g.done, 1)
	assert.Contains(t, g.done[0].Flaws, clockSet)
	assert.Empty(t, g.takes)
	assert.Contains(t, filesOf(g.done[0]), "clip")
}

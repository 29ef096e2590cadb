//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
)

// areaViewer notes what it was told to hide.
type areaViewer struct {
	pictures [][][4]float64
	veil     evidence.Veil // of the clip
}

func (v *areaViewer) Picture(picture []byte, _ []string, areas [][4]float64) ([]byte, error) {
	v.pictures = append(v.pictures, areas)
	return picture, nil
}

func (v *areaViewer) Clip(_ context.Context, _, _ string, _ []string, veil evidence.Veil) (string, error) {
	v.veil = veil
	return "", errStuck
}

// oneChain takes one package.
type oneChain struct{ sealed chan evidence.Sealed }

func (*oneChain) Event(_ context.Context, id string) (events.Event, error) {
	return events.Event{ID: id}, nil
}

func (c *oneChain) Seal(_ context.Context, _ string, build func(evidence.Link) (evidence.Sealed, error)) error {
	s, err := build(evidence.Link{SHA256: evidence.NoPrevious})
	if err == nil {
		c.sealed <- s
	}
	return err
}

// Who was in the picture of the act is written down while it is known, and a copy
// hides others than the one that the event is about.
func TestFromCaptureToBlurredCopy(t *testing.T) {
	t.Parallel()
	g := newGathering(t, defaultEvidence())
	keys, err := vault.Open(filepath.Join(t.TempDir(), "keys"))
	require.NoError(t, err)
	see := func(shift float64) {
		box := func(x float64) geom.Box {
			return geom.Box{Min: geom.Point{X: x + shift, Y: .2}, Max: geom.Point{X: x + shift + .1, Y: .7}}
		}
		g.sight.see(&pipeline.Look{Scene: &vision.Scene{At: g.clock, Tracks: []vision.Track{
			{ID: 7, Label: "person", Score: .9, Box: box(.3)}, {ID: 8, Label: "person", Score: .8, Box: box(.5)},
		}}}, nil)
	}
	g.play(7 * time.Second)
	see(.2)
	g.play(400 * time.Millisecond)
	ev := openEvent("intrusion", "gate", g.clock)
	ev.Subject = &events.Subject{Track: 7, Class: "person", Box: [4]float64{.3, .2, .4, .7}}
	ref, err := g.store.Put("snapshot", fileBase(&ev)+".jpg", ev.OccurredAt, []byte("jpeg"))
	require.NoError(t, err)
	ev.Evidence = []events.EvidenceRef{ref}
	g.Begin(&ev)
	g.pump()
	see(0) // the pipeline shows a look after it has recorded its events
	g.play(400 * time.Millisecond)
	see(.1)
	g.play(time.Second)
	ev.State, ev.ClearedAt = events.StateCleared, g.clock
	g.Clear(&ev)
	g.play(13 * time.Second)
	require.Len(t, g.done, 1)

	chain := &oneChain{make(chan evidence.Sealed, 1)}
	sealer, err := evidence.NewSealer(evidence.SealerConfig{Store: g.store, Drafts: g.store, Chain: chain, Signer: keys})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sealer.Run(ctx) }()
	sealed := <-chain.sealed
	cancel()
	require.NoError(t, <-ended)
	ev.Evidence = sealed.Files

	for blur, want := range map[evidence.Blur][][4]float64{
		evidence.BlurNone: nil, evidence.BlurOthers: {{.5, .2, .6, .7}},
		evidence.BlurAll: {{.29, .175, .41, .35}, {.5, .2, .6, .7}},
	} {
		viewer := &areaViewer{}
		x, err := evidence.NewExporter(evidence.ExporterConfig{Store: g.store, Keys: keys, Audit: anyAudit{}, Viewer: viewer})
		require.NoError(t, err)
		p, err := x.Prepare(t.Context(), ev, evidence.Request{By: "Lan", Reason: "hồ sơ 7", Blur: blur})
		require.NoError(t, err)
		require.NoError(t, p.Write(t.Context(), new(bytes.Buffer)))
		require.Len(t, viewer.pictures, 1, blur)
		require.Len(t, viewer.pictures[0], len(want), blur)
		for i := range want {
			assert.InDeltaSlice(t, want[i][:], viewer.pictures[0][i][:], 1e-9, blur)
		}
		if blur == evidence.BlurNone {
			assert.Nil(t, viewer.veil)
			continue
		}
		var r record
		require.NoError(t, json.Unmarshal(lastRecord(t, g), &r))
		at := time.Duration(r.Clip.EventMS) * time.Millisecond
		areas, whole := viewer.veil(at)
		assert.False(t, whole)
		require.Len(t, areas, len(want))
		other := areas[len(areas)-1]
		assert.True(t, other[0] < .5 && other[1] < .2 && other[2] > .6 && other[3] > .7, "%v does not hide the other", other)
		_, whole = viewer.veil(at + 10*time.Second)
		assert.True(t, whole, "nobody looked any more")
	}
}

// lastRecord is the record of the only package.
func lastRecord(t *testing.T, g *gathering) []byte {
	t.Helper()
	i := slices.IndexFunc(g.done[0].Files, func(f events.EvidenceRef) bool { return f.Type == "record" })
	require.GreaterOrEqual(t, i, 0)
	b, err := os.ReadFile(g.store.Full(g.done[0].Files[i].Path))
	require.NoError(t, err)
	return b
}

// Where more were seen than are remembered nobody knows whom to hide.
func TestBoxesOfACrowdAreUnknown(t *testing.T) {
	t.Parallel()
	s := &sight{keep: 10 * time.Second}
	scene := &vision.Scene{At: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
	ev := openEvent("intrusion", "gate", scene.At)
	assert.Nil(t, s.boxesAt(&ev))
	s.see(&pipeline.Look{Scene: scene}, nil)
	require.NotNil(t, s.boxesAt(&ev))
	assert.Empty(t, *s.boxesAt(&ev), "nobody is known, too")
	scene.Tracks = make([]vision.Track, mostBoxes+1)
	scene.At = scene.At.Add(time.Second)
	s.see(&pipeline.Look{Scene: scene}, nil)
	ev = openEvent("intrusion", "gate", scene.At)
	assert.Nil(t, s.boxesAt(&ev))
}

//go:build cgo

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/streams/streamtest"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/still"
)

// gathering is a capturer with one camera whose stream and clock the test has in
// its hands.
type gathering struct {
	*capturer
	sight *sight
	clock time.Time
	units []*media.AccessUnit
	given int
	done  []evidence.Draft
}

func newGathering(t *testing.T, cfg EvidenceConfig) *gathering {
	t.Helper()
	store, err := evidence.Open(filepath.Join(t.TempDir(), "media"))
	require.NoError(t, err)
	g := &gathering{clock: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
	g.capturer = newCapturer(store, cfg, func() time.Time { return g.clock }, slog.New(slog.DiscardHandler))
	g.finished = func(d *evidence.Draft) { g.done = append(g.done, *d) }
	p := &plan{
		slug: "gate", calendar: schedule.Calendar{Location: time.UTC},
		file: camera.File{Zones: map[string]camera.Zone{"san-cho": {Area: []camera.Point{{.1, .2}, {.9, .2}, {.9, .9}, {.1, .9}}}}},
	}
	g.sight = &sight{plan: p, deck: newDeck(cfg.keep()), stats: func() rtsp.Stats { return rtsp.Stats{} }, keep: 10 * time.Second}
	t.Cleanup(g.Watch(g.sight))
	g.deckFormat(t)
	return g
}

func (g *gathering) deckFormat(t *testing.T) {
	t.Helper()
	c := streamtest.Open(t, streamtest.H264)
	g.sight.deck.OnFormat(c.Format())
	for {
		au, err := c.Next()
		if err != nil {
			return
		}
		g.units = append(g.units, au)
	}
}

// play sends so much of the clip, looping, in steps of the capturer's tick.
func (g *gathering) play(d time.Duration) {
	for end := g.clock.Add(d); g.clock.Before(end); g.clock = g.clock.Add(40 * time.Millisecond) {
		g.send()
		if g.given%6 == 0 {
			g.pump()
		}
	}
	g.pump()
}

func (g *gathering) send() {
	u := *g.units[g.given%len(g.units)]
	u.PTS, u.Captured = time.Duration(g.given)*40*time.Millisecond, g.clock
	g.given++
	g.sight.deck.OnAccessUnit(&u)
}

func (g *gathering) pump() {
	for {
		select {
		case call := <-g.calls:
			g.handle(call)
			continue
		default:
		}
		break
	}
	g.step(g.clock)
	select {
	case job := <-g.pens: // no stills here
		g.takeStills(stillsDone{event: job.event.ID})
	default:
	}
}

func (g *gathering) raise() events.Event {
	ev := openEvent("intrusion", "gate", g.clock)
	ev.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "2026/11/23/x.jpg"}}
	g.Begin(&ev)
	g.pump()
	return ev
}

func (g *gathering) drafts(t *testing.T) []evidence.Draft {
	t.Helper()
	list, err := g.store.Drafts(t.Context())
	require.NoError(t, err)
	return list
}

// The draft is on disk when Begin returns, tells of the clip while it is written,
// and is whole in the end.
func TestDraftGrows(t *testing.T) {
	t.Parallel()
	g := newGathering(t, defaultEvidence())
	g.play(8 * time.Second)
	ev := openEvent("intrusion", "gate", g.clock)
	ev.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "2026/11/23/x.jpg"}}
	g.Begin(&ev)
	list := g.drafts(t)
	require.Len(t, list, 1)
	assert.Equal(t, ev.Evidence, list[0].Files)
	assert.NotEmpty(t, list[0].Record)
	assert.False(t, list[0].Ready)
	g.play(time.Second)
	list = g.drafts(t)
	assert.Equal(t, "2026/11/23/"+fileBase(&ev)+".mp4", list[0].Clip)
	require.FileExists(t, g.store.Full(list[0].Clip)+".part")
	ev.State, ev.ClearedAt = events.StateCleared, g.clock
	g.Clear(&ev)
	g.play(9 * time.Second)
	require.Empty(t, g.done)
	g.play(1500 * time.Millisecond)
	require.Len(t, g.done, 1)
	list = g.drafts(t)
	assert.True(t, list[0].Ready)
	assert.Empty(t, list[0].Flaws)
	assert.Empty(t, list[0].Clip)
	assert.Empty(t, g.captures)
	assert.Empty(t, g.takes)
	assert.Empty(t, g.sight.followed)
}

// Whatever goes wrong with the stream, the package is finished and says so.
func TestFlawsOfAClip(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(g *gathering)
		want  string
	}{
		"silence":        {func(g *gathering) { g.clock = g.clock.Add(15 * time.Second) }, "sent no picture up to the end"},
		"another form":   {func(g *gathering) { g.sight.deck.OnFormat(media.Format{Codec: media.H265}); g.play(time.Second) }, "changed its picture"},
		"reconfigured":   {func(g *gathering) { g.sight.deck.Close() }, "configuration was changed"},
		"slow disk":      {func(g *gathering) { g.slow(); g.play(4 * time.Second) }, "too slow"},
		"pause":          {func(g *gathering) { g.clock = g.clock.Add(5 * time.Second); g.play(12 * time.Second) }, "no picture for 5 s"},
		"server stopped": {func(g *gathering) { g.end() }, "server was stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGathering(t, EvidenceConfig{Before: 5 * time.Second, After: 10 * time.Second})
			g.play(7 * time.Second)
			g.raise()
			g.play(2 * time.Second)
			c.spoil(g)
			g.pump()
			g.play(12 * time.Second)
			require.Len(t, g.done, 1)
			assert.Contains(t, strings.Join(g.done[0].Flaws, "; "), c.want)
			found := false
			for _, f := range g.done[0].Files {
				if f.Type == "clip" {
					found = true
					assert.NotEmpty(t, pictureTimes(t, g.store.Full(f.Path)))
				}
			}
			assert.True(t, found, "what there is of the clip is kept")
			require.NoFileExists(t, g.store.Full("2026/11/23/"+fileBase(&g.done[0].Event)+".mp4.part"))
		})
	}
}

// slow lets the stream run on for longer than the ring holds.
func (g *gathering) slow() {
	for range 25 * 20 {
		g.send()
		g.clock = g.clock.Add(40 * time.Millisecond)
	}
	for _, k := range g.captures {
		k.until, k.most = g.clock.Add(2*time.Second), g.clock.Add(2*time.Second)
	}
}

// A storm of events costs no memory without bound, and each has its package.
func TestStormOfEvents(t *testing.T) {
	t.Parallel()
	g := newGathering(t, EvidenceConfig{Before: time.Second, After: 2 * time.Second})
	g.play(3 * time.Second)
	for range 400 {
		ev := openEvent("intrusion", "gate", g.clock)
		g.Begin(&ev)
		g.clock = g.clock.Add(time.Millisecond)
	}
	g.pump()
	assert.LessOrEqual(t, len(g.captures), mostCaptures)
	assert.Len(t, g.takes, 1)
	g.play(20 * time.Second)
	list := g.drafts(t)
	require.Len(t, list, 400)
	without := 0
	for _, d := range list {
		assert.True(t, d.Ready)
		if strings.Contains(strings.Join(d.Flaws, ";"), "too many events") {
			without++
		}
	}
	assert.GreaterOrEqual(t, without, 400-mostWaiting)
}

// What is remembered of a camera is bounded, and is what an event's track begins
// with.
func TestSightIsBounded(t *testing.T) {
	t.Parallel()
	s := &sight{keep: 10 * time.Second}
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	scene := &vision.Scene{}
	for i := range 200 {
		scene.Tracks = append(scene.Tracks, vision.Track{ID: uint64(i + 1), Label: "person"})
	}
	pics := func(uint64) (still.Pictures, bool) { return still.Pictures{Width: 1, Height: 1}, true }
	for i := range 5000 {
		scene.At = at.Add(time.Duration(i) * 10 * time.Millisecond)
		ev := openEvent("dumping", "gate", scene.At)
		ev.Attributes = map[string]any{"thing": map[string]any{"id": uint64(3), "box": [4]float64{.1, .1, .2, .2}}}
		s.see(&pipeline.Look{Scene: scene, Changes: []events.Change{{Event: ev}}}, pics)
		if i == 4000 {
			p, ok := s.takePictures("nobody's")
			assert.False(t, ok)
			assert.Zero(t, p.Width)
		}
	}
	assert.LessOrEqual(t, len(s.looks), mostLooks)
	assert.Len(t, s.looks[0].boxes, mostBoxes)
	assert.Len(t, s.pictures, mostPictures)
	ev := openEvent("intrusion", "gate", scene.At)
	ev.Subject = &events.Subject{Track: 7}
	f := s.follow(&ev, scene.At.Add(-time.Second))
	assert.Len(t, f.looks, 101)
	all := s.follow(&events.Event{}, scene.At.Add(-time.Hour))
	for i := range 3000 {
		scene.At = scene.At.Add(time.Duration(i) * time.Second)
		s.see(&pipeline.Look{Scene: scene}, nil)
	}
	assert.True(t, all.cut)
	assert.LessOrEqual(t, len(all.looks), mostPoints/mostBoxes+1)
	s.leave(f, scene.At)
	s.leave(all, scene.At)
	assert.Empty(t, s.followed)
}

// The pictures of what changed, and a drawing of why, are made from real ones.
func TestStillsOfADumping(t *testing.T) {
	t.Parallel()
	g := newGathering(t, defaultEvidence())
	for range 200 {
		g.send()
		g.clock = g.clock.Add(40 * time.Millisecond)
	}
	ev := openEvent("dumping", "gate", g.clock.Add(-time.Second))
	ev.Zone, ev.Severity = "san-cho", events.SeverityHigh
	ev.Why = events.Text{VI: "Nghi vấn một người để lại một vật trong vùng «san-cho» rồi rời đi.", EN: "A person is suspected of having left a thing in zone “san-cho” and gone away."}
	ev.Subject = &events.Subject{Track: 7, Class: "person", Score: .8, Box: [4]float64{.3, .2, .45, .7}}
	ev.Attributes = map[string]any{"thing": map[string]any{"id": uint64(3), "box": [4]float64{.5, .5, .6, .65}}}
	frame, err := decodeAt(g.sight.deck.state(), ev.OccurredAt, ev.OccurredAt)
	require.NoError(t, err)
	p := still.Pictures{Before: make([]byte, 3*20*10), After: make([]byte, 3*20*10), Width: 20, Height: 10}
	g.sight.pictures = map[string]still.Pictures{ev.ID: p}
	m := stillMaker{c: g.capturer, job: &stillsJob{event: ev, base: "x", sight: g.sight}}
	m.keep("snapshot", "snapshot", frame, 90)
	require.Empty(t, m.done.flaws)
	ev.Evidence = m.done.refs
	letters, err := draw.NewLetters()
	require.NoError(t, err)
	began, cpu := time.Now(), processCPU()
	d := g.draw(&stillsJob{event: ev, base: fileBase(&ev), sight: g.sight, state: g.sight.deck.state()}, letters)
	t.Logf("%s, %s of CPU", time.Since(began), processCPU()-cpu)
	require.Empty(t, d.flaws)
	sizes := make(map[string][2]int)
	for _, ref := range d.refs {
		name := strings.TrimSuffix(ref.Path[strings.LastIndex(ref.Path, "-")+1:], ".jpg")
		sizes[name] = imageSize(t, g.store.Full(ref.Path))
		if dir := os.Getenv("XACAM_KEEP_STILLS"); dir != "" {
			b, err := os.ReadFile(g.store.Full(ref.Path))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name+".jpg"), b, 0o600))
		}
	}
	whole := [2]int{320, 240}
	assert.Equal(t, map[string][2]int{
		"approach": whole, "act": whole, "annotated": whole, "before": {20, 10}, "after": {20, 10}, "detail": {49, 56},
	}, sizes)
	box, ok := thingBox(&ev)
	assert.True(t, ok)
	assert.Equal(t, geom.Point{X: .5, Y: .5}, box.Min)
}

package behaviour_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
)

var update = flag.Bool("update", false, "rewrite golden files")

// header is the first line of a scene: what it shows, when it begins and the
// camera file, as JSON.
type header struct {
	Doc    string          `json:"doc"`
	Start  time.Time       `json:"start"`
	Camera json.RawMessage `json:"camera"`
}

// moment is each other line.
type moment struct {
	T      string `json:"t"` // since the start
	Tracks []struct {
		ID       uint64     `json:"id"`
		Class    string     `json:"class"`
		Score    float64    `json:"score"`
		Box      [4]float64 `json:"box"`
		Coasting bool       `json:"coasting"`

		Carrier uint64        `json:"carrier"`
		Riders  []uint64      `json:"riders"`
		Marks   []vision.Mark `json:"marks"`
	} `json:"tracks"`
	Ended  []uint64 `json:"ended"`
	Aspect float64  `json:"aspect"`
	Stills []struct {
		ID    uint64           `json:"id"`
		Kind  vision.StillKind `json:"kind"`
		Label string           `json:"label"`
		Area  float64          `json:"area"`
		Score float64          `json:"score"`
		Box   [4]float64       `json:"box"`
		Since string           `json:"since"` // since the start
		Seen  string           `json:"seen"`
		Actor *struct {
			Track   uint64     `json:"track"`
			Label   string     `json:"label"`
			Box     [4]float64 `json:"box"`
			Contact string     `json:"contact"`
			Near    string     `json:"near"`
			Score   float64    `json:"score"`
		} `json:"actor"`
	} `json:"stills"`
	View []struct {
		Kind  string  `json:"kind"`
		Score float64 `json:"score"`
		Since string  `json:"since"`
	} `json:"view"`
}

// TestScenes replays every recorded scene of every registered kind. A kind with
// fewer than three scenes that raise something and three that do not fails:
// adding a kind means adding its evidence.
func TestScenes(t *testing.T) {
	t.Parallel()
	for _, kind := range behaviour.Kinds() {
		paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "scenes", string(kind), "*.jsonl"))
		require.NoError(t, err)
		raising := 0
		for _, path := range paths {
			golden, _ := os.ReadFile(goldenOf(path))
			if bytes.Contains(golden, []byte(" raised ")) || bytes.Contains(golden, []byte("\ncounted ")) {
				raising++
			}
			t.Run(string(kind)+"/"+strings.TrimSuffix(filepath.Base(path), ".jsonl"), func(t *testing.T) {
				t.Parallel()
				got := play(t, path)
				assert.Equal(t, got, play(t, path), "not the same twice")
				if *update {
					require.NoError(t, os.WriteFile(goldenOf(path), []byte(got), 0o600))
				}
				want, err := os.ReadFile(goldenOf(path))
				require.NoError(t, err)
				assert.Equal(t, string(want), got)
			})
		}
		if !*update {
			assert.GreaterOrEqual(t, raising, 3, "scenes of %s that raise an event", kind)
			assert.GreaterOrEqual(t, len(paths)-raising, 3, "scenes of %s that raise none", kind)
		}
	}
}

func goldenOf(path string) string { return strings.TrimSuffix(path, ".jsonl") + ".golden" }

// play runs the scene through the camera's behaviours and the lifecycle and
// describes every change in one line.
func play(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := bufio.NewScanner(bytes.NewReader(raw))
	require.True(t, lines.Scan(), "no header")
	var h header
	require.NoError(t, json.Unmarshal(lines.Bytes(), &h))
	require.NotEmpty(t, h.Doc)
	f, err := camera.DecodeJSON(h.Camera)
	require.NoError(t, err)
	plan, err := f.Build(camera.Options{Calendar: schedule.Calendar{Location: time.FixedZone("", 7*3600)}})
	require.NoError(t, err)
	engine, err := lifecycle.NewEngine(lifecycle.Config{Source: f.Source(), Rules: plan.Delays})
	require.NoError(t, err)

	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n", h.Doc)
	before := map[uint64]vision.Track{}
	counts := map[string]int{}
	for lines.Scan() {
		var m moment
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		d, err := time.ParseDuration(m.T)
		require.NoError(t, err)
		s := scene(t, f.Camera, h.Start, d, &m, before)
		var signals []events.Signal
		for _, b := range plan.Behaviours {
			signals = append(signals, b.Observe(s)...)
			if c, ok := b.(behaviour.Counter); ok {
				for _, n := range c.TakeCounts() {
					counts[fmt.Sprintf("%s %s %s %s %s", n.Minute.Sub(h.Start), n.Rule, n.Line, n.Class, n.Direction)] = n.N
				}
			}
		}
		for _, c := range engine.Step(s.At, signals) {
			describe(t, &out, h.Start, &c.Event)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&out, "counted %s: %d\n", what, counts[what])
	}
	return out.String()
}

func describe(t *testing.T, out *strings.Builder, start time.Time, e *events.Event) {
	t.Helper()
	if e.State == events.StateCleared {
		fmt.Fprintf(out, "cleared %s %s %s: held until %s\n", e.Rule.Name, e.Zone, e.Object, e.ClearedAt.Sub(start))
		return
	}
	attributes, err := json.Marshal(e.Attributes)
	require.NoError(t, err)
	fmt.Fprintf(out, "%s raised %s %s %s %s %s\n  %s\n  %s\n", e.OccurredAt.Sub(start), e.Rule.Name, e.Zone, e.Object, e.Severity, attributes, e.Why.VI, e.Why.EN)
}

// scene makes what the tracker, and what looks closer, would have made.
func scene(t *testing.T, slug string, start time.Time, d time.Duration, m *moment, before map[uint64]vision.Track) *vision.Scene {
	t.Helper()
	after := func(text string) time.Time {
		d, err := time.ParseDuration(text)
		require.NoError(t, err)
		return start.Add(d).UTC()
	}
	at := start.Add(d).UTC()
	s := &vision.Scene{Camera: slug, At: at, Ended: m.Ended, Aspect: m.Aspect}
	for _, l := range m.Tracks {
		track := vision.Track{
			ID: l.ID, Label: l.Class, Score: l.Score, Box: box(l.Box), Prev: box(l.Box), First: at, Seen: at,
			Carrier: l.Carrier, Riders: l.Riders, Marks: l.Marks,
		}
		if b, ok := before[l.ID]; ok {
			track.Prev, track.First = b.Box, b.First
			if l.Coasting {
				track.Seen = b.Seen
			}
		}
		before[l.ID] = track
		s.Tracks = append(s.Tracks, track)
	}
	for _, id := range m.Ended {
		delete(before, id)
	}
	for _, l := range m.Stills {
		still := vision.Still{
			ID: l.ID, Kind: l.Kind, Label: l.Label, Box: box(l.Box), Area: l.Area, Score: l.Score, Since: after(l.Since), Seen: at,
		}
		if l.Seen != "" {
			still.Seen = after(l.Seen)
		}
		if a := l.Actor; a != nil {
			still.Actor = &vision.Actor{Track: a.Track, Label: a.Label, Box: box(a.Box), Contact: after(a.Contact), Near: after(a.Near), Score: a.Score}
		}
		s.Stills = append(s.Stills, still)
	}
	for _, v := range m.View {
		s.View = append(s.View, vision.ViewFault{Kind: v.Kind, Score: v.Score, Since: after(v.Since)})
	}
	return s
}

func box(b [4]float64) geom.Box {
	return geom.Box{Min: geom.Point{X: b[0], Y: b[1]}, Max: geom.Point{X: b[2], Y: b[3]}}
}

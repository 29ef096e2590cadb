package visiontest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Header is the first line of a file of testdata/scenes: what it shows, when it
// begins and the camera file, as JSON.
type Header struct {
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
			Current uint64     `json:"current"`
			Label   string     `json:"label"`
			Box     [4]float64 `json:"box"`
			Contact string     `json:"contact"`
			Near    string     `json:"near"`
			Left    string     `json:"left"`
			Score   float64    `json:"score"`
		} `json:"actor"`
	} `json:"stills"`
	View []struct {
		Kind  string  `json:"kind"`
		Score float64 `json:"score"`
		Since string  `json:"since"`
	} `json:"view"`
}

// ReadScenes reads a file of testdata/scenes: its header and, for each other
// line, the scene that the tracker, and what looks closer, would have made.
func ReadScenes(tb testing.TB, path string) (Header, []*vision.Scene) {
	tb.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(tb, err)
	lines := bufio.NewScanner(bytes.NewReader(raw))
	require.True(tb, lines.Scan(), "no header")
	var h Header
	require.NoError(tb, json.Unmarshal(lines.Bytes(), &h))
	require.NotEmpty(tb, h.Doc)
	r := reader{tb: tb, start: h.Start, before: make(map[uint64]vision.Track)}
	var cam struct {
		Camera string `json:"camera"`
	}
	require.NoError(tb, json.Unmarshal(h.Camera, &cam))
	var out []*vision.Scene
	for lines.Scan() {
		var m moment
		require.NoError(tb, json.Unmarshal(lines.Bytes(), &m))
		s := r.scene(&m)
		s.Camera = cam.Camera
		out = append(out, s)
	}
	require.NoError(tb, lines.Err())
	return h, out
}

// reader makes scenes out of moments.
type reader struct {
	tb     testing.TB
	start  time.Time
	before map[uint64]vision.Track
}

// after returns the moment a duration after the start.
func (r *reader) after(text string) time.Time {
	r.tb.Helper()
	d, err := time.ParseDuration(text)
	require.NoError(r.tb, err)
	return r.start.Add(d).UTC()
}

func (r *reader) scene(m *moment) *vision.Scene {
	r.tb.Helper()
	at := r.after(m.T)
	s := &vision.Scene{At: at, Ended: m.Ended, Aspect: m.Aspect}
	for _, l := range m.Tracks {
		track := vision.Track{
			ID: l.ID, Label: l.Class, Score: l.Score, Box: box(l.Box), Prev: box(l.Box), First: at, Seen: at,
			Carrier: l.Carrier, Riders: l.Riders, Marks: l.Marks,
		}
		if b, ok := r.before[l.ID]; ok {
			track.Prev, track.First = b.Box, b.First
			if l.Coasting {
				track.Seen = b.Seen
			}
		}
		r.before[l.ID] = track
		s.Tracks = append(s.Tracks, track)
	}
	for _, id := range m.Ended {
		delete(r.before, id)
	}
	for _, l := range m.Stills {
		still := vision.Still{
			ID: l.ID, Kind: l.Kind, Label: l.Label, Box: box(l.Box), Area: l.Area, Score: l.Score, Since: r.after(l.Since), Seen: at,
		}
		if l.Seen != "" {
			still.Seen = r.after(l.Seen)
		}
		if a := l.Actor; a != nil {
			still.Actor = &vision.Actor{
				Track: a.Track, Current: a.Current, Label: a.Label, Box: box(a.Box),
				Contact: r.after(a.Contact), Near: r.after(a.Near), Score: a.Score,
			}
			if a.Left != "" {
				still.Actor.Left = r.after(a.Left)
			}
		}
		s.Stills = append(s.Stills, still)
	}
	for _, v := range m.View {
		s.View = append(s.View, vision.ViewFault{Kind: v.Kind, Score: v.Score, Since: r.after(v.Since)})
	}
	return s
}

func box(b [4]float64) geom.Box {
	return geom.Box{Min: geom.Point{X: b[0], Y: b[1]}, Max: geom.Point{X: b[2], Y: b[3]}}
}

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
)

// busyScene has everything that can be drawn.
func busyScene(at time.Time, tracks int, rng *rand.Rand) vision.Scene {
	s := vision.Scene{Camera: "cau", At: at}
	box := func(w, h float64) geom.Box {
		x, y := rng.Float64()*(1-w), rng.Float64()*(1-h)
		return geom.Box{Min: geom.Point{X: x, Y: y}, Max: geom.Point{X: x + w, Y: y + h}}
	}
	for i := range tracks {
		t := vision.Track{ID: uint64(i + 1), Label: []string{"person", "motorcycle", "car", "dog"}[i%4], Score: .8, Seen: at, Box: box(.06, .14)}
		switch i % 5 {
		case 1:
			t.Carrier = uint64(i)
			t.Marks = []vision.Mark{{Name: "helmet", Value: "without", Score: .91, Votes: 4}}
		case 2:
			t.Riders = []uint64{1, 2}
		case 3:
			t.Seen = at.Add(-time.Second)
		}
		s.Tracks = append(s.Tracks, t)
	}
	s.Stills = []vision.Still{
		{ID: 1, Kind: vision.StillAdded, Box: box(.05, .05), Since: at.Add(-12 * time.Second), Seen: at, Actor: &vision.Actor{Track: 3, Box: box(.06, .14)}},
		{ID: 2, Kind: vision.StillRemoved, Label: "suitcase", Box: box(.05, .05), Since: at.Add(-2 * time.Second), Seen: at},
	}
	s.View = []vision.ViewFault{{Kind: "covered", Score: .93, Since: at}, {Kind: "rained on", Score: .5, Since: at}}
	return s
}

func busyAnnotator(t *testing.T, lang string, w, h int) *annotator {
	t.Helper()
	loc, err := time.LoadLocation("Asia/Ho_Chi_Minh")
	require.NoError(t, err)
	p := &plan{
		source: events.Source{Name: "Cầu An Thạnh, ấp Đại Ẩn"}, calendar: schedule.Calendar{Location: loc},
		file: camera.File{
			Zones: map[string]camera.Zone{
				"bai":     {Area: []camera.Point{{.1, .5}, {.6, .45}, {.7, .9}, {.05, .95}}},
				"via-he":  {Area: []camera.Point{{.1, .5}, {.3, .2}, {.4, .4}}},
				"trống":   {},
				"outside": {Area: []camera.Point{{-1, -1}, {2, -1}, {2, 2}}},
			},
			Lines: map[string]camera.Line{"vach-1": {From: camera.Point{.9, .2}, To: camera.Point{.5, .95}}},
			Masks: [][]camera.Point{{{.75, 0}, {1, 0}, {1, .2}, {.8, .25}}},
		},
	}
	p.file.Rules = []camera.Rule{
		{Name: "do-rac", Kind: "dumping", Zone: "bai"},
		{Name: "dem-xe", Kind: "line_crossing", Line: "vach-1"},
		{Name: "la-ca-ban-dem-o-ben-xe-buyt", Kind: "loitering", Zone: "via-he"},
		{Name: "camera", Kind: "camera_tampered"},
	}
	a, err := newAnnotator("", p, lang)
	require.NoError(t, err)
	a.w, a.h, a.bgr = w, h, bytes.Repeat([]byte{110}, 3*w*h)
	return a
}

// busyLook shows rules in every state.
func busyLook(s *vision.Scene, pts time.Duration) *pipeline.Look {
	key := func(kind events.Kind, rule, object string) events.Key {
		return events.Key{Source: "cau", Kind: kind, Rule: rule, Object: object}
	}
	raised := events.Event{
		Kind: "line_crossing", Rule: events.RuleRef{Name: "dem-xe"}, Source: events.Source{ID: "cau"}, State: events.StateRaised, Severity: events.SeverityInfo,
		Why: events.Text{VI: "Một xe máy đi qua vạch «vach-1» theo chiều a→b lúc 22:14.", EN: "A motorcycle crossed line “vach-1” from a to b at 22:14."},
	}
	long := raised
	long.Kind, long.Rule.Name, long.Severity = "dumping", "do-rac", events.SeverityHigh
	long.Why.VI = "Một người đặt một vật xuống vùng «bai» rồi bỏ đi lúc 22:14; vật ấy nằm đó đã ít nhất 20 giây mà không ai quay lại lấy, và còn nhiều điều nữa để nói."
	long.Why.EN = "A person put something down in zone “bai” and left at 22:14; it has been lying there for at least 20 seconds, nobody came back for it, and there is more to say."
	return &pipeline.Look{
		Frame: &media.Frame{PTS: pts, Captured: s.At}, Scene: s,
		Changes: []events.Change{{Event: raised}, {Event: long}},
		Standing: func() []lifecycle.Standing {
			return []lifecycle.Standing{
				{Key: key("dumping", "do-rac", "1"), Raised: true, Held: 30 * time.Second, Hold: 20 * time.Second},
				{Key: key("loitering", "la-ca-ban-dem-o-ben-xe-buyt", "4"), Held: 4 * time.Second, Hold: 20 * time.Second},
				{Key: key("loitering", "la-ca-ban-dem-o-ben-xe-buyt", "5"), Held: 14 * time.Second, Hold: 20 * time.Second},
				{Key: key("camera_offline", "", "")},
			}
		},
	}
}

// TestAnnotateTextNeverOverlaps: however crowded, every text has its own place in
// the picture. Set XACAM_PICTURES to a folder to look at them.
func TestAnnotateTextNeverOverlaps(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 15, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		w, h, tracks int
		lang         string
	}{
		"640":      {640, 360, 8, "vi"},
		"1080p":    {1920, 1080, 40, "en"},
		"portrait": {480, 848, 12, "vi"},
		"tiny":     {96, 64, 30, "en"},
		"crowd":    {1280, 720, 120, "vi"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := busyAnnotator(t, c.lang, c.w, c.h)
			scene := busyScene(at, c.tracks, rand.New(rand.NewPCG(1, uint64(c.w))))
			a.take(busyLook(&scene, time.Second))
			before := bytes.Clone(a.bgr)
			taken := a.draw(at, time.Second)
			assert.NotEqual(t, before, a.bgr)
			require.NotEmpty(t, taken)
			for i, r := range taken {
				if c.w > 100 { // a panel is wider than the tiny picture
					assert.True(t, r.Left >= 0 && r.Top >= 0 && r.Right <= float64(c.w)+1 && r.Bottom <= float64(c.h)+1, "%+v", r)
				}
				for _, o := range taken[:i] {
					assert.False(t, c.w > 100 && r.Overlaps(o), "%+v on %+v", r, o)
				}
			}
			if folder := os.Getenv("XACAM_PICTURES"); folder != "" {
				savePicture(t, fmt.Sprintf("%s/annotate_%s.png", folder, name), a.bgr, c.w, c.h)
			}
		})
	}
}

func savePicture(t *testing.T, path string, bgr []byte, w, h int) {
	t.Helper()
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		img.Set(i%w, i/w, color.NRGBA{R: bgr[3*i+2], G: bgr[3*i+1], B: bgr[3*i], A: 255})
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
}

func TestAnnotateRuleStates(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 15, 4, 5, 0, time.UTC)
	a := busyAnnotator(t, "en", 640, 360)
	scene := busyScene(at, 3, rand.New(rand.NewPCG(1, 2)))
	a.take(busyLook(&scene, time.Second))
	states := func(pts time.Duration) (out []int) {
		for i := range a.rules {
			out = append(out, a.rules[i].state(pts))
		}
		return out
	}
	assert.Equal(t, []int{2, 2, 1, 0}, states(time.Second))
	assert.Equal(t, []int{2, 0, 1, 0}, states(3*time.Second), "the crossing of a line was a moment")
	assert.Equal(t, 2, a.rules[2].pending)
	assert.Equal(t, 14*time.Second, a.rules[2].held, "the one that is nearest to its end")
	assert.Equal(t, 2, a.state("bai", 3*time.Second))
	assert.Equal(t, 1, a.state("via-he", 3*time.Second))
	require.Len(t, a.notes, 2)
	assert.Contains(t, a.notes[0].text, "A motorcycle crossed")

	for i := range 10 * mostTail {
		scene.At = at.Add(time.Duration(i) * 40 * time.Millisecond)
		for j := range scene.Tracks {
			scene.Tracks[j].Seen = scene.At
		}
		a.take(&pipeline.Look{Frame: &media.Frame{}, Scene: &scene})
	}
	assert.Len(t, a.trails, 3)
	assert.Len(t, a.trails[1], 101, "four seconds at 25 frames a second")
	scene.Tracks, scene.At = nil, scene.At.Add(trailFor+time.Second)
	a.take(&pipeline.Look{Frame: &media.Frame{}, Scene: &scene})
	assert.Empty(t, a.trails)
}

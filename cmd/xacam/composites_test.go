//go:build cgo

package main

import (
	"fmt"
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision/geom"
)

// Size of the composed pictures, that of an analogue camera.
const filmW, filmH = 704, 576

// composed is a film with what happens in it.
type composed struct {
	film
	dumped image.Rectangle // where something is left; empty when nothing is
	actor  float64         // the middle of who leaves it, at the contact, as a share of the width
	taken  bool            // and is taken away again
}

// TestComposites: a fixed camera's pictures, put together of real backgrounds
// and a man cut out of a recording, with noise, rain, leaves, changing light
// and H.264: each time something is left behind there is one dumping event with
// the right person and place, else there is no event of any kind.
func TestComposites(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("encodes and analyses four minutes of video")
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	cam := writeFile(t, "cam.yaml", stillRules)
	for name, f := range compositions(t, assets) { //nolint:paralleltest // one runtime
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "film.mp4")
			f.shoot(t, path)
			r := xacam(t, "replay", "--data", data, "--camera", cam, path)
			require.Equal(t, exitOK, r.code, r.stderr)
			checkComposed(t, f, r.stdout)
		})
	}
}

func checkComposed(t *testing.T, f *composed, lines string) {
	t.Helper()
	by := byRule(raisedIn(t, lines))
	if f.dumped.Empty() {
		assert.Empty(t, by)
		return
	}
	require.Len(t, by["do-rac"], 1, "%v", by)
	assert.LessOrEqual(t, len(by["bo-lai"]), 1)
	assert.Empty(t, by["mat"])
	assert.Empty(t, by["rac"])
	e := &by["do-rac"][0]
	d := f.dumped
	want := geom.Box{
		Min: geom.Point{X: float64(d.Min.X) / filmW, Y: float64(d.Min.Y) / filmH},
		Max: geom.Point{X: float64(d.Max.X) / filmW, Y: float64(d.Max.Y) / filmH},
	}
	got := bagBox(t, e)
	assert.Greater(t, got.IoU(want), .6, "%v, not %v", got, want)
	require.NotNil(t, e.Subject)
	assert.Equal(t, "person", e.Subject.Class)
	assert.InDelta(t, f.actor, (e.Subject.Box[0]+e.Subject.Box[2])/2, .16, "where the one who left it was")
	assert.InDelta(t, 450./filmH, e.Subject.Box[3], .05, "not the one behind him")
	assert.Equal(t, f.taken, clearedIn(t, lines)["do-rac"] == 1, "taken away")
}

// walker is somebody cut out of a recording.
type walker struct {
	still, steps []*cutout
}

// readWalker cuts a man out of the recording of a room in which he stands and
// then walks to the right, at so many pixels of height.
func readWalker(t *testing.T, assets string, height int) *walker {
	t.Helper()
	const w, h, tall = 768, 432, 345
	clip := filepath.Join(assets, "clips", "one-by-one-person-detection.mp4")
	if _, err := os.Stat(clip); err != nil {
		t.Skipf("no recording %s", clip)
	}
	empty := readFilm(t, clip, 73.5, 73.6, w, h)[0]
	all := readFilm(t, clip, 84, 86.3, w, h)
	require.Len(t, all, 23)
	out := &walker{}
	for i, c := range all {
		cut := cutOut(c, empty)
		require.NotNil(t, cut)
		cut = cut.resized(max(1, cut.w*height/tall), max(1, cut.h*height/tall))
		switch {
		case i < 5:
			out.still = append(out.still, cut)
		case i >= 15:
			out.steps = append(out.steps, cut)
		}
	}
	return out
}

// changed returns the walker with something done to each picture.
func (w *walker) changed(f func(*cutout) *cutout) *walker {
	out := &walker{}
	for _, c := range w.still {
		out.still = append(out.still, f(c))
	}
	for _, c := range w.steps {
		out.steps = append(out.steps, f(c))
	}
	return out
}

// leg is a walk from one place to another, or a stay.
type leg struct {
	from, to       float64 // seconds
	x0, y0, x1, y1 float64 // pixels, of the feet
}

// draw draws the walker, and returns where his feet are.
func (w *walker) draw(c *canvas, i int, sec float64, way []leg) (at image.Point, here bool) {
	for _, l := range way {
		if sec < l.from || sec >= l.to {
			continue
		}
		k := (sec - l.from) / (l.to - l.from)
		at = image.Pt(int(math.Round(l.x0+k*(l.x1-l.x0))), int(math.Round(l.y0+k*(l.y1-l.y0))))
		from := w.steps
		if l.x0 == l.x1 {
			from = w.still
		}
		c.paste(from[i%len(from)], at.X, at.Y)
		return at, true
	}
	return at, false
}

// story is what happens in most films: a man carries something in, stands, puts
// it down or does not, and leaves; another one passes.
type story struct {
	who, other *walker
	thing      *cutout
	keeps      bool    // he takes it with him
	dx         int     // by how much everything is farther to the right
	passes     []leg   // of the other one
	takenAt    float64 // seconds; by nobody that is seen
}

const putDown = 9.0 // seconds

func (s *story) place() image.Rectangle {
	if s.keeps {
		return image.Rectangle{}
	}
	x, y := 372+s.dx, 455
	return image.Rect(x-s.thing.w/2, y-s.thing.h, x+s.thing.w/2, y)
}

func (s *story) draw(c *canvas, i int, sec float64) {
	dx := float64(s.dx)
	lies := !s.keeps && sec >= putDown && (s.takenAt == 0 || sec < s.takenAt)
	if lies {
		c.paste(s.thing, 372+s.dx, 455)
	}
	s.other.draw(c, i, sec, s.passes)
	at, here := s.who.draw(c, i, sec, []leg{
		{5, 8, dx - 30, 450, dx + 340, 450},
		{8, 10, dx + 340, 450, dx + 340, 450},
		{10, 14, dx + 340, 450, dx + 760, 470},
	})
	if here && (s.keeps || sec < putDown) {
		c.paste(s.thing, at.X+20, at.Y-45)
	}
}

// readCar cuts the large car out of a picture of an almost empty crossing.
func readCar(t *testing.T, stills string) *cutout {
	t.Helper()
	c := readStill(t, filepath.Join(stills, "000081.jpg"), filmW, filmH)
	box := image.Rect(196, 268, 442, 424)
	road := c.copied()
	for y := box.Min.Y; y < box.Max.Y; y++ { // from its left to its right
		l, r := c.pix[3*(y*c.w+box.Min.X):], c.pix[3*(y*c.w+box.Max.X):]
		for x := box.Min.X; x < box.Max.X; x++ {
			k := float64(x-box.Min.X) / float64(box.Dx())
			for j := range 3 {
				road.pix[3*(y*c.w+x)+j] = toByte(float64(l[j])*(1-k) + float64(r[j])*k)
			}
		}
	}
	car := cutOut(c, road)
	require.NotNil(t, car)
	return car
}

// compositions are the films. Backgrounds are stills of a street camera, by day
// and by night, and a recording of a parking lot whose camera regulates
// its exposure whenever a car drives by.
func compositions(t *testing.T, assets string) map[string]*composed {
	t.Helper()
	stills := filepath.Join(assets, "stills", "street_cctv_40", "images")
	man := readWalker(t, assets, 150)
	lit := man.changed(func(c *cutout) *cutout { return c.tinted(1, 1, 1, 90) })
	other := man.changed(func(c *cutout) *cutout { return c.tinted(1, 1, 1, 60).mirrored().resized(c.w*3/4, c.h*3/4) })
	behind, over := []leg{{1, 9, 740, 400, -40, 400}}, []leg{{10, 17, 740, 460, -40, 460}}
	bag, box := textured(30, 32, 34, 30, 36, true), textured(44, 34, 70, 110, 150, false)
	white, dull := textured(26, 28, 150, 150, 150, true), textured(30, 32, 96, 94, 92, true)
	street := func(file string) func(int) *canvas {
		c := readStill(t, filepath.Join(stills, file), filmW, filmH)
		return func(int) *canvas { return c.copied() }
	}
	lot := readFilm(t, filepath.Join(assets, "clips", "car-detection.mp4"), 0, 26, filmW, filmH)
	parking := func(i int) *canvas { return lot[i+30].copied() } // one car has gone, two are to come
	day, wet, bright, grey := street("000068.jpg"), street("000035.jpg"), street("000013.jpg"), street("000014.jpg")
	out := map[string]*composed{}
	for name, c := range map[string]struct {
		film
		story
		twice bool // without anything left behind, too
	}{
		"by day":            {film{background: day, noise: 2, drift: .06}, story{who: man, thing: bag, passes: behind, takenAt: 15.5}, false},
		"rain and leaves":   {film{background: wet, noise: 4, rain: 90, crf: 30, leaves: image.Rect(0, 40, 640, 130)}, story{who: man, thing: bag, passes: behind}, true},
		"a box, more light": {film{background: bright, noise: 3, drift: .15, crf: 32}, story{who: man, thing: box, passes: behind}, false},
		"grey on grey":      {film{background: grey, noise: 3, drift: .05, crf: 28}, story{who: man, thing: dull, passes: behind}, false},
		"night":             {film{background: street("000054.jpg"), noise: 6, crf: 30}, story{who: lit, thing: white, passes: behind}, true},
		"others walk over":  {film{background: day, noise: 3, crf: 28}, story{who: man, thing: bag, passes: over}, false},
		"cars behind":       {film{background: parking, noise: 1, crf: 28}, story{who: man, thing: bag}, false},
		"cars beside":       {film{background: parking, noise: 1, crf: 28}, story{who: man, thing: bag, dx: 220}, true},
	} {
		for _, keeps := range []bool{false, true} {
			if keeps && !c.twice {
				continue
			}
			s := c.story
			s.other, s.keeps = other, keeps
			f := &composed{film: c.film, dumped: s.place(), actor: float64(345+s.dx) / filmW, taken: s.takenAt > 0}
			f.seconds, f.draw = 19, s.draw
			key := name + ", left"
			if keeps {
				key = name + ", kept"
			}
			out[key] = f
		}
	}
	car := readCar(t, stills)
	out["a parked car leaves"] = &composed{film: film{seconds: 30, background: wet, noise: 3, drift: .05, draw: func(c *canvas, _ int, sec float64) {
		x := 330.0
		if sec > 14 {
			x -= 40 * (sec - 14) * (sec - 14)
		}
		c.paste(car, int(x), 430)
	}}}
	return out
}

// TestTrafficComposites: a car that stops where it must not, put together of two
// pictures of one street camera; and a recording of a motorway, slowed down until
// the traffic crawls. One event each, with its end, and none of what drives by.
func TestTrafficComposites(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("encodes and analyses two minutes of video")
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	stills := filepath.Join(assets, "stills", "street_cctv_40", "images")
	road, car := readStill(t, filepath.Join(stills, "000035.jpg"), filmW, filmH), readCar(t, stills)
	drives := func(stays float64) *film {
		return &film{seconds: 13 + stays, background: func(int) *canvas { return road.copied() }, noise: 3, drift: .05, draw: func(c *canvas, _ int, sec float64) {
			x := 330.0 // it comes to a halt, and drives on to the left
			switch {
			case sec < 4:
				x += 40 * (4 - sec) * (4 - sec)
			case sec > 4+stays:
				x -= 40 * (sec - 4 - stays) * (sec - 4 - stays)
			}
			c.paste(car, int(x), 430)
		}}
	}
	street := `
camera: nga-tu
detect: {fps: 5}
zones: {z: {area: [[0.1,0.4],[0.9,0.4],[0.9,0.95],[0.1,0.95]]}}
rules:` + strings.Replace(trafficRules, "dwell: 2", "dwell: 8, grace: 2", 1)
	motorway := `
camera: cao-toc
zones: {z: {area: [[0,1],[0,0.85],[0.36,0.15],[0.6,0.15],[0.98,0.97],[0.98,1]]}}
rules:
  - {name: dung, kind: stopped_vehicle, zone: z, dwell: 8}
  - {name: un-tac, kind: congestion, zone: z, count: 3, hold: 5}
`
	for name, c := range map[string]struct { //nolint:paralleltest // one runtime
		rules string
		shoot func(t *testing.T, path string)
		want  string // the rule that raises one event; "" for none
		clear bool
	}{
		"a car stops":            {street, func(t *testing.T, path string) { t.Helper(); drives(12).shoot(t, path) }, "dung", true},
		"a car waits, drives on": {street, func(t *testing.T, path string) { t.Helper(); drives(4).shoot(t, path) }, "", false},
		"traffic crawls":         {motorway, slowed(assets, 18), "un-tac", false},
		"traffic flows":          {motorway, slowed(assets, 1.5), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "film.mp4")
			c.shoot(t, path)
			r := xacam(t, "replay", "--data", data, "--camera", writeFile(t, "cam.yaml", c.rules), path)
			require.Equal(t, exitOK, r.code, r.stderr)
			raised := raisedIn(t, r.stdout)
			if c.want == "" {
				assert.Empty(t, raised)
				return
			}
			require.Len(t, raised, 1, "%v", raised)
			assert.Equal(t, c.want, raised[0].Rule.Name)
			if c.clear {
				assert.Equal(t, 1, clearedIn(t, r.stdout)[c.want])
				want := geom.Box{Min: geom.Point{X: .32, Y: .49}, Max: geom.Point{X: .62, Y: .74}}
				b := raised[0].Subject.Box
				assert.Greater(t, geom.Box{Min: geom.Point{X: b[0], Y: b[1]}, Max: geom.Point{X: b[2], Y: b[3]}}.IoU(want), .6, "%v", b)
			}
		})
	}
}

// slowed plays two seconds of the motorway so many times slower, with the noise
// that an encoder does not see twice.
func slowed(assets string, times float64) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		t.Helper()
		clip := filepath.Join(assets, "clips", "highway_27260.mp4")
		if _, err := os.Stat(clip); err != nil {
			t.Skipf("no recording %s", clip)
		}
		filter := fmt.Sprintf("setpts=%g*PTS,minterpolate=fps=%d:mi_mode=blend,noise=alls=4:allf=t", times, filmFPS)
		out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-ss", "7", "-t", "2", "-i", clip, "-vf", filter,
			"-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "27", "-threads", "1", path).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

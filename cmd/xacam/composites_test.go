//go:build cgo

package main

import (
	"image"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/wire"
)

// Size of the composed pictures, those of an analogue camera.
const filmW, filmH = 704, 576

// walker is somebody cut out of a recording.
type walker struct {
	still []*cutout
	steps []*cutout
}

// walkers cuts a man out of the recording of a room in which he stands and then
// walks to the right, at so many pixels of height.
func readWalker(t *testing.T, assets string, height int) *walker {
	t.Helper()
	clip := filepath.Join(assets, "clips", "one-by-one-person-detection.mp4")
	if _, err := os.Stat(clip); err != nil {
		t.Skipf("no recording %s", clip)
	}
	const w, h = 768, 432
	empty := readFilm(t, clip, 73.5, 73.6, w, h)[0]
	all := readFilm(t, clip, 84, 86.3, w, h)
	require.Len(t, all, 23)
	out := &walker{}
	for i, c := range all {
		cut := cutOut(c, empty)
		require.NotNil(t, cut)
		cut = cut.resized(max(1, cut.w*height/345), max(1, cut.h*height/345))
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

// composed is a film with what happens in it.
type composed struct {
	film
	dumped image.Rectangle // where something is left; empty when nothing is
	actor  [2]float64      // where the one who leaves it stands, of the picture's width: from, to
	others string          // kinds that may be raised besides, and need not
}

func TestCompositesTry(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	cam := writeFile(t, "cam.yaml", stillRules)
	for name, f := range compositions(t, assets) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("/tmp/still-work", name+".mp4")
			os.Remove(path)
			f.shoot(t, path)
			r := xacam(t, "replay", "--data", data, "--camera", cam, "--tracks", "/tmp/still-work/"+name+".tracks", path)
			require.Equal(t, exitOK, r.code, r.stderr)
			t.Log(r.stderr, r.stdout)
			checkComposed(t, f, raisedIn(t, r.stdout))
		})
	}
}

func checkComposed(t *testing.T, f *composed, raised []wire.Event) {
	t.Helper()
	by := map[string]int{}
	for _, e := range raised {
		by[string(e.Kind)]++
	}
	assert.Equal(t, !f.dumped.Empty(), by["dumping"] == 1, "%v", by)
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

// compositions are the films.
func compositions(t *testing.T, assets string) map[string]*composed {
	t.Helper()
	stills := filepath.Join(assets, "stills", "street_cctv_40", "images")
	man := readWalker(t, assets, 150)
	pale := func(c *cutout) *cutout { return c.tinted(1, 1, 1, 60) }
	other := man.changed(func(c *cutout) *cutout { return pale(c).mirrored().resized(c.w*3/4, c.h*3/4) })
	bag := textured(30, 32, 34, 30, 36, true)
	box := textured(44, 34, 70, 110, 150, false)
	white := textured(26, 28, 150, 150, 150, true)
	dull := textured(30, 32, 96, 94, 92, true)
	place := image.Pt(372, 455)
	way := []leg{{8, 11, -30, 450, 340, 450}, {11, 13, 340, 450, 340, 450}, {13, 17, 340, 450, 760, 470}}
	back := []leg{{2, 12, 740, 400, -40, 400}}
	street := func(file string) func(int) *canvas {
		c := readStill(t, filepath.Join(stills, file), filmW, filmH)
		return func(int) *canvas { return c.copied() }
	}
	over := func(file string) func(int) *canvas {
		cs := readFilm(t, filepath.Join(assets, "clips", file), 0, 26, filmW, filmH)
		return func(i int) *canvas { return cs[i].copied() }
	}
	moved := func(dx, dy float64) (out []leg) {
		for _, l := range way {
			out = append(out, leg{l.from, l.to, l.x0 + dx, l.y0 + dy, l.x1 + dx, l.y1 + dy})
		}
		return out
	}
	_ = moved
	sceneOf := func(who *walker, drops bool, thing *cutout, back []leg) func(c *canvas, i int, sec float64) {
		return func(c *canvas, i int, sec float64) {
			if drops && sec >= 12 {
				c.paste(thing, place.X, place.Y)
			}
			other.draw(c, i, sec, back)
			if at, ok := who.draw(c, i, sec, way); ok && (sec < 12 || !drops) {
				c.paste(thing, at.X+20, at.Y-45)
			}
		}
	}
	scene := func(drops bool, thing *cutout) func(c *canvas, i int, sec float64) { return sceneOf(man, drops, thing, back) }
	around := func(w, h int) image.Rectangle { return image.Rect(place.X-w/2, place.Y-h, place.X+w/2, place.Y) }
	out := map[string]*composed{}
	lit := man.changed(func(c *cutout) *cutout { return c.tinted(1, 1, 1, 90) })
	for _, drops := range []bool{true, false} {
		tag, lying := "_drop", around(30, 32)
		if !drops {
			tag, lying = "_none", image.Rectangle{}
		}
		out["day"+tag] = &composed{film: film{seconds: 22, background: street("000068.jpg"), draw: scene(drops, bag), noise: 2, drift: .06}, dumped: lying}
		out["rain"+tag] = &composed{film: film{seconds: 22, background: street("000035.jpg"), draw: scene(drops, bag), noise: 4, rain: 90, crf: 30, leaves: image.Rect(0, 40, 640, 130)}, dumped: lying}
		out["box"+tag] = &composed{film: film{seconds: 22, background: street("000013.jpg"), draw: scene(drops, box), noise: 3, drift: .15, crf: 32}, dumped: lying}
		out["dull"+tag] = &composed{film: film{seconds: 22, background: street("000014.jpg"), draw: scene(drops, dull), noise: 3, drift: .05, crf: 28}, dumped: lying}
		out["night"+tag] = &composed{film: film{seconds: 22, background: street("000054.jpg"), draw: sceneOf(lit, drops, white, back), noise: 6, crf: 30}, dumped: lying}
		out["dusk"+tag] = &composed{film: film{seconds: 22, background: street("000099.jpg"), draw: sceneOf(lit, drops, white, back), noise: 5, drift: .1, crf: 30}, dumped: lying}
		out["passers"+tag] = &composed{film: film{seconds: 26, background: street("000068.jpg"), draw: sceneOf(man, drops, bag, []leg{{13, 21, 740, 460, -40, 460}}), noise: 3, crf: 28}, dumped: lying}
		right := moved(220, 0)
		out["cars"+tag] = &composed{film: film{seconds: 25, background: over("car-detection.mp4"), draw: func(c *canvas, i int, sec float64) {
			at, ok := man.draw(c, i, sec, right)
			if drops && sec >= 12 {
				c.paste(bag, place.X+220, place.Y)
			} else if ok {
				c.paste(bag, at.X+20, at.Y-45)
			}
		}, noise: 1, crf: 28}, dumped: lying}
	}
	car := readCar(t, stills)
	out["parked_none"] = &composed{film: film{seconds: 30, background: street("000035.jpg"), noise: 3, drift: .05, draw: func(c *canvas, i int, sec float64) {
		x := 330.0
		if sec > 14 {
			x -= 40 * (sec - 14) * (sec - 14)
		}
		c.paste(car, int(x), 430)
	}}}
	return out
}

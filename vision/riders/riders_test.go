package riders_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/riders"
)

const aspect = 16.0 / 9

// thing is an object of a rendered street. at gives the foot and the height of
// its box, in heights of the picture, or false where it is not.
type thing struct {
	id    uint64
	class string
	wide  float64 // width over height
	at    func(t float64) (x, foot, h float64, ok bool)
	miss  func(t float64) bool // detections, beside those missed by chance
}

// on puts a rider on a vehicle; seat 0 is the driver.
func on(v thing, id uint64, seat float64) thing {
	return thing{id: id, class: "person", wide: .42, at: func(t float64) (float64, float64, float64, bool) {
		x, foot, h, ok := v.at(t)
		return x + .05*seat*h, foot - (.27+.04*seat)*h, h * (1.25 - .05*seat), ok
	}}
}

// path goes straight between two moments, growing on the way.
func path(x0, foot0, h0, x1, foot1, h1, from, to float64) func(float64) (float64, float64, float64, bool) {
	return func(t float64) (float64, float64, float64, bool) {
		u := (t - from) / (to - from)
		return x0 + (x1-x0)*u, foot0 + (foot1-foot0)*u, h0 + (h1-h0)*u, u >= 0 && u <= 1
	}
}

func still(x, foot, h float64) func(float64) (float64, float64, float64, bool) {
	return func(float64) (float64, float64, float64, bool) { return x, foot, h, true }
}

// street plays things to an Assigner and remembers what it said.
type street struct {
	fps, miss float64
	seconds   float64
	things    []thing
	carriers  map[uint64][]uint64              // of each person, scene by scene; coasting ones too
	check     func(t float64, s *vision.Scene) // of each scene, may be nil
}

func (st *street) play(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	a := riders.New(riders.Config{})
	start := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)
	st.carriers = make(map[uint64][]uint64)
	last := make(map[uint64]vision.Track)
	stillSince := make(map[uint64]time.Time)
	for i := 0; float64(i) <= st.seconds*st.fps; i++ {
		sec := float64(i) / st.fps
		s := &vision.Scene{Camera: "cam", At: start.Add(time.Duration(sec * float64(time.Second))), Aspect: aspect}
		for _, th := range st.things {
			x, foot, h, ok := th.at(sec)
			old, known := last[th.id]
			missed := !ok || rng.Float64() < st.miss || th.miss != nil && th.miss(sec)
			if missed && (!known || s.At.Sub(old.Seen) > 1500*time.Millisecond) {
				if known {
					s.Ended = append(s.Ended, th.id)
					delete(last, th.id)
				}
				continue
			}
			tr := old
			if !missed {
				x, foot, h = x+rng.NormFloat64()*.02*h, foot+rng.NormFloat64()*.02*h, h*(1+rng.NormFloat64()*.025)
				w := h * th.wide
				box := geom.Box{Min: geom.Point{X: (x - w/2) / aspect, Y: foot - h}, Max: geom.Point{X: (x + w/2) / aspect, Y: foot}}
				if !known || box.Center().X-old.Box.Center().X > .15*h || old.Box.Center().X-box.Center().X > .15*h {
					stillSince[th.id] = s.At
				}
				tr = vision.Track{ID: th.id, Label: th.class, Score: .7, Box: box, Prev: old.Box, Seen: s.At}
				if !moves(th, sec) {
					tr.StillFor = s.At.Sub(stillSince[th.id])
				}
				last[th.id] = tr
			}
			tr.Carrier, tr.Riders = 0, nil
			s.Tracks = append(s.Tracks, tr)
		}
		slices.SortFunc(s.Tracks, func(a, b vision.Track) int { return int(a.ID) - int(b.ID) })
		require.NoError(t, a.Enrich(t.Context(), nil, s))
		consistent(t, s)
		for i := range s.Tracks {
			if tr := &s.Tracks[i]; tr.Label == "person" {
				st.carriers[tr.ID] = append(st.carriers[tr.ID], tr.Carrier)
			}
		}
		if st.check != nil {
			st.check(sec, s)
		}
	}
}

func moves(th thing, sec float64) bool {
	x0, f0, h0, _ := th.at(sec - .5)
	x1, f1, _, _ := th.at(sec)
	return x0-x1 > .02*h0 || x1-x0 > .02*h0 || f1-f0 > .02*h0 || f0-f1 > .02*h0
}

// consistent: riders and carriers name each other, and nobody rides twice.
func consistent(t *testing.T, s *vision.Scene) {
	t.Helper()
	for i := range s.Tracks {
		tr := &s.Tracks[i]
		assert.True(t, slices.IsSorted(tr.Riders))
		for _, r := range tr.Riders {
			k := slices.IndexFunc(s.Tracks, func(o vision.Track) bool { return o.ID == r })
			require.GreaterOrEqual(t, k, 0, "a rider that is not in the scene")
			assert.Equal(t, tr.ID, s.Tracks[k].Carrier)
		}
		if k := slices.IndexFunc(s.Tracks, func(o vision.Track) bool { return o.ID == tr.Carrier }); k >= 0 {
			assert.Contains(t, s.Tracks[k].Riders, tr.ID)
		}
	}
}

// share returns in which part of a person's scenes it had the carrier.
func (st *street) share(person, carrier uint64) float64 {
	n := 0
	for _, c := range st.carriers[person] {
		if c == carrier {
			n++
		}
	}
	return float64(n) / float64(max(1, len(st.carriers[person])))
}

func (st *street) final(person uint64) uint64 {
	c := st.carriers[person]
	if len(c) == 0 {
		return 0
	}
	return c[len(c)-1]
}

func moto(id uint64, at func(float64) (float64, float64, float64, bool)) thing {
	return thing{id: id, class: "motorcycle", wide: .5, at: at}
}

// each runs a street at several rates and with several noises.
func each(t *testing.T, f func(t *testing.T, fps float64, seed uint64)) {
	t.Helper()
	for _, fps := range []float64{2, 5, 10} {
		for seed := range uint64(10) {
			f(t, fps, seed)
		}
	}
}

func TestTwoRideTowardsTheCamera(t *testing.T) {
	t.Parallel()
	known := .0
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		bike := moto(1, path(.8, .35, .1, .9, .95, .35, 0, 6))
		st := &street{fps: fps, miss: .1, seconds: 6, things: []thing{bike, on(bike, 2, 0), on(bike, 3, 1)}}
		st.play(t, seed)
		known += st.share(2, 1) + st.share(3, 1)
		assert.Equal(t, uint64(1), st.final(2), "%v/s, seed %d", fps, seed)
		assert.Equal(t, uint64(1), st.final(3), "%v/s, seed %d", fps, seed)
	})
	assert.Greater(t, known/60, .75, "of the time")
}

func TestRidesAcross(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		bike := moto(1, path(.1, .7, .2, 1.7, .72, .2, 0, 4)) // from the side: as wide as long
		bike.wide = 1.4
		st := &street{fps: fps, miss: .1, seconds: 4, things: []thing{bike, on(bike, 2, 0)}}
		st.play(t, seed)
		assert.GreaterOrEqual(t, st.share(2, 1), .5, "%v/s", fps)
	})
}

func TestWalksPastParked(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		bike := moto(1, still(.9, .7, .2))
		bike.wide = 1.2
		walker := thing{id: 2, class: "person", wide: .4, at: path(.2, .72, .32, 1.6, .72, .32, 0, 9)}
		stander := thing{id: 3, class: "person", wide: .4, at: still(.88, .69, .31)}
		st := &street{fps: fps, miss: .1, seconds: 9, things: []thing{bike, walker, stander}}
		st.play(t, seed)
		assert.Zero(t, 1-st.share(2, 0), "who walks by, %v/s", fps)
		assert.Zero(t, 1-st.share(3, 0), "who stands beside it, %v/s", fps)
	})
}

// TestRidesPastWalker: a motorcycle, whose own rider the detector does not see,
// slowly passes somebody who walks the same way.
func TestRidesPastWalker(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		bike := moto(1, path(.2, .73, .22, 1.7, .73, .22, 0, 6))
		bike.wide = 1.3
		walker := thing{id: 2, class: "person", wide: .4, at: path(.7, .7, .3, 1.2, .7, .3, 0, 6)}
		st := &street{fps: fps, miss: .1, seconds: 6, things: []thing{bike, walker}}
		st.play(t, seed)
		assert.Zero(t, 1-st.share(2, 0), "%v/s, seed %d", fps, seed)
	})
}

// TestSideBySide: three motorcycles at one speed, close together, each with a
// rider; every fifth detection is missing.
func TestSideBySide(t *testing.T) {
	t.Parallel()
	wrong, right, all := 0, 0, 0
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		st := &street{fps: fps, miss: .2, seconds: 6}
		for k := range uint64(3) {
			x := .6 + .09*float64(k)
			bike := moto(10*k+1, path(x, .35+.02*float64(k), .12, x+.2*float64(k), .9+.04*float64(k), .35, 0, 6))
			st.things = append(st.things, bike, on(bike, 10*k+2, 0))
		}
		st.play(t, seed)
		for k := range uint64(3) {
			for _, c := range st.carriers[10*k+2] {
				all++
				switch c {
				case 0:
				case 10*k + 1:
					right++
				default:
					wrong++
				}
			}
		}
	})
	assert.Less(t, float64(wrong)/float64(all), .02, "riders on the wrong motorcycle")
	assert.Greater(t, float64(right)/float64(all), .7, "riders on their own")
	t.Logf("right %.3f, wrong %.3f", float64(right)/float64(all), float64(wrong)/float64(all))
}

func TestGetsOffAndWalksAway(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		drive := path(.3, .5, .2, 1.0, .7, .25, 0, 4)
		bike := moto(1, func(s float64) (float64, float64, float64, bool) { return drive(min(s, 4)) })
		rider := on(bike, 2, 0)
		riding := rider.at
		rider.at = func(s float64) (float64, float64, float64, bool) {
			if s < 6 { // waits two seconds
				return riding(s)
			}
			return path(1.0, .7, .36, 1.7, .72, .36, 6, 12)(s)
		}
		st := &street{fps: fps, miss: .1, seconds: 12, things: []thing{bike, rider}}
		st.check = func(s float64, scene *vision.Scene) {
			for i := range scene.Tracks {
				if p := &scene.Tracks[i]; p.ID == 2 && s > 4.4 && s < 5.8 {
					assert.Equal(t, uint64(1), p.Carrier, "while it waits, %v/s, seed %d", fps, seed)
				}
			}
		}
		st.play(t, seed)
		assert.Zero(t, st.final(2), "%v/s, seed %d", fps, seed)
	})
}

// TestSwitchedIDs: the vehicle, and later the rider, become other tracks.
func TestSwitchedIDs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, fps float64, seed uint64) {
		t.Helper()
		way := path(.8, .35, .12, .9, .95, .35, 0, 8)
		until := func(end float64) func(float64) bool { return func(s float64) bool { return s >= end } }
		since := func(begin float64) func(float64) bool { return func(s float64) bool { return s < begin } }
		bike, again := moto(1, way), moto(5, way)
		bike.miss, again.miss = until(4), since(4.4)
		rider, rider2 := on(bike, 2, 0), on(bike, 6, 0)
		rider.miss, rider2.miss = until(6), since(6.3)
		st := &street{fps: fps, miss: .05, seconds: 8, things: []thing{bike, again, rider, rider2}}
		st.check = func(s float64, scene *vision.Scene) {
			for i := range scene.Tracks {
				if p := &scene.Tracks[i]; p.ID == 2 && s > 5.2 && s < 5.9 {
					assert.Equal(t, uint64(5), p.Carrier, "%v s, %v/s, seed %d", s, fps, seed)
				}
			}
		}
		st.play(t, seed)
		assert.Equal(t, uint64(5), st.final(6), "%v/s, seed %d", fps, seed)
	})
}

// TestCarried: a vehicle that the detector misses goes where its rider goes.
func TestCarried(t *testing.T) {
	t.Parallel()
	way := path(.4, .5, .2, 1.4, .6, .22, 0, 5)
	bike := moto(1, way)
	bike.miss = func(s float64) bool { return s > 3 && s < 3.9 }
	st := &street{fps: 5, seconds: 5, things: []thing{bike, on(bike, 2, 0)}}
	checked := 0
	st.check = func(s float64, scene *vision.Scene) {
		if s > 3 && s < 3.9 {
			x, foot, _, _ := way(s)
			v := &scene.Tracks[0]
			require.Equal(t, uint64(1), v.ID)
			assert.InDelta(t, x/aspect, v.Box.Foot().X, .02)
			assert.InDelta(t, foot, v.Box.Foot().Y, .03)
			assert.False(t, v.Coasting(scene.At))
			checked++
		}
	}
	st.play(t, 1)
	assert.GreaterOrEqual(t, checked, 4)
}

func TestHeldSceneKeepsRiders(t *testing.T) {
	t.Parallel()
	bike := moto(1, path(.8, .35, .1, .9, .95, .35, 0, 6))
	a := riders.New(riders.Config{})
	at := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)
	scene := func(sec float64, held bool) *vision.Scene {
		s := &vision.Scene{At: at.Add(time.Duration(sec * float64(time.Second))), Held: held}
		for _, th := range []thing{bike, on(bike, 2, 0)} {
			x, foot, h, _ := th.at(min(sec, 4))
			w := h * th.wide
			s.Tracks = append(s.Tracks, vision.Track{ID: th.id, Label: th.class, Seen: s.At, Box: geom.Box{
				Min: geom.Point{X: (x - w/2) / aspect, Y: foot - h}, Max: geom.Point{X: (x + w/2) / aspect, Y: foot},
			}})
		}
		return s
	}
	for sec := .0; sec <= 4; sec += .2 {
		require.NoError(t, a.Enrich(t.Context(), nil, scene(sec, false)))
	}
	for sec := 4.2; sec < 60; sec += 2 {
		s := scene(sec, true)
		require.NoError(t, a.Enrich(t.Context(), nil, s))
		assert.Equal(t, []uint64{2}, s.Tracks[0].Riders, "%v s", sec)
	}
}

// BenchmarkEnrich: 30 tracks, 15 motorcycles with a rider each, one look. The
// budget of 1 % of a core at 5 looks a second is 2 ms.
func BenchmarkEnrich(b *testing.B) {
	a := riders.New(riders.Config{})
	at := time.Date(2026, 11, 23, 7, 30, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(200 * time.Millisecond)
		s := &vision.Scene{At: at, Aspect: aspect, Tracks: make([]vision.Track, 0, 30)}
		shift := float64(at.UnixMilli()%5000) / 50000
		for k := range uint64(15) {
			x, y := .1+.055*float64(k), .3+.03*float64(k%4)+shift
			s.Tracks = append(
				s.Tracks,
				vision.Track{ID: 2*k + 1, Label: "motorcycle", Seen: at, Box: geom.Box{Min: geom.Point{X: x, Y: y}, Max: geom.Point{X: x + .05, Y: y + .2}}},
				vision.Track{ID: 2*k + 2, Label: "person", Seen: at, Box: geom.Box{Min: geom.Point{X: x, Y: y - .1}, Max: geom.Point{X: x + .05, Y: y + .14}}},
			)
		}
		if err := a.Enrich(b.Context(), nil, s); err != nil {
			b.Fatal(err)
		}
	}
}

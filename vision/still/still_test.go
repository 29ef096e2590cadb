package still_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/still"
)

const (
	wide = 240
	high = 136
	fps  = 5
)

// picture is a rendered picture of exactly the size that is worked on.
type picture struct{ bgr []byte }

func (*picture) Size() (width, height int)   { return wide, high }
func (*picture) Gray([]byte, int, int) error { return errors.New("not used") }
func (*picture) Release()                    {}

func (p *picture) BGR(dst []byte, w, h int) error {
	if w != wide || h != high {
		return errors.New("another size")
	}
	copy(dst, p.bgr)
	return nil
}

// street is a rendered place: paving with texture, a wall, what lies there and
// who walks there.
type street struct {
	rng   *rand.Rand
	base  []byte
	gain  float64
	noise float64
	rain  int // streaks a picture
}

func newStreet(seed uint64) *street {
	s := &street{rng: rand.New(rand.NewPCG(seed, 7)), base: make([]byte, 3*wide*high), gain: 1, noise: 2.5}
	for y := range high {
		for x := range wide {
			v := 118 + 10*math.Sin(float64(x)/3)*math.Sin(float64(y)/4) + 6*s.rng.NormFloat64()
			if y < 40 {
				v = 165 + 5*s.rng.NormFloat64()
				if x%40 < 3 {
					v = 90
				}
			}
			for c, k := range [3]float64{.92, 1, 1.06} {
				s.base[3*(y*wide+x)+c] = clip(v * k)
			}
		}
	}
	return s
}

func clip(v float64) byte { return byte(min(max(v, 0), 255)) }

// block is something that is drawn: a plain body with a darker lower half.
type block struct {
	x0, y0, x1, y1 int
	b, g, r        float64
}

func (s *street) render(blocks ...block) *picture {
	p := &picture{bgr: append([]byte(nil), s.base...)}
	for _, k := range blocks {
		for y := max(0, k.y0); y < min(high, k.y1); y++ {
			for x := max(0, k.x0); x < min(wide, k.x1); x++ {
				shade := 1 - .25*float64(y-k.y0)/float64(k.y1-k.y0) + .08*math.Sin(float64(x+2*y))
				i := 3 * (y*wide + x)
				p.bgr[i], p.bgr[i+1], p.bgr[i+2] = clip(k.b*shade), clip(k.g*shade), clip(k.r*shade)
			}
		}
	}
	for i := range p.bgr {
		p.bgr[i] = clip(float64(p.bgr[i])*s.gain + s.noise*s.rng.NormFloat64())
	}
	for range s.rain {
		x, y := s.rng.IntN(wide), s.rng.IntN(high-12)
		for k := range 12 {
			for c := range 3 {
				i := 3*((y+k)*wide+x) + c
				p.bgr[i] = clip(float64(p.bgr[i]) + 60)
			}
		}
	}
	return p
}

// play feeds pictures and collects what is reported last, and everything that
// ever was.
type play struct {
	t    *testing.T
	a    *still.Analyzer
	at   time.Time
	last []vision.Still
	ever map[uint64]vision.Still
}

func newPlay(t *testing.T) *play {
	t.Helper()
	a, err := still.New(still.Config{})
	require.NoError(t, err)
	return &play{t: t, a: a, at: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC), ever: map[uint64]vision.Still{}}
}

func (p *play) step(pic *picture, tracks ...vision.Track) {
	p.t.Helper()
	p.at = p.at.Add(time.Second / fps)
	for i := range tracks {
		tracks[i].Seen = p.at
	}
	s := &vision.Scene{At: p.at, Tracks: tracks, Aspect: float64(wide) / high}
	require.NoError(p.t, p.a.Enrich(context.Background(), &media.Frame{Captured: p.at, Picture: pic}, s))
	p.last = append(p.last[:0], s.Stills...)
	for _, x := range s.Stills {
		p.ever[x.ID] = x
	}
}

// person returns somebody whose feet are at x, y, as a block and as a track.
func person(id uint64, x, y int) (block, vision.Track) { return body(id, "person", x, y, 14, 42) }

func body(id uint64, label string, x, y, w, h int) (block, vision.Track) {
	k := block{x0: x - w/2, y0: y - h, x1: x + w/2, y1: y, b: 60, g: 40, r: 35}
	return k, vision.Track{ID: id, Label: label, Score: .8, Box: geom.Box{
		Min: geom.Point{X: float64(k.x0) / wide, Y: float64(k.y0) / high},
		Max: geom.Point{X: float64(k.x1) / wide, Y: float64(k.y1) / high},
	}}
}

func (p *play) quiet(s *street, seconds int, blocks ...block) {
	p.t.Helper()
	for range seconds * fps {
		p.step(s.render(blocks...))
	}
}

var bag = block{x0: 122, y0: 96, x1: 134, y1: 110, b: 25, g: 22, r: 30} //nolint:gochecknoglobals // a fixture

// drop lets a person walk to the bag's place, put it down and walk off.
func (p *play) drop(s *street, id uint64) {
	p.t.Helper()
	for k := range 30 {
		b, tr := person(id, 20+4*k, 112)
		if k < 25 {
			p.step(s.render(b), tr)
		} else {
			p.step(s.render(bag, b), tr)
		}
	}
	for k := range 26 {
		b, tr := person(id, 140+4*k, 112)
		p.step(s.render(bag, b), tr)
	}
}

func TestBagIsFoundWithItsOwner(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*street){
		"calm":        func(*street) {},
		"rain":        func(s *street) { s.rain = 60; s.noise = 4 },
		"dim, noisy":  func(s *street) { s.gain = .45; s.noise = 5 },
		"bright noon": func(s *street) { s.gain = 1.3 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newStreet(1), newPlay(t)
			set(s)
			p.quiet(s, 5)
			require.Empty(t, p.ever)
			p.drop(s, 7)
			p.quiet(s, 3, bag)
			require.Len(t, p.last, 1)
			require.Len(t, p.ever, 1)
			got := p.last[0]
			assert.Equal(t, vision.StillAdded, got.Kind)
			want := geom.Box{Min: geom.Point{X: 122. / wide, Y: 96. / high}, Max: geom.Point{X: 134. / wide, Y: 110. / high}}
			assert.Greater(t, got.Box.IoU(want), .6, "%v", got.Box)
			require.NotNil(t, got.Actor)
			assert.EqualValues(t, 7, got.Actor.Track)
			assert.False(t, got.Actor.Left.IsZero())
			pics, ok := p.a.Pictures(got.ID)
			require.True(t, ok)
			assert.Len(t, pics.Before, 3*pics.Width*pics.Height)
			assert.NotEqual(t, pics.Before, pics.After)

			for k := range 40 { // somebody passes in front of it
				b, tr := person(9, 10+5*k, 116)
				p.step(s.render(bag, b), tr)
			}
			require.Len(t, p.last, 1, "hidden for a moment, not gone")
			assert.Equal(t, got.ID, p.last[0].ID)
			assert.EqualValues(t, 7, p.last[0].Actor.Track)
			p.quiet(s, 3)
			assert.Empty(t, p.last, "taken away")
			assert.Len(t, p.ever, 1)
		})
	}
}

// TestActorWhoIsNotDetected: a detector misses somebody for a while, and just
// then the bag is put down.
func TestActorWhoIsNotDetected(t *testing.T) {
	t.Parallel()
	for name, found := range map[string]func(k int) (id uint64, ok bool){
		"lost before, found as another": func(k int) (uint64, bool) {
			if k < 21 {
				return 7, true
			}
			return 8, k >= 32
		},
		"found only after":                    func(k int) (uint64, bool) { return 8, k >= 32 },
		"found far away, seconds after":       func(k int) (uint64, bool) { return 8, k >= 50 },
		"seen all the time, at another place": func(int) (uint64, bool) { return 0, false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newStreet(6), newPlay(t)
			p.quiet(s, 5)
			for k := range 56 {
				x := 20 + 4*k
				if k >= 25 {
					x = min(120+4*max(0, k-31), 20+4*k)
				}
				id, ok := found(k)
				b, tr := person(id, x, 112)
				blocks, tracks := []block{b}, []vision.Track{}
				if k >= 25 {
					blocks = []block{bag, b}
				}
				if ok {
					tracks = append(tracks, tr)
				}
				far, there := person(30, 30+k/2, 75)
				p.step(s.render(append(blocks, far)...), append(tracks, there)...)
			}
			far, there := person(30, 60, 75)
			for range 6 * fps {
				p.step(s.render(bag, far), there)
			}
			require.Len(t, p.last, 1)
			if _, ok := found(40); !ok {
				assert.Nil(t, p.last[0].Actor, "nobody was near")
				return
			}
			require.NotNil(t, p.last[0].Actor)
			assert.EqualValues(t, 8, p.last[0].Actor.Track)
			assert.False(t, p.last[0].Actor.Left.IsZero())
			assert.Less(t, p.last[0].Actor.Score, .75, "it is not sure")
		})
	}
}

func TestNothingComesOf(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*street, *play){
		"a person who stands": func(s *street, p *play) {
			for range 20 * fps {
				b, tr := person(3, 120, 110)
				p.step(s.render(b), tr)
			}
		},
		"a person who is not found any more where it stands": func(s *street, p *play) {
			for k := range 25 {
				b, tr := person(3, 20+4*k, 110)
				p.step(s.render(b), tr)
			}
			b, _ := person(3, 116, 110)
			p.quiet(s, 15, b)
			p.quiet(s, 5)
		},
		"a car that was parked and leaves": func(s *street, p *play) {
			car, tr := body(4, "car", 120, 110, 70, 36)
			for range 10 * fps {
				p.step(s.render(car), tr)
			}
			for k := range 40 {
				car, tr := body(4, "car", 120+5*k, 110, 70, 36)
				p.step(s.render(car), tr)
			}
			p.quiet(s, 20)
		},
		"a car found late that leaves": func(s *street, p *play) {
			*p = *newPlay(p.t)
			car, tr := body(4, "car", 120, 110, 70, 36)
			p.quiet(s, 12, car)
			for range 3 * fps {
				p.step(s.render(car), tr)
			}
			for k := range 40 {
				car, tr := body(4, "car", 120+5*k, 110, 70, 36)
				p.step(s.render(car), tr)
			}
			p.quiet(s, 20)
		},
		"the exposure jumps": func(s *street, p *play) {
			for k := range 8 {
				s.gain = []float64{1, .6, 1.25, .8}[k%4]
				p.quiet(s, 5)
			}
		},
		"dusk": func(s *street, p *play) {
			for k := range 60 * fps {
				s.gain = 1 - .7*float64(k)/(60*fps)
				p.step(s.render())
			}
		},
		"a lamp lights a part": func(s *street, p *play) {
			for y := range high {
				for x := range wide {
					if d := math.Hypot(float64(x-60), float64(y-90)); d < 34 {
						for c := range 3 {
							i := 3*(y*wide+x) + c
							s.base[i] = clip(float64(s.base[i]) * (1.9 - .9*d/34))
						}
					}
				}
			}
			p.quiet(s, 20)
		},
		"a shadow": func(s *street, p *play) {
			for y := 80; y < 112; y++ {
				for x := 60; x < 110; x++ {
					for c := range 3 {
						i := 3*(y*wide+x) + c
						s.base[i] = clip(float64(s.base[i]) * .62)
					}
				}
			}
			p.quiet(s, 20)
		},
		"leaves that sway": func(s *street, p *play) {
			*p = *newPlay(p.t)
			for k := range 30 * fps {
				x := 40 + int(3*math.Sin(float64(k)*1.7))
				p.step(s.render(block{x, 60, x + 14, 90, 40, 110, 50}, block{x + 20, 70, x + 30, 96, 50, 120, 60}))
			}
		},
		"heavy rain": func(s *street, p *play) {
			s.rain, s.noise = 200, 6
			p.quiet(s, 30)
		},
		"another view": func(s *street, p *play) {
			*s = *newStreet(99)
			for i := range s.base {
				s.base[i] = clip(float64(s.base[i])*.7 + 50*math.Sin(float64(i)/900))
			}
			p.quiet(s, 20)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := newStreet(2), newPlay(t)
			p.quiet(s, 6)
			run(s, p)
			assert.Empty(t, p.ever)
		})
	}
}

func TestRemovedThing(t *testing.T) {
	t.Parallel()
	s, p := newStreet(3), newPlay(t)
	pot := block{x0: 150, y0: 88, x1: 164, y1: 106, b: 40, g: 60, r: 190}
	p.quiet(s, 15, pot)
	for k := range 50 {
		b, tr := person(5, 60+3*k, 110)
		if k < 31 {
			p.step(s.render(pot, b), tr)
		} else {
			p.step(s.render(b), tr)
		}
	}
	p.quiet(s, 6)
	require.Len(t, p.last, 1)
	assert.Equal(t, vision.StillRemoved, p.last[0].Kind)
	require.NotNil(t, p.last[0].Actor)
	assert.EqualValues(t, 5, p.last[0].Actor.Track)
	p.quiet(s, 4, pot)
	assert.Empty(t, p.last, "it is back")
	assert.Len(t, p.ever, 1)
}

func TestNobodySeen(t *testing.T) {
	t.Parallel()
	s, p := newStreet(4), newPlay(t)
	p.quiet(s, 5)
	p.quiet(s, 10, bag)
	require.Len(t, p.last, 1)
	assert.Nil(t, p.last[0].Actor)
	s.gain = .55
	p.quiet(s, 8, bag)
	require.Len(t, p.last, 1, "still there in another light")
	assert.Len(t, p.ever, 1)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]still.Config{
		"pixels": {Pixels: 3}, "settle": {Settle: time.Hour}, "areas": {MinArea: .5, MaxArea: .1}, "negative": {MinArea: -1},
	} {
		_, err := still.New(c)
		assert.Error(t, err, name)
	}
	failing, err := still.New(still.Config{NewAligner: func(int, int) (still.Aligner, error) { return nil, errors.New("no OpenCV") }})
	require.NoError(t, err)
	s := newStreet(1)
	require.ErrorContains(t, failing.Enrich(context.Background(), &media.Frame{Picture: s.render()}, &vision.Scene{At: time.Now()}), "no OpenCV")
}

// big is a picture of twice the size and so of the default working size.
type big struct{ picture }

func (*big) Size() (width, height int) { return 2 * wide, 2 * high }

func (p *big) BGR(dst []byte, w, h int) error {
	for y := range h {
		for x := range w {
			copy(dst[3*(y*w+x):3*(y*w+x)+3], p.bgr[3*((y*high/h)*wide+x*wide/w):])
		}
	}
	return nil
}

// BenchmarkEnrich is a look at a busy place, with a thing and 30 tracks, at the
// default size and without registering, in milliseconds of processor time.
// Budget: 8 with registering, of which prep.BenchmarkAlign is 3.
func BenchmarkEnrich(b *testing.B) {
	a, err := still.New(still.Config{})
	require.NoError(b, err)
	s := newStreet(1)
	pics := []*big{{*s.render(bag)}, {*s.render(bag)}, {*s.render(bag)}}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var tracks []vision.Track
	for i := range 30 {
		_, tr := person(uint64(i+1), 8*i, 60+2*i)
		tracks = append(tracks, tr)
	}
	n := 0
	began := processorTime()
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(200 * time.Millisecond)
		for i := range tracks {
			tracks[i].Seen = at
		}
		n++
		scene := &vision.Scene{At: at, Tracks: tracks}
		if err := a.Enrich(context.Background(), &media.Frame{Captured: at, Picture: pics[n%3]}, scene); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((processorTime()-began).Microseconds())/1000/float64(n), "cpu-ms/op")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package reid_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/ration"
	"github.com/xacam/xacam/vision/reid"
)

// looks is an embedder for pictures of actors: similarity is the cosine of the
// difference of their looks.
type looks struct {
	err   error
	crops int
}

func (*looks) Size() (width, height int) { return 1, 1 }
func (*looks) Labels() []string          { return []string{"person"} }
func (*looks) Alike() float64            { return .5 }

func (l *looks) Embed(_ context.Context, dst []float32, crop []byte) ([]float32, error) {
	l.crops++
	sin, cos := math.Sincos(float64(crop[0]) * math.Pi / 180)
	return append(dst, float32(cos), float32(sin)), l.err
}

// actor is a track as the tracker has it, and how it looks, in degrees.
type actor struct {
	track uint64
	x     float64 // of the centre; a body is .05 wide and .2 high, in the middle of the picture
	look  byte
	class string // default person
	unsee bool   // coasting
}

func (a actor) box() geom.Box {
	return geom.Box{Min: geom.Point{X: a.x - .025, Y: .4}, Max: geom.Point{X: a.x + .025, Y: .6}}
}

// stage is a picture of actors.
type stage []actor

func (stage) Size() (width, height int)   { return 1600, 900 }
func (stage) BGR([]byte, int, int) error  { return errors.ErrUnsupported }
func (stage) Gray([]byte, int, int) error { return errors.ErrUnsupported }
func (stage) Release()                    {}
func (s stage) CropBGR(dst []byte, a media.Area, _, _ int) error {
	for _, b := range s {
		if math.Abs(b.box().Min.X*1600-a.X) < 1e-6 {
			dst[0] = b.look
			return nil
		}
	}
	return errors.New("nobody is there")
}

// play shows scenes to a Keeper.
type play struct {
	t     *testing.T
	k     *reid.Keeper
	first map[uint64]time.Time
	seen  map[uint64]time.Time
	now   map[uint64]bool
}

// start is the time of second 0.
func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func newPlay(t *testing.T, cfg reid.Config) *play {
	t.Helper()
	if cfg.Embedder == nil {
		cfg.Embedder = &looks{}
	}
	k, err := reid.New(cfg)
	require.NoError(t, err)
	return &play{t, k, map[uint64]time.Time{}, map[uint64]time.Time{}, map[uint64]bool{}}
}

// at shows the scene of the given second; tracks that are not in it have ended.
func (p *play) at(second float64, actors ...actor) vision.Scene {
	p.t.Helper()
	s, err := p.try(second, actors...)
	require.NoError(p.t, err)
	return s
}

func (p *play) try(second float64, actors ...actor) (vision.Scene, error) {
	s := vision.Scene{At: start().Add(time.Duration(second * float64(time.Second))), Aspect: 16. / 9}
	now := map[uint64]bool{}
	for _, a := range actors {
		now[a.track] = true
		if _, known := p.first[a.track]; !known {
			p.first[a.track] = s.At
		}
		if !a.unsee {
			p.seen[a.track] = s.At
		}
		if a.class == "" {
			a.class = "person"
		}
		s.Tracks = append(s.Tracks, vision.Track{
			ID: a.track, Label: a.class, Box: a.box(), First: p.first[a.track], Seen: p.seen[a.track],
		})
	}
	for id := range p.now {
		if !now[id] {
			s.Ended = append(s.Ended, id)
		}
	}
	slices.Sort(s.Ended)
	p.now = now
	err := p.k.Enrich(context.Background(), &media.Frame{Picture: stage(actors), Captured: s.At}, &s)
	return s, err
}

func ids(s vision.Scene) (out []uint64) {
	for i := range s.Tracks {
		out = append(out, s.Tracks[i].ID)
	}
	return out
}

// TestOneReturns: somebody is lost at 1 s and a track begins later.
func TestOneReturns(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, back actor
		when      float64
		want      uint64
	}{
		"as before":           {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .5, look: 10}, 6, 1},
		"some way off":        {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .7, look: 10}, 6, 1},
		"just in time":        {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .5, look: 10}, 10.9, 1},
		"too late":            {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .5, look: 10}, 11.2, 2},
		"looks otherwise":     {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .5, look: 80}, 6, 2},
		"too far for 1 s":     {actor{track: 1, x: .3, look: 0}, actor{track: 2, x: .7, look: 0}, 2, 2},
		"too far for anybody": {actor{track: 1, x: .1, look: 0}, actor{track: 2, x: .9, look: 0}, 10, 2},
		"from outside":        {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .97, look: 0}, 8, 2},
		"another class":       {actor{track: 1, x: .5, look: 0}, actor{track: 2, x: .5, look: 0, class: "car"}, 6, 2},
		"a class without":     {actor{track: 1, x: .5, look: 0, class: "car"}, actor{track: 2, x: .5, look: 0, class: "car"}, 6, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, reid.Config{})
			p.at(0, c.old)
			p.at(1, c.old)
			gone := p.at(2)
			assert.Empty(t, gone.Tracks)
			if c.old.class == "" && c.when > 2 {
				assert.Empty(t, gone.Ended, "it may come back")
				assert.Equal(t, []uint64{1}, p.k.Lingering())
			}
			s := p.at(c.when, c.back)
			require.Equal(t, []uint64{c.want}, ids(s), "said at once")
			if tr := s.Tracks[0]; c.want == 1 {
				assert.Equal(t, start(), tr.First, "of the object")
				assert.Equal(t, tr.Box, tr.Prev, "it was not in the scene before")
				assert.Empty(t, p.k.Lingering())
			} else {
				assert.Equal(t, s.At, tr.First)
			}
			if late := p.at(c.when+11, c.back); c.want == 2 {
				assert.NotContains(t, late.Ended, uint64(2))
				assert.Empty(t, p.k.Lingering(), "the lost one is over by now")
			}
		})
	}
}

// TestRivals: where another one comes into question, nobody is found again.
func TestRivals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, after []actor
		want          []uint64
	}{
		"two were lost": {
			[]actor{{track: 1, x: .4, look: 0}, {track: 2, x: .6, look: 8}},
			[]actor{{track: 3, x: .5, look: 4}},
			[]uint64{3},
		},
		"two come": {
			[]actor{{track: 1, x: .5, look: 4}},
			[]actor{{track: 2, x: .4, look: 0}, {track: 3, x: .6, look: 8}},
			[]uint64{2, 3},
		},
		"one is there all the time": {
			[]actor{{track: 1, x: .4, look: 0}, {track: 2, x: .6, look: 4}},
			[]actor{{track: 2, x: .6, look: 4}, {track: 3, x: .4, look: 2}},
			[]uint64{2, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, reid.Config{})
			for _, second := range []float64{0, .4, .8, 1.2} {
				p.at(second, c.before...)
			}
			var s vision.Scene
			for _, second := range []float64{5, 5.2, 5.4, 5.6} {
				s = p.at(second, c.after...)
			}
			assert.Equal(t, c.want, ids(s), "nobody is found again")
		})
	}
	t.Run("two come back, unlike each other", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, reid.Config{})
		p.at(0, actor{track: 1, x: .4, look: 0}, actor{track: 2, x: .6, look: 90})
		p.at(1, actor{track: 1, x: .4, look: 0}, actor{track: 2, x: .6, look: 90})
		p.at(2)
		s := p.at(5, actor{track: 3, x: .6, look: 5}, actor{track: 4, x: .4, look: 85})
		assert.Equal(t, []uint64{1, 2}, ids(s), "by their looks, not by their places")
		assert.InDelta(t, .6, s.Tracks[0].Box.Center().X, 1e-9)
	})
}

// TestUnsure: one crop that is not good enough holds a track back, the second one
// decides; without crops it is somebody new after a while.
func TestUnsure(t *testing.T) {
	t.Parallel()
	p := newPlay(t, reid.Config{})
	p.at(0, actor{track: 1, x: .5, look: 0})
	p.at(1)
	assert.Empty(t, p.at(3, actor{track: 2, x: .5, look: 55}).Tracks, "the cosine is .57, one crop needs .6")
	assert.Equal(t, []uint64{1}, ids(p.at(3.2, actor{track: 2, x: .5, look: 55})))

	front := actor{track: 9, x: .501, look: 90, class: "truck"}
	p = newPlay(t, reid.Config{Embedder: &looks{}})
	p.at(0, actor{track: 1, x: .5, look: 0})
	p.at(1)
	hide := func(second float64) vision.Scene { // the truck's foot is lower
		s := vision.Scene{At: start().Add(time.Duration(second * float64(time.Second))), Aspect: 16. / 9}
		truck := front.box()
		truck.Max.Y = .7
		s.Tracks = []vision.Track{
			{ID: 2, Label: "person", Box: front.box(), First: start().Add(3 * time.Second), Seen: s.At},
			{ID: 9, Label: "truck", Box: truck, First: s.At, Seen: s.At},
		}
		require.NoError(t, p.k.Enrich(t.Context(), &media.Frame{Picture: stage{front}}, &s))
		return s
	}
	assert.Equal(t, []uint64{2}, ids(hide(3)), "the truck only")
	assert.Equal(t, []uint64{2, 3}, ids(hide(3.5)), "nobody waits for ever")
}

// TestHandedOver: a new track takes over from one that the tracker still waits
// for; should that one be detected again, it is somebody else.
func TestHandedOver(t *testing.T) {
	t.Parallel()
	p := newPlay(t, reid.Config{})
	one := actor{track: 1, x: .5, look: 0}
	p.at(0, one)
	gone := one
	gone.unsee = true
	assert.Equal(t, []uint64{1}, ids(p.at(.5, gone)), "coasting")
	two := actor{track: 2, x: .55, look: 5}
	s := p.at(1, gone, two)
	require.Equal(t, []uint64{1}, ids(s))
	assert.InDelta(t, .55, s.Tracks[0].Box.Center().X, 1e-9)
	assert.Equal(t, []uint64{1}, ids(p.at(1.2, gone, two)))
	assert.Equal(t, []uint64{1, 2}, ids(p.at(1.4, one, two)), "two at once are two")
	s = p.at(1.6, two)
	assert.Equal(t, []uint64{1}, ids(s))
	assert.Empty(t, s.Ended)
}

// TestWithoutCrops: whatever keeps it from looking, everybody has an ID.
func TestWithoutCrops(t *testing.T) {
	t.Parallel()
	broken := &looks{err: errors.New("no memory")}
	p := newPlay(t, reid.Config{Embedder: broken})
	s, err := p.try(0, actor{track: 7, x: .5})
	require.ErrorContains(t, err, "no memory")
	assert.Equal(t, []uint64{1}, ids(s))
	s, err = p.try(1)
	require.NoError(t, err)
	assert.Equal(t, []uint64{1}, s.Ended, "it cannot be found again")

	spent := &looks{}
	p = newPlay(t, reid.Config{Embedder: spent, Budget: ration.NewBudget(0, time.Now)})
	assert.Equal(t, []uint64{1}, ids(p.at(0, actor{track: 7, x: .5})))
	assert.Zero(t, spent.crops)

	many := &looks{}
	p = newPlay(t, reid.Config{Embedder: many, PerSecond: 3})
	var crowd []actor
	for i := range 9 {
		crowd = append(crowd, actor{track: uint64(i + 1), x: .1 * float64(i+1)})
	}
	assert.Len(t, p.at(0, crowd...).Tracks, 9)
	assert.Equal(t, 3, many.crops)
	p.at(1, crowd...)
	assert.Equal(t, 6, many.crops)

	for name, bad := range map[string]reid.Config{
		"no embedder": {}, "gap": {Embedder: many, Gap: time.Hour}, "alike": {Embedder: many, Alike: 1.5},
		"margin": {Embedder: many, Margin: -1}, "patience": {Embedder: many, Patience: time.Minute}, "rate": {Embedder: many, PerSecond: -1},
	} {
		_, err := reid.New(bad)
		require.Error(t, err, name)
	}
}

// TestBounded: a tracker that never says that a track has ended fills no memory.
func TestBounded(t *testing.T) {
	t.Parallel()
	k, err := reid.New(reid.Config{Embedder: &looks{}})
	require.NoError(t, err)
	ended := 0
	for i := range uint64(3000) {
		at := start().Add(time.Duration(i) * time.Second)
		s := vision.Scene{At: at, Tracks: []vision.Track{{ID: i + 1, Label: "person", Seen: at, First: at}}}
		require.NoError(t, k.Enrich(t.Context(), nil, &s))
		ended += len(s.Ended)
	}
	assert.Greater(t, ended, 1500)
}

// TestInvariants: in any play the IDs of a scene are unique and ascending, an ID
// that has ended never comes back, each is told once, everybody detected is shown
// within Patience, and the same play gives the same again.
func TestInvariants(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		first := invariants(t, seed)
		require.Equal(t, first, invariants(t, seed), "seed %d", seed)
	}
}

func invariants(t *testing.T, seed uint64) (log [][]uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	p := newPlay(t, reid.Config{})
	var there []actor
	next := uint64(1)
	over, shown := map[uint64]bool{}, map[uint64]bool{}
	waiting := map[uint64]int{}
	for step := range 200 {
		there = slices.DeleteFunc(there, func(actor) bool { return rnd.Float64() < .08 })
		for rnd.Float64() < .2 && len(there) < 6 {
			there = append(there, actor{track: next, x: .05 + .9*rnd.Float64(), look: byte(rnd.IntN(180))})
			next++
		}
		for i := range there {
			there[i].unsee = rnd.Float64() < .3 && !p.first[there[i].track].IsZero()
		}
		s := p.at(float64(step)*.2, there...)
		got := ids(s)
		require.True(t, slices.IsSorted(got) && len(slices.Compact(slices.Clone(got))) == len(got), "%v", got)
		for _, id := range s.Ended {
			require.False(t, over[id], "%d ended twice", id)
			require.True(t, shown[id], "%d was never there", id)
			over[id] = true
		}
		for _, id := range got {
			require.False(t, over[id], "%d came back after its end", id)
			shown[id] = true
		}
		seen := 0
		for _, a := range there {
			if !a.unsee {
				seen++
			}
		}
		if waiting[0]++; len(got) >= seen {
			waiting[0] = 0
		}
		require.Less(t, waiting[0], 40, "somebody is held back for ever")
		log = append(log, got, slices.Clone(s.Ended))
	}
	for id := range shown {
		if !over[id] && !slices.Contains(log[len(log)-2], id) {
			require.Contains(t, p.k.Lingering(), id, "seed %d", seed)
		}
	}
	return log
}

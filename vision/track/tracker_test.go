package track_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/track"
)

func second(s float64) time.Time {
	return time.Date(2026, 7, 1, 6, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

// det is a detection with its centre at x, y.
func det(label string, score, x, y, w, h float64) vision.Detection {
	clip := func(v float64) float64 { return min(1, max(0, v)) }
	return vision.Detection{Label: label, Score: score, Box: geom.Box{
		Min: geom.Point{X: clip(x - w/2), Y: clip(y - h/2)}, Max: geom.Point{X: clip(x + w/2), Y: clip(y + h/2)},
	}}
}

func person(x, y float64) vision.Detection { return det("person", 0.7, x, y, 0.06, 0.3) }

func newTracker(tb testing.TB, cfg track.Config) *track.Tracker {
	tb.Helper()
	tr, err := track.New(cfg)
	require.NoError(tb, err)
	return tr
}

func ids(tracks []vision.Track) []uint64 {
	out := []uint64{}
	for i := range tracks {
		out = append(out, tracks[i].ID)
	}
	return out
}

// TestOneWalker follows one person across the picture at several frame rates,
// even and uneven: always one track, never another.
func TestOneWalker(t *testing.T) {
	t.Parallel()
	for _, fps := range []float64{2, 3, 5, 10, 30} {
		for _, uneven := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v fps uneven %v", fps, uneven), func(t *testing.T) {
				t.Parallel()
				tr := newTracker(t, track.Config{})
				rng := rand.New(rand.NewPCG(uint64(fps), 1))
				shown := 0
				for at := 0.0; at < 8; at += 1 / fps {
					now := at
					if uneven {
						now += rng.Float64() * 0.6 / fps
					}
					// A walk of 0.1 picture widths a second: about one body width in 0.6 s.
					d := det("person", 0.5+0.4*rng.Float64(), 0.1+0.1*now+0.004*rng.NormFloat64(), 0.5+0.004*rng.NormFloat64(),
						0.06+0.003*rng.NormFloat64(), 0.3+0.008*rng.NormFloat64())
					tracks, ended := tr.Update(second(now), []vision.Detection{d})
					require.Empty(t, ended)
					require.LessOrEqual(t, len(tracks), 1)
					if len(tracks) == 1 {
						shown++
						assert.Equal(t, uint64(1), tracks[0].ID)
						assert.Greater(t, tracks[0].Box.IoU(d.Box), 0.6)
						assert.Equal(t, second(now), tracks[0].Seen)
						assert.Less(t, tracks[0].StillFor, 1200*time.Millisecond, "a walker is not still")
					}
				}
				assert.Greater(t, float64(shown), 7*fps-3)
			})
		}
	}
}

func TestLifeOfATrack(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	tracks, ended := tr.Update(second(0), []vision.Detection{person(0.5, 0.5)})
	assert.Empty(t, tracks, "one detection of 0.7 is not enough")
	assert.Empty(t, ended)
	tracks, _ = tr.Update(second(0.2), []vision.Detection{person(0.51, 0.5)})
	require.Len(t, tracks, 1)
	assert.Equal(t, uint64(1), tracks[0].ID)
	assert.Equal(t, second(0), tracks[0].First)
	assert.Equal(t, tracks[0].Box, tracks[0].Prev, "first scene")
	before := tracks[0].Box
	for i := 2; i < 8; i++ {
		tracks, _ = tr.Update(second(0.2*float64(i)), []vision.Detection{person(0.5+0.01*float64(i), 0.5)})
		require.Len(t, tracks, 1)
		assert.Equal(t, before, tracks[0].Prev)
		before = tracks[0].Box
	}
	gone := 0
	for i := 8; i < 40; i++ {
		tracks, ended = tr.Update(second(0.2*float64(i)), nil)
		for k := range tracks {
			assert.Equal(t, second(1.4), tracks[k].Seen)
			assert.True(t, tracks[k].Coasting(second(0.2*float64(i))))
			assert.Greater(t, tracks[k].Box.Center().X, before.Center().X, "it goes on")
			assert.LessOrEqual(t, 0.2*float64(i)-1.4, 1.5)
		}
		if len(ended) > 0 {
			assert.Equal(t, []uint64{1}, ended)
			assert.Empty(t, tracks)
			gone++
		}
	}
	assert.Equal(t, 1, gone, "an ID ends once")
	tr.Update(second(9), []vision.Detection{person(0.5, 0.5)})
	tracks, _ = tr.Update(second(9.2), []vision.Detection{person(0.5, 0.5)})
	assert.Equal(t, []uint64{2}, ids(tracks))
}

func TestLowScoresContinueButNeverBegin(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	weak := person(0.5, 0.5)
	weak.Score = 0.2
	for i := range 20 {
		tracks, _ := tr.Update(second(0.2*float64(i)), []vision.Detection{weak})
		require.Empty(t, tracks)
	}
	tr.Update(second(4), []vision.Detection{person(0.5, 0.5)})
	tracks, _ := tr.Update(second(4.2), []vision.Detection{person(0.5, 0.5)})
	require.Len(t, tracks, 1)
	for i := range 50 {
		at := second(4.4 + 0.2*float64(i))
		tracks, _ = tr.Update(at, []vision.Detection{weak})
		require.Equal(t, []uint64{1}, ids(tracks))
		assert.Equal(t, at, tracks[0].Seen)
		assert.InDelta(t, 0.2, tracks[0].Score, 1e-12)
	}
}

func TestAFlickerIsNeverShown(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	for i := range 40 {
		var dets []vision.Detection
		if i%4 == 0 {
			dets = append(dets, person(math.Mod(0.37*float64(i), 0.9), 0.5))
		}
		tracks, ended := tr.Update(second(0.2*float64(i)), dets)
		require.Empty(t, tracks)
		require.Empty(t, ended)
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	t.Run("a rider and a motorcycle never swap", func(t *testing.T) {
		t.Parallel()
		tr := newTracker(t, track.Config{})
		var tracks []vision.Track
		for i := range 30 {
			x := 0.1 + 0.02*float64(i)
			dets := []vision.Detection{det("person", 0.6, x, 0.45, 0.08, 0.3), det("motorcycle", 0.8, x, 0.5, 0.09, 0.3)}
			if i%7 == 5 {
				dets = dets[i%2 : i%2+1] // now and then one of the two is missed
			}
			tracks, _ = tr.Update(second(0.2*float64(i)), dets)
		}
		require.Len(t, tracks, 2)
		assert.ElementsMatch(t, []uint64{1, 2}, ids(tracks))
		assert.ElementsMatch(t, []string{"person", "motorcycle"}, []string{tracks[0].Label, tracks[1].Label})
	})
	t.Run("a motorcycle where the person was is another object", func(t *testing.T) {
		t.Parallel()
		tr := newTracker(t, track.Config{})
		for i := range 5 {
			tr.Update(second(0.2*float64(i)), []vision.Detection{det("person", 0.8, 0.5, 0.5, 0.1, 0.3)})
		}
		var tracks []vision.Track
		for i := range 5 {
			tracks, _ = tr.Update(second(1+0.2*float64(i)), []vision.Detection{det("motorcycle", 0.8, 0.5, 0.5, 0.1, 0.3)})
		}
		require.Len(t, tracks, 2)
		assert.Equal(t, "person", tracks[0].Label)
		assert.Equal(t, second(0.8), tracks[0].Seen)
		assert.Equal(t, "motorcycle", tracks[1].Label)
	})
	t.Run("a vote among classes that detectors mix up", func(t *testing.T) {
		t.Parallel()
		tr := newTracker(t, track.Config{})
		for i := range 40 {
			d := det("car", 0.6, 0.2+0.005*float64(i), 0.5, 0.2, 0.15)
			if i%3 == 1 {
				d.Label, d.Score = "truck", 0.7
			}
			tracks, _ := tr.Update(second(0.2*float64(i)), []vision.Detection{d})
			if i > 3 {
				require.Equal(t, []uint64{1}, ids(tracks))
				assert.Equal(t, "car", tracks[0].Label)
			}
		}
	})
	t.Run("other groups", func(t *testing.T) {
		t.Parallel()
		tr := newTracker(t, track.Config{Groups: [][]string{{"cat", "dog"}}})
		var last []vision.Track
		for i := range 10 {
			last, _ = tr.Update(second(0.2*float64(i)), []vision.Detection{
				det([]string{"cat", "dog"}[i%2], 0.6, 0.5, 0.5, 0.1, 0.1), det([]string{"car", "truck"}[i%2], 0.6, 0.2, 0.2, 0.1, 0.1),
			})
		}
		require.NotEmpty(t, last)
		assert.Equal(t, uint64(1), last[0].ID)
		assert.Contains(t, []string{"cat", "dog"}, last[0].Label)
		assert.Equal(t, second(0), last[0].First)
	})
}

// TestSeldomLooks: at one look in two seconds a single miss ends nothing,
// although it lasts longer than LostAfter.
func TestSeldomLooks(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	for i := range 20 {
		var dets []vision.Detection
		if i%3 != 2 {
			dets = append(dets, person(0.5, 0.5))
		}
		tracks, ended := tr.Update(second(2*float64(i)), dets)
		require.Empty(t, ended)
		if i > 0 {
			require.Equal(t, []uint64{1}, ids(tracks))
		}
	}
}

func TestAfterALongGapNothingIsTheSame(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	for i := range 5 {
		tr.Update(second(0.2*float64(i)), []vision.Detection{person(0.5, 0.5)})
	}
	tracks, ended := tr.Update(second(60), []vision.Detection{person(0.5, 0.5)})
	assert.Empty(t, tracks)
	assert.Equal(t, []uint64{1}, ended)
}

// TestHostileInput feeds what no detector should give.
func TestHostileInput(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{MaxTracks: 20})
	nan, inf := math.NaN(), math.Inf(1)
	rng := rand.New(rand.NewPCG(5, 6))
	now := 0.0
	for i := range 400 {
		var dets []vision.Detection
		for k := range rng.IntN(60) {
			d := det(fmt.Sprint("class ", rng.IntN(8000)), 0.5+rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64())
			if k%2 == 0 {
				d.Label = "person"
			}
			switch rng.IntN(12) {
			case 0:
				d.Score = nan
			case 1:
				d.Box.Min.X = nan
			case 2:
				d.Box.Max.Y = inf
			case 3:
				d.Box = geom.Box{}
			case 4:
				d.Box.Min, d.Box.Max = d.Box.Max, d.Box.Min
			case 5:
				d.Score = -1
			}
			dets = append(dets, d)
		}
		now += rng.Float64() - 0.3 // sometimes backwards
		var tracks []vision.Track
		if i%9 == 8 {
			tracks, _ = tr.Hold(second(now))
		} else {
			tracks, _ = tr.Update(second(now), dets)
		}
		require.LessOrEqual(t, len(tracks), 20)
		for k := range tracks {
			b := tracks[k].Box
			require.True(t, b.Min.X >= 0 && b.Min.Y >= 0 && b.Max.X <= 1 && b.Max.Y <= 1 && b.Min.X <= b.Max.X && b.Min.Y <= b.Max.Y, "%+v", b)
			require.GreaterOrEqual(t, tracks[k].StillFor, time.Duration(0))
			require.False(t, tracks[k].Seen.Before(tracks[k].First))
			if k > 0 {
				require.Less(t, tracks[k-1].ID, tracks[k].ID)
			}
		}
	}
}

// TestEveryIDEndsOnce also checks that the same input gives the same output.
func TestEveryIDEndsOnce(t *testing.T) {
	t.Parallel()
	run := func() string {
		var log strings.Builder
		tr := newTracker(t, track.Config{})
		s := newStreet(30, 5)
		alive, over := map[uint64]bool{}, map[uint64]bool{}
		for i := range 300 {
			tracks, ended := tr.Update(second(0.2*float64(i)), s.next())
			for _, id := range ended {
				require.True(t, alive[id], "ended without having been shown")
				require.False(t, over[id])
				over[id] = true
				delete(alive, id)
			}
			now := map[uint64]bool{}
			for k := range tracks {
				require.False(t, over[tracks[k].ID], "came back after its end")
				now[tracks[k].ID], alive[tracks[k].ID] = true, true
			}
			require.Len(t, alive, len(now), "vanished without an end")
			fmt.Fprint(&log, tracks, ended)
		}
		require.NotEmpty(t, over)
		return log.String()
	}
	require.Equal(t, run(), run())
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  track.Config
		want string
	}{
		"aspect":      {track.Config{Aspect: 1920}, "aspect 1920 is not between 0.1 and 10"},
		"nan":         {track.Config{MinOverlap: math.NaN()}, "minimum overlap NaN"},
		"new < high":  {track.Config{HighScore: 0.6, NewScore: 0.5}, "new score 0.5 is not between 0.6 and 1"},
		"both wrong":  {track.Config{MaxTracks: -1, LostAfter: -time.Second}, "maximum of tracks -1"},
		"lost after":  {track.Config{MaxTracks: -1, LostAfter: -time.Second}, "lost after -1"},
		"still shift": {track.Config{StillShift: 2}, "still shift 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := track.New(c.cfg)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// street is a made-up scene: people who cross the picture at their own pace,
// seen by a detector that misses some, and some twice.
type street struct {
	rng    *rand.Rand
	fps    float64
	people []struct{ x, y, vx, vy, h float64 }
}

func newStreet(n int, fps float64) *street {
	s := &street{rng: rand.New(rand.NewPCG(uint64(n), 77)), fps: fps}
	s.people = make([]struct{ x, y, vx, vy, h float64 }, n)
	for i := range s.people {
		p := &s.people[i]
		p.x, p.y, p.h = s.rng.Float64(), s.rng.Float64(), 0.05+0.15*s.rng.Float64()
		p.vx, p.vy = 0.3*p.h*s.rng.NormFloat64(), 0.1*p.h*s.rng.NormFloat64()
	}
	return s
}

func (s *street) next() []vision.Detection {
	var dets []vision.Detection
	for i := range s.people {
		p := &s.people[i]
		p.x, p.y = math.Mod(p.x+p.vx/s.fps+1, 1), math.Mod(p.y+p.vy/s.fps+1, 1)
		if s.rng.Float64() < 0.1 {
			continue
		}
		j := func() float64 { return 0.03 * p.h * s.rng.NormFloat64() }
		dets = append(dets, det("person", 0.2+0.7*s.rng.Float64(), p.x+j()/2, p.y+j(), 0.25*p.h, p.h+j()))
	}
	return dets
}

// BenchmarkUpdate: budget 0.2 ms for 30 objects, and no allocation.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{30, 200} {
		b.Run(fmt.Sprint(n, " objects"), func(b *testing.B) {
			tr := newTracker(b, track.Config{})
			s := newStreet(n, 5)
			looks := make([][]vision.Detection, 64)
			for i := range looks {
				looks[i] = s.next()
			}
			for i := range 128 {
				tr.Update(second(0.2*float64(i)), looks[i%64])
			}
			b.ReportAllocs()
			i := 128
			for b.Loop() {
				tr.Update(second(0.2*float64(i)), looks[i%64])
				i++
			}
		})
	}
}

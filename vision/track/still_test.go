package track_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/track"
)

func TestStillFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		at        func(i int, rng *rand.Rand) (vision.Detection, bool) // of look i, 5 a second, 30 s; false: missed
		low, high float64                                              // of StillFor at the end, seconds
	}{
		"stands, box jitters": {func(_ int, r *rand.Rand) (vision.Detection, bool) {
			return det("person", 0.6, 0.5+0.003*r.NormFloat64(), 0.5+0.006*r.NormFloat64(), 0.06+0.004*r.NormFloat64(), 0.3+0.01*r.NormFloat64()), true
		}, 28, 30},
		"stands, missed for seconds": {func(i int, _ *rand.Rand) (vision.Detection, bool) {
			return person(0.5, 0.5), i%25 < 20 || i > 140
		}, 28, 30},
		"stands, feet hidden for a while": {func(i int, _ *rand.Rand) (vision.Detection, bool) {
			if i > 60 && i < 80 {
				return det("person", 0.6, 0.5, 0.45, 0.06, 0.2), true
			}
			return person(0.5, 0.5), true
		}, 28, 30},
		"stands, half hidden from the side": {func(i int, _ *rand.Rand) (vision.Detection, bool) {
			if i > 60 && i < 80 {
				return det("person", 0.6, 0.515, 0.5, 0.03, 0.3), true
			}
			return person(0.5, 0.5), true
		}, 28, 30},
		"stands, now and then two boxes are off": {func(i int, _ *rand.Rand) (vision.Detection, bool) {
			if i%20 == 10 || i%20 == 11 {
				return person(0.54, 0.5), true
			}
			return person(0.5, 0.5), true
		}, 28, 30},
		"walks":  {func(i int, _ *rand.Rand) (vision.Detection, bool) { return person(0.1+0.005*float64(i), 0.5), true }, 0, 1.2},
		"creeps": {func(i int, _ *rand.Rand) (vision.Detection, bool) { return person(0.1+0.0007*float64(i), 0.5), true }, 0, 9},
		"comes nearer": {func(i int, _ *rand.Rand) (vision.Detection, bool) {
			f := math.Exp(0.008 * float64(i))
			return det("person", 0.6, 0.5, 0.5, 0.06*f, 0.2*f), true
		}, 0, 7},
		"stands, then walks, then stands": {func(i int, _ *rand.Rand) (vision.Detection, bool) {
			return person(0.1+0.005*float64(min(80, max(30, i))), 0.5), true
		}, 13, 15},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newTracker(t, track.Config{})
			rng := rand.New(rand.NewPCG(9, 9))
			var tracks []vision.Track
			for i := range 150 {
				var dets []vision.Detection
				if d, ok := c.at(i, rng); ok {
					dets = append(dets, d)
				}
				tracks, _ = tr.Update(second(0.2*float64(i)), dets)
			}
			require.Equal(t, []uint64{1}, ids(tracks))
			assert.GreaterOrEqual(t, tracks[0].StillFor.Seconds(), c.low)
			assert.LessOrEqual(t, tracks[0].StillFor.Seconds(), c.high)
		})
	}
}

func TestHold(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	two := []vision.Detection{person(0.3, 0.5), person(0.7, 0.5)}
	for i := range 10 {
		tr.Update(second(0.2*float64(i)), two)
	}
	tracks, ended := tr.Update(second(2), two[:1])
	require.Len(t, tracks, 2)
	require.Empty(t, ended)
	coasting := tracks[1].Seen
	for i := range 300 { // a minute of the same picture, seldom looked at
		at := second(2.2 + 0.2*float64(i))
		if i%10 == 9 {
			tracks, ended = tr.Update(at, two[:1])
		} else {
			before := append([]vision.Track{}, tracks...)
			tracks, ended = tr.Hold(at)
			require.Empty(t, ended)
			require.Len(t, tracks, len(before))
			assert.Equal(t, tracks[0].Box, tracks[0].Prev)
			assert.Equal(t, before[0].Box, tracks[0].Box)
			assert.Equal(t, at, tracks[0].Seen)
		}
		if len(ended) > 0 {
			require.Equal(t, []uint64{2}, ended, "missed by look after look, it is over")
			assert.Less(t, i, 40)
		}
		if len(tracks) > 1 {
			assert.Equal(t, coasting, tracks[1].Seen)
		}
	}
	require.Equal(t, []uint64{1}, ids(tracks))
	assert.Greater(t, tracks[0].StillFor, 60*time.Second)
	// It walks off after the pause and stays the same person.
	for i := range 10 {
		tracks, _ = tr.Update(second(62.2+0.2*float64(i)), []vision.Detection{person(0.3+0.02*float64(i), 0.5)})
	}
	assert.Equal(t, []uint64{1}, ids(tracks))
	assert.Less(t, tracks[0].StillFor, time.Second)
}

// TestTentative: what is not confirmed is told, also while the scene is held.
func TestTentative(t *testing.T) {
	t.Parallel()
	tr := newTracker(t, track.Config{})
	assert.False(t, tr.Tentative())
	tracks, _ := tr.Update(second(0), []vision.Detection{person(0.3, 0.5)})
	assert.Empty(t, tracks)
	assert.True(t, tr.Tentative())
	tracks, _ = tr.Hold(second(0.2))
	assert.Empty(t, tracks, "somebody is there whom no track tells of")
	assert.True(t, tr.Tentative())
	for i := range 10 {
		tracks, _ = tr.Update(second(0.4+0.2*float64(i)), []vision.Detection{person(0.3, 0.5)})
	}
	assert.Len(t, tracks, 1)
	assert.False(t, tr.Tentative())
}

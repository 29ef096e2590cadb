package behaviour

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// TestFollowerNames: a new track close to a lost one is the same object; the lost
// one, if it comes back soon, has its object back, and later is another object
// with a name of its own.
func TestFollowerNames(t *testing.T) {
	t.Parallel()
	f := newFollower[int](10*time.Second, 1, 0)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	look := func(after time.Duration, ids ...uint64) map[uint64]string {
		s := &vision.Scene{At: start.Add(after), Aspect: 1}
		for _, id := range ids {
			box := geom.Box{Min: geom.Point{X: .4, Y: .4}, Max: geom.Point{X: .5, Y: .6}}
			s.Tracks = append(s.Tracks, vision.Track{ID: id, Label: "person", Box: box, Seen: s.At})
		}
		seen, blind := f.observe(s)
		require.Zero(t, blind)
		names := map[uint64]string{}
		for _, o := range seen {
			names[o.track] = o.name
		}
		return names
	}
	assert.Equal(t, map[uint64]string{1: "1"}, look(0, 1))
	assert.Equal(t, map[uint64]string{5: "1"}, look(time.Second, 5))
	assert.Equal(t, map[uint64]string{1: "1", 5: "5"}, look(2*time.Second, 1, 5), "1 is back")
	assert.Equal(t, map[uint64]string{1: "1", 5: "5"}, look(3*time.Second, 1, 5))
	assert.Equal(t, map[uint64]string{5: "5", 7: "1"}, look(4*time.Second, 5, 7))
	assert.Equal(t, map[uint64]string{5: "5", 7: "1"}, look(8*time.Second, 5, 7))
	assert.Equal(t, map[uint64]string{1: "1/2", 5: "5", 7: "1"}, look(9*time.Second, 1, 5, 7), "too late")
}

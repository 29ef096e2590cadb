package behaviour

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/vision"
)

func TestRegisterTwicePanics(t *testing.T) {
	t.Parallel()
	assert.Panics(t, func() {
		register(Definition{Kind: KindIntrusion}, intrusionParams{}, newIntrusion)
	})
}

// TestForget: state is bounded even when a tracker never says what ended.
func TestForget(t *testing.T) {
	t.Parallel()
	state := make(map[uint64]int)
	for id := range uint64(3 * maxRemembered) {
		state[id] = 1
		forget(state, &vision.Scene{Tracks: []vision.Track{{ID: id}}})
	}
	assert.LessOrEqual(t, len(state), maxRemembered)
	forget(state, &vision.Scene{Ended: []uint64{3*maxRemembered - 1}})
	assert.NotContains(t, state, uint64(3*maxRemembered-1))
}

func TestSeconds(t *testing.T) {
	t.Parallel()
	assert.Equal(t, 100*time.Millisecond, Seconds(.1).Duration())
	assert.Equal(t, 24*time.Hour, Seconds(86400).Duration())
}

func TestWords(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "một con chó", someVI("dog"))
	assert.Equal(t, "an umbrella", someEN("umbrella"))
	assert.Equal(t, "a ", someEN(""))
	assert.Equal(t, "Ở đây.", sentence("ở đây", "x").VI)
	assert.Equal(t, ".", sentence("", "").VI)
}

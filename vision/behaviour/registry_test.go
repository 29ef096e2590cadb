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

// TestSchemaOfLists: a list of two numbers that is required, for the console.
func TestSchemaOfLists(t *testing.T) {
	t.Parallel()
	d, ok := Lookup(KindWrongWay)
	assert.True(t, ok)
	schema := d.Schema()
	assert.Equal(t, []string{"direction"}, schema["required"])
	properties, ok := schema["properties"].(map[string]any)
	assert.True(t, ok)
	direction, ok := properties["direction"].(map[string]any)
	assert.True(t, ok)
	assert.Equal(t, "array", direction["type"])
	assert.Equal(t, 2, direction["minItems"])
	assert.Equal(t, 2, direction["maxItems"])
	assert.Equal(t, map[string]any{"type": "number", "minimum": -1000.0, "maximum": 1000.0}, direction["items"])
	assert.Equal(t, []any{[]any{0, 1}}, direction["examples"])
	assert.NotContains(t, direction, "default")
}

// TestSpeedNeedsCalibration: kinds and parameters that need metres say so.
func TestSpeedNeedsCalibration(t *testing.T) {
	t.Parallel()
	r := Rule{Zones: []Zone{{Name: "z"}}}
	d, _ := Lookup(KindSpeeding)
	_, _, err := d.New(r, nil)
	assert.ErrorContains(t, err, "calibration")
	d, _ = Lookup(KindCongestion)
	_, _, err = d.New(r, []byte("speed_kmh: 10"))
	assert.ErrorContains(t, err, "speed_kmh: needs the camera's calibration")
	_, _, err = d.New(r, nil)
	assert.NoError(t, err)
}

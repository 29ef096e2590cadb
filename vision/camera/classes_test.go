package camera_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
)

// TestClassesInOtherWords: a rule may name a class as another list does;
// detections have COCO's word.
func TestClassesInOtherWords(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"motorcycle", "motorbike", "Motor_bike"} {
		f := parseOne(t, `
camera: a
url: rtsp://host/
zones: {z: {area: [[0,0],[1,0],[1,1],[0,1]]}}
rules: [{name: vao, kind: intrusion, zone: z, after: 0, classes: [person, `+word+`]}]
`)
		p, err := f.Build(camera.Options{})
		require.NoError(t, err)
		assert.Contains(t, p.Needs, behaviour.NeedRiders, "%s: persons and what they ride are one object", word)
		at := time.Unix(1000, 0).UTC()
		box := geom.Box{Min: geom.Point{X: .4, Y: .4}, Max: geom.Point{X: .6, Y: .6}}
		s := vision.Scene{At: at, Tracks: []vision.Track{
			{ID: 1, Label: "motorcycle", Score: .9, Box: box, Prev: box, First: at, Seen: at},
			{ID: 2, Label: "car", Score: .9, Box: box, Prev: box, First: at, Seen: at},
		}}
		got := p.Behaviours[0].Observe(&s)
		require.Len(t, got, 1, word)
		assert.Equal(t, "motorcycle", got[0].Subject.Class)
		text, err := camera.EncodeYAML([]camera.File{f}, true)
		require.NoError(t, err)
		assert.Contains(t, string(text), word, "what the operator wrote stays")
	}
}

func TestReid(t *testing.T) {
	t.Parallel()
	f := parseOne(t, "{camera: a, url: 'rtsp://host/', detect: {reid: person-reid}}")
	require.NoError(t, f.Validate())
	text, err := camera.EncodeJSON(f, true)
	require.NoError(t, err)
	again, err := camera.DecodeJSON(text)
	require.NoError(t, err)
	assert.Equal(t, "person-reid", again.Detect.Reid)
	f.Detect.Reid = "../x"
	require.ErrorContains(t, f.Validate(), "detect.reid")
	plain, err := camera.EncodeJSON(parseOne(t, "{camera: a, url: 'rtsp://host/'}"), true)
	require.NoError(t, err)
	assert.NotContains(t, string(plain), "reid", "a camera without is what it was")
}

package behaviour_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/track"
)

// speedRoad is a straight road seen by a camera above it, with its calibration.
type speedRoad struct{ fromGround, toGround geom.Homography }

func newSpeedRoad(t *testing.T, far float64) speedRoad {
	t.Helper()
	image := [4]geom.Point{{X: .42, Y: .30}, {X: .58, Y: .30}, {X: .95, Y: .95}, {X: .05, Y: .95}}
	ground := [4]geom.Point{{X: 0, Y: far}, {X: 7, Y: far}, {X: 7, Y: 0}, {X: 0, Y: 0}}
	to, err := geom.NewHomography(image, ground)
	require.NoError(t, err)
	from, err := geom.NewHomography(ground, image)
	require.NoError(t, err)
	return speedRoad{fromGround: from, toGround: to}
}

// box returns the box of a car at x, y on the ground in metres, cut off by the
// lower edge of the picture.
func (r speedRoad) box(x, y float64) (geom.Box, bool) {
	foot, ok := r.fromGround.Map(geom.Point{X: x, Y: y})
	l, ok1 := r.fromGround.Map(geom.Point{X: x - .9, Y: y})
	if !ok || !ok1 || foot.Y < .28 || foot.Y > 1.25 {
		return geom.Box{}, false
	}
	w := 2 * (foot.X - l.X)
	h := w * 16 / 9 * 1.5 / 1.8
	return geom.Box{Min: geom.Point{X: foot.X - w/2, Y: foot.Y - h}, Max: geom.Point{X: foot.X + w/2, Y: min(1, foot.Y)}}, true
}

// TestSpeedThroughTheTracker drives cars of known speed down a calibrated road,
// through noise, misses and the real tracker. The speed that is told must be
// right within the uncertainty that is told with it, nearly always, and the
// uncertainty small enough to be of use.
func TestSpeedThroughTheTracker(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 14))
	told, right, off, wrong, cars, silent := 0, 0, 0.0, 0.0, 0, 0
	for _, fps := range []float64{5, 10, 25} {
		for range 60 {
			r := newSpeedRoad(t, 30+40*rnd.Float64())
			kmh, away := 20+80*rnd.Float64(), rnd.IntN(2) == 0
			speeds := drive(t, r, rnd, fps, kmh, away)
			cars++
			if len(speeds) == 0 {
				silent++
			}
			for _, v := range speeds {
				told++
				if math.Abs(v[0]-kmh) <= v[1]+.5 { // of rounding
					right++
				}
				off += v[1] / v[0]
				wrong += math.Abs(v[0]-kmh) / kmh
			}
		}
	}
	t.Logf("%d cars, %d without a speed; %d speeds, %.1f %% within the uncertainty, which is %.1f %% on average; wrong by %.1f %%",
		cars, silent, told, 100*float64(right)/float64(told), 100*off/float64(told), 100*wrong/float64(told))
	assert.Less(t, silent, cars/6)
	assert.GreaterOrEqual(t, float64(right)/float64(told), .93)
	assert.Less(t, off/float64(told), .2)
	assert.Less(t, wrong/float64(told), .04)
}

// drive returns what the behaviour says of a car: speed and uncertainty.
func drive(t *testing.T, r speedRoad, rnd *rand.Rand, fps, kmh float64, away bool) (speeds [][2]float64) {
	t.Helper()
	tracker, err := track.New(track.Config{})
	require.NoError(t, err)
	d, ok := behaviour.Lookup(behaviour.KindSpeeding)
	require.True(t, ok)
	area, err := geom.NewPolygon(geom.Point{}, geom.Point{X: 1}, geom.Point{X: 1, Y: 1}, geom.Point{Y: 1})
	require.NoError(t, err)
	b, _, err := d.New(behaviour.Rule{Camera: "c", Ground: r.toGround, Zones: []behaviour.Zone{{Name: "z", Area: area}}}, []byte("limit: 5"))
	require.NoError(t, err)
	y, v := 60.0, -kmh/3.6
	if away {
		y, v = -2, -v
	}
	for i := range int(12 * fps) {
		at := time.Unix(0, 0).Add(time.Duration(float64(i) / fps * 1e9))
		var dets []vision.Detection
		if box, ok := r.box(2, y+v*float64(i)/fps); ok && rnd.Float64() > .1 {
			w, h := box.Width(), box.Height()
			box.Min.X, box.Max.X = box.Min.X+.03*w*rnd.NormFloat64(), box.Max.X+.03*w*rnd.NormFloat64()
			box.Min.Y, box.Max.Y = box.Min.Y+.03*h*rnd.NormFloat64(), min(1, box.Max.Y+.03*h*rnd.NormFloat64())
			dets = append(dets, vision.Detection{Label: "car", Score: .8, Box: box})
		}
		s := &vision.Scene{Camera: "c", At: at, Aspect: 16.0 / 9}
		s.Tracks, s.Ended = tracker.Update(at, dets)
		for _, sig := range b.Observe(s) {
			kmh, ok := sig.Attributes["speed_kmh"].(float64)
			require.True(t, ok)
			off, ok := sig.Attributes["uncertainty_kmh"].(float64)
			require.True(t, ok)
			assert.Equal(t, true, sig.Attributes["indicative"])
			assert.Contains(t, sig.Why.VI, "chỉ mang tính tham khảo")
			assert.Contains(t, sig.Why.EN, "indicative only")
			speeds = append(speeds, [2]float64{kmh, off})
		}
	}
	return speeds
}

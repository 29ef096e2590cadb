package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
	"github.com/xacam/xacam/vision/visiontest"
)

// lastSeen is a tracker that gives each detection of a frame a track.
type lastSeen struct{ dets []vision.Detection }

func (l *lastSeen) Update(at time.Time, dets []vision.Detection) ([]vision.Track, []uint64) {
	l.dets = dets
	return l.Hold(at)
}

func (l *lastSeen) Hold(at time.Time) (tracks []vision.Track, ended []uint64) {
	for i, d := range l.dets {
		tracks = append(tracks, vision.Track{ID: uint64(i + 1), Label: d.Label, Box: d.Box, Seen: at})
	}
	return tracks, nil
}

func (l *lastSeen) Tentative() bool { return len(l.dets) > 1 }

// What the tracker has seen and has no track of is told, also while the scene is
// held.
func TestTentativeIsTold(t *testing.T) {
	t.Parallel()
	n := 2
	var tentative, held []bool
	c, _ := newCamera(t, pipeline.CameraConfig{
		Detector: &visiontest.Script{Detections: func(*media.Frame) []vision.Detection {
			return []vision.Detection{person(geom.Point{X: .2, Y: .5}), person(geom.Point{X: .8, Y: .5})}[:n]
		}},
		Gate: motionUntil(t0().Add(100 * time.Millisecond)),
		Look: func(l *pipeline.Look) error {
			tentative, held = append(tentative, l.Tentative), append(held, l.Scene.Held)
			return nil
		},
	})
	stepFor(t, c, 0, 1400*time.Millisecond)
	require.True(t, held[6])
	require.NotContains(t, tentative, false)
	n = 1
	stepFor(t, c, 1400*time.Millisecond, 4*time.Second)
	require.False(t, tentative[len(tentative)-1])
}

// anyone signals while there is a track.
type anyone struct{ scenes int }

func (a *anyone) Observe(s *vision.Scene) []events.Signal {
	a.scenes++
	if len(s.Tracks) == 0 {
		return nil
	}
	return []events.Signal{{Key: events.Key{Source: s.Camera, Kind: "intrusion", Rule: "r"}, At: s.At, Severity: events.SeverityHigh}}
}

// motionUntil says that there is motion in the first frames of a session.
type motionUntil time.Time

func (m motionUntil) Moved(p media.Picture) (bool, error) {
	return p.(stamped).at.Before(time.Time(m)), nil
}

type stamped struct {
	media.Picture
	at time.Time
}

func (stamped) Size() (width, height int) { return 1920, 1080 }

func (stamped) Release() {}

func t0() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }

func person(foot geom.Point) vision.Detection {
	return vision.Detection{Label: "person", Score: .9, Box: geom.Box{
		Min: geom.Point{X: foot.X - .05, Y: foot.Y - .2}, Max: geom.Point{X: foot.X + .05, Y: foot.Y},
	}}
}

func newCamera(t *testing.T, cfg pipeline.CameraConfig) (*pipeline.Camera, *[]events.Change) {
	t.Helper()
	engine, err := lifecycle.NewEngine(lifecycle.Config{Source: events.Source{Type: "camera", ID: "gate"}})
	require.NoError(t, err)
	var changes []events.Change
	cfg.Name, cfg.Engine, cfg.Tracker = "gate", engine, &lastSeen{}
	if cfg.Record == nil {
		cfg.Record = func(_ context.Context, _ *media.Frame, c []events.Change) error {
			changes = append(changes, c...)
			return nil
		}
	}
	c, err := pipeline.NewCamera(cfg)
	require.NoError(t, err)
	return c, &changes
}

func stepFor(t *testing.T, c *pipeline.Camera, from, d time.Duration) {
	t.Helper()
	for at := from; at < from+d; at += 200 * time.Millisecond {
		require.NoError(t, c.Step(t.Context(), &media.Frame{Captured: t0().Add(at), Picture: stamped{at: t0().Add(at)}}))
	}
}

// A quiet camera is looked at every 2 s, and who stands still is not forgotten.
func TestQuietCameraCostsLittle(t *testing.T) {
	t.Parallel()
	det := &visiontest.Script{Detections: func(*media.Frame) []vision.Detection {
		return []vision.Detection{person(geom.Point{X: .5, Y: .5})}
	}}
	rule := &anyone{}
	c, changes := newCamera(t, pipeline.CameraConfig{
		Detector: det, Gate: motionUntil(t0().Add(time.Second)), Observers: []pipeline.Observer{rule},
	})
	stepFor(t, c, 0, 2*time.Second)
	busy := det.Calls()
	require.Equal(t, 9, busy, "1 s of motion and 1 s of linger at 5 frames a second")
	stepFor(t, c, 2*time.Second, 60*time.Second)
	require.InDelta(t, 30, det.Calls()-busy, 1)
	require.Equal(t, 310, rule.scenes, "rules see every due frame, so that durations count")
	require.Len(t, *changes, 1)
	require.Equal(t, events.StateRaised, (*changes)[0].Event.State)
}

func TestMasksAreNotLookedAt(t *testing.T) {
	t.Parallel()
	mask, err := geom.NewPolygon(geom.Point{}, geom.Point{X: .5}, geom.Point{X: .5, Y: 1}, geom.Point{Y: 1})
	require.NoError(t, err)
	seen := 0
	c, _ := newCamera(t, pipeline.CameraConfig{
		Detector: &visiontest.Script{Detections: func(*media.Frame) []vision.Detection {
			return []vision.Detection{person(geom.Point{X: .2, Y: .5}), person(geom.Point{X: .8, Y: .5})}
		}},
		Masks: []geom.Polygon{mask},
		Look: func(l *pipeline.Look) error {
			require.Len(t, l.Scene.Tracks, 1)
			require.InDelta(t, .8, l.Scene.Tracks[0].Box.Foot().X, 1e-9)
			seen++
			return nil
		},
	})
	stepFor(t, c, 0, time.Second)
	require.Equal(t, 5, seen)
}

func TestStepErrorsSayWhatFailed(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	c, _ := newCamera(t, pipeline.CameraConfig{
		Detector: &visiontest.Script{Detections: func(*media.Frame) []vision.Detection {
			return []vision.Detection{person(geom.Point{X: .5, Y: .5})}
		}},
		Observers: []pipeline.Observer{&anyone{}},
		Record:    func(context.Context, *media.Frame, []events.Change) error { return full },
	})
	err := c.Step(t.Context(), &media.Frame{Captured: t0()})
	require.ErrorIs(t, err, full)
	require.ErrorContains(t, err, "record events")
	_, err = pipeline.NewCamera(pipeline.CameraConfig{Name: "gate"})
	require.ErrorContains(t, err, "required")
}

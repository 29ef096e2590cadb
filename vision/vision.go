// Package vision defines what flows through the video pipeline: detections,
// tracks and scenes. Implementations live in sub-packages; the ones that need
// cgo are behind the interfaces below.
package vision

import (
	"context"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision/geom"
)

// Detection is one object found in one frame.
type Detection struct {
	Label string   `json:"label"` // class name in COCO's spelling: "person", "motorcycle"
	Score float64  `json:"score"` // in [0,1]
	Box   geom.Box `json:"box"`   // normalised, clipped to the picture
}

// Track is an object followed over time.
type Track struct {
	ID       uint64        `json:"id"` // unique within the camera until restart, starts at 1
	Label    string        `json:"label"`
	Score    float64       `json:"score"` // of the latest detection, in [0,1]
	Box      geom.Box      `json:"box"`   // filtered, normalised
	Prev     geom.Box      `json:"prev"`  // Box in the scene before; equal to Box in a track's first scene
	First    time.Time     `json:"first"` // capture time of the first detection
	Seen     time.Time     `json:"seen"`  // capture time of the latest detection; before Scene.At while coasting
	StillFor time.Duration `json:"still_for"`
}

// Coasting reports whether the box is predicted, not detected, in the scene
// with capture time at.
func (t *Track) Coasting(at time.Time) bool { return t.Seen.Before(at) }

// Scene is everything known about one camera at one moment. Behaviours must
// not keep or modify it.
type Scene struct {
	Camera string
	At     time.Time // capture time, UTC
	Tracks []Track   // confirmed ones, by ID
	Ended  []uint64  // tracks that ended since the previous scene
	Held   bool      // nothing moved: tracks are where the latest look found them
}

// Detector finds objects in a frame. Implementations are safe for concurrent
// use and do not keep the frame after they return.
type Detector interface {
	Detect(ctx context.Context, f *media.Frame) ([]Detection, error)
}

// Tracker follows objects of one camera. It is used by one goroutine.
type Tracker interface {
	// Update takes the detections of the frame captured at the given moment,
	// with low scores included, and returns the confirmed tracks and the IDs
	// that ended. Calls must not go back in time. The result is valid until
	// the next call.
	Update(at time.Time, dets []Detection) (tracks []Track, ended []uint64)
	// Hold says that the picture did not change since the last call: every
	// object is still where it was. It returns what Update returns.
	Hold(at time.Time) (tracks []Track, ended []uint64)
}

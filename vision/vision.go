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

	Carrier uint64   `json:"carrier,omitempty"` // ID of the vehicle that this person rides; 0 for none
	Riders  []uint64 `json:"riders,omitempty"`  // IDs of the persons that ride this vehicle, ascending
	Marks   []Mark   `json:"marks,omitempty"`   // by name
}

// Mark is what a second model says about a track, as a vote over its pictures.
type Mark struct {
	Name  string  `json:"name"`  // what was asked, "helmet"
	Value string  `json:"value"` // the answer, "without"
	Score float64 `json:"score"` // in [0,1]
	Votes int     `json:"votes"` // pictures that were looked at
}

// StillKind says what a static change of the picture is.
type StillKind string

// Kinds of static changes.
const (
	StillAdded   StillKind = "added"   // something lies where nothing was
	StillRemoved StillKind = "removed" // something is gone that was there for long
)

// Still is a static change of the background that is not a track.
type Still struct {
	ID    uint64    `json:"id"` // unique within the camera until restart, starts at 1
	Kind  StillKind `json:"kind"`
	Label string    `json:"label,omitempty"` // class, where a detector knows it; else ""
	Box   geom.Box  `json:"box"`             // normalised
	Area  float64   `json:"area"`            // that differs, as a share of the picture
	Score float64   `json:"score"`           // how sure it is that something is there, in [0,1]
	Since time.Time `json:"since"`           // capture time from which it has been there
	Seen  time.Time `json:"seen"`            // capture time at which it was last visible; somebody may stand before it
	Actor *Actor    `json:"actor,omitempty"` // who brought or took it; nil when nobody was seen
}

// Actor is the track that a static change is attributed to.
type Actor struct {
	Track   uint64    `json:"track"`             // at Contact
	Current uint64    `json:"current,omitempty"` // the ID under which it is detected now; 0 when it is not
	Label   string    `json:"label"`
	Box     geom.Box  `json:"box"`     // at Contact
	Contact time.Time `json:"contact"` // when it was last at the place before the change showed
	Near    time.Time `json:"near"`    // when it was last seen near the thing, by any of its tracks
	Left    time.Time `json:"left"`    // when it was first seen away from it after the contact; zero while it was not
	Score   float64   `json:"score"`   // of the attribution, in [0,1]
}

// ViewFault is something wrong with a camera's whole picture.
type ViewFault struct {
	Kind  string    `json:"kind"`  // "covered", "blurred", "moved", "frozen", "dark"
	Score float64   `json:"score"` // in [0,1]
	Since time.Time `json:"since"` // capture time
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

	Aspect float64     // width of the picture over its height; 0 when unknown
	Stills []Still     // by ID; nil unless a rule needs them
	View   []ViewFault // by kind; nil unless a rule needs them
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

package tracklog

import "time"

// Run describes one analysis of a camera: from the making of its tracker to its
// end. Track IDs mean something within one run only.
type Run struct {
	Started  time.Time `json:"started"` // which tells one run of a camera from another; kept to a millisecond
	Model    string    `json:"model"`
	FPS      float64   `json:"fps"`             // pictures a second that were to be looked at
	MinScore float64   `json:"min_score"`       // of detections that may become tracks
	Needs    []string  `json:"needs,omitempty"` // what was worked out besides tracks: names of behaviour.Need
}

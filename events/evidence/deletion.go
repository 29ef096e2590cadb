package evidence

import "time"

// Deletion is an entry of the log of deleted files.
type Deletion struct {
	At     time.Time
	Reason string // "age", "quota", "disk", "request", "missing", "orphan"
	Actor  string
}

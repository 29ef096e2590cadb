package events

import "time"

// Bucket is a length of time over which counts are added up.
type Bucket string

// Buckets. Hours and days begin where the clocks of the reader's time zone say.
const (
	BucketMinute Bucket = "minute"
	BucketHour   Bucket = "hour"
	BucketDay    Bucket = "day"
)

// Buckets lists every bucket, shortest first.
func Buckets() []Bucket { return []Bucket{BucketMinute, BucketHour, BucketDay} }

// CountFilter selects counts. Within one list any value matches, an empty list
// matches everything, and all lists must match.
type CountFilter struct {
	From, To   time.Time // of the minutes' beginnings, From inclusive, To exclusive; required
	Sources    []string  // camera slugs
	Lines      []string
	Classes    []string
	Directions []string
	Bucket     Bucket
	Location   *time.Location // where hours and days begin; nil is UTC
	Limit      int            // of rows; 1 or more
}

// CountRow is how many objects passed in one bucket. Rules that count the same
// line do not add up: the largest of them is taken, minute by minute.
type CountRow struct {
	Start     time.Time // of the bucket, UTC
	Source    string
	Line      string
	Class     string
	Direction string
	N         int64
}

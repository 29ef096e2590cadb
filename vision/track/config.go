package track

import (
	"errors"
	"fmt"
	"time"
)

// Config tunes a Tracker. The zero value is usable: every field that is 0 gets
// its default. The defaults suit cameras at 2 to 30 frames a second; they are
// fractions of an object's size and seconds, never pixels or frames.
type Config struct {
	Aspect float64 // width of the picture over its height, from 0.1 to 10; default 16/9

	LowScore  float64 // detections below are not looked at; default 0.1
	HighScore float64 // detections from here on are matched first, the rest only continues tracks; default 0.4
	NewScore  float64 // a track begins with a detection from here on, at least HighScore; default HighScore

	// ConfirmScore is the sum of scores from which on a track is shown; default
	// 0.95. Detections in quick succession repeat each other's mistakes: one that
	// comes less than 0.2 s after the one before counts less.
	ConfirmScore  float64
	ConfirmWithin time.Duration // an unconfirmed track not detected for this long ends; default 500ms

	LostAfter time.Duration // a track not detected for this long, and missed twice, ends; default 1.5s

	MinOverlap    float64 // least similarity of track and detection, in (0,1); default 0.2
	MinOverlapLow float64 // the same for detections under HighScore; default 0.4
	MinOverlapNew float64 // the same for unconfirmed tracks; default 0.4

	StillShift float64 // an object that moved less than this fraction of its size is still; default 0.15

	// Groups are classes that detectors mix up: a track may take any class of its
	// group and never one outside. A class in no group is one of its own. Default:
	// car, truck, bus; bicycle, motorcycle.
	Groups [][]string

	MaxTracks int // tracks at once, unconfirmed included; further objects wait; default 500
}

// withDefaults fills what is 0 and says what is wrong.
func (c Config) withDefaults() (Config, error) {
	fill(&c.Aspect, 16.0/9)
	fill(&c.LowScore, 0.1)
	fill(&c.HighScore, 0.4)
	fill(&c.NewScore, c.HighScore)
	fill(&c.ConfirmScore, 0.95)
	fill(&c.ConfirmWithin, 500*time.Millisecond)
	fill(&c.LostAfter, 1500*time.Millisecond)
	fill(&c.MinOverlap, 0.2)
	fill(&c.MinOverlapLow, 0.4)
	fill(&c.MinOverlapNew, 0.4)
	fill(&c.StillShift, 0.15)
	fill(&c.MaxTracks, 500)
	if c.Groups == nil {
		c.Groups = [][]string{{"car", "truck", "bus"}, {"bicycle", "motorcycle"}}
	}
	var errs []error
	within := func(name string, v, low, high float64) {
		if !(v >= low && v <= high) { // NaN is not
			errs = append(errs, fmt.Errorf("%s %v is not between %v and %v", name, v, low, high))
		}
	}
	within("aspect", c.Aspect, 0.1, 10)
	within("low score", c.LowScore, 0, 1)
	within("high score", c.HighScore, c.LowScore, 1)
	within("new score", c.NewScore, c.HighScore, 1)
	within("confirm score", c.ConfirmScore, 0, 100)
	within("confirm within", c.ConfirmWithin.Seconds(), 0, 3600)
	within("lost after", c.LostAfter.Seconds(), 0, 3600)
	within("minimum overlap", c.MinOverlap, 0, 1)
	within("minimum overlap of low scores", c.MinOverlapLow, 0, 1)
	within("minimum overlap of new tracks", c.MinOverlapNew, 0, 1)
	within("still shift", c.StillShift, 0, 1)
	within("maximum of tracks", float64(c.MaxTracks), 1, 10_000)
	return c, errors.Join(errs...)
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

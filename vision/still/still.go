// Package still finds what lies in a camera's picture that was not there before,
// and what is gone: static changes of the background that are no tracks.
//
// Every picture is registered to a canvas first, so that a pole that sways in
// the wind or a hand that holds the camera does not make everything look new.
// On the canvas each pixel has a long background and a short one (the colour
// that it has shown for the last second or so); where both are settled and
// differ, there may be a thing. Before it is called one, it is asked whether it
// is only light, a piece of background that was registered wrongly, the object
// of a track that stands there, or the place that such an object has left. Who
// put it there is the track that touched the place between the moment in which
// the old background and the one in which the new was seen.
//
// It is pure Go; registering pictures is left to an Aligner. See Bouwmans,
// "Traditional and recent approaches in background modeling for foreground
// detection" (2014), and Porikli, "Detection of temporarily static regions by
// processing video at different frame rates" (AVSS 2007), for two backgrounds.
package still

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Aligner registers pictures; see prep.Aligner, which is one.
type Aligner interface {
	// Reference makes the grey picture the one to register to, and returns how
	// many features it has; where use is 0 it must take none.
	Reference(gray, use []byte) (features int, err error)
	// Align returns the projection of the picture onto the reference, in pixels,
	// and which share of the features agrees; 0 when it cannot say.
	Align(gray []byte, guess [9]float64) (m [9]float64, share float64, err error)
	// Warp writes the BGR picture src as seen in the reference into dst, and
	// into outside 255 where src does not reach.
	Warp(dst, outside, src []byte, m [9]float64) error
}

// Config tunes an Analyzer. The zero value is usable: for a camera that never
// moves.
type Config struct {
	// NewAligner makes what registers pictures of the given size in pixels; nil
	// takes every picture as it comes.
	NewAligner func(width, height int) (Aligner, error)
	Masks      []geom.Polygon // never looked at
	Pixels     int            // of the pictures that are worked on, about; default 100,000
	Settle     time.Duration  // how long a colour must last to be static; default 800ms
	MinArea    float64        // of a thing, as a share of the picture; default 0.0003
	MaxArea    float64        // a larger change is light; default 0.2
}

func (c Config) withDefaults() (Config, error) {
	if c.Pixels == 0 {
		c.Pixels = 100_000
	}
	if c.Settle == 0 {
		c.Settle = 800 * time.Millisecond
	}
	if c.MinArea == 0 {
		c.MinArea = 0.0003
	}
	if c.MaxArea == 0 {
		c.MaxArea = 0.2
	}
	switch {
	case c.Pixels < 4096 || c.Pixels > 1<<21:
		return c, fmt.Errorf("still things: %d pixels are not in 4096…2097152", c.Pixels)
	case c.Settle < 0 || c.Settle > time.Minute:
		return c, fmt.Errorf("still things: settle %s is not in 0…1m", c.Settle)
	case !(c.MinArea > 0 && c.MinArea < c.MaxArea && c.MaxArea <= 1):
		return c, fmt.Errorf("still things: areas %v and %v are not in order within (0,1]", c.MinArea, c.MaxArea)
	}
	return c, nil
}

const (
	idlePeriod = 500 * time.Millisecond // of pictures in which nothing moves
	maxStep    = time.Second            // a longer gap counts as this much: nothing is known of the rest
	maxGap     = 5 * time.Minute        // after a longer one everything is learnt anew
	maxLife    = 30 * 24 * time.Hour    // times are kept in 32 bits of milliseconds
)

// Analyzer is a pipeline.Enricher that fills Scene.Stills. It is used by one
// goroutine. It keeps about 25 bytes for each pixel that it works on.
type Analyzer struct {
	cfg   Config
	field *field // nil before the first picture
	srcW  int
	srcH  int

	began, last time.Time
	ids         uint64
	who         *witnesses
	stills      []vision.Still // reused
}

// New returns an analyzer that has seen nothing.
func New(cfg Config) (*Analyzer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Analyzer{cfg: cfg, who: newWitnesses()}, nil
}

// Enrich implements pipeline.Enricher: it sets s.Stills, valid until the next
// call. Of a Held scene it looks at a picture every half second only. A picture
// that cannot be registered changes nothing.
func (a *Analyzer) Enrich(_ context.Context, f *media.Frame, s *vision.Scene) error {
	if f == nil || f.Picture == nil {
		return nil
	}
	w, h := f.Picture.Size()
	if w <= 0 || h <= 0 {
		return nil
	}
	gap := s.At.Sub(a.last)
	switch {
	case a.field == nil || w != a.srcW || h != a.srcH || gap < -maxStep || gap > maxGap || s.At.Sub(a.began) > maxLife:
		if err := a.reset(w, h, s.At); err != nil {
			return err
		}
		gap = 0
	case s.Held && gap < idlePeriod:
		s.Stills = a.report()
		return nil
	}
	a.last = s.At
	if err := a.field.look(f.Picture, s, min(max(gap, 0), maxStep), a.who); err != nil {
		return fmt.Errorf("still things: %w", err)
	}
	s.Stills = a.report()
	return nil
}

// reset forgets everything but the numbers already given.
func (a *Analyzer) reset(srcW, srcH int, at time.Time) error {
	w, h := workingSize(srcW, srcH, a.cfg.Pixels)
	fl, err := newField(&a.cfg, w, h, at, &a.ids)
	if err != nil {
		return fmt.Errorf("still things: %w", err)
	}
	a.field, a.srcW, a.srcH, a.began, a.last = fl, srcW, srcH, at, at
	a.who = newWitnesses()
	return nil
}

// workingSize returns the size of about so many pixels with the picture's shape,
// and no larger than the picture.
func workingSize(srcW, srcH, pixels int) (w, h int) {
	scale := min(1, math.Sqrt(float64(pixels)/(float64(srcW)*float64(srcH))))
	even := func(v int) int { return max(32, int(math.Round(float64(v)*scale/2))*2) }
	return even(srcW), even(srcH)
}

// report describes the things that are known.
func (a *Analyzer) report() []vision.Still {
	a.stills = a.stills[:0]
	for _, t := range a.field.things {
		if t.reported() {
			a.stills = append(a.stills, a.field.describe(t))
		}
	}
	return a.stills
}

// Pictures is what a place looked like before and after a change, both cut from
// the working picture: BGR, rows of exactly 3×Width bytes.
type Pictures struct {
	Before, After []byte
	Width, Height int
}

// Pictures returns the pictures of a thing that Scene.Stills still reports. The
// bytes are never written again.
func (a *Analyzer) Pictures(id uint64) (Pictures, bool) {
	if a.field == nil {
		return Pictures{}, false
	}
	for _, t := range a.field.things {
		if t.id == id && t.reported() {
			return t.pictures, len(t.pictures.After) > 0
		}
	}
	return Pictures{}, false
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Observer turns scenes into signals. Every behaviour is one.
type Observer interface {
	Observe(*vision.Scene) []events.Signal
}

// Gate says whether anything moved. It is used by one goroutine.
type Gate interface {
	// Moved compares the frame with what it remembers.
	Moved(media.Picture) (bool, error)
}

// Enricher adds to a scene what the tracker does not know: riders, marks,
// stills, faults of the view. It is used by one goroutine. It may change the
// scene's own fields but not what the tracks of a Held scene say of places; the
// frame is the caller's. An error is about this frame only.
type Enricher interface {
	Enrich(ctx context.Context, f *media.Frame, s *vision.Scene) error
}

// Lingerer is an Enricher that tells of tracks that ended later than the tracker
// does, because they may be found again.
type Lingerer interface {
	// Lingering returns the IDs that are neither in the latest scene nor told as
	// ended.
	Lingering() []uint64
}

// CameraConfig configures a Camera.
type CameraConfig struct {
	Name      string            // slug; required
	Detector  vision.Detector   // required; shared by all cameras
	Tracker   vision.Tracker    // required; this camera's own
	Gate      Gate              // nil looks at every frame
	Masks     []geom.Polygon    // detections whose foot is inside are ignored
	Enrichers []Enricher        // in the order in which they build on each other
	Observers []Observer        // the rules
	Engine    *lifecycle.Engine // required; with the delays of the same rules

	// MaxQuiet is the longest time without an inference, however still the
	// picture is; default 2s. Linger is how long every due frame is looked at
	// after the last motion; default 1s.
	MaxQuiet, Linger time.Duration

	// Record keeps changes, in order; it must neither lose them nor wait for
	// the database. The frame is the one that caused them, for the snapshot,
	// and belongs to the caller; it is nil at the End. Required.
	Record func(context.Context, *media.Frame, []events.Change) error
	// Counted, if not nil, gets what the counting rules have counted, as
	// events.Count says; it must not wait for the database. Run is left empty.
	Counted func([]events.Count)
	// Trouble hears of a closer look that failed; the scene is judged all the
	// same. Where it is nil the error is Step's.
	Trouble func(error)
	// Mood, if not nil, hears after each look how lively the picture is.
	Mood func(Mood)
	// Look, if not nil, is shown every look: for recordings of tracks and for
	// pictures with boxes. It keeps nothing of it.
	Look func(*Look) error

	Now     func() time.Time // the wall clock, for the metric of the delay only; nil measures none
	Metrics *Metrics         // nil counts nothing
}

// Look is what was seen in one due frame.
type Look struct {
	Frame      *media.Frame
	Held       bool // the motion gate found nothing: no inference
	Detections []vision.Detection
	Scene      *vision.Scene
	Changes    []events.Change
	Standing   func() []lifecycle.Standing // what the rules wait for now, and what they have raised
	// Tentative is that something was seen that is in no track yet: whether it is
	// anything is not known.
	Tentative bool
}

// Camera analyses one camera. It is used by one goroutine at a time, which the
// Scheduler sees to.
type Camera struct {
	cfg        CameraConfig
	lastLook   time.Time
	lastMotion time.Time
	lastStep   time.Time
	watched    time.Time // since when there has been no gap
	mood       Mood
	scene      vision.Scene
}

// NewCamera checks the configuration. It starts nothing.
func NewCamera(cfg CameraConfig) (*Camera, error) {
	if cfg.Name == "" || cfg.Detector == nil || cfg.Tracker == nil || cfg.Engine == nil || cfg.Record == nil {
		return nil, errors.New("pipeline: name, detector, tracker, engine and record are required")
	}
	if cfg.MaxQuiet <= 0 {
		cfg.MaxQuiet = 2 * time.Second
	}
	if cfg.Linger <= 0 {
		cfg.Linger = time.Second
	}
	return &Camera{cfg: cfg}, nil
}

// Step looks at one due frame, which stays the caller's. An error is about
// this frame unless it comes from Record.
func (c *Camera) Step(ctx context.Context, f *media.Frame) error {
	at := f.Captured
	quiet, err := c.quiet(f, at)
	if err != nil {
		return err
	}
	look := Look{Frame: f, Held: quiet, Standing: c.cfg.Engine.Standing}
	c.rested(at)
	c.scene = vision.Scene{Camera: c.cfg.Name, At: at, Held: quiet, Aspect: aspect(f.Picture)}
	if quiet {
		c.scene.Tracks, c.scene.Ended = c.cfg.Tracker.Hold(at)
	} else {
		dets, err := c.cfg.Detector.Detect(ctx, f)
		if err != nil {
			return fmt.Errorf("detect: %w", err)
		}
		look.Detections = c.unmasked(dets)
		c.lastLook = at
		c.scene.Tracks, c.scene.Ended = c.cfg.Tracker.Update(at, look.Detections)
	}
	if t, ok := c.cfg.Tracker.(interface{ Tentative() bool }); ok {
		look.Tentative = t.Tentative()
	}
	if err := c.enrich(ctx, f); err != nil {
		return err
	}
	if look.Changes, err = c.judge(ctx, f); err != nil {
		return err
	}
	c.feel(at)
	var took time.Duration
	if c.cfg.Now != nil {
		took = c.cfg.Now().Sub(at)
	}
	c.cfg.Metrics.lookedAt(c.cfg.Name, !quiet, took)
	if c.cfg.Look != nil {
		look.Scene = &c.scene
		return c.cfg.Look(&look)
	}
	return nil
}

// aspect returns width over height, or 0.
func aspect(p media.Picture) float64 {
	if p == nil {
		return 0
	}
	w, h := p.Size()
	if w <= 0 || h <= 0 {
		return 0
	}
	return float64(w) / float64(h)
}

// enrich lets everybody look closer. What one of them cannot do stops neither
// the others nor the rules, where there is somebody to tell.
func (c *Camera) enrich(ctx context.Context, f *media.Frame) error {
	var errs []error
	for _, e := range c.cfg.Enrichers {
		if err := e.Enrich(ctx, f, &c.scene); err != nil {
			errs = append(errs, fmt.Errorf("look closer: %w", err))
		}
	}
	err := errors.Join(errs...)
	if err != nil && c.cfg.Trouble != nil {
		c.cfg.Trouble(err)
		return nil
	}
	return err
}

// End says that no frame will come any more: whoever is in the picture is taken
// for gone at the last one's time. It is for recordings; a live camera goes on.
func (c *Camera) End(ctx context.Context) error {
	c.scene.Ended = c.scene.Ended[:0:0]
	for i := range c.scene.Tracks {
		c.scene.Ended = append(c.scene.Ended, c.scene.Tracks[i].ID)
	}
	for _, e := range c.cfg.Enrichers {
		if l, ok := e.(Lingerer); ok {
			c.scene.Ended = append(c.scene.Ended, l.Lingering()...)
		}
	}
	slices.Sort(c.scene.Ended)
	c.scene.Tracks, c.scene.Stills, c.scene.View = nil, nil, nil
	if _, err := c.judge(ctx, nil); err != nil {
		return err
	}
	changes := c.cfg.Engine.EndGroups()
	if len(changes) == 0 {
		return nil
	}
	if err := c.cfg.Record(ctx, nil, changes); err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}

// judge shows the scene to the rules and records what changes by it.
func (c *Camera) judge(ctx context.Context, f *media.Frame) ([]events.Change, error) {
	var holding []events.Signal
	for _, o := range c.cfg.Observers {
		holding = append(holding, o.Observe(&c.scene)...)
	}
	c.count()
	changes := c.cfg.Engine.Step(c.scene.At, holding)
	if len(changes) == 0 {
		return nil, nil
	}
	if err := c.cfg.Record(ctx, f, changes); err != nil {
		return nil, fmt.Errorf("record events: %w", err)
	}
	return changes, nil
}

// count hands on what the counting rules have.
func (c *Camera) count() {
	if c.cfg.Counted == nil {
		return
	}
	for _, o := range c.cfg.Observers {
		if counter, ok := o.(interface{ TakeCounts() []events.Count }); ok {
			if counts := counter.TakeCounts(); len(counts) > 0 {
				c.cfg.Counted(counts)
			}
		}
	}
}

// quiet reports whether the frame can go without an inference: nothing moved
// for a while and the last look is not too long ago. A clock that was set back
// is a reason to look.
func (c *Camera) quiet(f *media.Frame, at time.Time) (bool, error) {
	if c.cfg.Gate == nil {
		return false, nil
	}
	moved, err := c.cfg.Gate.Moved(f.Picture)
	if err != nil {
		return false, fmt.Errorf("motion gate: %w", err)
	}
	if moved {
		c.lastMotion = at
	}
	lately := within(at, c.lastLook, c.cfg.MaxQuiet)
	if c.mood == MoodCalm && at.Sub(c.lastLook)+at.Sub(c.lastStep) > c.cfg.MaxQuiet+c.cfg.MaxQuiet/10 {
		lately = false // frames are rare while it dozes, the next one would be too late
	}
	return lately && !within(at, c.lastMotion, c.cfg.Linger), nil
}

// rested tells the tracker that everything stayed where it was while the
// camera dozed between two key pictures.
func (c *Camera) rested(at time.Time) {
	gap := at.Sub(c.lastStep)
	if c.mood == MoodCalm && gap > 500*time.Millisecond && gap < longestGOP+time.Second/2 {
		c.cfg.Tracker.Hold(at)
	} else if gap < 0 || gap > longestGOP {
		c.watched = at
	}
	c.lastStep = at
}

// feel tells how lively the picture is.
func (c *Camera) feel(at time.Time) {
	if c.cfg.Gate == nil || c.cfg.Mood == nil {
		return
	}
	c.mood = MoodCalm
	switch {
	case within(at, c.lastMotion, c.cfg.Linger):
		c.mood = MoodBusy
	case within(at, c.lastMotion, CalmAfter) || within(at, c.watched, CalmAfter):
		c.mood = MoodAwake
	}
	for i := range c.scene.Tracks {
		if c.mood == MoodCalm && c.scene.Tracks[i].StillFor < CalmAfter {
			c.mood = MoodAwake
		}
	}
	c.cfg.Mood(c.mood)
}

// within reports whether at is at or after since, by less than d.
func within(at, since time.Time, d time.Duration) bool {
	gone := at.Sub(since)
	return gone >= 0 && gone < d
}

// unmasked drops the detections that stand in a mask, in place.
func (c *Camera) unmasked(dets []vision.Detection) []vision.Detection {
	if len(c.cfg.Masks) == 0 {
		return dets
	}
	out := dets[:0]
next:
	for _, d := range dets {
		for _, m := range c.cfg.Masks {
			if m.Contains(d.Box.Foot()) {
				continue next
			}
		}
		out = append(out, d)
	}
	return out
}

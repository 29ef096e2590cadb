// Package tamper watches over a camera's whole picture: is it covered, out of
// focus, turned away, standing still or dark? It works on small grey copies and
// is pure Go.
//
// What the picture usually shows is learned as a field of edges: for each place
// how strong edges are there and in which direction, averaged over time so that
// only what stands still remains. It is learned by cells, a grid over the
// picture, and a cell is "seen" while its edges lie as they used to, however
// bright or dark it is: exposure, day and night, the switch to infrared and
// shadows change contrasts but not where walls and kerbs are. A truck hides the
// cells that it fills and no others. Only when most of the cells are lost, for
// seconds, is something wrong with the camera, and what else the picture shows
// tells what it is.
package tamper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// Kinds of faults. At most one of the first four is reported at a time.
const (
	Covered = "covered" // what is usually seen is gone, and nothing else is seen
	Blurred = "blurred" // the usual picture without its fine edges
	Moved   = "moved"   // another picture, with edges of its own
	Dark    = "dark"    // it became so dark that little is seen
	Frozen  = "frozen"  // the same picture again and again, though the stream goes on
)

// Config tunes a Watcher. The zero value is usable.
type Config struct {
	Masks []geom.Polygon // areas that are never looked at

	// Relearn is after how long a camera that was moved is taken to stay so: its
	// new view becomes the usual one and the fault ends. 0 is never: it ends when
	// the old view is back, or with a new Watcher, which is made whenever the
	// camera's configuration is saved. A view that was known for less than five
	// minutes is given up after two, as it may itself have been the odd one.
	Relearn time.Duration
}

// Times of the judgement.
const (
	interval   = 380 * time.Millisecond // between two pictures that are looked at
	confirm    = 3 * time.Second        // how long a fault must hold before it is reported
	glareHold  = 30 * time.Second       // the same while something dazzles the camera
	recovery   = 2 * time.Second        // how long it must be gone
	change     = 5 * time.Second        // how long another fault must hold to replace the one reported
	few        = 3                      // pictures that each of these takes at least
	blindGap   = 10 * time.Second       // a longer gap says nothing about what is being judged
	mature     = 5 * time.Minute        // how long a view is known before it is trusted
	giveUp     = 2 * time.Minute        // how long another view lasts before one that is not mature is given up
	learnEvery = time.Second            // a picture is learned from this often, at first each
	nudgeFor   = time.Minute            // how long a tiny shift lasts before it is learned
)

// Watcher watches one camera. It is used by one goroutine.
type Watcher struct {
	cfg  Config
	view *view
	gray []byte

	last  time.Time // of the latest picture that was looked at; zero before the first
	known time.Duration

	unlearned time.Duration // since the latest picture that was learned from
	nudged    time.Time     // since when the view is shifted by very little; zero when it is not
	still     stillness

	suspect suspicion
	fault   vision.ViewFault // reported; Kind "" for none
	calm    suspicion        // how long the fault has been gone
	out     []vision.ViewFault
}

// suspicion is something that has been so for a while.
type suspicion struct {
	kind  string
	since time.Time
	looks int
}

// hold notes that kind is so at the given moment.
func (s *suspicion) hold(kind string, at time.Time) {
	if s.kind != kind {
		*s = suspicion{kind: kind, since: at}
	}
	s.looks++
}

// lasts reports whether it has been so for d.
func (s *suspicion) lasts(at time.Time, d time.Duration) bool {
	return s.looks >= few && at.Sub(s.since) >= d
}

// New returns a watcher that has seen nothing.
func New(cfg Config) (*Watcher, error) {
	if cfg.Relearn < 0 {
		return nil, errors.New("tamper: relearn is negative")
	}
	return &Watcher{cfg: cfg, view: newView(cfg.Masks), gray: make([]byte, Width*Height)}, nil
}

// Enrich implements pipeline.Enricher: it sets s.View.
func (w *Watcher) Enrich(_ context.Context, f *media.Frame, s *vision.Scene) error {
	if w.due(s.At) {
		if err := f.Picture.Gray(w.gray, Width, Height); err != nil {
			return fmt.Errorf("watch over the view: %w", err)
		}
		if err := w.Look(s.At, w.gray); err != nil {
			return err
		}
	}
	s.View = append(s.View[:0:0], w.out...)
	return nil
}

func (w *Watcher) due(at time.Time) bool {
	gap := at.Sub(w.last)
	return w.last.IsZero() || gap < 0 || gap >= interval
}

// Faults returns what is wrong as of the latest picture, by kind. The result is
// valid until the next one.
func (w *Watcher) Faults() []vision.ViewFault { return w.out }

// Look judges the next picture, Width × Height grey levels in rows, captured at
// the given moment.
func (w *Watcher) Look(at time.Time, gray []byte) error {
	if len(gray) != Width*Height {
		return fmt.Errorf("tamper: a picture of %d bytes, not %d", len(gray), Width*Height)
	}
	gap := at.Sub(w.last)
	switch {
	case w.last.IsZero():
		gap = 0
	case gap < 0 || gap > blindGap: // what is being judged starts over
		w.shift(gap)
		gap = 0
	}
	w.last = at
	frozen := w.still.look(at, gray, w.view.use)
	if w.fault.Kind != "" {
		frozen = 0 // a lens that is covered gives the same picture for ever
	}
	if frozen <= 0 { // a frozen picture says nothing new
		w.judge(at, gap, gray)
	}
	w.out = w.out[:0]
	if w.fault.Kind != "" {
		w.out = append(w.out, w.fault)
	}
	if frozen > 0 {
		w.out = append(w.out, vision.ViewFault{Kind: Frozen, Score: frozen, Since: w.still.since})
	}
	slices.SortFunc(w.out, func(a, b vision.ViewFault) int { return strings.Compare(a.Kind, b.Kind) })
	return nil
}

// shift forgets what was being judged; a fault that is reported stays, and keeps
// its duration when the clock was set back.
func (w *Watcher) shift(gap time.Duration) {
	w.suspect, w.calm, w.nudged = suspicion{}, suspicion{}, time.Time{}
	w.still.reset()
	if gap < 0 && w.fault.Kind != "" {
		w.fault.Since = w.fault.Since.Add(gap)
	}
}

// judge compares the picture with what is known and learns from it.
func (w *Watcher) judge(at time.Time, gap time.Duration, gray []byte) {
	seen := w.view.look(gray)
	kind, score := seen.fault()
	if kind == Moved && seen.shift > 0 && seen.shift <= tinyShift {
		kind, score = "", 0 // the pole sways, or the camera was touched
		if w.nudged.IsZero() {
			w.nudged = at
		}
		if at.Sub(w.nudged) >= nudgeFor {
			w.relearn()
		}
	} else {
		w.nudged = time.Time{}
	}
	w.decide(at, kind, score, seen.glare)
	w.unlearned += gap
	if w.fault.Kind == "" && seen.quiet() && (w.unlearned >= learnEvery || w.view.pictures < fresh) {
		w.view.learn(w.unlearned)
		if w.view.ready() {
			w.known += w.unlearned
		}
		w.unlearned = 0
	}
	if w.fault.Kind == Moved && kind == Moved {
		lasting := at.Sub(w.fault.Since)
		if w.known < mature && lasting >= giveUp || w.cfg.Relearn > 0 && lasting >= w.cfg.Relearn {
			w.relearn()
		}
	}
}

func (w *Watcher) relearn() {
	w.view.forget()
	w.known, w.nudged = 0, time.Time{}
	w.fault, w.suspect, w.calm = vision.ViewFault{}, suspicion{}, suspicion{}
}

// decide reports a fault that holds for long enough, and ends one that is gone
// for long enough.
func (w *Watcher) decide(at time.Time, kind string, score float64, glare bool) {
	if kind == "" {
		w.suspect = suspicion{}
		w.calm.hold(kind, at)
		if w.calm.lasts(at, recovery) {
			w.fault = vision.ViewFault{}
		}
		return
	}
	w.calm = suspicion{}
	if w.suspect.kind != "" && w.fault.Kind == "" {
		// What covers the lens passes through several looks: it began with the
		// first of them.
		first := w.suspect.since
		w.suspect.hold(kind, at)
		w.suspect.since = first
	} else {
		w.suspect.hold(kind, at)
	}
	wait := confirm
	switch {
	case w.fault.Kind == kind:
		w.fault.Score = score
		return
	case w.fault.Kind != "":
		wait = change
	case glare && kind != Dark:
		wait = glareHold
	}
	if w.suspect.lasts(at, wait) {
		w.fault = vision.ViewFault{Kind: kind, Score: score, Since: w.suspect.since}
	}
}

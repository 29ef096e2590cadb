// Package track follows the objects of one camera from frame to frame: pure Go,
// deterministic, and counted in seconds, so that it works at 2 as at 30 frames
// a second and at uneven intervals.
package track

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/xacam/xacam/vision"
)

// twinOverlap is the overlap from which two classes of one group are one object.
const twinOverlap = 0.6

// longGap times LostAfter without a look ends all tracks.
const longGap = 3

// Tracker matches detections to tracks in two stages, those with a high score
// first (Zhang et al. 2022, ByteTrack), by predicted boxes. What differs is
// said in similarity, in object.hit and at Config.ConfirmScore.
//
// It holds no clock and no random source: the same calls give the same results.
// Memory is bounded by Config.MaxTracks and the most detections of one call.
// It is not safe for concurrent use.
type Tracker struct {
	cfg    Config
	labels labels
	last   time.Time // of the latest call
	look   uint64    // number of calls
	nextID uint64
	tracks []*object // in the order in which they began
	spare  []*object // ended ones, for reuse

	dets   []detection // of this call, highest score first
	rows   []*object   // scratch of match
	cols   []*detection
	cost   []float64
	solver Assigner
	out    []vision.Track
	ended  []uint64
}

var _ vision.Tracker = (*Tracker)(nil)

// detection is a vision.Detection in the tracker's units.
type detection struct {
	box     box
	score   float64
	weight  float64 // factor on similarities
	label   labelID
	group   int
	agility float64
	taken   bool
}

// New returns a Tracker that has seen nothing. It is an error when a field of
// cfg is out of its range; all such fields are named.
func New(cfg Config) (*Tracker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configure tracker: %w", err)
	}
	return &Tracker{cfg: cfg, labels: newLabels(cfg.Groups)}, nil
}

// Update implements vision.Tracker. Detections that are empty, not finite or
// under Config.LowScore are not looked at. Boxes of tracks without a detection
// are predicted and clipped to the picture. A moment before the last call's
// counts as the same moment.
func (t *Tracker) Update(at time.Time, dets []vision.Detection) (tracks []vision.Track, ended []uint64) {
	dt := t.advance(&at)
	t.admit(dets)
	for _, o := range t.tracks {
		o.predict(dt)
		o.gone = dt > longGap*t.cfg.LostAfter.Seconds()
	}
	t.prune()
	const above = 2 // no score is
	low, high := t.cfg.LowScore, t.cfg.HighScore
	t.match(stage{tracks: known, from: high, to: above, minimum: t.cfg.MinOverlap, useScores: true}, at)
	t.match(stage{tracks: current, from: low, to: high, minimum: t.cfg.MinOverlapLow}, at)
	t.match(stage{tracks: tentative, from: high, to: above, minimum: t.cfg.MinOverlapNew, useScores: true}, at)
	t.match(stage{tracks: tentative, from: low, to: high, minimum: t.cfg.MinOverlapLow}, at)
	t.leap(at)
	t.begin(at)
	t.judge(at)
	t.prune()
	return t.report(), t.ended
}

func known(o *object) bool     { return o.confirmed() }
func current(o *object) bool   { return o.confirmed() && o.missed == 0 }
func tentative(o *object) bool { return !o.confirmed() }

// Hold implements vision.Tracker. Objects that were detected in the last look
// count as seen; the others stay where they are, and no track ends: a picture
// that does not change does not show that something left.
func (t *Tracker) Hold(at time.Time) (tracks []vision.Track, ended []uint64) {
	held := t.advance(&at)
	for _, o := range t.tracks {
		o.rest(at, t.look)
		if !o.confirmed() {
			o.seen = o.seen.Add(time.Duration(held * float64(time.Second)))
		}
	}
	return t.report(), t.ended
}

// Tentative reports whether something was seen lately that is not confirmed.
func (t *Tracker) Tentative() bool { return slices.ContainsFunc(t.tracks, tentative) }

// advance begins a call and returns the seconds since the one before.
func (t *Tracker) advance(at *time.Time) float64 {
	t.ended = t.ended[:0]
	t.look++
	if t.look == 1 || at.Before(t.last) {
		if t.look > 1 {
			*at = t.last
		}
		t.last = *at
		return 0
	}
	dt := at.Sub(t.last).Seconds()
	t.last = *at
	return dt
}

// admit takes over the detections worth looking at.
func (t *Tracker) admit(dets []vision.Detection) {
	t.dets = t.dets[:0]
	for i := range dets {
		d := &dets[i]
		b := newBox(d.Box, t.cfg.Aspect)
		sound := d.Score >= t.cfg.LowScore && d.Score <= 1 && // false for NaN
			b.w > minSide && b.h > minSide && b.w < 2*t.cfg.Aspect && b.h < 2 && math.Abs(b.x)+math.Abs(b.y) < 100
		if !sound {
			continue
		}
		label := t.labels.lookup(d.Label)
		if label == noLabel {
			continue
		}
		t.dets = append(t.dets, detection{
			box: b, score: d.Score, weight: math.Pow(max(scoreFloor, d.Score), scorePower),
			label: label, group: t.labels.group[label], agility: t.labels.agility(label),
		})
	}
	slices.SortStableFunc(t.dets, func(a, b detection) int { return cmp.Compare(b.score, a.score) })
	t.dropTwins()
}

// dropTwins removes detections that are a stronger one's twin: the same box as
// another class of the group. Detectors that cannot decide between car and
// truck report both, and their own suppression goes class by class.
func (t *Tracker) dropTwins() {
	keep := t.dets[:0]
next:
	for _, d := range t.dets {
		for i := range keep {
			k := &keep[i]
			if k.group == d.group && k.label != d.label && overlap(k.box, d.box, 0, 0) >= twinOverlap {
				continue next
			}
		}
		keep = append(keep, d)
	}
	t.dets = keep
}

// begin makes tracks of the detections left over.
func (t *Tracker) begin(at time.Time) {
	for i := range t.dets {
		d := &t.dets[i]
		if d.taken || d.score < t.cfg.NewScore || len(t.tracks) >= t.cfg.MaxTracks {
			continue
		}
		o := &object{}
		if n := len(t.spare); n > 0 {
			o, t.spare = t.spare[n-1], t.spare[:n-1]
		}
		o.begin(d, at, t.look)
		t.tracks = append(t.tracks, o)
	}
}

// judge confirms tracks and marks those that are over.
func (t *Tracker) judge(at time.Time) {
	for _, o := range t.tracks {
		if o.hitOn != t.look {
			o.missed++
		}
		lost := at.Sub(o.seen)
		if !o.confirmed() {
			if o.proof >= t.cfg.ConfirmScore {
				t.nextID++
				o.id = t.nextID
			} else {
				o.gone = o.missed > 1 || o.missed > 0 && lost > t.cfg.ConfirmWithin
			}
			continue
		}
		outside := o.box.x < 0 || o.box.x > t.cfg.Aspect || o.box.y < 0 || o.box.y > 1
		if o.missed > 1 && lost >= t.cfg.LostAfter || o.missed > 0 && outside {
			o.gone = true
		}
	}
}

// prune drops the tracks that are over and notes their IDs.
func (t *Tracker) prune() {
	keep := t.tracks[:0]
	for _, o := range t.tracks {
		if !o.gone {
			keep = append(keep, o)
			continue
		}
		if o.confirmed() {
			t.ended = append(t.ended, o.id)
		}
		t.spare = append(t.spare, o)
	}
	clear(t.tracks[len(keep):])
	t.tracks = keep
}

// report returns the confirmed tracks by ID.
func (t *Tracker) report() []vision.Track {
	t.out = t.out[:0]
	for _, o := range t.tracks {
		if !o.confirmed() {
			continue
		}
		b := o.box.geom(t.cfg.Aspect)
		if !o.posed {
			o.shown, o.posed = b, true
		}
		t.out = append(t.out, vision.Track{
			ID: o.id, Label: t.labels.names[o.class.label()], Score: o.score, Box: b, Prev: o.shown,
			First: o.first, Seen: o.seen, StillFor: max(0, o.seen.Sub(o.still.since)),
		})
		o.shown = b
	}
	slices.SortFunc(t.out, func(a, b vision.Track) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(t.ended)
	return t.out
}

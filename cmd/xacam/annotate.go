package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/cmd/xacam/draw"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/pipeline"
)

// annotator draws what the pipeline sees into a video: zones, lines and masks,
// tracks and where they came from, static changes, faults of the view, the state
// of each rule, and why events were raised. Frames that were not looked at show
// the latest boxes.
type annotator struct {
	path    string
	plan    *plan
	lang    string // "vi" or "en"
	letters *draw.Letters
	out     *avdec.Writer
	w, h    int // of the video: those of the first picture
	bgr     []byte

	scene  vision.Scene // the latest
	trails map[uint64][]trailPoint
	rules  []ruleState
	notes  []note
}

// trailPoint is where a track stood.
type trailPoint struct {
	foot geom.Point
	at   time.Time
}

// note says why an event was raised.
type note struct {
	text     string
	severity events.Severity
	until    time.Duration
	times    int // when drawn: how many say the same
}

// ruleState is what a rule does now.
type ruleState struct {
	name, place string // place is its zone or line, "" for none
	kind        events.Kind
	raised      int           // events that are raised
	pending     int           // conditions that have not lasted for long enough
	held, hold  time.Duration // of the pending one that is nearest to its end
	lately      time.Duration // until when a raise is still shown
}

const (
	noteFor  = 4 * time.Second         // how long a reason is shown
	flashFor = 1500 * time.Millisecond // how long an event of a moment is shown
	trailFor = 4 * time.Second         // length of a trail
	mostTail = 120                     // points of a trail
)

// newAnnotator returns an annotator for the pictures of the plan's camera; lang
// is "vi" or "en".
func newAnnotator(path string, p *plan, lang string) (*annotator, error) {
	letters, err := draw.NewLetters()
	if err != nil {
		return nil, err
	}
	a := &annotator{path: path, plan: p, lang: lang, letters: letters, trails: make(map[uint64][]trailPoint)}
	for _, r := range p.file.Rules {
		a.rules = append(a.rules, ruleState{name: r.Name, kind: r.Kind, place: r.Zone + r.Line})
	}
	return a, nil
}

// Close finishes the video.
func (a *annotator) Close() error {
	if a.out == nil {
		return nil
	}
	return a.out.Close()
}

// look takes over what was seen and draws it.
func (a *annotator) look(l *pipeline.Look) error {
	a.take(l)
	return a.between(l.Frame)
}

func (a *annotator) take(l *pipeline.Look) {
	a.scene = *l.Scene
	a.scene.Tracks = slices.Clone(l.Scene.Tracks)
	a.scene.Stills = slices.Clone(l.Scene.Stills)
	a.scene.View = slices.Clone(l.Scene.View)
	for i := range a.scene.Tracks {
		t := &a.scene.Tracks[i]
		if trail := a.trails[t.ID]; !t.Coasting(a.scene.At) && len(trail) < mostTail {
			a.trails[t.ID] = append(trail, trailPoint{t.Box.Foot(), a.scene.At})
		}
	}
	for id, trail := range a.trails {
		trail = slices.DeleteFunc(trail, func(p trailPoint) bool {
			return p.at.Before(a.scene.At.Add(-trailFor)) || p.at.After(a.scene.At)
		})
		if a.trails[id] = trail; len(trail) == 0 {
			delete(a.trails, id)
		}
	}
	a.judge(l)
}

// judge takes over the states of the rules.
func (a *annotator) judge(l *pipeline.Look) {
	for i := range a.rules {
		r := &a.rules[i]
		*r = ruleState{name: r.name, kind: r.kind, place: r.place, lately: r.lately}
	}
	find := func(k events.Key) *ruleState {
		i := slices.IndexFunc(a.rules, func(r ruleState) bool { return r.name == k.Rule && r.kind == k.Kind })
		if i < 0 {
			return &ruleState{}
		}
		return &a.rules[i]
	}
	var standing []lifecycle.Standing
	if l.Standing != nil {
		standing = l.Standing()
	}
	for _, s := range standing {
		r := find(s.Key)
		if s.Raised {
			r.raised++
			continue
		}
		r.pending++
		if left := s.Hold - s.Held; r.pending == 1 || left < r.hold-r.held {
			r.held, r.hold = s.Held, s.Hold
		}
	}
	for i := range l.Changes {
		e := &l.Changes[i].Event
		if e.State == events.StateRaised {
			find(e.Key()).lately = l.Frame.PTS + flashFor
			a.notes = append(a.notes, note{text: a.say(e.Why), severity: e.Severity, until: l.Frame.PTS + noteFor})
		}
	}
}

// say chooses the language.
func (a *annotator) say(t events.Text) string {
	if a.lang == "en" {
		return t.EN
	}
	return t.VI
}

// between draws a frame that was not looked at.
func (a *annotator) between(f *media.Frame) error {
	if a.out == nil {
		a.w, a.h = f.Picture.Size()
		var err error
		a.out, err = avdec.NewWriter(avdec.WriterConfig{Path: a.path, Width: a.w, Height: a.h})
		if err != nil {
			return err
		}
		a.bgr = make([]byte, 3*a.w*a.h)
	}
	if err := f.Picture.BGR(a.bgr, a.w, a.h); err != nil {
		return fmt.Errorf("annotate: %w", err)
	}
	a.notes = slices.DeleteFunc(a.notes, func(n note) bool { return n.until <= f.PTS })
	a.draw(f.Captured, f.PTS)
	return a.out.Write(a.bgr, f.PTS)
}

package second

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/ration"
)

// Unsure is the value of a mark where no answer is likely enough.
const Unsure = "unsure"

// Other is the label of a classifier for crops that show none of what it is
// asked about: they give no vote.
const Other = "other"

// Looker answers about one crop. Classifier is the one.
type Looker interface {
	// Size returns width and height of the crops it takes, in pixels.
	Size() (width, height int)
	// Labels returns the answers in the order of their probabilities.
	Labels() []string
	// Classify appends the probability of each label to dst. The crop is packed
	// BGR, and the caller's again afterwards.
	Classify(ctx context.Context, dst []float64, crop []byte) ([]float64, error)
}

// Config describes an Enricher.
type Config struct {
	Camera string // slug, for metrics
	Name   string // of the marks, "helmet"
	Looker Looker // required; shared by all cameras

	// Wants says which tracks are looked at; the scene is the one they are in.
	// Required.
	Wants func(*vision.Scene, *vision.Track) bool
	// Area returns what is cut out for a track, in pixels of a picture of the
	// given size; default HeadArea.
	Area func(b geom.Box, width, height int) media.Area

	PerSecond float64        // looks a second of the recording's time, all tracks together; default 8
	Every     time.Duration  // between two looks at a track; default 300 ms: neighbouring pictures say the same
	Again     time.Duration  // between two looks at a track that is sure; default 3 s
	Enough    int            // votes from which a track can be sure; default 4
	Sure      float64        // mean probability from which a mark has a value, in [0.5,1]; default 0.65
	Certain   float64        // mean probability from which a track with enough votes is sure; default 0.85
	MinSide   float64        // of an area, pixels of the picture; default 20
	Budget    *ration.Budget // of all cameras; nil is unlimited
	Metrics   *Metrics       // nil counts nothing
}

func (c Config) withDefaults() (Config, error) {
	if c.Looker == nil || c.Wants == nil || c.Name == "" {
		return c, errors.New("name, looker and wants are required")
	}
	if c.Area == nil {
		c.Area = HeadArea
	}
	c.PerSecond = cmp.Or(c.PerSecond, 8)
	c.Every = cmp.Or(c.Every, 300*time.Millisecond)
	c.Again = cmp.Or(c.Again, 3*time.Second)
	c.Enough = cmp.Or(c.Enough, 4)
	c.Sure = cmp.Or(c.Sure, .65)
	c.Certain = cmp.Or(c.Certain, .85)
	c.MinSide = cmp.Or(c.MinSide, 20)
	switch {
	case !(c.PerSecond > 0 && c.PerSecond <= 1000):
		return c, fmt.Errorf("per_second: %v is not in (0,1000]", c.PerSecond)
	case !(c.Sure >= .5 && c.Sure <= 1) || !(c.Certain >= c.Sure && c.Certain <= 1):
		return c, fmt.Errorf("sure %v and certain %v are not in this order in [0.5,1]", c.Sure, c.Certain)
	case c.Every < 0 || c.Again < 0 || c.Enough < 1 || c.MinSide < 1:
		return c, errors.New("every, again, enough and min_side must not be negative")
	}
	return c, nil
}

// Enricher looks closer at the tracks of one camera and marks them. It is used
// by one goroutine. With the same scenes and pictures, and no Budget, it gives
// the same marks.
type Enricher struct {
	cfg     Config
	answers []string // labels without Other
	other   int      // position of Other; -1 for none
	votes   map[uint64]*vote
	ration  *ration.Ration
	count   ration.Counters

	crop    []byte // reused
	probs   []float64
	chosen  []*wanted
	pending []wanted
}

// wanted is a track that may be looked at.
type wanted struct {
	track *vision.Track
	area  media.Area
	vote  *vote
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Enricher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("second stage: %w", err)
	}
	w, h := cfg.Looker.Size()
	count := cfg.Metrics.of(cfg.Camera, cfg.Name)
	e := &Enricher{
		cfg: cfg, votes: make(map[uint64]*vote), crop: make([]byte, 3*w*h),
		ration: ration.New(cfg.PerSecond, cfg.Budget, count), count: count, other: slices.Index(cfg.Looker.Labels(), Other),
	}
	for i, l := range cfg.Looker.Labels() {
		if i != e.other {
			e.answers = append(e.answers, l)
		}
	}
	if len(e.answers) < 2 {
		return nil, fmt.Errorf("second stage: the labels %v tell nothing apart", cfg.Looker.Labels())
	}
	return e, nil
}

// Enrich implements pipeline.Enricher: it looks at some tracks of the scene and
// writes the marks of all. A crop that cannot be cut or classified is counted;
// only an error about all of them is returned.
func (e *Enricher) Enrich(ctx context.Context, f *media.Frame, s *vision.Scene) error {
	e.forget(s)
	e.ration.Refill(s.At)
	var err error
	if !s.Held && f != nil && f.Picture != nil {
		err = e.look(ctx, f.Picture, s)
	}
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if v := e.votes[t.ID]; v != nil && v.votes > 0 {
			t.Marks = with(t.Marks, v)
		}
	}
	return err
}

// maxVotes bounds what is remembered, should a tracker not say which tracks end.
const maxVotes = 4096

func (e *Enricher) forget(s *vision.Scene) {
	for _, id := range s.Ended {
		delete(e.votes, id)
	}
	if len(e.votes) > maxVotes {
		clear(e.votes)
	}
}

// with returns the marks with the vote's own in its place by name. It leaves
// marks as it is.
func with(marks []vision.Mark, v *vote) []vision.Mark {
	if len(marks) == 0 {
		return v.marks
	}
	at, found := slices.BinarySearchFunc(marks, v.mark.Name, func(m vision.Mark, n string) int { return cmp.Compare(m.Name, n) })
	out := slices.Clone(marks)
	if found {
		out[at] = v.mark
		return out
	}
	return slices.Insert(out, at, v.mark)
}

// look spends the looks that are left on the tracks that need them most.
func (e *Enricher) look(ctx context.Context, p media.Picture, s *vision.Scene) error {
	err := ration.Spend(e.ration, e.choose(p, s), func(w *wanted) (string, error) { return e.ask(ctx, p, w, s.At) })
	if err != nil {
		return fmt.Errorf("second look for %s: %w", e.cfg.Name, err)
	}
	return nil
}

// choose returns the tracks that are worth a look, the most urgent first: those
// with the fewest votes, then the largest.
func (e *Enricher) choose(p media.Picture, s *vision.Scene) []*wanted {
	width, height := p.Size()
	e.pending, e.chosen = e.pending[:0], e.chosen[:0]
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Coasting(s.At) || !e.cfg.Wants(s, t) {
			continue
		}
		v := e.votes[t.ID]
		if v == nil {
			v = &vote{}
			e.votes[t.ID] = v
		}
		e.pending = append(e.pending, wanted{track: t, area: e.cfg.Area(t.Box, width, height), vote: v})
	}
	for i := range e.pending {
		w := &e.pending[i]
		switch {
		case !e.due(w.vote, s.At):
		case w.area.W < e.cfg.MinSide || w.area.H < e.cfg.MinSide:
			e.count.Count(outcomeTooTiny)
		case e.hidden(w):
			e.count.Count(outcomeHidden)
		default:
			e.chosen = append(e.chosen, w)
		}
	}
	slices.SortFunc(e.chosen, func(a, b *wanted) int {
		return cmp.Or(cmp.Compare(a.vote.looks, b.vote.looks), cmp.Compare(b.area.W, a.area.W), cmp.Compare(a.track.ID, b.track.ID))
	})
	return e.chosen
}

// due reports whether it is time for another look.
func (e *Enricher) due(v *vote, at time.Time) bool {
	wait := e.cfg.Every
	if v.votes >= e.cfg.Enough && v.mark.Score >= e.cfg.Certain || v.looks >= 4*e.cfg.Enough {
		wait = e.cfg.Again
	}
	gone := at.Sub(v.asked)
	return gone >= wait || gone < 0
}

// tooClose is how much of an area may be another one's.
const tooClose = .55

// hidden reports whether another wanted track's area covers much of w's and
// that one stands further to the front: its feet are lower.
func (e *Enricher) hidden(w *wanted) bool {
	for i := range e.pending {
		o := &e.pending[i]
		if o.track.ID != w.track.ID && o.track.Box.Max.Y > w.track.Box.Max.Y && overlap(w.area, o.area) > tooClose {
			return true
		}
	}
	return false
}

// flat is the standard deviation of the grey levels, 0 to 255, below which a
// crop shows nothing.
const flat = 6

// ask looks at one track and returns what came of it.
func (e *Enricher) ask(ctx context.Context, p media.Picture, w *wanted, at time.Time) (outcome string, err error) {
	width, height := e.cfg.Looker.Size()
	w.vote.asked = at
	w.vote.looks++
	if err := media.Crop(p, e.crop, w.area, width, height); err != nil {
		return "", err
	}
	if contrast(e.crop) < flat {
		return outcomeFlat, nil
	}
	if e.probs, err = e.cfg.Looker.Classify(ctx, e.probs[:0], e.crop); err != nil {
		return "", err
	}
	if len(e.probs) != len(e.answers)+min(e.other+1, 1) {
		return "", fmt.Errorf("%d answers to %d labels", len(e.probs), len(e.cfg.Looker.Labels()))
	}
	weight := 1.0
	if e.other >= 0 {
		weight -= e.probs[e.other]
		e.probs = slices.Delete(e.probs, e.other, e.other+1)
	}
	if weight < .5 {
		return outcomeOther, nil
	}
	for i := range e.probs {
		e.probs[i] /= weight
	}
	w.vote.add(e.probs, weight)
	w.vote.conclude(e.cfg.Name, e.answers, e.cfg.Sure)
	return outcomeVoted, nil
}

// Package reid finds tracks again: a track that was lost for a few seconds and a
// new one of the same class become one, when they look alike, when one can have
// come to where the other begins, and when nobody else comes into question.
//
// It stands between the tracker and everything that reads tracks: what it makes
// of a scene has IDs of its own, and the ID of an object that is found again is
// the old one. So no rule needs to know of it. The matching is pure Go and counts
// in seconds and in sizes of the object; how things look is told by an Embedder.
package reid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/ration"
)

// Embedder says how a crop looks. second.Embedder is the one.
type Embedder interface {
	// Size returns width and height of the crops it takes, in pixels.
	Size() (width, height int)
	// Labels returns the classes it is for.
	Labels() []string
	// Alike returns the similarity from which two objects look the same, in (0,1).
	Alike() float64
	// Embed appends the direction of a crop, of length 1, to dst. The crop is
	// packed BGR, and the caller's again afterwards.
	Embed(ctx context.Context, dst []float32, crop []byte) ([]float32, error)
}

// Config describes a Keeper.
type Config struct {
	Camera   string   // slug, for metrics
	Embedder Embedder // required; shared by all cameras

	Gap      time.Duration // an object not detected for longer is another one; up to a minute, default 10 s
	Alike    float64       // similarity from which a track may be one that was lost, in (0,1); default the Embedder's
	Margin   float64       // by how much everybody else must look less like it, in [0,1]; default 0.1
	Patience time.Duration // that a new track may be held back until it is known; default 400 ms

	PerSecond float64        // crops a second of the recording's time, all tracks together; default 5
	Every     time.Duration  // between two crops of a track that is hardly known; default 200 ms
	Again     time.Duration  // between two crops of one that is; default 2 s
	MinSide   float64        // of a crop, pixels of the picture; default 24
	Budget    *ration.Budget // of all cameras; nil is unlimited
	Metrics   *Metrics       // nil counts nothing
}

func (c Config) withDefaults() (Config, error) {
	if c.Embedder == nil {
		return c, errors.New("an embedder is required")
	}
	c.Gap = cmp.Or(c.Gap, 10*time.Second)
	c.Alike = cmp.Or(c.Alike, c.Embedder.Alike())
	c.Margin = cmp.Or(c.Margin, .1)
	c.Patience = cmp.Or(c.Patience, 400*time.Millisecond)
	c.PerSecond = cmp.Or(c.PerSecond, 5)
	c.Every = cmp.Or(c.Every, 200*time.Millisecond)
	c.Again = cmp.Or(c.Again, 2*time.Second)
	c.MinSide = cmp.Or(c.MinSide, 24)
	switch {
	case c.Gap < 0 || c.Gap > time.Minute:
		return c, fmt.Errorf("gap: %v is not in 0…1m", c.Gap)
	case !(c.Alike > 0 && c.Alike < 1):
		return c, fmt.Errorf("alike: %v is not in (0,1)", c.Alike)
	case !(c.Margin >= 0 && c.Margin <= 1):
		return c, fmt.Errorf("margin: %v is not in [0,1]", c.Margin)
	case c.Patience < 0 || c.Patience > 5*time.Second:
		return c, fmt.Errorf("patience: %v is not in 0…5s", c.Patience)
	case !(c.PerSecond > 0 && c.PerSecond <= 1000):
		return c, fmt.Errorf("per_second: %v is not in (0,1000]", c.PerSecond)
	case c.Every < 0 || c.Again < 0 || !(c.MinSide >= 1):
		return c, errors.New("every, again and min_side must not be negative")
	}
	return c, nil
}

// Bounds of what is remembered.
const (
	maxTracks = 1024 // should a tracker not say which tracks end
	maxLost   = 256  // of a second in a very busy place; the oldest go first
)

// Keeper keeps the identities of one camera's objects. It is used by one
// goroutine. With the same scenes and pictures, and no Budget, it gives the same
// identities.
type Keeper struct {
	cfg    Config
	nextID uint64
	known  map[uint64]*identity // by the tracker's ID
	fresh  map[uint64]*newcomer // tracks that are held back, by the tracker's ID
	lost   []*identity          // whose track has ended, in the order in which they were lost
	newest uint64               // the tracker's latest ID
	ended  []uint64             // reused
	ration *ration.Ration
	count  ration.Counters
	found  prometheus.Counter // objects found again; may be nil

	crop   []byte // reused
	answer []float32
	wanted []wanted
}

// identity is an object with an ID that the rest of the analysis knows.
type identity struct {
	id    uint64
	track uint64 // the tracker's ID, 0 when that has ended
	label string
	box   geom.Box // when last detected
	seen  time.Time
	first time.Time // of the object
	looks appearance
	shown bool // in a scene, under the latest track
}

// newcomer is a track that may be an object that was lost.
type newcomer struct {
	track *vision.Track // of the latest scene
	first time.Time     // when it was detected first, since it is not known
	since time.Time     // when it was held back first
	looks appearance
}

// New checks the configuration. It starts nothing.
func New(cfg Config) (*Keeper, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("re-identification: %w", err)
	}
	w, h := cfg.Embedder.Size()
	count, found := cfg.Metrics.of(cfg.Camera)
	return &Keeper{
		cfg: cfg, known: make(map[uint64]*identity), fresh: make(map[uint64]*newcomer),
		ration: ration.New(cfg.PerSecond, cfg.Budget, count), count: count, found: found, crop: make([]byte, 3*w*h),
	}, nil
}

// Enrich implements pipeline.Enricher and must come first: it gives the scene's
// tracks their IDs, and leaves out new ones that are not known yet. A track that
// the tracker has ended is in Scene.Ended when it can no longer be found again,
// so that what the rules know of it is kept that long. Only an error about all
// crops of the scene is returned; the IDs are good with it, too.
func (k *Keeper) Enrich(ctx context.Context, f *media.Frame, s *vision.Scene) error {
	k.ended = k.ended[:0]
	k.bound()
	k.ration.Refill(s.At)
	k.lose(s)
	k.note(s)
	var err error
	if !s.Held && f != nil && f.Picture != nil {
		err = k.look(ctx, f.Picture, s)
	}
	k.decide(s)
	k.expire(s.At)
	k.write(s)
	return err
}

// Lingering returns the IDs that are neither in the latest scene nor told as
// ended, ascending.
func (k *Keeper) Lingering() []uint64 {
	var out []uint64
	for _, o := range k.lost {
		out = append(out, o.id)
	}
	slices.Sort(out)
	return out
}

// bound forgets everything where something does not end what it begins.
func (k *Keeper) bound() {
	if len(k.known)+len(k.fresh) <= maxTracks {
		return
	}
	for _, o := range k.known {
		k.ended = append(k.ended, o.id)
	}
	clear(k.known)
	clear(k.fresh)
}

// lose takes leave of the tracks that have ended.
func (k *Keeper) lose(s *vision.Scene) {
	for _, id := range s.Ended {
		delete(k.fresh, id)
		o := k.known[id]
		if o == nil {
			continue
		}
		delete(k.known, id)
		o.track = 0
		if o.looks.crops == 0 {
			k.ended = append(k.ended, o.id)
			continue
		}
		k.lost = append(k.lost, o)
	}
	for len(k.lost) > maxLost {
		k.ended = append(k.ended, k.lost[0].id)
		k.lost = slices.Delete(k.lost, 0, 1)
	}
}

// note takes over where the tracks are. New ones are held back when there is
// somebody they may be.
func (k *Keeper) note(s *vision.Scene) {
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if o := k.known[t.ID]; o != nil {
			o.label = t.Label
			if !t.Coasting(s.At) {
				o.box, o.seen = t.Box, s.At
			}
			continue
		}
		n := k.fresh[t.ID]
		if n == nil {
			if t.Coasting(s.At) {
				continue // its object was found again as another track
			}
			n = &newcomer{first: t.First, since: s.At}
			if t.ID <= k.newest { // and now this one is there again
				n.first = s.At
			}
			k.fresh[t.ID] = n
		}
		n.track = t
		k.newest = max(k.newest, t.ID)
	}
}

// decide says who the new tracks are, as far as that is known.
func (k *Keeper) decide(s *vision.Scene) {
	if len(k.fresh) == 0 {
		return
	}
	aspect := s.Aspect
	if !(aspect > 0) {
		aspect = usualAspect
	}
	ids := slices.Sorted(maps.Keys(k.fresh))
	calls, known := make([]call, 0, len(ids)), slices.Sorted(maps.Keys(k.known))
	for _, id := range ids {
		calls = append(calls, k.consider(k.fresh[id], known, aspect))
	}
	for i := range calls {
		c := &calls[i]
		waited := s.At.Sub(c.who.since)
		switch {
		case c.best != nil && c.best.seen.Before(c.who.first) && !k.rivalled(calls, i):
			k.rejoin(c.best, c.who)
		case len(c.all) == 0 || c.hopeless || waited >= k.cfg.Patience || waited < 0:
			k.welcome(c.who)
		}
	}
}

// welcome makes a new object of the track.
func (k *Keeper) welcome(n *newcomer) {
	k.nextID++
	k.known[n.track.ID] = &identity{
		id: k.nextID, track: n.track.ID, label: n.track.Label, box: n.track.Box, seen: n.track.Seen, first: n.first, looks: n.looks,
	}
	delete(k.fresh, n.track.ID)
}

// rejoin makes the track that of the object. Where its old track is still being
// waited for, that one is somebody else from now on, should it be found again.
func (k *Keeper) rejoin(o *identity, n *newcomer) {
	if o.track != 0 {
		delete(k.known, o.track)
	}
	k.lost = slices.DeleteFunc(k.lost, func(l *identity) bool { return l == o })
	if k.found != nil {
		k.found.Inc()
	}
	o.looks.join(&n.looks)
	o.track, o.label, o.box, o.seen, o.shown = n.track.ID, n.track.Label, n.track.Box, n.track.Seen, false
	k.known[o.track] = o
	delete(k.fresh, n.track.ID)
}

// expire ends the objects that have been lost for too long.
func (k *Keeper) expire(at time.Time) {
	k.lost = slices.DeleteFunc(k.lost, func(o *identity) bool {
		over := at.Sub(o.seen) > k.cfg.Gap || at.Before(o.seen)
		if over {
			k.ended = append(k.ended, o.id)
		}
		return over
	})
}

// write gives the scene its tracks, by ID, and those that have ended.
func (k *Keeper) write(s *vision.Scene) {
	out := s.Tracks[:0]
	for _, t := range s.Tracks {
		o := k.known[t.ID]
		if o == nil {
			continue
		}
		t.ID, t.First = o.id, o.first
		if !o.shown {
			o.shown, t.Prev = true, t.Box
		}
		out = append(out, t)
	}
	clear(s.Tracks[len(out):])
	slices.SortFunc(out, func(a, b vision.Track) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(k.ended)
	s.Tracks, s.Ended = out, k.ended
}

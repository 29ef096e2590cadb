package reid

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/ration"
)

// enough is how many crops make an object known.
const enough = 3

// wanted is a track that may be looked at.
type wanted struct {
	track *vision.Track
	looks *appearance
	held  bool // it is held back until it is known
}

// look spends the crops that are left on the tracks that need them most.
func (k *Keeper) look(ctx context.Context, p media.Picture, s *vision.Scene) error {
	err := ration.Spend(k.ration, k.choose(p, s), func(w wanted) (string, error) {
		w.looks.asked = s.At.UnixNano()
		return outcomeTaken, k.embed(ctx, p, w)
	})
	if err != nil {
		return fmt.Errorf("look for re-identification: %w", err)
	}
	return nil
}

// choose returns the tracks that are worth a crop, the most urgent first: those
// that are held back, then those that are the least known, then those whose
// crop is the oldest.
func (k *Keeper) choose(p media.Picture, s *vision.Scene) []wanted {
	width, height := p.Size()
	k.wanted = k.wanted[:0]
	for i := range s.Tracks {
		t := &s.Tracks[i]
		if t.Coasting(s.At) || !slices.Contains(k.cfg.Embedder.Labels(), t.Label) {
			continue
		}
		w := wanted{track: t}
		if o := k.known[t.ID]; o != nil {
			w.looks = &o.looks
		} else if n := k.fresh[t.ID]; n != nil {
			w.looks, w.held = &n.looks, true
		}
		area := areaOf(t.Box, width, height)
		switch {
		case w.looks == nil || !k.due(w.looks, s.At):
		case area.W < k.cfg.MinSide || area.H < k.cfg.MinSide:
			k.count.Count(outcomeTooTiny)
		case hidden(s, t):
			k.count.Count(outcomeHidden)
		default:
			k.wanted = append(k.wanted, w)
		}
	}
	slices.SortFunc(k.wanted, func(a, b wanted) int {
		if a.held != b.held {
			if a.held {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(min(a.looks.crops, enough), min(b.looks.crops, enough)), cmp.Compare(a.looks.asked, b.looks.asked),
			cmp.Compare(a.track.ID, b.track.ID))
	})
	return k.wanted
}

// due reports whether it is time for another crop.
func (k *Keeper) due(a *appearance, at time.Time) bool {
	wait := k.cfg.Every
	if a.crops >= enough {
		wait = k.cfg.Again
	}
	gone := at.UnixNano() - a.asked
	return gone >= wait.Nanoseconds() || gone < 0
}

// embed looks at one track.
func (k *Keeper) embed(ctx context.Context, p media.Picture, w wanted) (err error) {
	pw, ph := p.Size()
	width, height := k.cfg.Embedder.Size()
	if err := media.Crop(p, k.crop, areaOf(w.track.Box, pw, ph), width, height); err != nil {
		return err
	}
	if k.answer, err = k.cfg.Embedder.Embed(ctx, k.answer[:0], k.crop); err != nil {
		return err
	}
	w.looks.add(k.answer)
	return nil
}

// areaOf returns the box in pixels of a picture of the given size.
func areaOf(b geom.Box, width, height int) media.Area {
	w, h := float64(width), float64(height)
	return media.Area{X: b.Min.X * w, Y: b.Min.Y * h, W: b.Width() * w, H: b.Height() * h}
}

// covered is how much of a box may be behind another one.
const covered = .3

// hidden reports whether something that stands further to the front, with its
// foot lower in the picture, covers much of the track.
func hidden(s *vision.Scene, t *vision.Track) bool {
	for i := range s.Tracks {
		o := &s.Tracks[i]
		if o.ID == t.ID || o.Box.Max.Y <= t.Box.Max.Y {
			continue
		}
		w := min(t.Box.Max.X, o.Box.Max.X) - max(t.Box.Min.X, o.Box.Min.X)
		h := min(t.Box.Max.Y, o.Box.Max.Y) - max(t.Box.Min.Y, o.Box.Min.Y)
		if w > 0 && h > 0 && w*h > covered*t.Box.Area() {
			return true
		}
	}
	return false
}

package evidence

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// delay says when a draft is looked at again.
type delay struct {
	pause  time.Duration
	next   time.Time
	unread time.Time // since when a file of it cannot be read; zero for never
}

// round seals every draft that can be, oldest first, holding one at a time. It
// returns an error when it had to stop and should try again.
func (s *Sealer) round(ctx context.Context) error {
	ids, err := s.cfg.Drafts.DraftIDs(ctx)
	if err != nil {
		return err
	}
	s.forget(ids)
	if err := s.signEnd(ctx); err != nil {
		s.metrics.waiting.Set(float64(len(ids)))
		return err
	}
	if len(ids) > 0 { // a store that is away spares the reading
		if _, err := s.cfg.Chain.Event(ctx, ids[0]); errors.Is(err, events.ErrUnavailable) {
			s.metrics.waiting.Set(float64(len(ids)))
			return err
		}
	}
	waiting := 0
	for _, id := range ids {
		if s.aside[id] {
			continue
		}
		if s.cfg.Now().Before(s.delays[id].next) {
			waiting++
			continue
		}
		switch err := s.try(ctx, id); {
		case err == nil:
			delete(s.delays, id)
		case errors.Is(err, events.ErrUnavailable):
			s.metrics.waiting.Set(float64(waiting + 1))
			return err
		case errors.Is(err, events.ErrNotFound): // the event itself is still to be stored
			waiting++
			s.postpone(id)
		case errors.Is(err, errUnread):
			waiting++
			s.postpone(id)
			s.cfg.Log.WarnContext(ctx, "evidence cannot be read to be sealed, it is tried again", "event", id, "err", err)
		default:
			s.aside[id] = true
			s.metrics.aside.Inc()
			s.cfg.Log.ErrorContext(ctx, "evidence cannot be sealed and is put aside; it is tried again at the next start", "event", id, "err", err)
		}
	}
	s.metrics.waiting.Set(float64(waiting))
	return nil
}

// errRefused says that the event of a draft will not come.
var errRefused = errors.New("the store refused the event; the file in spool/rejected says why")

// try seals the package of an event, if it is ready.
func (s *Sealer) try(ctx context.Context, id string) error {
	d, err := s.cfg.Drafts.Draft(id)
	switch {
	case errors.Is(err, events.ErrNotFound):
		return nil // gone meanwhile
	case errors.Is(err, ErrDamaged):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUnread, err)
	case d.Refused:
		return errRefused
	case !s.ready(&d):
		return nil
	}
	// Asked before the files are read, which takes much longer.
	if _, err := s.cfg.Chain.Event(ctx, id); err != nil {
		return err
	}
	return s.seal(ctx, &d)
}

// maxDelay bounds how long a draft is left alone.
const maxDelay = time.Minute

// postpone leaves a draft alone for a while, longer each time.
func (s *Sealer) postpone(id string) {
	d := s.delays[id]
	d.pause = min(max(2*d.pause, s.cfg.Every/5), maxDelay) // at first no longer than until the next round
	d.next = s.cfg.Now().Add(d.pause)
	s.delays[id] = d
}

// forget drops what is known of drafts that are no longer there. ids are sorted.
func (s *Sealer) forget(ids []string) {
	gone := func(id string) bool {
		_, found := slices.BinarySearch(ids, id)
		return !found
	}
	maps.DeleteFunc(s.aside, func(id string, _ bool) bool { return gone(id) })
	maps.DeleteFunc(s.delays, func(id string, _ delay) bool { return gone(id) })
}

func (s *Sealer) ready(d *Draft) bool {
	if d.Ready {
		return true
	}
	if s.cfg.Now().Sub(d.Started) < s.cfg.Patience || s.cfg.Late != nil && !s.cfg.Late(d) {
		return false
	}
	d.Flaws = append(slices.Clone(d.Flaws), fmt.Sprintf("the package was not complete after %s and was sealed as it was", s.cfg.Patience))
	return true
}

// unread says that a file could not be read, and reports whether that has been
// so for long enough to do without it.
func (s *Sealer) unread(id string) (enough bool) {
	d, now := s.delays[id], s.cfg.Now()
	if d.unread.IsZero() {
		d.unread = now
		s.delays[id] = d
	}
	return now.Sub(d.unread) >= s.cfg.Patience
}

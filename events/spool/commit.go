package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/xacam/xacam/events"
)

// rejectedDir holds what could not be committed, for a person to look at.
const rejectedDir = "rejected"

// commit hands a batch to the store.
func (s *Spool) commit(ctx context.Context, b batch) (done int, err error) {
	defer func() {
		if err == nil {
			s.size = min(2*s.size, s.cfg.Batch)
		}
	}()
	if b.records == nil {
		// It outlives ctx, so that the outcome is known at the end.
		return s.halve(context.WithoutCancel(ctx), b.changes, s.cfg.CommitTimeout)
	}
	start := time.Now()
	done, err = s.halve(ctx, b.changes, s.patience)
	if took := time.Since(start); took >= s.patience {
		s.patience = min(2*s.patience, max(maxPatience, s.cfg.CommitTimeout))
	} else if took < s.cfg.CommitTimeout {
		s.patience = s.cfg.CommitTimeout
	}
	return done, err
}

// maxPatience bounds a commit from disk.
const maxPatience = 30 * time.Second

// halve hands changes to the store and returns how many of the first are
// settled: stored, or refused and put aside. A refused batch is halved until
// the offending change is alone. The error says why the rest must wait.
func (s *Spool) halve(ctx context.Context, changes []events.Change, timeout time.Duration) (done int, err error) {
	err = s.attempt(ctx, changes, timeout)
	switch {
	case err == nil:
		s.cfg.OnCommit(changes)
		s.metrics.committed.Add(float64(len(changes)))
		return len(changes), nil
	case errors.Is(err, events.ErrUnavailable):
		return 0, err
	case len(changes) == 1:
		if asideErr := s.reject(changes[0], err); asideErr != nil {
			return 0, errors.Join(err, asideErr)
		}
		s.metrics.rejected.Inc()
		s.cfg.Log.ErrorContext(ctx, "event refused by the store and put aside", "event", changes[0].Event.ID,
			"dir", filepath.Join(s.cfg.Dir, rejectedDir), "error", err)
		return 1, nil
	}
	half := len(changes) / 2
	s.size = half // should the store go away now, the search goes on here
	done, err = s.halve(ctx, changes[:half], timeout)
	if err != nil {
		return done, err
	}
	more, err := s.halve(ctx, changes[half:], timeout)
	return done + more, err
}

// attempt is one bounded call of the store. A store that does not answer in
// time counts as away, whatever its error.
func (s *Spool) attempt(ctx context.Context, changes []events.Change, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	err := s.cfg.Store.Commit(ctx, changes)
	s.metrics.seconds.Observe(time.Since(start).Seconds())
	if err != nil && ctx.Err() != nil && !errors.Is(err, events.ErrUnavailable) {
		return fmt.Errorf("%w: no answer in %s: %w", events.ErrUnavailable, timeout, err)
	}
	return err
}

// rejected is the file of a change that the store refused.
type rejected struct {
	Reason string        `json:"reason"`
	Change events.Change `json:"change"`
}

// reject writes a change to a file of its own. The name is the event's, so the
// same change refused again after a crash takes the same file.
func (s *Spool) reject(change events.Change, reason error) error {
	b, err := json.MarshalIndent(rejected{reason.Error(), change}, "", "  ")
	if err != nil { // a value that JSON cannot hold, such as a NaN
		b = fmt.Appendf(nil, "%s\n%+v\n", reason, change)
	}
	name := fmt.Sprintf("%s-%s.json", safeName(change.Event.ID), safeName(string(change.Event.State)))
	if err := writeFile(filepath.Join(s.cfg.Dir, rejectedDir, name), b); err != nil {
		return fmt.Errorf("put a refused event aside: %w", err)
	}
	return nil
}

// safeName keeps what an identifier consists of, at most 64 bytes.
func safeName(s string) string {
	b := []byte(s)
	for i, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' {
			b[i] = '_'
		}
	}
	return string(b[:min(len(b), 64)])
}

// writeFile writes a file whole or not at all, and syncs it.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

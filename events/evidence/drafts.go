package evidence

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	draftSuffix   = ".json"
	damagedSuffix = ".damaged"
)

var draftID = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// draftDir is the folder of drafts, beside that of the media.
func (s *Store) draftDir() string {
	return filepath.Join(filepath.Dir(filepath.Clean(s.dir)), "evidence-drafts")
}

func (s *Store) draftPath(id string) (string, error) {
	if !draftID.MatchString(id) {
		return "", fmt.Errorf("%q is not the identifier of an event", id)
	}
	return filepath.Join(s.draftDir(), id+draftSuffix), nil
}

// OnReady sets what is called after a draft has become ready; it must not block.
// It is called before the store is used.
func (s *Store) OnReady(f func()) { s.ready = f }

// PutDraft stores a draft in place of the one of the same event. It is on disk
// for good when it returns nil.
func (s *Store) PutDraft(d Draft) error {
	path, err := s.draftPath(d.Event.ID)
	if err != nil {
		return fmt.Errorf("store a draft: %w", err)
	}
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("store the draft of event %s: %w", d.Event.ID, err)
	}
	if err := writeAtomic(path, b); err != nil {
		return fmt.Errorf("store the draft of event %s: %w", d.Event.ID, err)
	}
	if d.Ready && s.ready != nil {
		s.ready()
	}
	return nil
}

// RemoveDraft removes the draft of an event whose package is sealed. One that is
// not there is no error.
func (s *Store) RemoveDraft(eventID string) error {
	path, err := s.draftPath(eventID)
	if err != nil {
		return fmt.Errorf("remove a draft: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the draft of event %s: %w", eventID, err)
	}
	return nil
}

// Drafts returns every draft, those of the oldest events first. One that cannot
// be read is set aside under another name, and told in the error, which does not
// concern the drafts that are returned.
func (s *Store) Drafts(ctx context.Context) ([]Draft, error) {
	entries, err := os.ReadDir(s.draftDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list drafts: %w", err)
	}
	var out []Draft
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		id, ok := strings.CutSuffix(e.Name(), draftSuffix)
		if !ok || !draftID.MatchString(id) {
			continue
		}
		path := filepath.Join(s.draftDir(), e.Name())
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // sealed meanwhile
		}
		var d Draft
		if err == nil {
			err = json.Unmarshal(b, &d)
			if err == nil && d.Event.ID != id {
				err = fmt.Errorf("it is that of event %q", d.Event.ID)
			}
			if err != nil {
				err = errors.Join(err, os.Rename(path, path+damagedSuffix))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read the draft of event %s: %w", id, err))
			continue
		}
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b Draft) int {
		return cmp.Or(a.Event.OccurredAt.Compare(b.Event.OccurredAt), cmp.Compare(a.Event.ID, b.Event.ID))
	})
	return out, errors.Join(errs...)
}

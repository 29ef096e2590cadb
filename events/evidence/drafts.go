package evidence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/xacam/xacam/events"
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

// ErrDamaged is a draft that is there and is none.
var ErrDamaged = errors.New("damaged")

// DraftIDs returns the events that have a draft, the oldest first: their
// identifiers begin with the time.
func (s *Store) DraftIDs(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.draftDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list drafts: %w", err)
	}
	var out []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), draftSuffix); ok && draftID.MatchString(id) {
			out = append(out, id)
		}
	}
	return out, ctx.Err()
}

// Draft reads the draft of an event. One that is not there is
// events.ErrNotFound; one that is no draft is ErrDamaged. Other errors may pass.
func (s *Store) Draft(eventID string) (Draft, error) {
	path, err := s.draftPath(eventID)
	if err != nil {
		return Draft{}, fmt.Errorf("read a draft: %w", err)
	}
	b, err := os.ReadFile(path)
	var d Draft
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = errors.Join(events.ErrNotFound, err)
	case err != nil:
	default:
		if err = json.Unmarshal(b, &d); err == nil && d.Event.ID != eventID {
			err = fmt.Errorf("it is that of event %q", d.Event.ID)
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if err != nil {
		return Draft{}, fmt.Errorf("read the draft of event %s: %w", eventID, err)
	}
	return d, nil
}

// SetDraftAside gives the file of a damaged draft another name, where a person
// finds it and nothing else looks.
func (s *Store) SetDraftAside(eventID string) error {
	path, err := s.draftPath(eventID)
	if err == nil {
		err = os.Rename(path, path+damagedSuffix)
	}
	if err != nil {
		return fmt.Errorf("set a damaged draft aside: %w", err)
	}
	return nil
}

// Drafts returns every draft, those of the oldest events first. Those that
// cannot be read are told in the error, which does not concern the drafts that
// are returned. It changes nothing.
func (s *Store) Drafts(ctx context.Context) ([]Draft, error) {
	ids, err := s.DraftIDs(ctx)
	if err != nil {
		return nil, err
	}
	var out []Draft
	var errs []error
	for _, id := range ids {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d, err := s.Draft(id)
		switch {
		case err == nil:
			out = append(out, d)
		case !errors.Is(err, events.ErrNotFound): // sealed meanwhile
			errs = append(errs, err)
		}
	}
	return out, errors.Join(errs...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	streamclip "github.com/xacam/xacam/streams/clip"
)

// restarted is the flaw of packages that an earlier run has left unfinished.
const restarted = "the server was restarted before the package was complete"

// recoverDrafts finishes what an earlier run has left: its clips are cut behind
// the last whole fragment, files that no draft tells of yet are found by their
// names, and the packages are given to the sealer. It returns how many. Damaged
// drafts are set aside, and told in the error. The data folder must be locked.
func recoverDrafts(ctx context.Context, store *evidence.Store) (int, error) {
	err := store.Certain() // what is missing now is not lost: Late finds it
	if errors.Is(err, evidence.ErrUnclaimed) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	err = eachDraft(ctx, store, func(d *evidence.Draft) error {
		if d.Ready {
			return nil
		}
		n++
		return recoverDraft(store, d)
	})
	return n, err
}

// eachDraft calls f with every draft, oldest first. An error of one is no reason
// to leave the others.
func eachDraft(ctx context.Context, store *evidence.Store, f func(*evidence.Draft) error) error {
	ids, err := store.DraftIDs(ctx)
	errs := []error{err}
	for _, id := range ids {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d, err := store.Draft(id)
		switch {
		case err == nil:
			err = f(&d)
		case errors.Is(err, evidence.ErrDamaged):
			err = errors.Join(err, store.SetDraftAside(id))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// lostEvents returns the events of all drafts as raised. A crash between draft
// and commit leaves an event in its draft only, and storing one again is
// harmless. Those that the store refused are in the given folder of the spool:
// they are not tried again, and their drafts say so for as long as the file is
// there.
func lostEvents(ctx context.Context, store *evidence.Store, rejected string) ([]events.Change, error) {
	var out []events.Change
	err := eachDraft(ctx, store, func(d *evidence.Draft) error {
		_, err := os.Lstat(filepath.Join(rejected, d.Event.ID+"-"+string(events.StateRaised)+".json"))
		refused := err == nil
		if !refused {
			out = append(out, events.Change{Event: d.Event})
		}
		if d.Refused == refused {
			return nil
		}
		d.Refused = refused
		return store.PutDraft(*d)
	})
	return out, err
}

func recoverDraft(store *evidence.Store, d *evidence.Draft) error {
	d.Flaws = append(d.Flaws, restarted)
	errs := []error{gather(store, d)}
	if !has(d, "record") {
		ref, err := store.Put("record", fileBase(&d.Event)+"-record.json", d.Event.OccurredAt, d.Record)
		if err == nil {
			d.Files = append(d.Files, ref)
		}
		errs = append(errs, err)
	}
	d.Ready = true
	if err := errors.Join(append(errs, store.PutDraft(*d))...); err != nil {
		return fmt.Errorf("finish the package of event %s: %w", d.Event.ID, err)
	}
	return nil
}

// gather adds to a draft that nobody works on what there is of its files.
func gather(store *evidence.Store, d *evidence.Draft) error {
	var errs []error
	if d.Clip != "" {
		err := streamclip.Salvage(store.Full(d.Clip))
		switch {
		case errors.Is(err, streamclip.ErrEmpty):
			d.Flaws = append(d.Flaws, "the clip had just begun when the server ended")
		case err != nil && !errors.Is(err, fs.ErrNotExist): // it may have got its name
			errs = append(errs, err)
		}
		errs = append(errs, adoptFile(store, d, "clip", d.Clip))
		d.Clip = ""
	}
	base := fileBase(&d.Event)
	return errors.Join(append(errs, adoptStills(store, d),
		adoptNamed(store, d, "track", base+"-track.json"), adoptNamed(store, d, "record", base+"-record.json"))...)
}

// adoptStills adds the pictures that are there.
func adoptStills(store *evidence.Store, d *evidence.Draft) error {
	var errs []error
	for _, name := range []string{"approach", "act", "detail", "before", "after", "annotated"} {
		typ := "still"
		if name == "annotated" {
			typ = name
		}
		errs = append(errs, adoptNamed(store, d, typ, fileBase(&d.Event)+"-"+name+".jpg"))
	}
	return errors.Join(errs...)
}

func has(d *evidence.Draft, typ string) bool {
	return slices.ContainsFunc(d.Files, func(f events.EvidenceRef) bool { return f.Type == typ })
}

// adoptNamed adds a file of the event's day, if it is there.
func adoptNamed(store *evidence.Store, d *evidence.Draft, typ, name string) error {
	rel, _, err := store.Place(name, d.Event.OccurredAt)
	if err != nil {
		return err
	}
	return adoptFile(store, d, typ, rel)
}

func adoptFile(store *evidence.Store, d *evidence.Draft, typ, rel string) error {
	if slices.ContainsFunc(d.Files, func(f events.EvidenceRef) bool { return f.Path == rel }) {
		return nil
	}
	ref, err := store.Ref(typ, rel)
	switch {
	case errors.Is(err, events.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	d.Files = append(d.Files, ref)
	return nil
}

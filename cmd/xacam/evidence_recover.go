package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	streamclip "github.com/xacam/xacam/streams/clip"
)

// restarted is the flaw of packages that an earlier run has left unfinished.
const restarted = "the server was restarted before the package was complete"

// recoverDrafts finishes what an earlier run has left: its clips are cut behind
// the last whole fragment, files that no draft tells of yet are found by their
// names, and the packages are given to the sealer. It returns how many.
func recoverDrafts(ctx context.Context, store *evidence.Store) (int, error) {
	drafts, err := store.Drafts(ctx)
	errs := []error{err}
	n := 0
	for i := range drafts {
		d := &drafts[i]
		if d.Ready {
			continue
		}
		if ctx.Err() != nil {
			return n, ctx.Err()
		}
		errs = append(errs, recoverDraft(store, d))
		n++
	}
	return n, errors.Join(errs...)
}

func recoverDraft(store *evidence.Store, d *evidence.Draft) error {
	d.Flaws = append(d.Flaws, restarted)
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
	for _, name := range []string{"approach", "act", "detail", "before", "after", "annotated"} {
		typ := "still"
		if name == "annotated" {
			typ = name
		}
		errs = append(errs, adoptNamed(store, d, typ, base+"-"+name+".jpg"))
	}
	errs = append(errs, adoptNamed(store, d, "track", base+"-track.json"))
	if !has(d, "record") {
		ref, err := store.Put("record", base+"-record.json", d.Event.OccurredAt, d.Record)
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

package main

import (
	"context"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xacam/xacam/events/evidence"
)

// addSealing adds what seals the packages that the capture has gathered, and
// returns what makes packages to take away.
func (s *server) addSealing(store *evidence.Store) (*evidence.Exporter, error) {
	sweepTemporary(s.cfg.Data) // nothing is being written yet
	s.db.turn = s.keepTelling
	sealer, err := evidence.NewSealer(evidence.SealerConfig{
		Store: store, Drafts: store, Chain: s.db, Signer: s.keys, Heads: s.db, Kept: &evidence.HeadFolder{Dir: s.cfg.Data}, Software: "xacam " + version, Location: s.cfg.location,
		Log: s.log, Metrics: s.registry, Late: s.evidence.Late,
	})
	if err != nil {
		return nil, err
	}
	copies, err := newViewer()
	if err != nil {
		return nil, err
	}
	store.OnReady(sealer.Wake)
	s.app.Add("seals", stageDeliver, s.db.whenReady(sealer.Run))
	return evidence.NewExporter(evidence.ExporterConfig{
		Store: store, Keys: s.keys, Audit: s.db, Viewer: copies, Software: "xacam " + version, Location: s.cfg.location,
		Temp: s.cfg.Data, Log: s.log,
	})
}

// Append implements evidence.Auditor.
func (d *database) Append(ctx context.Context, actor, action, subject, eventID string, detail map[string]any) error {
	if err := d.gate(); err != nil {
		return err
	}
	return d.store.Append(ctx, actor, action, subject, eventID, detail)
}

// pendingFiles reports of paths in the media folder whether they belong to
// packages that are not sealed yet: what a draft names, its clip, also one half
// written, and whatever bears the event's name. Beside an error, what it returns
// knows the drafts that could be read; it is nil when there is none.
func pendingFiles(ctx context.Context, store *evidence.Store) (func(path string) bool, error) {
	drafts, err := store.Drafts(ctx)
	if err != nil && len(drafts) == 0 {
		return nil, err
	}
	named, bases := make(map[string]bool), make(map[string]bool)
	for i := range drafts {
		d := &drafts[i]
		for _, f := range d.Files {
			named[f.Path] = true
		}
		if d.Clip != "" {
			named[d.Clip], named[d.Clip+".part"] = true, true
		}
		bases[fileBase(&d.Event)] = true
	}
	// Of a draft that cannot be read its event's identifier is known.
	var tails []string
	if ids, ierr := store.DraftIDs(ctx); ierr == nil {
		for _, id := range ids {
			if !slices.ContainsFunc(drafts, func(d evidence.Draft) bool { return d.Event.ID == id }) && len(id) > 12 {
				tails = append(tails, "-"+id[len(id)-12:])
			}
		}
	}
	return func(p string) bool {
		if named[p] || slices.ContainsFunc(tails, func(tail string) bool { return strings.Contains(path.Base(p), tail) }) {
			return true
		}
		name := path.Base(p)
		for i, c := range name {
			if (c == '-' || c == '.') && bases[name[:i]] {
				return true
			}
		}
		return false
	}, err
}

// sweepTemporary removes copies and drafts that a kill left half written in the
// data folder. What cannot be removed only takes room.
func sweepTemporary(data string) {
	for _, pattern := range []string{"xacam-copy-*.mp4", "evidence-drafts/*.part"} {
		names, _ := fs.Glob(os.DirFS(data), pattern) // the patterns are well formed
		for _, name := range names {
			_ = os.Remove(filepath.Join(data, filepath.FromSlash(name)))
		}
	}
}

package main

import (
	"context"

	"github.com/xacam/xacam/events/evidence"
)

// addSealing adds what seals the packages that the capture has gathered, and
// returns what makes packages to take away.
func (s *server) addSealing(store *evidence.Store) (*evidence.Exporter, error) {
	sealer, err := evidence.NewSealer(evidence.SealerConfig{
		Store: store, Drafts: store, Chain: s.db, Signer: s.keys, Software: "xacam " + version, Location: s.cfg.location,
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
	s.app.Add("seals", stageDeliver, sealer.Run)
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

// pendingFiles returns the files of packages that are not sealed yet.
func pendingFiles(ctx context.Context, store *evidence.Store) (map[string]bool, error) {
	drafts, err := store.Drafts(ctx)
	if err != nil {
		return nil, err
	}
	pending := make(map[string]bool)
	for i := range drafts {
		for _, f := range drafts[i].Files {
			pending[f.Path] = true
		}
	}
	return pending, nil
}

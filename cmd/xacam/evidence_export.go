package main

import (
	"context"
	"io"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

// exportAPI lets the API make packages of evidence.
type exportAPI struct{ exporter *evidence.Exporter }

var _ api.Exporter = exportAPI{}

// Export implements api.Exporter.
func (x exportAPI) Export(ctx context.Context, ev events.Event, r api.ExportRequest) (func(context.Context, io.Writer) error, error) {
	p, err := x.exporter.Prepare(ctx, ev, evidence.Request{By: r.By, Reason: r.Reason, Blur: evidence.Blur(r.Blur)})
	if err != nil {
		return nil, err
	}
	return p.Write, nil
}

var _ evidence.Chain = (*database)(nil)

// Seal implements evidence.Chain.
func (d *database) Seal(ctx context.Context, eventID string, build func(evidence.Link) (evidence.Sealed, error)) error {
	if err := d.gate(); err != nil {
		return err
	}
	return d.store.Seal(ctx, eventID, build)
}

package main

import (
	"context"
	"io"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
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

var (
	_ evidence.Chain = (*database)(nil)
	_ evidence.Heads = (*database)(nil)
)

// SignHead implements evidence.Heads.
func (d *database) SignHead(ctx context.Context, sign func(evidence.Link) evidence.Head) error {
	if err := d.gate(); err != nil {
		return err
	}
	return d.store.SignHead(ctx, sign)
}

// Head implements api.Config.Head.
func (d *database) Head(ctx context.Context) ([]byte, error) {
	if err := d.gate(); err != nil {
		return nil, err
	}
	return encodeHead(ctx, d.store)
}

// encodeHead returns the end of the chain to be kept elsewhere, and
// events.ErrNotFound when there is none that is signed.
func encodeHead(ctx context.Context, s *pgstore.Store) ([]byte, error) {
	head, err := s.ManifestHead(ctx)
	if err != nil {
		return nil, err
	}
	if len(head.Signature) == 0 {
		return nil, events.ErrNotFound
	}
	return head.Encode()
}

// Seal implements evidence.Chain.
func (d *database) Seal(ctx context.Context, eventID string, build func(evidence.Link) (evidence.Sealed, error)) error {
	if err := d.gate(); err != nil {
		return err
	}
	return d.store.Seal(ctx, eventID, build)
}

package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

var _ evidence.Returns = (*Store)(nil)

// Missing implements evidence.Returns.
func (s *Store) Missing(ctx context.Context, paths []string) ([]evidence.StoredFile, error) {
	const attempted = "look up missing media"
	rows, err := s.pool.Query(ctx, `
		SELECT e.event_id, e.path, e.type, e.sha256, e.bytes, false AS held FROM evidence e
		WHERE e.path = ANY(@paths) AND e.gone_at IS NOT NULL AND 'missing' = (
			SELECT d.reason FROM deletion d WHERE d.path = e.path AND d.sha256 = e.sha256 ORDER BY d.id DESC LIMIT 1)
		ORDER BY e.event_id, e.path`,
		pgx.StrictNamedArgs{"paths": paths})
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[fileRow])
	out := make([]evidence.StoredFile, len(found))
	for i, r := range found {
		out[i] = evidence.StoredFile{
			EventID: formatID(r.EventID), Ref: events.EvidenceRef{Type: r.Type, Path: r.Path, SHA256: r.SHA256, Bytes: r.Bytes},
		}
	}
	return out, classify(attempted, err)
}

// Return implements evidence.Returns.
func (s *Store) Return(ctx context.Context, files []evidence.StoredFile, actor string) error {
	paths, sums := make([]string, len(files)), make([]string, len(files))
	for i := range files {
		paths[i], sums[i] = files[i].Ref.Path, files[i].Ref.SHA256
	}
	_, err := s.pool.Exec(ctx, `
		WITH back AS (
			UPDATE evidence e SET gone_at = NULL FROM unnest(@paths::text[], @sums::text[]) AS f (path, sha256)
			WHERE e.path = f.path AND e.sha256 = f.sha256 AND e.gone_at IS NOT NULL
			RETURNING e.event_id, e.path, e.sha256, e.bytes)
		INSERT INTO deletion (event_id, path, sha256, bytes, reason, actor)
		SELECT DISTINCT event_id, path, sha256, bytes, 'returned', @actor FROM back`,
		pgx.StrictNamedArgs{"paths": paths, "sums": sums, "actor": actor})
	return classify("note media that is back", err)
}

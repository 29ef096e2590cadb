package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events/evidence"
)

var _ evidence.Heads = (*Store)(nil)

const updateHead = "UPDATE manifest_head SET number = @number, sha256 = @sha256, signed_at = @at, key_id = @key_id, signature = @signature"

func headArgs(h *evidence.Head) pgx.StrictNamedArgs {
	return pgx.StrictNamedArgs{"number": h.Number, "sha256": h.SHA256, "at": h.At, "key_id": h.KeyID, "signature": h.Signature}
}

// SignHead implements evidence.Heads.
func (s *Store) SignHead(ctx context.Context, sign func(end evidence.Link) evidence.Head) error {
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var end evidence.Link
		var signed bool
		err := tx.QueryRow(ctx, "SELECT number, sha256, signature <> '' FROM manifest_head FOR UPDATE").Scan(&end.Number, &end.SHA256, &signed)
		if err != nil || signed || end.Number == 0 {
			return err
		}
		head := sign(end)
		_, err = tx.Exec(ctx, updateHead, headArgs(&head))
		return err
	})
	return classify("sign the end of the chain of manifests", err)
}

// ManifestHead returns the end of the chain.
func (s *Store) ManifestHead(ctx context.Context) (evidence.Head, error) {
	var h evidence.Head
	var at *time.Time
	err := s.pool.QueryRow(ctx, "SELECT number, sha256, signed_at, key_id, signature FROM manifest_head").
		Scan(&h.Number, &h.SHA256, &at, &h.KeyID, &h.Signature)
	if at != nil {
		h.At = at.UTC()
	}
	return h, classify("read the end of the chain of manifests", err)
}

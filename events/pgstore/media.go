package pgstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

var (
	_ evidence.Catalogue = (*Store)(nil)
	_ evidence.Newest    = (*Store)(nil)
)

// fileRow is a row of evidence, with what decides how long it stays.
type fileRow struct {
	EventID [16]byte
	Path    string
	Type    string
	SHA256  string `db:"sha256"`
	Bytes   int64
	Held    bool
}

// Files implements evidence.Catalogue.
func (s *Store) Files(ctx context.Context, after evidence.Cursor, before time.Time, limit int) ([]evidence.StoredFile, evidence.Cursor, error) {
	return s.files(ctx, "list media", `
		SELECT e.event_id, e.path, e.type, e.sha256, e.bytes,
			EXISTS (SELECT FROM evidence o JOIN case_hold h ON h.event_id = o.event_id AND h.released_at IS NULL
				WHERE o.path = e.path) AS held
		FROM evidence e
		WHERE e.gone_at IS NULL AND e.type NOT IN ('manifest', 'signature') AND (e.event_id, e.path) > (@id, @path) AND e.event_id < @before
		ORDER BY e.event_id, e.path LIMIT @limit`,
		after, pgx.StrictNamedArgs{"before": floorID(before), "limit": limit}, s.addUsers)
}

// AllFiles implements evidence.Catalogue.
func (s *Store) AllFiles(ctx context.Context, after evidence.Cursor, limit int) ([]evidence.StoredFile, evidence.Cursor, error) {
	return s.files(ctx, "list all media", `
		SELECT e.event_id, e.path, e.type, e.sha256, e.bytes, false AS held
		FROM evidence e WHERE e.gone_at IS NULL AND (e.event_id, e.path) > (@id, @path)
		ORDER BY e.event_id, e.path LIMIT @limit`,
		after, pgx.StrictNamedArgs{"limit": limit}, func(context.Context, []evidence.StoredFile) error { return nil })
}

// NewestFiles implements evidence.Newest.
func (s *Store) NewestFiles(ctx context.Context, before time.Time, limit int) ([]evidence.StoredFile, error) {
	files, _, err := s.files(ctx, "list the newest media", `
		SELECT e.event_id, e.path, e.type, e.sha256, e.bytes, false AS held
		FROM evidence e WHERE e.gone_at IS NULL AND (e.event_id, e.path) > (@id, @path) AND e.event_id < @before
		ORDER BY e.event_id DESC, e.path DESC LIMIT @limit`,
		evidence.Cursor{}, pgx.StrictNamedArgs{"before": floorID(before), "limit": limit},
		func(context.Context, []evidence.StoredFile) error { return nil })
	return files, err
}

// files reads one page. The cursor is zero when it was the last.
func (s *Store) files(
	ctx context.Context, attempted, sql string, after evidence.Cursor, args pgx.StrictNamedArgs,
	more func(context.Context, []evidence.StoredFile) error,
) ([]evidence.StoredFile, evidence.Cursor, error) {
	var id [16]byte
	if after.EventID != "" {
		var err error
		if id, err = parseID(after.EventID); err != nil {
			return nil, evidence.Cursor{}, fmt.Errorf("%s: %w", attempted, err)
		}
	}
	args["id"], args["path"] = id, after.Path
	rows, err := s.pool.Query(ctx, sql, args)
	if err != nil {
		return nil, evidence.Cursor{}, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[fileRow])
	if err != nil {
		return nil, evidence.Cursor{}, classify(attempted, err)
	}
	out := make([]evidence.StoredFile, len(found))
	for i, r := range found {
		out[i] = evidence.StoredFile{
			EventID: formatID(r.EventID), Ref: events.EvidenceRef{Type: r.Type, Path: r.Path, SHA256: r.SHA256, Bytes: r.Bytes},
			Held: r.Held,
		}
	}
	if err := more(ctx, out); err != nil {
		return nil, evidence.Cursor{}, classify(attempted, err)
	}
	var next evidence.Cursor
	if limit, _ := args["limit"].(int); len(out) == limit && limit > 0 {
		last := out[len(out)-1]
		next = evidence.Cursor{EventID: last.EventID, Path: last.Ref.Path}
	}
	return out, next, nil
}

// addUsers fills in which events refer to each file, with what classes of
// retention look at.
func (s *Store) addUsers(ctx context.Context, to []evidence.StoredFile) error {
	if len(to) == 0 {
		return nil
	}
	paths := make([]string, len(to))
	for i := range to {
		paths[i] = to[i].Ref.Path
	}
	rows, err := s.pool.Query(ctx, `
		SELECT path, event_id FROM evidence WHERE path = ANY(@paths) AND gone_at IS NULL ORDER BY event_id`,
		pgx.StrictNamedArgs{"paths": paths})
	if err != nil {
		return err
	}
	users := make(map[string][][16]byte)
	var ids [][16]byte
	var path string
	var id [16]byte
	_, err = pgx.ForEachRow(rows, []any{&path, &id}, func() error {
		users[path], ids = append(users[path], id), append(ids, id)
		return nil
	})
	if err != nil {
		return err
	}
	byID, err := s.usersByID(ctx, ids)
	if err != nil {
		return err
	}
	for i := range to {
		for _, id := range users[to[i].Ref.Path] {
			u := byID[id]
			u.At = time.UnixMilli(millisOf(id)).UTC()
			to[i].Users = append(to[i].Users, u)
		}
	}
	return nil
}

// usersByID reads events, whose identifiers are in order.
func (s *Store) usersByID(ctx context.Context, ids [][16]byte) (map[[16]byte]evidence.User, error) {
	byID := make(map[[16]byte]evidence.User)
	if len(ids) == 0 {
		return byID, nil
	}
	from, _ := spanOf(ids[0])
	_, end := spanOf(ids[len(ids)-1])
	rows, err := s.pool.Query(ctx, `
		SELECT id, kind, severity, coalesce(verdict, '') FROM event
		WHERE id = ANY(@ids) AND occurred_at >= @from AND occurred_at < @to`,
		pgx.StrictNamedArgs{"ids": ids, "from": from, "to": end})
	if err != nil {
		return nil, err
	}
	var id [16]byte
	var u evidence.User
	_, err = pgx.ForEachRow(rows, []any{&id, &u.Kind, &u.Severity, &u.Verdict}, func() error {
		byID[id] = u
		return nil
	})
	return byID, err
}

// floorID returns the least identifier of events that occur at a moment.
func floorID(at time.Time) (id [16]byte) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(0, at.UnixMilli()))<<16)
	copy(id[:6], ms[:6])
	return id
}

// Remove implements evidence.Catalogue. Nobody can put an event on hold until
// it has ended: the lock waits for those who are about to, and makes others
// wait.
func (s *Store) Remove(ctx context.Context, r evidence.Removal) ([]string, error) {
	var gone []string
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "LOCK TABLE case_hold IN SHARE MODE"); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			WITH taken AS (
				UPDATE evidence e SET gone_at = clock_timestamp()
				WHERE e.path = ANY(@paths) AND e.gone_at IS NULL AND (@reason = 'missing' OR NOT EXISTS (
					SELECT FROM evidence o JOIN case_hold h ON h.event_id = o.event_id AND h.released_at IS NULL WHERE o.path = e.path))
				RETURNING e.event_id, e.path, e.sha256, e.bytes),
			logged AS (
				INSERT INTO deletion (event_id, path, sha256, bytes, reason, actor)
				SELECT event_id, path, sha256, bytes, @reason, @actor FROM taken)
			SELECT DISTINCT path FROM taken ORDER BY path`,
			pgx.StrictNamedArgs{"paths": r.Paths, "reason": r.Reason, "actor": r.Actor})
		if err != nil {
			return err
		}
		gone, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, classify("note the removal of media", err)
	}
	return gone, nil
}

// Known implements evidence.Catalogue.
func (s *Store) Known(ctx context.Context, paths []string) (map[string]bool, error) {
	const attempted = "look up media"
	rows, err := s.pool.Query(ctx, "SELECT DISTINCT path FROM evidence WHERE path = ANY(@paths) AND gone_at IS NULL",
		pgx.StrictNamedArgs{"paths": paths})
	if err != nil {
		return nil, classify(attempted, err)
	}
	known := make(map[string]bool)
	var path string
	_, err = pgx.ForEachRow(rows, []any{&path}, func() error {
		known[path] = true
		return nil
	})
	return known, classify(attempted, err)
}

// Bytes implements evidence.Catalogue.
func (s *Store) Bytes(ctx context.Context) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, `
		SELECT coalesce(sum(bytes), 0)::bigint
		FROM (SELECT DISTINCT ON (path) bytes FROM evidence WHERE gone_at IS NULL) AS f`).Scan(&n)
	return n, classify("add up media", err)
}

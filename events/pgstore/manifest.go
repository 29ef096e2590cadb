package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

// Seal implements evidence.Chain. It holds the chain first and the counter of
// changes last, which Commit takes too, so neither waits for the other in a
// circle and no commit waits while build writes to the disk.
//
// As for Commit, an error that wraps events.ErrUnavailable leaves open whether
// it was stored; asking again tells.
func (s *Store) Seal(ctx context.Context, eventID string, build func(previous evidence.Link) (evidence.Sealed, error)) error {
	attempted := "seal the evidence of event " + eventID
	id, err := parseID(eventID)
	if err != nil {
		return classify(attempted, &refusedError{err.Error()})
	}
	for attempt := 1; ; attempt++ {
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.sealIn(ctx, tx, id, build) })
		if errors.Is(err, errSealed) {
			return nil
		}
		if b, ok := errors.AsType[*buildError](err); ok {
			return fmt.Errorf("%s: %w", attempted, b.err) // says itself whether it may be tried again
		}
		if !collided(err) || attempt == maxAttempts {
			return classify(attempted, err)
		}
	}
}

// errSealed ends a transaction that has nothing to do.
var errSealed = errors.New("sealed already")

// buildError is what a caller's function returned.
type buildError struct{ err error }

// Error implements error.
func (e *buildError) Error() string { return e.err.Error() }

// Unwrap implements the interface of package errors.
func (e *buildError) Unwrap() error { return e.err }

func (s *Store) sealIn(ctx context.Context, tx pgx.Tx, id [16]byte, build func(previous evidence.Link) (evidence.Sealed, error)) error {
	previous, err := lockChain(ctx, tx, id)
	if err != nil {
		return err
	}
	sealed, err := build(previous)
	if err != nil {
		return &buildError{err}
	}
	if sealed.Head.Link() != (evidence.Link{Number: sealed.Number, SHA256: sealed.SHA256}) || len(sealed.Head.Signature) == 0 {
		return &refusedError{"the end of the chain is not signed"}
	}
	if sealed.Number != previous.Number+1 || sealed.Previous != previous.SHA256 || sealed.EventID != formatID(id) {
		return &refusedError{"the manifest does not follow the one before"}
	}
	last, at, _, err := lockAndLook(ctx, tx, nil)
	if err != nil {
		return err
	}
	from, to := spanOf(id)
	if err := insertSeal(ctx, tx, id, sealed, last+1, at); err != nil {
		return err
	}
	found, err := collectFrom(ctx, tx, selectEvent+" WHERE e.id = @id AND e.occurred_at >= @from AND e.occurred_at < @to",
		pgx.StrictNamedArgs{"id": id, "from": from, "to": to})
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return events.ErrNotFound
	}
	return s.enqueue(ctx, tx, at, []said{{step: events.StepEvidence, event: found[0]}})
}

// lockChain takes the end of the chain and looks whether the event is there and
// not sealed yet. The look must begin after the wait for the lock.
func lockChain(ctx context.Context, tx pgx.Tx, id [16]byte) (previous evidence.Link, err error) {
	var known, sealed bool
	b := &pgx.Batch{}
	b.Queue("SELECT number, sha256 FROM manifest_head FOR UPDATE").QueryRow(func(row pgx.Row) error {
		return row.Scan(&previous.Number, &previous.SHA256)
	})
	b.Queue(`SELECT EXISTS (SELECT FROM event_change WHERE event_id = @id),
		EXISTS (SELECT FROM manifest WHERE event_id = @id)`, pgx.StrictNamedArgs{"id": id}).
		QueryRow(func(row pgx.Row) error { return row.Scan(&known, &sealed) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return previous, err
	}
	switch {
	case sealed:
		return previous, errSealed
	case !known:
		return previous, events.ErrNotFound
	}
	return previous, nil
}

// insertSeal writes everything but the deliveries.
func insertSeal(ctx context.Context, tx pgx.Tx, id [16]byte, sealed evidence.Sealed, sequence int64, at time.Time) error {
	from, to := spanOf(id)
	when := pgx.StrictNamedArgs{"id": id, "from": from, "to": to, "sequence": sequence}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO manifest (number, event_id, occurred_at, path, sha256, previous, key_id, sealed_at)
		VALUES (@number, @id, @occurred_at, @path, @sha256, @previous, @key_id, @sealed_at)`,
		pgx.StrictNamedArgs{
			"number": sealed.Number, "id": id, "occurred_at": sealed.OccurredAt, "path": sealed.Path, "sha256": sealed.SHA256,
			"previous": sealed.Previous, "key_id": sealed.KeyID, "sealed_at": sealed.SealedAt,
		})
	b.Queue(updateHead, headArgs(&sealed.Head))
	add := batch{input: []row{{e: &events.Event{Evidence: sealed.Files}, id: id}}}
	if args, ok := add.evidenceArgs(); ok {
		b.Queue(insertEvidence, args)
	}
	b.Queue(`INSERT INTO event_change (sequence, event_id, occurred_at, state, step, committed_at)
		SELECT @sequence, id, occurred_at, state, 'evidence', @at FROM event WHERE id = @id AND occurred_at >= @from AND occurred_at < @to`,
		pgx.StrictNamedArgs{"id": id, "from": from, "to": to, "sequence": sequence, "at": at})
	b.Queue("UPDATE event SET sequence = @sequence WHERE id = @id AND occurred_at >= @from AND occurred_at < @to", when)
	b.Queue("UPDATE event_sequence SET last = @last", pgx.StrictNamedArgs{"last": sequence})
	b.Queue("SELECT pg_notify('" + eventChannel + "', '')")
	return tx.SendBatch(ctx, b).Close()
}

// entryRow is a row of manifest.
type entryRow struct {
	Number     int64
	EventID    [16]byte
	OccurredAt time.Time
	Path       string
	SHA256     string `db:"sha256"`
	Previous   string
	KeyID      string
	SealedAt   time.Time
}

// Manifests returns the chain after a number, in order, at most limit (1 to
// 500) of it.
func (s *Store) Manifests(ctx context.Context, after int64, limit int) ([]evidence.Entry, error) {
	const attempted = "read the chain of manifests"
	rows, err := s.pool.Query(ctx, `SELECT number, event_id, occurred_at, path, sha256, previous, key_id, sealed_at
		FROM manifest WHERE number > @after ORDER BY number LIMIT @limit`,
		pgx.StrictNamedArgs{"after": after, "limit": min(max(limit, 1), maxPage)})
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[entryRow])
	out := make([]evidence.Entry, len(found))
	for i, r := range found {
		out[i] = evidence.Entry{
			Number: r.Number, EventID: formatID(r.EventID), OccurredAt: r.OccurredAt.UTC(), Path: r.Path, SHA256: r.SHA256,
			Previous: r.Previous, KeyID: r.KeyID, SealedAt: r.SealedAt.UTC(),
		}
	}
	return out, classify(attempted, err)
}

// Unchained returns up to limit events that were sealed, as the log of changes
// says, and have no manifest in the chain. There are none unless rows of the
// chain were deleted.
func (s *Store) Unchained(ctx context.Context, limit int) ([]string, error) {
	const attempted = "look for events without their manifest"
	rows, err := s.pool.Query(ctx, `SELECT event_id FROM event_change c
		WHERE step = 'evidence' AND NOT EXISTS (SELECT FROM manifest m WHERE m.event_id = c.event_id)
		ORDER BY sequence LIMIT @limit`, pgx.StrictNamedArgs{"limit": min(max(limit, 1), maxPage)})
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	out := make([]string, len(found))
	for i, id := range found {
		out[i] = formatID(id)
	}
	return out, classify(attempted, err)
}

// Deletion returns when and why a file was deleted last; false when the log has
// no such deletion.
func (s *Store) Deletion(ctx context.Context, path, sha256 string) (evidence.Deletion, bool, error) {
	const attempted = "read the log of deletions"
	rows, err := s.pool.Query(ctx, `SELECT at, reason, actor FROM deletion WHERE path = @path AND sha256 = @sha256 ORDER BY id DESC LIMIT 1`,
		pgx.StrictNamedArgs{"path": path, "sha256": sha256})
	if err != nil {
		return evidence.Deletion{}, false, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[evidence.Deletion])
	if err != nil || len(found) == 0 || found[0].Reason == "returned" { // and so it should be there
		return evidence.Deletion{}, false, classify(attempted, err)
	}
	return found[0], true, nil
}

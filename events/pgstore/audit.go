package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
)

// What serialises writers is locked in this order, in every transaction that
// needs more than one of them, so that no two wait for each other:
//
//  1. the key of a request (once)
//  2. manifest_head  (Seal)
//  3. audit_head     (lockAudit, lockSubject, appendAudit)
//  4. event_sequence (lockSubject, lockAndLook)
//  5. rows of event, case_hold, endpoint, feed_key …
//  6. outbox_message, and after it delivery, each by sequence
//
// What comes later may be left out, but never be taken before. Only what people
// do takes audit_head, and it does so before event_sequence: so a commit, which
// cameras wait for, never waits for one of them that takes long.

var errNoSigner = errors.New("there is no key to sign the audit chain with")

// appendAudit adds an entry in a transaction of the caller's, at the time of the
// database, and fills it in. Other writers wait until that transaction ends, so
// numbers have no gaps.
func (s *Store) appendAudit(ctx context.Context, tx pgx.Tx, e *audit.Entry) error {
	if s.cfg.Signer == nil {
		return errNoSigner
	}
	if err := e.Check(); err != nil {
		return err
	}
	var head audit.Head
	var at time.Time
	b := &pgx.Batch{}
	b.Queue("SELECT number, hash FROM audit_head FOR UPDATE").QueryRow(func(row pgx.Row) error {
		var hash []byte
		err := row.Scan(&head.Number, &hash)
		copy(head.Hash[:], hash)
		return err
	})
	b.Queue("SELECT clock_timestamp()").QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if e.At.IsZero() {
		e.At = at
	}
	return s.writeAudit(ctx, tx, audit.Append(head, e, s.cfg.Signer), e)
}

func (s *Store) writeAudit(ctx context.Context, tx pgx.Tx, head audit.Head, e *audit.Entry) error {
	var id *[16]byte
	if e.EventID != "" {
		parsed, err := parseID(e.EventID)
		if err != nil {
			return &refusedError{err.Error()}
		}
		id = &parsed
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO audit (number, at, actor, action, subject, event_id, detail, detail_text, idempotency_key, previous, hash)
		VALUES (@number, @at, @actor, @action, @subject, @event_id, @detail::text::jsonb, @detail, nullif(@key, ''), @previous, @hash)`,
		pgx.StrictNamedArgs{
			"number": e.Number, "at": e.At, "actor": e.Actor, "action": e.Action, "subject": e.Subject, "event_id": id,
			"detail": e.Detail, "key": e.Key, "previous": e.Previous[:], "hash": e.Hash[:],
		})
	b.Queue("UPDATE audit_head SET number = @number, hash = @hash, key_id = @key_id, signature = @signature",
		pgx.StrictNamedArgs{"number": head.Number, "hash": head.Hash[:], "key_id": head.KeyID, "signature": head.Signature})
	return tx.SendBatch(ctx, b).Close()
}

// Append adds an entry to the audit chain in a transaction of its own. eventID
// may be "". The error is a *events.FieldError for what cannot be written.
func (s *Store) Append(ctx context.Context, actor, action, subject, eventID string, detail map[string]any) error {
	const attempted = "write the audit chain"
	e, err := newEntry(actor, action, subject, eventID, detail)
	if err != nil {
		return classify(attempted, err)
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		return s.appendAudit(ctx, tx, e)
	})
	return classify(attempted, err)
}

// newEntry returns an entry to be appended.
func newEntry(actor, action, subject, eventID string, detail any) (*audit.Entry, error) {
	text, err := json.Marshal(detail)
	if err != nil {
		return nil, &refusedError{fmt.Sprintf("detail: %v", err)}
	}
	if string(text) == "null" {
		text = []byte("{}")
	}
	return &audit.Entry{Actor: actor, Action: action, Subject: subject, EventID: strings.ToLower(eventID), Detail: string(text)}, nil
}

// auditRow is a row of audit.
type auditRow struct {
	Number         int64
	At             time.Time
	Actor          string
	Action         string
	Subject        string
	EventID        *[16]byte
	Detail         string
	DetailText     string
	IdempotencyKey *string
	Previous, Hash []byte
}

const selectAudit = `SELECT a.number, a.at, a.actor, a.action, a.subject, a.event_id, a.detail::text AS detail, a.detail_text,
	a.idempotency_key, a.previous, a.hash FROM audit a`

func (r *auditRow) entry() audit.Entry {
	e := audit.Entry{
		Number: r.Number, At: r.At.UTC(), Actor: r.Actor, Action: r.Action, Subject: r.Subject, Detail: r.DetailText, DetailValue: r.Detail,
	}
	if r.EventID != nil {
		e.EventID = formatID(*r.EventID)
	}
	if r.IdempotencyKey != nil {
		e.Key = *r.IdempotencyKey
	}
	copy(e.Previous[:], r.Previous)
	copy(e.Hash[:], r.Hash)
	return e
}

func collectAudit(rows pgx.Rows) ([]audit.Entry, error) {
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[auditRow])
	out := make([]audit.Entry, len(found))
	for i := range found {
		out[i] = found[i].entry()
	}
	return out, err
}

// Audit returns one page of the chain, newest first.
func (s *Store) Audit(ctx context.Context, f audit.Filter, p audit.Page) ([]audit.Entry, error) {
	const attempted = "read the audit chain"
	where, args := []string{"true"}, pgx.StrictNamedArgs{"limit": min(max(p.Limit, 1), maxPage)}
	if f.EventID != "" {
		id, err := parseID(f.EventID)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", attempted, &events.FieldError{Field: "event", Reason: "must be the UUID of an event"})
		}
		where, args["event_id"] = append(where, "a.event_id = @event_id"), id
	}
	for _, c := range []struct{ name, sql, value string }{
		{"actor", "a.actor = @actor", f.Actor}, {"action", "a.action = @action", f.Action}, {"subject", "a.subject = @subject", f.Subject},
	} {
		if c.value != "" {
			where, args[c.name] = append(where, c.sql), c.value
		}
	}
	if p.Before > 0 {
		where, args["before"] = append(where, "a.number < @before"), p.Before
	}
	rows, err := s.pool.Query(ctx, selectAudit+" WHERE "+strings.Join(where, " AND ")+" ORDER BY a.number DESC LIMIT @limit", args)
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := collectAudit(rows)
	return found, classify(attempted, err)
}

// AuditChain calls do with the whole chain, in the order of its numbers, and its
// head, both as of one moment. The iterator may be used once, within do.
func (s *Store) AuditChain(ctx context.Context, do func(entries iter.Seq2[audit.Entry, error], head audit.Head) error) error {
	const attempted = "read the audit chain"
	var failed error // of do
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var head audit.Head
		var hash []byte
		err := tx.QueryRow(ctx, "SELECT number, hash, key_id, signature FROM audit_head").Scan(&head.Number, &hash, &head.KeyID, &head.Signature)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) { // whoever deleted it will be found out
			return err
		}
		copy(head.Hash[:], hash)
		failed = do(readChain(ctx, tx), head)
		return nil
	})
	return errors.Join(classify(attempted, err), failed)
}

// readChain reads the rows in pages.
func readChain(ctx context.Context, tx pgx.Tx) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		const page = 1000
		var last int64
		for first := true; ; first = false {
			// A number below 1 would be found too; the schema forbids it, if that is
			// still there.
			rows, err := tx.Query(ctx, selectAudit+" WHERE a.number > @last OR @first ORDER BY a.number LIMIT @limit",
				pgx.StrictNamedArgs{"last": last, "first": first, "limit": page})
			if err != nil {
				yield(audit.Entry{}, err)
				return
			}
			found, err := collectAudit(rows)
			if err != nil {
				yield(audit.Entry{}, err)
				return
			}
			for _, e := range found {
				if !yield(e, nil) {
					return
				}
				last = e.Number
			}
			if len(found) < page {
				return
			}
		}
	}
}

package pgstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

var _ outbox.Queue = (*Store)(nil)

// Lease implements outbox.Queue. Every call gives a new epoch and so ends the
// one before, also the owner's own: a process that was thought dead cannot
// settle any more. A lease that has run out may be taken by anybody.
func (s *Store) Lease(ctx context.Context, endpoint, owner string, ttl time.Duration) (int64, error) {
	attempted := "take the lease of endpoint " + endpoint
	var epoch *int64
	// The outer select tells an endpoint that is not there from one that is taken.
	err := s.pool.QueryRow(ctx, `
		WITH taken AS (
			UPDATE endpoint SET lease_owner = @owner, lease_until = clock_timestamp() + @ttl::interval, lease_epoch = lease_epoch + 1
			WHERE name = @name AND deleted_at IS NULL AND (lease_owner IN ('', @owner) OR lease_until IS NULL OR lease_until < clock_timestamp())
			RETURNING lease_epoch
		)
		SELECT (SELECT lease_epoch FROM taken) FROM endpoint WHERE name = @name AND deleted_at IS NULL`,
		pgx.StrictNamedArgs{"name": endpoint, "owner": owner, "ttl": ttl}).Scan(&epoch)
	switch {
	case errorsIsNoRows(err):
		return 0, classify(attempted, events.ErrNotFound)
	case err != nil:
		return 0, classify(attempted, err)
	case epoch == nil:
		return 0, fmt.Errorf("%s: another server delivers to it: %w", attempted, events.ErrConflict)
	}
	return *epoch, nil
}

// notDeleted keeps what a deleted endpoint left from being delivered.
const notDeleted = " AND EXISTS (SELECT FROM endpoint WHERE name = @endpoint AND deleted_at IS NULL)"

// deliveryRow is a delivery with its message.
type deliveryRow struct {
	Endpoint string
	Lane     int16
	State    string
	Attempts int
	QueuedAt time.Time
	Sequence int64
	ID       string
	Step     events.Step
	Event    events.Event
}

const selectDelivery = `
	SELECT d.endpoint, d.lane, d.state, d.attempts, d.queued_at, m.sequence, m.id, m.step, m.event
	FROM delivery d JOIN outbox_message m ON m.sequence = d.sequence `

func (s *Store) deliveries(ctx context.Context, attempted, tail string, args pgx.StrictNamedArgs) ([]outbox.Delivery, error) {
	rows, err := s.pool.Query(ctx, selectDelivery+tail, args)
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[deliveryRow])
	if err != nil {
		return nil, classify(attempted, err)
	}
	out := make([]outbox.Delivery, len(found))
	for i, r := range found {
		out[i] = outbox.Delivery{
			Endpoint: r.Endpoint, Lane: outbox.Lane(r.Lane), Attempts: r.Attempts, Parked: r.State == "parked", Queued: r.QueuedAt.UTC(),
			Message: outbox.Message{ID: r.ID, Sequence: r.Sequence, Step: r.Step, Event: r.Event},
		}
	}
	return out, nil
}

// Pending implements outbox.Queue. The limit is brought into 1 to 500.
func (s *Store) Pending(ctx context.Context, endpoint string, lane outbox.Lane, after int64, limit int) ([]outbox.Delivery, error) {
	return s.deliveries(ctx, "read deliveries of "+endpoint,
		"WHERE d.endpoint = @endpoint AND d.lane = @lane AND d.state = 'pending' AND d.sequence > @after"+notDeleted+" ORDER BY d.sequence LIMIT @limit",
		pgx.StrictNamedArgs{"endpoint": endpoint, "lane": int(lane), "after": after, "limit": min(max(limit, 1), maxPage)})
}

// Parked implements outbox.Queue. The limit is brought into 1 to 500.
func (s *Store) Parked(ctx context.Context, endpoint string, now time.Time, limit int) ([]outbox.Delivery, error) {
	return s.deliveries(ctx, "read parked deliveries of "+endpoint,
		"WHERE d.endpoint = @endpoint AND d.state = 'parked' AND d.next_at <= @now"+notDeleted+" ORDER BY d.next_at, d.sequence LIMIT @limit",
		pgx.StrictNamedArgs{"endpoint": endpoint, "now": now, "limit": min(max(limit, 1), maxPage)})
}

// Backlog implements outbox.Queue.
func (s *Store) Backlog(ctx context.Context, endpoint string) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM delivery WHERE endpoint = @endpoint AND state = 'pending') +
			(SELECT count(*) FROM delivery WHERE endpoint = @endpoint AND state = 'parked')`,
		pgx.StrictNamedArgs{"endpoint": endpoint}).Scan(&n)
	return n, classify("count the deliveries of "+endpoint, err)
}

// expireBatch bounds one transaction of Expire.
const expireBatch = 5000

// Expire implements outbox.Queue. It works in small transactions and may have
// given up some deliveries when it returns an error.
func (s *Store) Expire(ctx context.Context, endpoint string, epoch int64, before time.Time) (total int64, err error) {
	attempted := "give up old deliveries of " + endpoint
	for {
		var n int64
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if err := fence(ctx, tx, endpoint, epoch); err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `
				WITH old AS MATERIALIZED (
					SELECT sequence FROM delivery
					WHERE endpoint = @endpoint AND state IN ('pending', 'parked') AND queued_at < @before AND lane < 2
					ORDER BY queued_at LIMIT @limit
				), locked AS MATERIALIZED ( -- in the order in which all lock them
					SELECT sequence FROM delivery WHERE endpoint = @endpoint AND sequence = ANY (ARRAY(SELECT sequence FROM old))
					ORDER BY sequence FOR NO KEY UPDATE
				)
				UPDATE delivery SET state = 'dead', settled_at = clock_timestamp(), next_at = NULL,
					last_error = CASE WHEN last_error = '' THEN 'waited too long' ELSE 'waited too long; last: ' || last_error END
				WHERE endpoint = @endpoint AND sequence = ANY (ARRAY(SELECT sequence FROM locked)) AND state IN ('pending', 'parked')`,
				pgx.StrictNamedArgs{"endpoint": endpoint, "before": before, "limit": expireBatch})
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return total, classify(attempted, err)
		}
		if total += n; n < expireBatch {
			return total, nil
		}
	}
}

// fence fails unless the lease with this epoch still holds, and keeps it from
// being taken until the transaction ends.
func fence(ctx context.Context, tx pgx.Tx, endpoint string, epoch int64) error {
	var one int
	err := tx.QueryRow(ctx, "SELECT 1 FROM endpoint WHERE name = @name AND lease_epoch = @epoch FOR NO KEY UPDATE",
		pgx.StrictNamedArgs{"name": endpoint, "epoch": epoch}).Scan(&one)
	if errorsIsNoRows(err) {
		return errLeaseLost
	}
	return err
}

var errLeaseLost = fmt.Errorf("the lease was lost: %w", events.ErrConflict)

// Settle implements outbox.Queue. A crash of the database may lose an outcome,
// which makes a duplicate, never a loss: so the transaction does not wait for
// the disk.
func (s *Store) Settle(ctx context.Context, t outbox.Settlement) error {
	rows := settledRows(&t)
	return classify("settle deliveries to "+t.Endpoint, pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		h := t.Health
		if t.Disable != "" {
			if err := lockAudit(ctx, tx); err != nil {
				return err
			}
		}
		b := &pgx.Batch{}
		b.Queue("SET LOCAL synchronous_commit = off")
		b.Queue(`
			UPDATE endpoint SET failures = @failures, failing_since = @failing_since, retry_at = @retry_at,
				last_success_at = @last_success_at, last_attempt_at = @last_attempt_at, last_error = @last_error,
				heartbeat_at = @heartbeat_at, enabled = enabled AND @disable::text = '',
				disabled_why = CASE WHEN @disable::text = '' THEN disabled_why ELSE @disable::text END
			WHERE name = @endpoint AND lease_epoch = @epoch RETURNING 1`,
			pgx.StrictNamedArgs{
				"endpoint": t.Endpoint, "epoch": t.Epoch, "disable": t.Disable, "failures": h.Failures,
				"failing_since": timeOrNil(h.FailingSince), "retry_at": timeOrNil(h.RetryAt), "last_success_at": timeOrNil(h.LastSuccess),
				"last_attempt_at": timeOrNil(h.LastAttempt), "last_error": clean(h.LastError, maxErrorRunes), "heartbeat_at": timeOrNil(h.HeartbeatAt),
			}).QueryRow(func(row pgx.Row) error {
			var one int
			if err := row.Scan(&one); errorsIsNoRows(err) {
				return errLeaseLost
			} else if err != nil {
				return err
			}
			return nil
		})
		rows.queue(b, t.Endpoint)
		queueAttempts(b, t.Attempts)
		if t.Disable != "" {
			b.Queue("SELECT pg_notify('" + endpointChannel + "', '')")
		}
		if err := tx.SendBatch(ctx, b).Close(); err != nil || t.Disable == "" {
			return err
		}
		return s.auditIn(ctx, tx, change{act: outbox.Act{By: systemActor}, action: "endpoint.disable", endpoint: t.Endpoint, detail: map[string]any{"why": t.Disable}})
	}))
}

// settled are columns of deliveries that change.
type settled struct {
	sequences []int64
	states    []string
	nexts     []*time.Time
	tries     []int32
	errors    []string
}

// settledRows says for each delivery what becomes of it. One that was tried
// several times gets the last word: failed, parked, dead, delivered.
func settledRows(t *outbox.Settlement) settled {
	type row struct {
		state string
		next  *time.Time
	}
	rows := make(map[int64]row)
	for _, n := range t.Failed {
		rows[n] = row{state: "pending"}
	}
	for n, at := range t.Park {
		rows[n] = row{"parked", &at}
	}
	for _, n := range t.Dead {
		rows[n] = row{state: "dead"}
	}
	for _, n := range t.Delivered {
		rows[n] = row{state: "delivered"}
	}
	tries, last := make(map[int64]int32), make(map[int64]string)
	for i := range t.Attempts {
		a := &t.Attempts[i]
		tries[a.Sequence]++
		last[a.Sequence] = errorText(a.Result.Err)
	}
	var out settled
	for n, r := range rows {
		out.sequences, out.states, out.nexts = append(out.sequences, n), append(out.states, r.state), append(out.nexts, r.next)
		out.tries, out.errors = append(out.tries, tries[n]), append(out.errors, last[n])
	}
	return out
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return clean(err.Error(), maxErrorRunes)
}

// queue writes the rows. What was settled already, or has been queued again
// since, stays: a replay is not undone by the end of an older attempt. Like a
// replay it locks them in the order of their numbers, so that the two do not
// wait for each other.
func (r settled) queue(b *pgx.Batch, endpoint string) {
	if len(r.sequences) == 0 {
		return
	}
	b.Queue(`
		WITH locked AS MATERIALIZED (
			SELECT sequence FROM delivery WHERE endpoint = @endpoint AND sequence = ANY (@sequences::bigint[]) ORDER BY sequence FOR NO KEY UPDATE
		)
		UPDATE delivery d SET state = t.state, next_at = t.next_at, attempts = d.attempts + t.tries,
			settled_at = CASE WHEN t.state IN ('delivered', 'dead') THEN clock_timestamp() END,
			last_error = CASE WHEN t.tries > 0 THEN t.error WHEN t.state = 'dead' AND d.last_error = '' THEN 'waited too long' ELSE d.last_error END
		FROM unnest(@sequences::bigint[], @states::text[], @nexts::timestamptz[], @tries::int[], @errors::text[])
			AS t (sequence, state, next_at, tries, error) JOIN locked USING (sequence)
		WHERE d.endpoint = @endpoint AND d.sequence = t.sequence AND d.state IN ('pending', 'parked')`,
		pgx.StrictNamedArgs{
			"endpoint": endpoint, "sequences": r.sequences, "states": r.states, "nexts": r.nexts, "tries": r.tries, "errors": r.errors,
		})
}

// Endpoints implements outbox.Queue. An endpoint whose secrets cannot be opened
// comes disabled, with the reason: the others go on.
func (s *Store) Endpoints(ctx context.Context) ([]outbox.Endpoint, error) {
	found, err := s.endpoints(ctx, s.pool, "true", pgx.StrictNamedArgs{})
	if err != nil {
		return nil, classify("read endpoints", err)
	}
	for i := range found {
		e, why := &found[i].Endpoint, found[i].unreadable
		if why == nil {
			s.unreadable.Delete(e.Name)
			continue
		}
		if last, _ := s.unreadable.Swap(e.Name, why.Error()); last != why.Error() {
			s.cfg.Log.ErrorContext(ctx, "an endpoint cannot be used", "endpoint", e.Name, "err", why)
		}
		if e.Enabled {
			e.Enabled, e.Disabled = false, why.Error()
		}
	}
	return endpointsOf(found), nil
}

func endpointsOf(found []endpointRow) []outbox.Endpoint {
	out := make([]outbox.Endpoint, len(found))
	for i := range found {
		out[i] = found[i].Endpoint
	}
	return slices.Clip(out)
}

package pgstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// infoRow is a delivery as people look at it.
type infoRow struct {
	Endpoint   string
	Sequence   int64
	ID         string
	EventID    [16]byte
	Kind       events.Kind
	Step       events.Step
	OccurredAt time.Time
	State      outbox.DeliveryState
	Lane       int16
	Attempts   int
	QueuedAt   time.Time
	NextAt     *time.Time
	SettledAt  *time.Time
	LastError  string
}

const selectInfo = `
	SELECT d.endpoint, d.sequence, m.id, m.event_id, coalesce(m.event ->> 'Kind', '') AS kind, m.step, m.occurred_at, d.state, d.lane,
		d.attempts, d.queued_at, d.next_at, d.settled_at, d.last_error
	FROM delivery d JOIN outbox_message m ON m.sequence = d.sequence `

func (s *Store) infos(ctx context.Context, attempted, tail string, args pgx.StrictNamedArgs) ([]outbox.DeliveryInfo, error) {
	rows, err := s.pool.Query(ctx, selectInfo+tail, args)
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[infoRow])
	if err != nil {
		return nil, classify(attempted, err)
	}
	out := make([]outbox.DeliveryInfo, len(found))
	for i, r := range found {
		out[i] = outbox.DeliveryInfo{
			Endpoint: r.Endpoint, Sequence: r.Sequence, MessageID: r.ID, EventID: formatID(r.EventID), Kind: r.Kind, Step: r.Step,
			OccurredAt: r.OccurredAt.UTC(), State: r.State, Lane: outbox.Lane(r.Lane), Attempts: r.Attempts, Queued: r.QueuedAt.UTC(),
			Next: orZero(r.NextAt), Settled: orZero(r.SettledAt), LastError: r.LastError,
		}
	}
	return out, nil
}

// Deliveries returns one page of an endpoint's deliveries, newest first: with
// state dead, its dead letters. It is an error that wraps events.ErrNotFound
// when there is no such endpoint.
func (s *Store) Deliveries(ctx context.Context, endpoint string, f outbox.DeliveryFilter) ([]outbox.DeliveryInfo, error) {
	attempted := "list deliveries of " + endpoint
	var one int
	err := s.pool.QueryRow(ctx, "SELECT 1 FROM endpoint WHERE name = @name AND deleted_at IS NULL", pgx.StrictNamedArgs{"name": endpoint}).Scan(&one)
	if errorsIsNoRows(err) {
		err = events.ErrNotFound
	}
	if err != nil {
		return nil, classify(attempted, err)
	}
	where := []string{"d.endpoint = @endpoint"}
	args := pgx.StrictNamedArgs{"endpoint": endpoint, "limit": min(max(f.Limit, 1), maxPage)}
	switch f.State {
	case "":
	case outbox.StatePending: // written out, so that the partial indexes are found
		where = append(where, "d.state = 'pending'")
	case outbox.StateParked:
		where = append(where, "d.state = 'parked'")
	case outbox.StateDead:
		where = append(where, "d.state = 'dead'")
	case outbox.StateDelivered:
		where = append(where, "d.state = 'delivered'")
	default:
		return nil, classify(attempted, &events.FieldError{Field: "state", Reason: fmt.Sprintf("must be one of %v", outbox.DeliveryStates())})
	}
	if f.Before != 0 {
		where, args["before"] = append(where, "d.sequence < @before"), f.Before
	}
	return s.infos(ctx, attempted, "WHERE "+strings.Join(where, " AND ")+" ORDER BY d.sequence DESC LIMIT @limit", args)
}

// maxOfEvent bounds the deliveries that are shown of one event.
const maxOfEvent = 2000

// EventDeliveries returns the deliveries of one event to all endpoints, oldest
// change first; an event that is not known has none.
func (s *Store) EventDeliveries(ctx context.Context, id string) ([]outbox.DeliveryInfo, error) {
	key, err := parseID(id)
	if err != nil {
		return nil, nil //nolint:nilerr // nothing is about it
	}
	return s.infos(ctx, "list deliveries of event "+id, `WHERE m.event_id = @id
		AND EXISTS (SELECT FROM endpoint e WHERE e.name = d.endpoint AND e.deleted_at IS NULL) ORDER BY d.sequence, d.endpoint LIMIT @limit`,
		pgx.StrictNamedArgs{"id": key, "limit": maxOfEvent})
}

// DeliveryCounts returns how many deliveries of an endpoint are pending, parked
// and dead.
func (s *Store) DeliveryCounts(ctx context.Context, endpoint string) (map[outbox.DeliveryState]int64, error) {
	counts, err := deliveryCounts(ctx, s.pool, endpoint)
	return counts, classify("count the deliveries of "+endpoint, err)
}

func deliveryCounts(ctx context.Context, q querier, endpoint string) (map[outbox.DeliveryState]int64, error) {
	rows, err := q.Query(ctx, `
		SELECT 'pending', count(*) FROM delivery WHERE endpoint = @endpoint AND state = 'pending'
		UNION ALL SELECT 'parked', count(*) FROM delivery WHERE endpoint = @endpoint AND state = 'parked'
		UNION ALL SELECT 'dead', count(*) FROM delivery WHERE endpoint = @endpoint AND state = 'dead'`,
		pgx.StrictNamedArgs{"endpoint": endpoint})
	if err != nil {
		return nil, err
	}
	counts := make(map[outbox.DeliveryState]int64)
	var state outbox.DeliveryState
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error {
		counts[state] = n
		return nil
	})
	return counts, err
}

// Pruned says how many rows PruneDeliveries deleted.
type Pruned struct{ Messages, Attempts int64 }

// pruneBatch bounds one transaction of PruneDeliveries.
const pruneBatch = 1000

// PruneDeliveries deletes what was said before a moment and waits nowhere any
// more, with its deliveries, and attempts that began before it. It works in
// small transactions and waits for nobody: what others are at is left for the
// next time. It may have deleted some when it returns an error. What it deleted
// can still be replayed: messages are made again from events.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time) (p Pruned, err error) {
	const attempted = "prune deliveries"
	for {
		seen, deleted, err := s.pruneMessages(ctx, before)
		if p.Messages += deleted; err != nil {
			return p, classify(attempted, err)
		}
		if seen < pruneBatch || deleted == 0 {
			break
		}
	}
	for {
		tag, err := s.pool.Exec(ctx, `DELETE FROM attempt WHERE id = ANY (ARRAY(
			SELECT id FROM attempt WHERE started_at < @before LIMIT @limit FOR UPDATE SKIP LOCKED))`,
			pgx.StrictNamedArgs{"before": before, "limit": pruneBatch})
		if err != nil {
			return p, classify(attempted, err)
		}
		if p.Attempts += tag.RowsAffected(); tag.RowsAffected() < pruneBatch {
			break
		}
	}
	return p, classify(attempted, s.forgetRequests(ctx))
}

// pruneMessages deletes one batch, of as many as it has seen. A replay takes
// messages before their deliveries, see requeue: those that are locked here stay
// as the second statement finds them, and where a replay was faster, they are not
// locked, or their deliveries wait again.
func (s *Store) pruneMessages(ctx context.Context, before time.Time) (seen int, deleted int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT m.sequence FROM outbox_message m WHERE m.created_at < @before AND NOT EXISTS (
				SELECT FROM delivery d WHERE d.sequence = m.sequence AND (d.settled_at IS NULL OR d.settled_at >= @before))
			LIMIT @limit FOR UPDATE OF m SKIP LOCKED`, pgx.StrictNamedArgs{"before": before, "limit": pruneBatch})
		if err != nil {
			return err
		}
		batch, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if seen = len(batch); err != nil || seen == 0 {
			return err
		}
		tag, err := tx.Exec(ctx, `
			WITH locked AS MATERIALIZED (SELECT endpoint, sequence FROM delivery WHERE sequence = ANY (@batch) FOR UPDATE SKIP LOCKED)
			DELETE FROM outbox_message m WHERE m.sequence = ANY (@batch) AND NOT EXISTS (
				SELECT FROM delivery d WHERE d.sequence = m.sequence AND (d.settled_at IS NULL OR d.settled_at >= @before
					OR (d.endpoint, d.sequence) NOT IN (SELECT endpoint, sequence FROM locked)))`,
			pgx.StrictNamedArgs{"before": before, "batch": batch})
		deleted = tag.RowsAffected()
		return err
	})
	return seen, deleted, err
}

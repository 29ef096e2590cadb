package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// DeleteEndpoint makes an endpoint vanish for everybody at once, with its
// secrets and what waits for it; how much that is says the entry in the audit
// chain. Its deliveries take room until SweepEndpoints has been there; until then
// no endpoint of that name can be made. The log of its attempts stays until
// PruneDeliveries finds it old.
func (s *Store) DeleteEndpoint(ctx context.Context, name string, act outbox.Act) error {
	return classify("delete endpoint "+name, s.actOnEndpoint(ctx, requestOf(deleteAction, name, act, nil), func(tx pgx.Tx) error {
		deleted, err := markDeleted(ctx, tx, "name = @name AND (@version::int = 0 OR version = @version::int)",
			pgx.StrictNamedArgs{"name": name, "version": act.Version})
		if err != nil {
			return err
		}
		if len(deleted) == 0 {
			return missingOrOther(ctx, tx, name)
		}
		return errors.Join(s.auditDeleted(ctx, tx, name, act), notifyEndpoints(ctx, tx))
	}))
}

// auditDeleted remembers what a deletion gave up: deliveries that waited, and
// dead letters that cannot be replayed to it any more.
func (s *Store) auditDeleted(ctx context.Context, tx pgx.Tx, name string, act outbox.Act) error {
	n, err := deliveryCounts(ctx, tx, name)
	if err != nil {
		return err
	}
	detail := map[string]any{"gave_up": map[string]int64{
		"pending": n[outbox.StatePending], "parked": n[outbox.StateParked], "dead": n[outbox.StateDead],
	}}
	return s.auditIn(ctx, tx, change{act: act, action: deleteAction, endpoint: name, detail: detail})
}

const deleteAction = "endpoint.delete"

// markDeleted takes endpoints out of use and returns their names, sorted. A
// commit does not wait for it, nor it for a commit: of one that goes on beside
// it, a delivery may still come, which the sweep finds. The new epoch ends the
// lease of who delivers to it.
func markDeleted(ctx context.Context, tx pgx.Tx, where string, args pgx.StrictNamedArgs) ([]string, error) {
	rows, err := tx.Query(ctx, `
		UPDATE endpoint SET deleted_at = clock_timestamp(), enabled = false, spec = '{}', updated_at = now(),
			lease_owner = '', lease_until = NULL, lease_epoch = lease_epoch + 1
		WHERE deleted_at IS NULL AND `+where+" RETURNING name", args)
	if err != nil {
		return nil, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) == 0 {
		return nil, err
	}
	slices.Sort(names)
	_, err = tx.Exec(ctx, "DELETE FROM endpoint_secret WHERE endpoint = ANY(@names)", pgx.StrictNamedArgs{"names": names})
	return names, err
}

// missingOrOther says why no row matched: there is none, or one of another
// version.
func missingOrOther(ctx context.Context, tx pgx.Tx, name string) error {
	var version int
	err := tx.QueryRow(ctx, "SELECT version FROM endpoint WHERE name = @name AND deleted_at IS NULL", pgx.StrictNamedArgs{"name": name}).Scan(&version)
	if errorsIsNoRows(err) {
		return events.ErrNotFound
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("its version is %d now: %w", version, events.ErrConflict)
}

// sweepBatch bounds one transaction of SweepEndpoints.
const sweepBatch = 1000

// SweepEndpoints deletes what is left of deleted endpoints, in small
// transactions that no commit waits for, and returns how many deliveries that
// were. It goes on where it, or another process, was interrupted.
// Call it at start and after an endpoint was deleted.
func (s *Store) SweepEndpoints(ctx context.Context) (int64, error) {
	n, err := s.sweep(ctx, "true", pgx.StrictNamedArgs{})
	return n, classify("delete what is left of endpoints", err)
}

// sweep is SweepEndpoints for some of them.
func (s *Store) sweep(ctx context.Context, where string, args pgx.StrictNamedArgs) (total int64, err error) {
	rows, err := s.pool.Query(ctx, "SELECT name FROM endpoint WHERE deleted_at IS NOT NULL AND "+where+" ORDER BY name", args)
	if err != nil {
		return 0, err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		n, err := s.sweepDeliveries(ctx, name)
		if total += n; err != nil {
			return total, err
		}
		// What a commit beside the deletion still queued goes with the row.
		if _, err := s.pool.Exec(ctx, "DELETE FROM endpoint WHERE name = @name AND deleted_at IS NOT NULL", pgx.StrictNamedArgs{"name": name}); err != nil {
			return total, err
		}
	}
	return total, nil
}

// sweepDeliveries looks in every statement whether the endpoint is a deleted
// one: another process may have ended the deletion, and a new endpoint may have
// the name. It goes on behind the last number, so that it does not read again and
// again over what it deleted, and locks in the order of the numbers, as a replay
// does that has begun before.
func (s *Store) sweepDeliveries(ctx context.Context, name string) (total int64, err error) {
	for n, after := int64(sweepBatch), int64(0); n == sweepBatch; {
		err = s.pool.QueryRow(ctx, `
			WITH batch AS MATERIALIZED (
				SELECT sequence AS n FROM delivery WHERE endpoint = @name AND sequence > @after
					AND EXISTS (SELECT FROM endpoint WHERE name = @name AND deleted_at IS NOT NULL)
				ORDER BY sequence LIMIT @limit FOR UPDATE
			), gone AS (DELETE FROM delivery WHERE endpoint = @name AND sequence = ANY (ARRAY(SELECT n FROM batch)))
			SELECT count(*), coalesce(max(n), 0) FROM batch`,
			pgx.StrictNamedArgs{"name": name, "after": after, "limit": sweepBatch}).Scan(&n, &after)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// makeRoomFor is how long a new endpoint waits for the end of an old one.
const makeRoomFor = 3 * time.Second

// makeRoom ends the deletion of endpoints whose names are to be used again, if
// that does not take long; else notLeft refuses them.
func (s *Store) makeRoom(ctx context.Context, names ...string) error {
	sweeping, cancel := context.WithTimeout(ctx, makeRoomFor)
	defer cancel()
	_, err := s.sweep(sweeping, "name = ANY(@names)", pgx.StrictNamedArgs{"names": names})
	if ctx.Err() == nil && sweeping.Err() != nil {
		return nil
	}
	return err
}

// notLeft fails while something of an endpoint that had the name is left. The
// caller holds the audit chain, so none gets deleted meanwhile.
func notLeft(ctx context.Context, tx pgx.Tx, name string) error {
	var left bool
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM endpoint WHERE name = @name AND deleted_at IS NOT NULL)", pgx.StrictNamedArgs{"name": name}).Scan(&left)
	if err == nil && left {
		err = &events.ConflictError{Reason: fmt.Sprintf("the deliveries of a deleted endpoint %s are still being removed, try again in a minute or take another name", name)}
	}
	return err
}

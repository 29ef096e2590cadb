package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// ChangesSince returns the changes after a sequence number, oldest first, at
// most limit (1 to 500) of them. Each event is shown as of that change: its
// Sequence and Step are the change's, a change of an event that has cleared
// since has state raised and no ClearedAt, and the workflow is what it was then.
// Numbers become visible in their order and without gaps: a reader that goes on
// from the last number it saw misses nothing. Fewer than limit means that there
// are no more; numbers of events that were deleted are passed over.
func (s *Store) ChangesSince(ctx context.Context, sequence int64, limit int) ([]events.Event, error) {
	const attempted = "read changes"
	limit = min(max(limit, 1), maxPage)
	var out []events.Event
	for {
		found, last, more, err := s.changes(ctx, sequence, limit-len(out))
		if err != nil {
			return nil, classify(attempted, err)
		}
		if out = append(out, found...); !more || len(out) == limit {
			return out, nil
		}
		sequence = last // events were deleted between the two queries
	}
}

// changeRow is a row of event_change.
type changeRow struct {
	Sequence    int64
	EventID     [16]byte
	OccurredAt  time.Time
	State       events.State
	Step        events.Step
	CommittedAt time.Time
	Workflow    *events.Workflow
}

const changeColumns = "sequence, event_id, occurred_at, state, step, committed_at, workflow"

// changes reads up to limit rows of the log and shows their events. last is the
// number of the last row read; more says that limit rows were there.
func (s *Store) changes(ctx context.Context, sequence int64, limit int) (out []events.Event, last int64, more bool, err error) {
	rows, err := s.pool.Query(ctx, "SELECT "+changeColumns+" FROM event_change WHERE sequence > @sequence ORDER BY sequence LIMIT @limit",
		pgx.StrictNamedArgs{"sequence": sequence, "limit": limit})
	if err != nil {
		return nil, 0, false, err
	}
	log, err := pgx.CollectRows(rows, pgx.RowToStructByName[changeRow])
	if err != nil || len(log) == 0 {
		return nil, sequence, false, err
	}
	out, err = s.asOf(ctx, log)
	return out, log[len(log)-1].Sequence, len(log) == limit, err
}

// asOf shows the events of changes, as of each; one that is no longer there is
// left out. log is not empty.
func (s *Store) asOf(ctx context.Context, log []changeRow) ([]events.Event, error) {
	latest, err := eventsOf(ctx, s.pool, log, func(c *changeRow) ([16]byte, time.Time) { return c.EventID, c.OccurredAt })
	if err != nil {
		return nil, err
	}
	var touched [][16]byte // by people
	for _, e := range latest {
		if e.Workflow.State != events.WorkflowNew {
			id, _ := parseID(e.ID) // it came from the database
			touched = append(touched, id)
		}
	}
	people, err := s.workflows(ctx, touched)
	if err != nil {
		return nil, err
	}
	out := make([]events.Event, 0, len(log))
	for _, c := range log {
		e, ok := latest[formatID(c.EventID)]
		if !ok {
			continue // deleted between the two queries
		}
		turnBack(&e, c.Sequence, c.State, c.Step)
		e.Workflow = workflowAsOf(people[c.EventID], c.Sequence)
		out = append(out, e)
	}
	return out, nil
}

// eventsOf returns the events that changes are about as they are now, by
// identifier. of returns a change's event and when that occurred; changes is not
// empty.
func eventsOf[T any](ctx context.Context, db querier, changes []T, of func(*T) ([16]byte, time.Time)) (map[string]events.Event, error) {
	// A join would leave the choice of partitions to the moment of execution,
	// and the planner then prefers to read whole ones.
	ids := make([][16]byte, len(changes))
	_, from := of(&changes[0])
	to := from
	for i := range changes {
		id, at := of(&changes[i])
		ids[i] = id
		if at.Before(from) {
			from = at
		}
		if at.After(to) {
			to = at
		}
	}
	found, err := collectFrom(ctx, db, selectEvent+" WHERE e.id = ANY(@ids) AND e.occurred_at BETWEEN @from AND @to",
		pgx.StrictNamedArgs{"ids": ids, "from": from, "to": to})
	if err != nil {
		return nil, err
	}
	byID := make(map[string]events.Event, len(found))
	for _, e := range found {
		byID[e.ID] = e
	}
	return byID, nil
}

// turnBack shows an event as of a change, but for what people did with it.
func turnBack(e *events.Event, sequence int64, state events.State, step events.Step) {
	e.Sequence, e.State, e.Step = sequence, state, step
	if state != events.StateCleared {
		e.ClearedAt = time.Time{}
	}
}

// workflows returns the workflow changes of events, oldest first.
func (s *Store) workflows(ctx context.Context, ids [][16]byte) (map[[16]byte][]changeRow, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // nothing is known of nothing
	}
	rows, err := s.pool.Query(ctx, "SELECT "+changeColumns+" FROM event_change WHERE event_id = ANY(@ids) AND step = 'workflow' ORDER BY sequence",
		pgx.StrictNamedArgs{"ids": ids})
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[changeRow])
	out := make(map[[16]byte][]changeRow)
	for _, c := range found {
		out[c.EventID] = append(out[c.EventID], c)
	}
	return out, err
}

// workflowAsOf returns the workflow after the latest of changes, which are
// sorted, up to a number.
func workflowAsOf(changes []changeRow, sequence int64) events.Workflow {
	w := events.Workflow{State: events.WorkflowNew}
	for _, c := range changes {
		if c.Sequence > sequence {
			break
		}
		if c.Workflow != nil {
			w = *c.Workflow
		}
	}
	return w
}

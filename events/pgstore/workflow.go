package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// workflowDetail is the detail of an audit entry about an event.
type workflowDetail struct {
	Request  workflowRequest `json:"request"`
	Sequence int64           `json:"sequence"` // of the change
	Was      events.Workflow `json:"was"`
	Is       events.Workflow `json:"is"`
}

type workflowRequest struct {
	To      string `json:"to,omitempty"`
	Note    string `json:"note,omitempty"`
	Verdict string `json:"verdict,omitempty"`
	Case    string `json:"case,omitempty"`
}

// actionPrefix begins the names of workflow actions in the audit chain.
const actionPrefix = "event."

// Act does what a person asks for: the event's columns, a change of step
// workflow, its deliveries and an entry of the audit chain, in one transaction.
// The same request with the same key is answered as the first time. Errors are
// joined *events.FieldError for what is wrong with the request, and wrap
// events.ErrNotFound for an event that is not in the database, such as one that
// waits in the spool, or a *events.ConflictError.
func (s *Store) Act(ctx context.Context, r events.WorkflowRequest) (events.Done, error) {
	attempted := fmt.Sprintf("%s event %s", r.Action, r.EventID)
	if err := r.Check(); err != nil {
		return events.Done{}, fmt.Errorf("%s: %w", attempted, err)
	}
	id, err := parseID(r.EventID)
	if err != nil {
		return events.Done{}, fmt.Errorf("%s: %w", attempted, events.ErrNotFound)
	}
	type acted struct{ Number, Sequence int64 }
	asked := &request{key: r.Key, by: r.By, action: actionPrefix + string(r.Action), subject: "event:" + formatID(id), args: detailOf(&r)}
	var done events.Done
	before, repeated, err := once(ctx, s, asked, func(tx pgx.Tx) (acted, error) {
		var err error
		done, err = s.act(ctx, tx, id, &r)
		return acted{done.Number, done.Event.Sequence}, err
	})
	if err == nil && repeated {
		done = events.Done{Number: before.Number, Repeated: true}
		done.Event, err = s.eventOfChange(ctx, before.Sequence)
	}
	return done, classify(attempted, err)
}

func detailOf(r *events.WorkflowRequest) workflowRequest {
	return workflowRequest{r.To, r.Note, r.Verdict, r.Case}
}

// subjectState is what an action begins from.
type subjectState struct {
	last           int64
	at             time.Time
	occurredAt     time.Time
	receivedAt     time.Time
	acknowledgedAt *time.Time
	state          events.State
	workflow       events.Workflow
	held           bool
}

func (s *Store) act(ctx context.Context, tx pgx.Tx, id [16]byte, r *events.WorkflowRequest) (events.Done, error) {
	now, err := lockSubject(ctx, tx, id, r.Case)
	if err != nil {
		return events.Done{}, err
	}
	is, refusal := now.workflow.Apply(r, now.held)
	if refusal != nil {
		return events.Done{}, explain(ctx, tx, id, r, refusal)
	}
	sequence := now.last + 1
	e, err := newEntry(r.By, actionPrefix+string(r.Action), "event:"+formatID(id), formatID(id), workflowDetail{
		detailOf(r), sequence, now.workflow, is,
	})
	if err != nil {
		return events.Done{}, err
	}
	e.Key, e.At = r.Key, now.at
	if err := s.appendAudit(ctx, tx, e); err != nil {
		return events.Done{}, err
	}
	done := events.Done{Number: e.Number}
	if now.acknowledgedAt == nil && is.State != events.WorkflowNew {
		done.Waited = max(now.at.Sub(now.receivedAt), time.Microsecond)
	}
	if err := writeAction(ctx, tx, id, r, &now, is); err != nil {
		return events.Done{}, err
	}
	if done.Event, err = eventIn(ctx, tx, id); err != nil {
		return events.Done{}, err
	}
	done.Event.Step = events.StepWorkflow
	return done, s.enqueue(ctx, tx, now.at, []said{{step: events.StepWorkflow, event: done.Event}})
}

// lockSubject takes the audit chain and the counter, in this order, and then
// looks at the event, see lockAndLook.
func lockSubject(ctx context.Context, tx pgx.Tx, id [16]byte, caseID string) (now subjectState, err error) {
	from, to := spanOf(id)
	b := &pgx.Batch{}
	b.Queue("SELECT 1 FROM audit_head FOR UPDATE")
	b.Queue("SELECT last FROM event_sequence FOR UPDATE").QueryRow(func(row pgx.Row) error { return row.Scan(&now.last) })
	b.Queue("SELECT clock_timestamp()").QueryRow(func(row pgx.Row) error { return row.Scan(&now.at) })
	b.Queue(`SELECT occurred_at, received_at, acknowledged_at, state, workflow_state, assignee, verdict
		FROM event WHERE id = @id AND occurred_at >= @from AND occurred_at < @to`, pgx.StrictNamedArgs{"id": id, "from": from, "to": to}).
		QueryRow(func(row pgx.Row) error {
			w := &now.workflow
			return row.Scan(&now.occurredAt, &now.receivedAt, &now.acknowledgedAt, &now.state, &w.State, &w.Assignee, &w.Verdict)
		})
	b.Queue("SELECT EXISTS (SELECT FROM case_hold WHERE event_id = @id AND case_id = @case AND released_at IS NULL)",
		pgx.StrictNamedArgs{"id": id, "case": caseID}).QueryRow(func(row pgx.Row) error { return row.Scan(&now.held) })
	err = tx.SendBatch(ctx, b).Close()
	if errors.Is(err, pgx.ErrNoRows) {
		err = events.ErrNotFound
	}
	return now, err
}

// writeAction stores what an action changes.
func writeAction(ctx context.Context, tx pgx.Tx, id [16]byte, r *events.WorkflowRequest, now *subjectState, is events.Workflow) error {
	text, err := json.Marshal(is)
	if err != nil {
		return err
	}
	sequence := now.last + 1
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO event_change (sequence, event_id, occurred_at, state, step, committed_at, workflow)
		VALUES (@sequence, @id, @occurred_at, @state, 'workflow', @at, @workflow::text::jsonb)`,
		pgx.StrictNamedArgs{"sequence": sequence, "id": id, "occurred_at": now.occurredAt, "state": now.state, "at": now.at, "workflow": string(text)})
	b.Queue(`UPDATE event SET sequence = @sequence, workflow_state = @state, assignee = @assignee, verdict = @verdict,
			acknowledged_at = CASE WHEN @state = 'new' THEN acknowledged_at ELSE coalesce(acknowledged_at, @at) END,
			closed_at = CASE WHEN @state = 'closed' THEN coalesce(closed_at, @at) END
		WHERE id = @id AND occurred_at = @occurred_at`,
		pgx.StrictNamedArgs{
			"sequence": sequence, "state": is.State, "assignee": is.Assignee, "verdict": is.Verdict, "at": now.at, "id": id, "occurred_at": now.occurredAt,
		})
	switch r.Action { //nolint:exhaustive // the others touch no hold
	case events.ActionHold:
		b.Queue(`INSERT INTO case_hold (event_id, case_id, held_by, reason, held_at) VALUES (@id, @case, @by, @reason, @at)
			ON CONFLICT (event_id, case_id) DO UPDATE SET held_by = excluded.held_by, reason = excluded.reason,
				held_at = excluded.held_at, released_at = NULL, released_by = NULL`,
			pgx.StrictNamedArgs{"id": id, "case": r.Case, "by": r.By, "reason": r.Note, "at": now.at})
	case events.ActionRelease:
		b.Queue("UPDATE case_hold SET released_at = @at, released_by = @by WHERE event_id = @id AND case_id = @case",
			pgx.StrictNamedArgs{"id": id, "case": r.Case, "by": r.By, "at": now.at})
	}
	b.Queue("UPDATE event_sequence SET last = @last", pgx.StrictNamedArgs{"last": sequence})
	b.Queue("SELECT pg_notify('" + eventChannel + "', '')")
	return tx.SendBatch(ctx, b).Close()
}

// explain adds to a refusal who did what it is for.
func explain(ctx context.Context, tx pgx.Tx, id [16]byte, r *events.WorkflowRequest, refusal error) error {
	c, ok := errors.AsType[*events.ConflictError](refusal)
	if !ok {
		return refusal
	}
	actions := []string{"event.acknowledge", "event.assign", "event.close", "event.reopen"}
	if r.Case != "" {
		actions = []string{"event.hold", "event.release"}
	}
	err := tx.QueryRow(ctx, `SELECT actor, action, at FROM audit
		WHERE event_id = @id AND action = ANY(@actions) AND (@case = '' OR detail -> 'request' ->> 'case' = @case)
		ORDER BY number DESC LIMIT 1`,
		pgx.StrictNamedArgs{"id": id, "actions": actions, "case": r.Case}).Scan(&c.By, &c.Action, &c.At)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return c
}

// eventIn reads one event within a transaction.
func eventIn(ctx context.Context, tx pgx.Tx, id [16]byte) (events.Event, error) {
	from, to := spanOf(id)
	found, err := collectFrom(ctx, tx, selectEvent+" WHERE e.id = @id AND e.occurred_at >= @from AND e.occurred_at < @to",
		pgx.StrictNamedArgs{"id": id, "from": from, "to": to})
	if err != nil {
		return events.Event{}, err
	}
	if len(found) == 0 {
		return events.Event{}, events.ErrNotFound
	}
	return found[0], nil
}

// eventOfChange shows the event of one change as of that.
func (s *Store) eventOfChange(ctx context.Context, sequence int64) (events.Event, error) {
	found, _, _, err := s.changes(ctx, sequence-1, 1)
	if err == nil && (len(found) == 0 || found[0].Sequence != sequence) {
		err = events.ErrNotFound // deleted meanwhile
	}
	if err != nil {
		return events.Event{}, err
	}
	return found[0], nil
}

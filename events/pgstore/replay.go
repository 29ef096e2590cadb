package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// replayPart bounds the messages of one transaction of a replay: while it lasts,
// nobody else who acts can be written down.
const replayPart = 2000

// Replay queues messages for an endpoint again, or for the first time, in the
// replay lane and under the names they had. It works in parts, each a
// transaction with its entry in the audit chain: after an error some may be
// queued, and the same request with its key goes on behind them. A message that
// was never queued for the endpoint is made from the event as it is now, with the
// state it had, and must pass the endpoint's filter unless it was named. An error
// wraps events.ErrNotFound when there is no such endpoint, events.ErrConflict
// while the same request is being done, and is a *events.FieldError when r makes
// no sense.
func (s *Store) Replay(ctx context.Context, endpoint string, r outbox.Replay, act outbox.Act) (outbox.ReplayResult, error) {
	attempted := "replay to " + endpoint
	if err := checkReplay(&r); err != nil {
		return outbox.ReplayResult{}, classify(attempted, err)
	}
	if r.Preview {
		act.Key = ""
	}
	done, _, err := onceInParts(ctx, s, requestOf(replayAction, endpoint, act, r), func(tx pgx.Tx, p *replayed) (bool, error) {
		return s.replayPart(ctx, tx, endpoint, &r, act, p)
	})
	return outbox.ReplayResult{Count: done.Count, More: done.More, Examples: done.examples}, classify(attempted, err)
}

const replayAction = "endpoint.replay"

// replayed is how far a replay is.
type replayed struct {
	Count int64 `json:"count"`
	More  bool  `json:"more,omitempty"` // there were too many
	Parts int   `json:"parts"`
	// The changes that are still to be looked at. Those that come meanwhile are no
	// part of it.
	After int64 `json:"after"`
	UpTo  int64 `json:"up_to"`

	examples []outbox.DeliveryInfo
}

// replayPart does one part and reports whether there may be another one.
func (s *Store) replayPart(ctx context.Context, tx pgx.Tx, endpoint string, r *outbox.Replay, act outbox.Act, p *replayed) (more bool, err error) {
	if p.Parts++; p.Parts == 1 {
		if err := tx.QueryRow(ctx, "SELECT last FROM event_sequence").Scan(&p.UpTo); err != nil {
			return false, err
		}
	} else {
		act.Version = 0 // what was meant was there when it began
	}
	if !r.Preview {
		if err := lockAudit(ctx, tx); err != nil {
			return false, err
		}
	}
	e, err := s.keepEndpoint(ctx, tx, endpoint, act)
	if err != nil {
		return false, err
	}
	w := window{after: p.After, upTo: p.UpTo}
	res, err := s.replay(ctx, tx, &e, r, &w, min(replayPart, outbox.MaxReplay-int(p.Count)))
	if err != nil {
		return false, err
	}
	p.After = w.after
	p.Count += res.Count
	p.examples = append(p.examples, res.Examples[:min(len(res.Examples), outbox.PreviewExamples-len(p.examples))]...)
	p.More = res.More && p.Count >= outbox.MaxReplay
	more = res.More && !p.More
	if r.Preview || res.Count == 0 {
		return more, nil
	}
	if _, err := tx.Exec(ctx, "SELECT pg_notify('"+deliveryChannel+"', '')"); err != nil {
		return false, err
	}
	detail := map[string]any{"part": p.Parts, "count": res.Count, "state": r.State, "kinds": r.Kinds, "named": len(r.Sequences)}
	if !r.From.IsZero() {
		detail["from"] = r.From
	}
	if !r.To.IsZero() {
		detail["to"] = r.To
	}
	return more, s.auditIn(ctx, tx, change{act: act, action: replayAction, endpoint: endpoint, detail: detail})
}

func checkReplay(r *outbox.Replay) error {
	var errs []error
	bad := func(field, reason string) { errs = append(errs, &events.FieldError{Field: field, Reason: reason}) }
	states := []outbox.DeliveryState{"", outbox.StateDead, outbox.StateDelivered, outbox.StateMissing}
	if !slices.Contains(states, r.State) {
		bad("state", "must be dead, delivered or missing")
	}
	switch {
	case len(r.Sequences) > outbox.MaxSequences:
		bad("sequences", fmt.Sprintf("must be at most %d", outbox.MaxSequences))
	case len(r.Sequences) > 0 && (!r.From.IsZero() || !r.To.IsZero() || len(r.Kinds) > 0 || r.State != ""):
		bad("sequences", "must not be given with from, to, kinds or state")
	case len(r.Sequences) == 0 && r.From.IsZero() && r.State != outbox.StateDead:
		bad("from", "is required, unless sequences are given or state is dead")
	case !r.From.IsZero() && !r.To.IsZero() && !r.From.Before(r.To):
		bad("to", "must be later than from")
	}
	return errors.Join(errs...)
}

// candidate is a change that may be sent again.
type candidate struct {
	Sequence   int64
	EventID    [16]byte
	OccurredAt time.Time
	EventState events.State
	Step       events.Step
	Workflow   *events.Workflow // what people did, if the change was about that
	Known      bool             // its message is stored
	State      outbox.DeliveryState
}

// selectCandidates reads the changes of events, with what is known of them at
// an endpoint.
const selectCandidates = `
	SELECT c.sequence, c.event_id, c.occurred_at, c.state AS event_state, c.step, c.workflow, m.sequence IS NOT NULL AS known, coalesce(d.state, 'missing') AS state
	FROM event_change c
	LEFT JOIN delivery d ON d.endpoint = @endpoint AND d.sequence = c.sequence
	LEFT JOIN outbox_message m ON m.sequence = c.sequence`

// replayPage is how many candidates are looked at together.
const replayPage = 500

// window is the numbers of changes that are still to be looked at.
type window struct{ after, upTo int64 }

// candidates returns the first replayPage of what r selects in a window, in
// order.
func candidates(ctx context.Context, tx pgx.Tx, endpoint string, r *outbox.Replay, w window) ([]candidate, error) {
	args := pgx.StrictNamedArgs{"endpoint": endpoint, "after": w.after, "up_to": w.upTo, "limit": replayPage}
	sql := selectCandidates
	if len(r.Sequences) > 0 {
		sql += " WHERE c.sequence = ANY(@sequences) AND coalesce(d.state, 'missing') <> 'pending'"
		args["sequences"] = r.Sequences
	} else {
		args["states"] = []string{string(r.State)}
		if r.State == "" {
			args["states"] = []string{"dead", "delivered", "missing"}
		}
		sql += " WHERE coalesce(d.state, 'missing') = ANY(@states)"
		if r.State == outbox.StateDead { // there are few, and they have an index
			sql += " AND c.sequence IN (SELECT sequence FROM delivery WHERE endpoint = @endpoint AND state = 'dead')"
		}
		if !r.From.IsZero() {
			sql, args["from"] = sql+" AND c.occurred_at >= @from", r.From
		}
		if !r.To.IsZero() {
			sql, args["to"] = sql+" AND c.occurred_at < @to", r.To
		}
		if len(r.Kinds) > 0 {
			sql += " AND EXISTS (SELECT FROM event e WHERE e.id = c.event_id AND e.occurred_at = c.occurred_at AND e.kind = ANY(@kinds))"
			args["kinds"] = texts(r.Kinds)
		}
	}
	rows, err := tx.Query(ctx, sql+" AND c.sequence > @after AND c.sequence <= @up_to ORDER BY c.sequence LIMIT @limit", args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[candidate])
}

// replay goes through the candidates of a window, page by page, until it has
// room messages, and moves the window behind the last one that it looked at. More
// says that it has not seen all.
func (s *Store) replay(ctx context.Context, tx pgx.Tx, e *outbox.Endpoint, r *outbox.Replay, w *window, room int) (res outbox.ReplayResult, err error) {
	matcher, err := outbox.NewMatcher(e.Filter, s.cfg.Calendar)
	if err != nil {
		return res, &refusedError{"the endpoint's filter: " + err.Error()}
	}
	now, err := clock(ctx, tx)
	if err != nil {
		return res, err
	}
	for {
		page, err := candidates(ctx, tx, e.Name, r, *w)
		if err != nil || len(page) == 0 {
			return res, err
		}
		res.More = len(page) == replayPage
		changes, err := candidatesAsOf(ctx, tx, page)
		if err != nil {
			return res, err
		}
		w.after = page[len(page)-1].Sequence
		page, changes = wanted(page, changes, len(r.Sequences) > 0, matcher)
		if left := room - int(res.Count); len(page) > left {
			page, changes, res.More = page[:left], changes[:left], true
			w.after = page[left-1].Sequence
		}
		res.Count += int64(len(page))
		for i := range page[:min(len(page), max(0, outbox.PreviewExamples-len(res.Examples)))] {
			res.Examples = append(res.Examples, exampleOf(e.Name, &page[i], &changes[i]))
		}
		if !r.Preview {
			if err := requeue(ctx, tx, e.Name, now, changes); err != nil {
				return res, err
			}
		}
		if !res.More || int(res.Count) >= room {
			return res, nil
		}
	}
}

// candidatesAsOf returns the events as of the candidates' changes; one that was deleted
// has no identifier.
func candidatesAsOf(ctx context.Context, tx pgx.Tx, page []candidate) ([]said, error) {
	byID, err := eventsOf(ctx, tx, page, func(c *candidate) ([16]byte, time.Time) { return c.EventID, c.OccurredAt })
	if err != nil {
		return nil, err
	}
	out := make([]said, len(page))
	for i, c := range page {
		ev, ok := byID[formatID(c.EventID)]
		if !ok {
			continue
		}
		turnBack(&ev, c.Sequence, c.EventState, c.Step)
		if c.Workflow != nil {
			ev.Workflow = *c.Workflow
		}
		out[i] = said{step: c.Step, event: ev}
	}
	return out, nil
}

// wanted keeps what can be sent: what is stored, and of the rest what was named
// or passes the filter.
func wanted(page []candidate, changes []said, named bool, m *outbox.Matcher) ([]candidate, []said) {
	var keep []candidate
	var out []said
	for i, c := range page {
		there := changes[i].event.ID != ""
		if c.State == outbox.StateMissing && (!there || !named && !m.Match(&changes[i].event, c.Step)) || !there && !c.Known {
			continue
		}
		if !there { // the message says what was
			changes[i] = said{step: c.Step, event: events.Event{ID: formatID(c.EventID), Sequence: c.Sequence, OccurredAt: c.OccurredAt}}
		}
		keep, out = append(keep, c), append(out, changes[i])
	}
	return keep, out
}

func exampleOf(endpoint string, c *candidate, change *said) outbox.DeliveryInfo {
	return outbox.DeliveryInfo{
		Endpoint: endpoint, Sequence: c.Sequence, MessageID: outbox.MessageID(formatID(c.EventID), c.Step, c.Sequence), EventID: formatID(c.EventID),
		Kind: change.event.Kind, Step: c.Step, OccurredAt: c.OccurredAt.UTC(), State: c.State, Lane: outbox.LaneReplay,
	}
}

// requeue writes deliveries in the replay lane; messages that are stored stay
// as they are, also for who prunes them.
func requeue(ctx context.Context, tx pgx.Tx, endpoint string, now time.Time, changes []said) error {
	var sequences []int64
	var ids, steps, bodies []string
	var eventIDs [][16]byte
	var occurred []time.Time
	for i := range changes {
		e := &changes[i].event
		id, err := parseID(e.ID)
		if err != nil {
			return &refusedError{err.Error()}
		}
		body, err := json.Marshal(e)
		if err != nil {
			return &refusedError{fmt.Sprintf("event %s: %v", e.ID, err)}
		}
		sequences, ids, eventIDs = append(sequences, e.Sequence), append(ids, outbox.MessageID(e.ID, changes[i].step, e.Sequence)), append(eventIDs, id)
		steps, occurred, bodies = append(steps, string(changes[i].step)), append(occurred, e.OccurredAt), append(bodies, string(body))
	}
	if len(sequences) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	b.Queue("SELECT FROM outbox_message WHERE sequence = ANY (@sequences) ORDER BY sequence FOR KEY SHARE", pgx.StrictNamedArgs{"sequences": sequences})
	b.Queue(`
		INSERT INTO outbox_message (sequence, id, event_id, step, occurred_at, created_at, event)
		SELECT sequence, id, event_id, step, occurred_at, @at, event::jsonb
		FROM unnest(@sequences::bigint[], @ids::text[], @event_ids::uuid[], @steps::text[], @occurred::timestamptz[], @bodies::text[])
			AS t (sequence, id, event_id, step, occurred_at, event)
		ON CONFLICT DO NOTHING`,
		pgx.StrictNamedArgs{
			"at": now, "sequences": sequences, "ids": ids, "event_ids": eventIDs, "steps": steps, "occurred": occurred, "bodies": bodies,
		})
	b.Queue(`
		INSERT INTO delivery (endpoint, sequence, lane, state, queued_at)
		SELECT @endpoint, sequence, @lane, 'pending', @at FROM unnest(@sequences::bigint[]) AS t (sequence)
		ON CONFLICT (endpoint, sequence) DO UPDATE SET lane = excluded.lane, state = 'pending', attempts = 0,
			queued_at = excluded.queued_at, next_at = NULL, settled_at = NULL, last_error = ''
		WHERE delivery.state <> 'pending'`,
		pgx.StrictNamedArgs{"endpoint": endpoint, "lane": int(outbox.LaneReplay), "at": now, "sequences": sequences})
	return tx.SendBatch(ctx, b).Close()
}

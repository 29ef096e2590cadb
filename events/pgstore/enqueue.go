package pgstore

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// deliveryChannel is the NOTIFY of new deliveries.
const deliveryChannel = "xacam_delivery"

// said is a change and the event as of it, numbered.
type said struct {
	step  events.Step
	event events.Event
}

// madeMatcher is a matcher and the filter it was made from. A version would not
// do: an endpoint that is deleted and made anew begins at 1 again.
type madeMatcher struct {
	filter  filterJSON
	matcher *outbox.Matcher
}

// filterJSON is an endpoint's filter in its spec.
type filterJSON struct {
	Kinds    []events.Kind   `json:"kinds,omitempty"`
	Severity events.Severity `json:"severity,omitempty"`
	Hamlets  []string        `json:"hamlets,omitempty"`
	Sources  []string        `json:"sources,omitempty"`
	Steps    []events.Step   `json:"steps,omitempty"`
	Schedule string          `json:"schedule,omitempty"`
}

// listener is an enabled endpoint as enqueue sees it.
type listener struct {
	Name    string
	Version int
	Spec    struct {
		Filter filterJSON `json:"filter"`
	}
}

// enqueue writes, in the transaction of the changes, what must be delivered of
// them. So an event is stored together with its deliveries or not at all.
func (s *Store) enqueue(ctx context.Context, tx pgx.Tx, at time.Time, changes []said) error {
	if len(changes) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, "SELECT name, version, spec FROM endpoint WHERE enabled ORDER BY name")
	if err != nil {
		return err
	}
	listeners, err := pgx.CollectRows(rows, pgx.RowToStructByName[listener])
	if err != nil || len(listeners) == 0 {
		return err
	}
	if err := recall(ctx, tx, changes); err != nil {
		return err
	}
	var m messages
	for _, l := range listeners {
		matcher := s.matcher(ctx, l)
		for i := range changes {
			if matcher.Match(&changes[i].event, changes[i].step) {
				if err := m.add(l.Name, &changes[i]); err != nil {
					return err
				}
			}
		}
	}
	return m.write(ctx, tx, at)
}

// recall fills in what the store knows better than who tells of a cleared event:
// when it was first stored, and what people did with it since.
func recall(ctx context.Context, tx pgx.Tx, changes []said) error {
	var ids [][16]byte
	from, to := changes[0].event.OccurredAt, changes[0].event.OccurredAt
	for i := range changes {
		e := &changes[i].event
		id, err := parseID(e.ID)
		if err != nil {
			return &refusedError{err.Error()}
		}
		ids = append(ids, id)
		if e.OccurredAt.Before(from) {
			from = e.OccurredAt
		}
		if e.OccurredAt.After(to) {
			to = e.OccurredAt
		}
	}
	rows, err := tx.Query(ctx, `SELECT id, received_at, workflow_state, assignee, verdict FROM event
		WHERE id = ANY(@ids) AND occurred_at >= @from AND occurred_at < @to`,
		pgx.StrictNamedArgs{"ids": ids, "from": from.Add(-time.Second), "to": to.Add(time.Second)})
	if err != nil {
		return err
	}
	type known struct {
		receivedAt time.Time
		workflow   events.Workflow
	}
	byID := make(map[string]known)
	var id [16]byte
	var receivedAt time.Time
	var state string
	var assignee, verdict *string
	_, err = pgx.ForEachRow(rows, []any{&id, &receivedAt, &state, &assignee, &verdict}, func() error {
		byID[formatID(id)] = known{receivedAt.UTC(), events.Workflow{State: state, Assignee: assignee, Verdict: verdict}}
		return nil
	})
	for i := range changes {
		if k, ok := byID[strings.ToLower(changes[i].event.ID)]; ok {
			changes[i].event.ReceivedAt, changes[i].event.Workflow = k.receivedAt, k.workflow
		}
	}
	return err
}

// matcher returns the endpoint's filter, made once for each filter. A filter
// that cannot be read lets everything pass: told too much is better than an
// event lost.
func (s *Store) matcher(ctx context.Context, l listener) *outbox.Matcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.matchers[l.Name]; ok && reflect.DeepEqual(v.filter, l.Spec.Filter) {
		return v.matcher
	}
	m, err := outbox.NewMatcher(outbox.Filter(l.Spec.Filter), s.cfg.Calendar)
	if err != nil {
		s.cfg.Log.ErrorContext(ctx, "the filter of an endpoint cannot be read, it gets everything", "endpoint", l.Name, "error", err)
		m, _ = outbox.NewMatcher(outbox.Filter{}, s.cfg.Calendar) // the zero Filter is valid
	}
	s.matchers[l.Name] = madeMatcher{l.Spec.Filter, m}
	return m
}

// messages are rows of outbox_message and delivery, by column.
type messages struct {
	seen       map[int64]bool
	first      map[laneKey]int16
	sequences  []int64
	ids        []string
	eventIDs   [][16]byte
	steps      []string
	occurred   []time.Time
	bodies     []string
	endpoints  []string
	deliveries []int64 // sequence of each
	lanes      []int16
	about      [][16]byte // event of each delivery
}

// laneKey is an event at an endpoint.
type laneKey struct {
	endpoint string
	event    [16]byte
}

func (m *messages) add(endpoint string, c *said) error {
	id, err := parseID(c.event.ID)
	if err != nil {
		return &refusedError{err.Error()}
	}
	seq := c.event.Sequence
	if m.seen == nil {
		m.seen, m.first = make(map[int64]bool), make(map[laneKey]int16)
	}
	if !m.seen[seq] {
		m.seen[seq] = true
		body, err := json.Marshal(c.event)
		if err != nil {
			return &refusedError{fmt.Sprintf("event %s: %v", c.event.ID, err)}
		}
		m.sequences, m.ids = append(m.sequences, seq), append(m.ids, outbox.MessageID(c.event.ID, c.step, seq))
		m.eventIDs, m.steps = append(m.eventIDs, id), append(m.steps, string(c.step))
		m.occurred, m.bodies = append(m.occurred, c.event.OccurredAt), append(m.bodies, string(body))
	}
	m.endpoints, m.deliveries = append(m.endpoints, endpoint), append(m.deliveries, seq)
	lane, ok := m.first[laneKey{endpoint, id}]
	if !ok { // of several changes in one transaction the first decides, too
		lane = int16(outbox.LaneOf(c.event.Severity)) //nolint:gosec // one of three
		m.first[laneKey{endpoint, id}] = lane
	}
	m.lanes = append(m.lanes, lane)
	m.about = append(m.about, id)
	return nil
}

// write stores the messages, if there are any. A delivery goes into the lane of
// the event's first, also where its severity was changed since: its end must not
// overtake its beginning. All earlier ones of the event are in that lane, so any
// tells it; asked for the first, the planner would read the messages in their
// order until it finds one, which is all of them for a new event.
func (m *messages) write(ctx context.Context, tx pgx.Tx, at time.Time) error {
	if len(m.sequences) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO outbox_message (sequence, id, event_id, step, occurred_at, created_at, event)
		SELECT sequence, id, event_id, step, occurred_at, @at, event::jsonb
		FROM unnest(@sequences::bigint[], @ids::text[], @event_ids::uuid[], @steps::text[], @occurred::timestamptz[], @bodies::text[])
			AS t (sequence, id, event_id, step, occurred_at, event)`,
		pgx.StrictNamedArgs{
			"at": at, "sequences": m.sequences, "ids": m.ids, "event_ids": m.eventIDs, "steps": m.steps,
			"occurred": m.occurred, "bodies": m.bodies,
		})
	b.Queue(`INSERT INTO delivery (endpoint, sequence, lane, state, queued_at)
		SELECT t.endpoint, t.sequence, coalesce((
			SELECT min((SELECT d.lane FROM delivery d WHERE d.endpoint = t.endpoint AND d.sequence = m.sequence AND d.lane < 2))
			FROM outbox_message m WHERE m.event_id = t.event_id), t.lane), 'pending', @at
		FROM unnest(@endpoints::text[], @sequences::bigint[], @lanes::smallint[], @event_ids::uuid[])
			AS t (endpoint, sequence, lane, event_id)`,
		pgx.StrictNamedArgs{"at": at, "endpoints": m.endpoints, "sequences": m.deliveries, "lanes": m.lanes, "event_ids": m.about})
	b.Queue("SELECT pg_notify('" + deliveryChannel + "', '')")
	return tx.SendBatch(ctx, b).Close()
}

package pgstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// maxPage is the largest page of a list, see events.Page.
const maxPage = 500

// eventRow is a row of event.
type eventRow struct {
	ID            [16]byte
	OccurredAt    time.Time
	ClearedAt     *time.Time
	ReceivedAt    time.Time
	Sequence      int64
	Kind          events.Kind
	State         events.State
	Severity      events.Severity
	SourceType    string
	SourceID      string
	SourceName    string
	Hamlet        string
	Commune       string
	Lat, Lon      *float64
	Zone          string
	RuleName      string
	RuleVersion   int
	Object        string
	Subject       *events.Subject
	WhyVI         string `db:"why_vi"`
	WhyEN         string `db:"why_en"`
	Attributes    map[string]any
	WorkflowState string
	Assignee      *string
	Verdict       *string
}

const eventColumns = `e.id, e.occurred_at, e.cleared_at, e.received_at, e.sequence, e.kind, e.state, e.severity,
	e.source_type, e.source_id, e.source_name, e.hamlet, e.commune, e.lat, e.lon, e.zone,
	e.rule_name, e.rule_version, e.object, e.subject, e.why_vi, e.why_en, e.attributes,
	e.workflow_state, e.assignee, e.verdict`

const selectEvent = "SELECT " + eventColumns + " FROM event e"

func (r *eventRow) event() events.Event {
	e := events.Event{
		ID: formatID(r.ID), Kind: r.Kind, State: r.State, Severity: r.Severity,
		Source: events.Source{Type: r.SourceType, ID: r.SourceID, Name: r.SourceName, Hamlet: r.Hamlet},
		Place:  events.Place{Commune: r.Commune, Lat: r.Lat, Lon: r.Lon},
		Zone:   r.Zone, Rule: events.RuleRef{Name: r.RuleName, Version: r.RuleVersion}, Object: r.Object,
		OccurredAt: r.OccurredAt.UTC(), ReceivedAt: r.ReceivedAt.UTC(), Sequence: r.Sequence,
		Subject: r.Subject, Why: events.Text{VI: r.WhyVI, EN: r.WhyEN}, Attributes: r.Attributes,
		Workflow: events.Workflow{State: r.WorkflowState, Assignee: r.Assignee, Verdict: r.Verdict},
	}
	if r.ClearedAt != nil {
		e.ClearedAt = r.ClearedAt.UTC()
	}
	return e
}

// Event returns one event with its evidence, or an error that wraps
// events.ErrNotFound; an identifier that is no UUID is not found either.
func (s *Store) Event(ctx context.Context, id string) (events.Event, error) {
	attempted := "read event " + id
	key, err := parseID(id)
	if err != nil {
		return events.Event{}, fmt.Errorf("%s: %w", attempted, events.ErrNotFound)
	}
	from, to := spanOf(key)
	found, err := s.collect(ctx, selectEvent+" WHERE e.id = @id AND e.occurred_at >= @from AND e.occurred_at < @to",
		pgx.StrictNamedArgs{"id": key, "from": from, "to": to})
	if err != nil {
		return events.Event{}, classify(attempted, err)
	}
	if len(found) == 0 {
		return events.Event{}, fmt.Errorf("%s: %w", attempted, events.ErrNotFound)
	}
	return found[0], nil
}

// spanOf returns the moments that an identifier can stand for: one
// millisecond, so that a search for it touches one partition. Everything up to
// 1970 shares the first, see events.NewID.
func spanOf(id [16]byte) (from, to time.Time) {
	ms := millisOf(id)
	from, to = time.UnixMilli(ms).UTC(), time.UnixMilli(ms+1).UTC()
	if ms == 0 {
		from = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return from, to
}

// Events returns one page of a list, newest first, with evidence. The page's
// limit is brought into 1 to 500.
func (s *Store) Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error) {
	const attempted = "list events"
	c := conditions(f)
	c.args["limit"] = min(max(p.Limit, 1), maxPage)
	if p.Before != "" {
		id, err := parseID(p.Before)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", attempted, &events.FieldError{Field: "before", Reason: "is not the identifier of an event"})
		}
		at, err := s.cursor(ctx, id)
		if err != nil {
			return nil, classify(attempted, err)
		}
		c.where = append(c.where, "(e.occurred_at, e.id) < (@before_at, @before_id)")
		c.args["before_at"], c.args["before_id"] = at, id
	}
	found, err := s.collect(ctx, c.sql(), c.args)
	return found, classify(attempted, err)
}

// cursor returns the exact time of the event that ended the page before. Where
// it was deleted meanwhile, the end of its millisecond repeats an event rather
// than to lose one.
func (s *Store) cursor(ctx context.Context, id [16]byte) (time.Time, error) {
	from, to := spanOf(id)
	rows, err := s.pool.Query(ctx, "SELECT occurred_at FROM event WHERE id = @id AND occurred_at >= @from AND occurred_at < @to",
		pgx.StrictNamedArgs{"id": id, "from": from, "to": to})
	if err != nil {
		return time.Time{}, err
	}
	at, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil || len(at) == 0 {
		return to, err
	}
	return at[0], nil
}

// query is a list in the making. Its text is put together from constants; every
// value is a parameter.
type query struct {
	each  string // parameter whose values are looked up one by one; "" for none
	where []string
	args  pgx.StrictNamedArgs
}

// sql returns the statement. An index gives the newest rows of one value of its
// first column, but not of several. Those are asked for one after the other and
// merged; left to itself the planner reads all events newest first, which takes
// for ever when the values wanted are rare or long ago.
func (q query) sql() string {
	where := ""
	if len(q.where) > 0 {
		where = " WHERE " + strings.Join(q.where, " AND ")
	}
	const newest = " ORDER BY e.occurred_at DESC, e.id DESC LIMIT @limit"
	if q.each == "" {
		return selectEvent + where + newest
	}
	return "SELECT " + eventColumns + " FROM unnest(@" + q.each + "::text[]) AS value CROSS JOIN LATERAL (SELECT * FROM event e" +
		where + newest + ") AS e" + newest
}

// conditions writes a filter as SQL.
func conditions(f events.Filter) query {
	q := query{args: pgx.StrictNamedArgs{}}
	if !f.From.IsZero() {
		q.where, q.args["from"] = append(q.where, "e.occurred_at >= @from"), f.From
	}
	if !f.To.IsZero() {
		q.where, q.args["to"] = append(q.where, "e.occurred_at < @to"), f.To
	}
	// The first with several values is the one that is looked up one by one;
	// they are in the order in which they tend to select least.
	for _, c := range []struct {
		name, one, each, any string
		values               []string
	}{
		{"assignee", "e.assignee = @assignee", "e.assignee = value", "e.assignee = ANY(@assignee::text[])", f.Assignees},
		{"source", "e.source_id = @source", "e.source_id = value", "e.source_id = ANY(@source::text[])", f.Sources},
		{"kind", "e.kind = @kind", "e.kind = value", "e.kind = ANY(@kind::text[])", texts(f.Kinds)},
		{"zone", "e.zone = @zone", "e.zone = value", "e.zone = ANY(@zone::text[])", f.Zones},
		{"severity", "e.severity = @severity", "e.severity = value", "e.severity = ANY(@severity::text[])", texts(f.Severities)},
		{"workflow", "e.workflow_state = @workflow", "e.workflow_state = value", "e.workflow_state = ANY(@workflow::text[])", f.Workflow},
		{"state", "e.state = @state", "", "e.state = ANY(@state::text[])", texts(f.States)},
	} {
		values := slices.Compact(slices.Sorted(slices.Values(c.values)))
		switch {
		case len(values) == 0:
		case len(values) == 1:
			q.where, q.args[c.name] = append(q.where, c.one), values[0]
		case q.each == "" && c.each != "" && len(values) <= maxEach:
			q.each = c.name
			q.where, q.args[c.name] = append(q.where, c.each), values
		default:
			q.where, q.args[c.name] = append(q.where, c.any), values
		}
	}
	return q
}

// maxEach bounds how many values are looked up one by one.
const maxEach = 64

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// LastSequence returns the number of the latest change, 0 when there is none.
func (s *Store) LastSequence(ctx context.Context) (int64, error) {
	var last int64
	err := s.pool.QueryRow(ctx, "SELECT last FROM event_sequence").Scan(&last)
	return last, classify("read the latest sequence number", err)
}

// OpenEvents returns the raised events of a source, oldest first, from which a
// lifecycle goes on after a restart.
func (s *Store) OpenEvents(ctx context.Context, source string) ([]events.Event, error) {
	found, err := s.collect(ctx, selectEvent+" WHERE e.state = 'raised' AND e.source_id = @source ORDER BY e.occurred_at, e.id",
		pgx.StrictNamedArgs{"source": source})
	return found, classify("read open events of "+source, err)
}

// collect runs a query for eventRows and adds the evidence.
func (s *Store) collect(ctx context.Context, sql string, args pgx.StrictNamedArgs) ([]events.Event, error) {
	return collectFrom(ctx, s.pool, sql, args)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

func collectFrom(ctx context.Context, db querier, sql string, args pgx.StrictNamedArgs) ([]events.Event, error) {
	rows, err := db.Query(ctx, sql, args)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[eventRow])
	if err != nil {
		return nil, err
	}
	out := make([]events.Event, len(found))
	ids := make([][16]byte, len(found))
	for i := range found {
		out[i], ids[i] = found[i].event(), found[i].ID
	}
	return out, addEvidence(ctx, db, out, ids)
}

// addEvidence fills in the evidence of events with the given identifiers; the
// same one may occur twice.
func addEvidence(ctx context.Context, db querier, to []events.Event, ids [][16]byte) error {
	if len(ids) == 0 {
		return nil
	}
	rows, err := db.Query(ctx,
		"SELECT event_id, type, path, sha256, bytes, gone_at FROM evidence WHERE event_id = ANY(@ids) ORDER BY event_id, ordinal, path",
		pgx.StrictNamedArgs{"ids": ids})
	if err != nil {
		return err
	}
	byID := make(map[[16]byte][]events.EvidenceRef)
	var id [16]byte
	var ref events.EvidenceRef
	var gone *time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &ref.Type, &ref.Path, &ref.SHA256, &ref.Bytes, &gone}, func() error {
		ref.Gone = time.Time{}
		if gone != nil {
			ref.Gone = gone.UTC()
		}
		byID[id] = append(byID[id], ref)
		return nil
	})
	for i := range to {
		to[i].Evidence = byID[ids[i]]
	}
	return err
}

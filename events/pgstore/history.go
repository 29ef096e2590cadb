package pgstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
)

// maxHistory bounds the history of one event.
const maxHistory = 2000

// History returns the changes of an event and the audit entries about it, oldest
// first, at most 2000 of each, or an error that wraps events.ErrNotFound.
func (s *Store) History(ctx context.Context, id string) ([]audit.Moment, error) {
	attempted := "read the history of event " + id
	key, err := parseID(id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", attempted, events.ErrNotFound)
	}
	args := pgx.StrictNamedArgs{"id": key, "limit": maxHistory}
	rows, err := s.pool.Query(ctx, "SELECT "+changeColumns+" FROM event_change WHERE event_id = @id ORDER BY sequence LIMIT @limit", args)
	if err != nil {
		return nil, classify(attempted, err)
	}
	changes, err := pgx.CollectRows(rows, pgx.RowToStructByName[changeRow])
	if err != nil {
		return nil, classify(attempted, err)
	}
	rows, err = s.pool.Query(ctx, selectAudit+" WHERE a.event_id = @id ORDER BY a.number LIMIT @limit", args)
	if err != nil {
		return nil, classify(attempted, err)
	}
	entries, err := collectAudit(rows)
	if err != nil {
		return nil, classify(attempted, err)
	}
	if len(changes)+len(entries) == 0 {
		return nil, fmt.Errorf("%s: %w", attempted, events.ErrNotFound)
	}
	return history(changes, entries), nil
}

// history joins changes with the entries that name them.
func history(changes []changeRow, entries []audit.Entry) []audit.Moment {
	made := make(map[int64]*audit.Entry)
	out := make([]audit.Moment, 0, len(changes)+len(entries))
	for i := range entries {
		var d struct{ Sequence int64 }
		if json.Unmarshal([]byte(entries[i].Detail), &d) == nil && d.Sequence > 0 {
			made[d.Sequence] = &entries[i]
		} else {
			out = append(out, audit.Moment{At: entries[i].At, Entry: &entries[i]})
		}
	}
	for _, c := range changes {
		out = append(out, audit.Moment{At: c.CommittedAt.UTC(), Step: c.Step, Sequence: c.Sequence, Entry: made[c.Sequence]})
		delete(made, c.Sequence)
	}
	for _, e := range made { // their changes were deleted
		out = append(out, audit.Moment{At: e.At, Entry: e})
	}
	slices.SortStableFunc(out, func(a, b audit.Moment) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Sequence, b.Sequence)) })
	return out
}

// RuleStats returns how people dealt with the events that occurred from one
// moment to another, by source, rule and kind.
func (s *Store) RuleStats(ctx context.Context, from, to time.Time) ([]events.RuleStats, error) {
	const attempted = "sum up rules"
	rows, err := s.pool.Query(ctx, `
		SELECT source_id, rule_name, kind, count(*), count(acknowledged_at),
			count(*) FILTER (WHERE workflow_state = 'closed'),
			count(*) FILTER (WHERE verdict = 'confirmed'), count(*) FILTER (WHERE verdict = 'false_alarm'),
			coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - received_at)::float8), 0),
			coalesce(percentile_cont(0.9) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - received_at)::float8), 0)
		FROM event WHERE occurred_at >= @from AND occurred_at < @to
		GROUP BY source_id, rule_name, kind ORDER BY source_id, rule_name, kind LIMIT 10000`,
		pgx.StrictNamedArgs{"from": from, "to": to})
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r events.RuleStats, err error) {
		var median, p90 float64
		err = row.Scan(&r.Source, &r.Rule, &r.Kind, &r.Events, &r.Acknowledged, &r.Closed, &r.Confirmed, &r.FalseAlarm, &median, &p90)
		r.Median, r.P90 = time.Duration(median*float64(time.Second)), time.Duration(p90*float64(time.Second))
		return r, err
	})
	return found, classify(attempted, err)
}

package pgstore

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// loadBatch is how many events one transaction of Load writes.
const loadBatch = 20_000

// Load stores many events that are not there yet, with COPY: for benchmarks and
// for histories from elsewhere. Each gets a raised and, where it has cleared, a
// cleared change; nothing is queued for endpoints. The months must have
// partitions, see EnsurePartitions. It works in large transactions and may have
// stored some when it returns an error.
func (s *Store) Load(ctx context.Context, seq iter.Seq[events.Event]) (stored int64, err error) {
	next, stop := iter.Pull(seq)
	defer stop()
	for {
		batch := make([]row, 0, loadBatch)
		for len(batch) < loadBatch {
			ev, ok := next()
			if !ok {
				break
			}
			r, err := newRow(&ev)
			if err != nil {
				return stored, classify("load events", &refusedError{err.Error()})
			}
			batch = append(batch, r)
		}
		if len(batch) == 0 {
			return stored, nil
		}
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return loadRows(ctx, tx, batch) })
		if err != nil {
			return stored, classify("load events", err)
		}
		stored += int64(len(batch))
	}
}

func loadRows(ctx context.Context, tx pgx.Tx, batch []row) error {
	var last int64
	var at time.Time
	if err := tx.QueryRow(ctx, "SELECT last, clock_timestamp() FROM event_sequence FOR UPDATE").Scan(&last, &at); err != nil {
		return err
	}
	var changes, evidence, rows [][]any
	for i := range batch {
		r := &batch[i]
		e := r.e
		last++
		changes = append(changes, []any{last, r.id, e.OccurredAt, "raised", "raised", at})
		if e.State == events.StateCleared {
			last++
			changes = append(changes, []any{last, r.id, e.OccurredAt, "cleared", "cleared", at})
		}
		rows = append(rows, []any{
			r.id, e.OccurredAt, timeOrNil(e.ClearedAt), at, last, string(e.Kind), string(e.State), string(e.Severity),
			e.Source.Type, e.Source.ID, e.Source.Name, e.Source.Hamlet, e.Place.Commune, e.Place.Lat, e.Place.Lon, e.Zone,
			e.Rule.Name, int32(e.Rule.Version), e.Object, jsonOrNil(r.subject), e.Why.VI, e.Why.EN, jsonOrNil(r.attributes), //nolint:gosec // newRow checks it
		})
		for n, ref := range e.Evidence {
			evidence = append(evidence, []any{r.id, int32(n), ref.Type, ref.Path, ref.SHA256, ref.Bytes})
		}
	}
	for _, c := range []struct {
		table   string
		columns []string
		rows    [][]any
	}{
		{"event", []string{
			"id", "occurred_at", "cleared_at", "received_at", "sequence", "kind", "state", "severity", "source_type", "source_id", "source_name",
			"hamlet", "commune", "lat", "lon", "zone", "rule_name", "rule_version", "object", "subject", "why_vi", "why_en", "attributes",
		}, rows},
		{"event_change", []string{"sequence", "event_id", "occurred_at", "state", "step", "committed_at"}, changes},
		{"evidence", []string{"event_id", "ordinal", "type", "path", "sha256", "bytes"}, evidence},
	} {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{c.table}, c.columns, pgx.CopyFromRows(c.rows)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, "UPDATE event_sequence SET last = @last", pgx.StrictNamedArgs{"last": last})
	return err
}

// jsonOrNil is a JSON text as COPY takes it.
func jsonOrNil(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}

// Analyse brings the planner's figures up to date, as the database does by
// itself after a while.
func (s *Store) Analyse(ctx context.Context) error {
	for _, table := range []string{"event", "event_change", "evidence"} {
		if _, err := s.pool.Exec(ctx, "VACUUM ANALYZE "+pgx.Identifier{table}.Sanitize()); err != nil {
			return classify("analyse the database", err)
		}
	}
	return nil
}

package pgstore

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events"
)

// countKey identifies a row of traffic_count.
type countKey struct {
	camera, line, class, direction, rule, run string
	minute                                    int64
}

// PutCounts stores totals of minutes: all of them or, after an error, none. A
// total that is stored already, or a larger one, stays, so counts may be offered
// again, in any order. An error that does not wrap events.ErrUnavailable says
// that the database refuses some count of the batch.
func (s *Store) PutCounts(ctx context.Context, counts []events.Count) error {
	const attempted = "store traffic counts"
	largest := make(map[countKey]int, len(counts))
	for _, c := range counts {
		if c.N <= 0 || c.N > math.MaxInt32 {
			return classify(attempted, &refusedError{fmt.Sprintf("%d is not a count", c.N)})
		}
		k := countKey{c.Source, c.Line, c.Class, c.Direction, c.Rule, c.Run, c.Minute.UnixMicro()}
		largest[k] = max(largest[k], c.N)
	}
	if len(largest) == 0 {
		return nil
	}
	var cameras, lines, classes, directions, rules, runs []string
	var minutes []time.Time
	var ns []int
	for k, n := range largest {
		cameras, lines, classes = append(cameras, k.camera), append(lines, k.line), append(classes, k.class)
		directions, rules, runs = append(directions, k.direction), append(rules, k.rule), append(runs, k.run)
		minutes, ns = append(minutes, time.UnixMicro(k.minute).UTC()), append(ns, n)
	}
	// In one order for everybody, so that two writers do not wait for each other.
	_, err := s.pool.Exec(ctx, `
		INSERT INTO traffic_count AS t (camera, line, minute, class, direction, rule, run, n)
		SELECT * FROM unnest(@cameras::text[], @lines::text[], @minutes::timestamptz[], @classes::text[], @directions::text[],
			@rules::text[], @runs::text[], @ns::integer[]) AS new (camera, line, minute, class, direction, rule, run, n)
		ORDER BY camera, line, minute, class, direction, rule, run
		ON CONFLICT (camera, line, minute, class, direction, rule, run) DO UPDATE SET n = excluded.n WHERE excluded.n > t.n`,
		pgx.StrictNamedArgs{
			"cameras": cameras, "lines": lines, "minutes": minutes, "classes": classes, "directions": directions,
			"rules": rules, "runs": runs, "ns": ns,
		})
	return classify(attempted, err)
}

// Counts adds counts up, ordered by bucket, camera, line, class and direction.
// Buckets in which nothing passed are left out.
func (s *Store) Counts(ctx context.Context, f events.CountFilter) ([]events.CountRow, error) {
	const attempted = "read traffic counts"
	zone := "UTC"
	if f.Location != nil {
		zone = f.Location.String()
	}
	if zone == "" || zone == "Local" {
		return nil, fmt.Errorf("%s: %w", attempted, &events.FieldError{Field: "time_zone", Reason: "must have a name, such as Asia/Ho_Chi_Minh"})
	}
	rows, err := s.pool.Query(ctx, `
		WITH by_rule AS (
			SELECT minute, camera, line, class, direction, rule, sum(n) AS n FROM traffic_count
			WHERE minute >= @from AND minute < @to
				AND (cardinality(@cameras::text[]) = 0 OR camera = ANY(@cameras))
				AND (cardinality(@lines::text[]) = 0 OR line = ANY(@lines))
				AND (cardinality(@classes::text[]) = 0 OR class = ANY(@classes))
				AND (cardinality(@directions::text[]) = 0 OR direction = ANY(@directions))
			GROUP BY minute, camera, line, class, direction, rule
		), by_line AS (
			SELECT minute, camera, line, class, direction, max(n) AS n FROM by_rule
			GROUP BY minute, camera, line, class, direction
		)
		SELECT date_trunc(@bucket, minute, @zone) AS start, camera AS source, line, class, direction, sum(n)::bigint AS n
		FROM by_line GROUP BY 1, camera, line, class, direction
		ORDER BY 1, camera, line, class, direction LIMIT @limit`,
		pgx.StrictNamedArgs{
			"from": f.From, "to": f.To, "cameras": orEmpty(f.Sources), "lines": orEmpty(f.Lines), "classes": orEmpty(f.Classes),
			"directions": orEmpty(f.Directions), "bucket": string(f.Bucket), "zone": zone, "limit": max(1, f.Limit),
		})
	if err != nil {
		return nil, classify(attempted, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[events.CountRow])
	for i := range found {
		found[i].Start = found[i].Start.UTC()
	}
	return found, classify(attempted, err)
}

// orEmpty returns list, and an empty one instead of nil, which would be NULL.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

package pgstore_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
)

// benchEvents is how many events the lists are measured among. DESIGN §8 speaks
// of 10 million: go test ./events/pgstore -run '^$' -bench List -events 10000000.
var benchEvents = flag.Int("events", 20_000, "events in the store for BenchmarkList") //nolint:gochecknoglobals // a flag

// seed fills the store with n events of 30 cameras over the 12 months before
// day, skewed as in life: few kinds are frequent, one camera fell silent half a
// year ago, and one event in a thousand is open.
func seed(tb testing.TB, dsn string, n int) {
	tb.Helper()
	require.NoError(tb, exec(tb, dsn, `CREATE FUNCTION seed(lo bigint, hi bigint, n bigint) RETURNS void LANGUAGE sql AS $$
		WITH t AS (
			SELECT i, '2026-11-23 15:00:00+00'::timestamptz - ((n - i) * (interval '360 days' / n)) AS at,
				hashint8(i) & 65535 AS h, hashint8(i + 1) & 65535 AS g
			FROM generate_series(lo, hi - 1) i
		), u AS (
			SELECT *, (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' ||
				substr(md5(i::text), 1, 3) || '8' || substr(md5(i::text), 4, 15))::uuid AS id, h % 1000 > 0 AS done FROM t
		), e AS (
			INSERT INTO event (id, occurred_at, cleared_at, received_at, sequence, kind, state, severity, source_type, source_id,
				source_name, hamlet, commune, lat, lon, zone, rule_name, rule_version, object, subject, why_vi, why_en, attributes)
			SELECT id, at, CASE WHEN done THEN at + interval '40 s' END, at, i + 1,
				(ARRAY['line_crossing','line_crossing','line_crossing','intrusion','loitering','crowd','wrong_way','camera_offline'])[1 + g % 8],
				CASE WHEN done THEN 'cleared' ELSE 'raised' END,
				CASE WHEN h % 5000 = 0 THEN 'critical' ELSE (ARRAY['info','low','medium','high'])[1 + h % 4] END,
				'camera', 'cam' || CASE WHEN i > n / 2 THEN g % 29 ELSE g % 30 END, 'Cổng chợ An Thạnh', 'an-thuong', '31615', 9.69, 106.16,
				(ARRAY['', 'san-cho', 'duong', 'cau', 'ben-tau'])[1 + h % 5], 'rule-' || h % 3, 1 + h % 4, g::text,
				'{"track":412,"class":"person","score":0.81,"box":[0.41,0.52,0.47,0.79]}',
				'Một người ở trong vùng «san-cho» lúc 22:14, ngoài giờ cho phép.', 'A person is in the zone at a forbidden time.', '{}'
			FROM u
		), c AS (
			INSERT INTO event_change (sequence, event_id, occurred_at, state, step, committed_at)
			SELECT i + 1, id, at, CASE WHEN done THEN 'cleared' ELSE 'raised' END, CASE WHEN done THEN 'cleared' ELSE 'raised' END, at FROM u
		)
		INSERT INTO evidence SELECT id, 0, 'snapshot', 'cam/' || i || '.jpg', repeat('0a', 32), 150000 FROM u
	$$`))
	const step = 100_000
	var indexes []string // made at the end, which is much faster
	conn, err := pgx.Connect(tb.Context(), dsn)
	require.NoError(tb, err)
	defer conn.Close(context.WithoutCancel(tb.Context()))
	rows, err := conn.Query(tb.Context(), "SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes WHERE tablename = 'event' AND indexname <> 'event_pkey'")
	require.NoError(tb, err)
	var name, definition string
	_, err = pgx.ForEachRow(rows, []any{&name, &definition}, func() error {
		indexes = append(indexes, name, definition)
		return nil
	})
	require.NoError(tb, err)
	for i := 0; i < len(indexes); i += 2 {
		require.NoError(tb, exec(tb, dsn, "DROP INDEX "+indexes[i]))
	}
	for lo := 0; lo < n; lo += step {
		require.NoError(tb, exec(tb, dsn, fmt.Sprintf("SELECT seed(%d, %d, %d)", lo, min(lo+step, n), n)))
	}
	for i := 1; i < len(indexes); i += 2 {
		require.NoError(tb, exec(tb, dsn, indexes[i]))
	}
	require.NoError(tb, exec(tb, dsn, fmt.Sprintf("UPDATE event_sequence SET last = %d", n)))
	for _, table := range []string{"event", "event_change", "evidence"} {
		require.NoError(tb, exec(tb, dsn, "VACUUM ANALYZE "+table))
	}
}

// openFull returns a store with partitions for a year back and n events.
func openFull(tb testing.TB, n int) *pgstore.Store {
	tb.Helper()
	s, dsn := open(tb)
	for months := range 13 {
		require.NoError(tb, s.EnsurePartitions(tb.Context(), day.AddDate(0, -months, 0)))
	}
	began := time.Now()
	seed(tb, dsn, n)
	tb.Logf("seeded %d events in %s", n, time.Since(began).Round(time.Second))
	return s
}

// BenchmarkList measures lists as the console asks for them; budget of each:
// p95 ≤ 50 ms among 10 million events.
func BenchmarkList(b *testing.B) {
	s := openFull(b, *benchEvents)
	n := *benchEvents
	list := func(f events.Filter, before string) func() error {
		return func() error {
			_, err := s.Events(b.Context(), f, events.Page{Before: before, Limit: 50})
			return err
		}
	}
	middle, err := s.Events(b.Context(), events.Filter{To: day.AddDate(0, -6, 0)}, events.Page{Limit: 1})
	require.NoError(b, err)
	require.Len(b, middle, 1)
	for _, q := range []struct {
		name string
		ask  func() error
	}{
		{"newest", list(events.Filter{}, "")},
		{"middle", list(events.Filter{}, middle[0].ID)},
		{"day", list(events.Filter{From: day.AddDate(0, -3, 0), To: day.AddDate(0, -3, 1)}, "")},
		{"camera", list(events.Filter{Sources: []string{"cam3"}}, "")},
		{"silent camera", list(events.Filter{Sources: []string{"cam29"}}, "")},
		{"two cameras", list(events.Filter{Sources: []string{"cam3", "cam29"}}, "")},
		{"silent and unknown camera", list(events.Filter{Sources: []string{"cam29", "nobody"}}, "")},
		{"kind", list(events.Filter{Kinds: []events.Kind{"crowd"}}, "")},
		{"unknown kind", list(events.Filter{Kinds: []events.Kind{"speeding"}}, "")},
		{"critical", list(events.Filter{Severities: []events.Severity{events.SeverityCritical}}, "")},
		{"two severities", list(events.Filter{Severities: []events.Severity{events.SeverityCritical, events.SeverityHigh}}, "")},
		{"open", list(events.Filter{States: []events.State{events.StateRaised}}, "")},
		{"zone and kind", list(events.Filter{Zones: []string{"cau"}, Kinds: []events.Kind{"wrong_way"}}, "")},
		{"everything", list(events.Filter{
			From: day.AddDate(0, -9, 0), Zones: []string{"cau"}, Kinds: []events.Kind{"wrong_way", "crowd"}, Sources: []string{"cam7"},
			Severities: []events.Severity{events.SeverityHigh, events.SeverityLow}, States: []events.State{events.StateRaised},
		}, "")},
		{"critical of a silent camera", list(events.Filter{Sources: []string{"cam29"}, Severities: []events.Severity{events.SeverityCritical}}, "")},
		{"one event", func() error { _, err := s.Event(b.Context(), middle[0].ID); return err }},
		{"changes since", func() error { _, err := s.ChangesSince(b.Context(), int64(n/2), 200); return err }},
		{"latest changes", func() error { _, err := s.ChangesSince(b.Context(), int64(n-5), 200); return err }},
		{"open of a camera", func() error { _, err := s.OpenEvents(b.Context(), "cam3"); return err }},
	} {
		b.Run(q.name, func(b *testing.B) {
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				began := time.Now()
				if err := q.ask(); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
			b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
		})
	}
}

// BenchmarkCommit measures committing batches of new events with one snapshot
// each; budget: at least 2,000 events/s with batches of 100.
func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{1, 10, 100, 256} {
		b.Run("batch="+strconv.Itoa(size), func(b *testing.B) {
			s, _ := open(b)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				batch := make([]events.Event, size)
				for i := range batch {
					batch[i] = raised("cam"+strconv.Itoa(n%30), n/1000)
					batch[i].Object = strconv.Itoa(n)
					batch[i].ID = events.NewID(batch[i].Key(), batch[i].OccurredAt)
					batch[i].Subject = &events.Subject{Track: 1, Class: "person", Score: 0.5}
					batch[i].Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "a/" + batch[i].ID + ".jpg", SHA256: fmt.Sprintf("%064d", n), Bytes: 1}}
					n++
				}
				if err := s.Commit(b.Context(), changes(batch...)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

package pgstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
)

// counted returns a total of n motorcycles; at is local time in Cần Thơ.
func counted(at string, n int, change ...func(*events.Count)) events.Count {
	minute, err := time.Parse(time.RFC3339, "2026-11-"+at+":00+07:00")
	if err != nil {
		panic(err)
	}
	c := events.Count{
		Source: "cong-cho", Run: "r1", Rule: "dem", Line: "vach-1", Class: "motorcycle", Direction: "a_to_b", Minute: minute.UTC(), N: n,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func dayFilter(t *testing.T) events.CountFilter {
	t.Helper()
	loc, err := time.LoadLocation("Asia/Ho_Chi_Minh")
	require.NoError(t, err)
	return events.CountFilter{
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, loc), To: time.Date(2026, 12, 1, 0, 0, 0, 0, loc),
		Bucket: events.BucketDay, Location: loc, Limit: 1000,
	}
}

func rowsOf(t *testing.T, s *pgstore.Store, f events.CountFilter) []string {
	t.Helper()
	found, err := s.Counts(context.Background(), f)
	require.NoError(t, err)
	var out []string
	for _, r := range found {
		out = append(out, fmt.Sprintf("%s %s %s %s %s %d", r.Start.In(f.Location).Format("01-02T15:04"), r.Source, r.Line, r.Class, r.Direction, r.N))
	}
	return out
}

func TestCounts(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	ctx := context.Background()
	other := func(c *events.Count) { c.Run = "r2" }
	require.NoError(t, s.PutCounts(ctx, []events.Count{
		counted("23T23:59", 3), counted("24T00:00", 4), counted("24T07:30", 1), counted("24T07:59", 2), counted("24T08:00", 5),
		counted("24T07:30", 2, other),                                      // after a restart
		counted("24T07:30", 2, func(c *events.Count) { c.Rule = "dem-2" }), // the same line, counted by another rule
		counted("24T07:30", 9, func(c *events.Count) { c.Class = "car" }),
		counted("24T07:30", 7, func(c *events.Count) { c.Direction = "b_to_a" }),
		counted("24T07:30", 8, func(c *events.Count) { c.Source = "ben-do" }),
	}))
	// Told again, late and out of order: the largest total stays.
	require.NoError(t, s.PutCounts(ctx, []events.Count{counted("24T07:59", 1), counted("24T07:59", 4), counted("24T07:59", 3), counted("23T23:59", 3)}))
	require.NoError(t, s.PutCounts(ctx, nil))

	f := dayFilter(t)
	f.Sources, f.Lines, f.Classes, f.Directions = []string{"cong-cho"}, []string{"vach-1"}, []string{"motorcycle"}, []string{"a_to_b"}
	assert.Equal(t, []string{
		"11-23T00:00 cong-cho vach-1 motorcycle a_to_b 3",
		"11-24T00:00 cong-cho vach-1 motorcycle a_to_b 16",
	}, rowsOf(t, s, f), "days begin at local midnight")
	f.Bucket = events.BucketHour
	assert.Equal(t, []string{
		"11-23T23:00 cong-cho vach-1 motorcycle a_to_b 3",
		"11-24T00:00 cong-cho vach-1 motorcycle a_to_b 4",
		"11-24T07:00 cong-cho vach-1 motorcycle a_to_b 7",
		"11-24T08:00 cong-cho vach-1 motorcycle a_to_b 5",
	}, rowsOf(t, s, f))
	f.Bucket, f.Sources, f.Lines, f.Classes, f.Directions = events.BucketMinute, nil, nil, nil, nil
	f.From, f.To = counted("24T07:30", 1).Minute, counted("24T07:31", 1).Minute
	assert.Equal(t, []string{
		"11-24T07:30 ben-do vach-1 motorcycle a_to_b 8",
		"11-24T07:30 cong-cho vach-1 car a_to_b 9",
		"11-24T07:30 cong-cho vach-1 motorcycle a_to_b 3",
		"11-24T07:30 cong-cho vach-1 motorcycle b_to_a 7",
	}, rowsOf(t, s, f))
	f.Limit = 2
	assert.Len(t, rowsOf(t, s, f), 2)
}

func TestCountsRefused(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for name, bad := range map[string]events.Count{
		"zero":       counted("24T07:30", 0),
		"half":       counted("24T07:30", 1, func(c *events.Count) { c.Minute = c.Minute.Add(time.Second) }),
		"direction":  counted("24T07:30", 1, func(c *events.Count) { c.Direction = "up" }),
		"no camera":  counted("24T07:30", 1, func(c *events.Count) { c.Source = "" }),
		"not a text": counted("24T07:30", 1, func(c *events.Count) { c.Class = "a\x00b" }),
	} {
		err := s.PutCounts(context.Background(), []events.Count{counted("24T07:30", 1), bad})
		require.Error(t, err, name)
		require.NotErrorIs(t, err, events.ErrUnavailable, name)
	}
	assert.Empty(t, rowsOf(t, s, dayFilter(t)), "all or none")
	f := dayFilter(t)
	f.Location = time.Local
	_, err := s.Counts(context.Background(), f)
	require.ErrorContains(t, err, "time_zone")
}

// BenchmarkCounts asks for a month of days out of a year of one busy line.
func BenchmarkCounts(b *testing.B) {
	s, dsn := open(b)
	require.NoError(b, exec(b, dsn, `INSERT INTO traffic_count
		SELECT 'cong-cho', 'vach-1', m, c, 'a_to_b', 'dem', 'r', 3
		FROM generate_series('2026-01-01'::timestamptz, '2026-12-01', '1 minute') m, unnest(ARRAY['car', 'motorcycle']) c`))
	require.NoError(b, exec(b, dsn, "ANALYZE traffic_count"))
	f := events.CountFilter{
		From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		Bucket: events.BucketDay, Sources: []string{"cong-cho"}, Lines: []string{"vach-1"}, Limit: 1000,
	}
	for b.Loop() {
		_, err := s.Counts(context.Background(), f)
		require.NoError(b, err)
	}
}

package pgstore_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// TestListAgainstBruteForce pages through every kind of filter and compares
// with a filter written in Go.
func TestListAgainstBruteForce(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	var all []events.Event
	for i := range 600 {
		e := raised(pick("a", "b", "c"), i)
		e.Kind, e.Zone = events.Kind(pick("intrusion", "line_crossing", "crowd")), pick("", "z1", "z2")
		e.Severity = events.Severities()[r.IntN(5)]
		// Months apart, and many in one millisecond or microsecond.
		e.OccurredAt = day.AddDate(0, -r.IntN(4), 0).Add(time.Duration(r.IntN(3)) * 400 * time.Microsecond)
		e.ID = events.NewID(e.Key(), e.OccurredAt)
		if r.IntN(2) == 0 {
			e = cleared(e, time.Minute)
		}
		all = append(all, e)
	}
	require.NoError(t, s.Commit(t.Context(), changes(all...)))
	slices.SortFunc(all, func(a, b events.Event) int {
		return cmp.Or(b.OccurredAt.Compare(a.OccurredAt), cmp.Compare(b.ID, a.ID))
	})
	for name, f := range map[string]events.Filter{
		"all":          {},
		"time":         {From: day.AddDate(0, -2, 0).Add(400 * time.Microsecond), To: day},
		"one of each":  {Kinds: []events.Kind{"crowd"}, Sources: []string{"a"}, Zones: []string{"z1"}, States: []events.State{"raised"}},
		"several":      {Kinds: []events.Kind{"crowd", "intrusion"}, Sources: []string{"a", "c"}, Severities: []events.Severity{"high", "low"}},
		"no zone":      {Zones: []string{""}},
		"nothing":      {Sources: []string{"nobody"}},
		"odd values":   {Sources: []string{"'; DROP TABLE event; --", "{", "\"", "@kind"}, Zones: []string{"$1"}},
		"both states":  {States: []events.State{"raised", "cleared"}},
		"empty period": {From: day, To: day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want []string
			for i := range all {
				if match(f, &all[i]) {
					want = append(want, all[i].ID)
				}
			}
			var got []string
			page := events.Page{Limit: 23}
			for {
				list, err := s.Events(t.Context(), f, page)
				require.NoError(t, err)
				for _, e := range list {
					got = append(got, e.ID)
				}
				if len(list) < page.Limit {
					break
				}
				page.Before = list[len(list)-1].ID
			}
			assert.Equal(t, want, got)
		})
	}
	_, err := s.Events(t.Context(), events.Filter{}, events.Page{Before: "x", Limit: 1})
	var field *events.FieldError
	require.ErrorAs(t, err, &field)
	list, err := s.Events(t.Context(), events.Filter{}, events.Page{Before: events.NewID(events.Key{}, day.AddDate(1, 0, 0)), Limit: 1000})
	require.NoError(t, err)
	assert.Len(t, list, 500, "the cursor's event is gone, and the limit has a bound")
}

func match(f events.Filter, e *events.Event) bool {
	has := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return (f.From.IsZero() || !e.OccurredAt.Before(f.From)) && (f.To.IsZero() || e.OccurredAt.Before(f.To)) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind)) && has(f.Sources, e.Source.ID) && has(f.Zones, e.Zone) &&
		(len(f.Severities) == 0 || slices.Contains(f.Severities, e.Severity)) && (len(f.States) == 0 || slices.Contains(f.States, e.State))
}

// TestOddClocks stores what a camera with a wrong clock sees, and events that
// come before their month has a partition.
func TestOddClocks(t *testing.T) {
	t.Parallel()
	s, dsn := open(t)
	var all []events.Event
	for i, at := range []time.Time{
		time.Date(1969, 12, 31, 23, 59, 59, 999_999_000, time.UTC), time.Unix(0, 0).UTC(), time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 9, 30, 23, 59, 59, 999_999_000, time.UTC), time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC), day.AddDate(-1, 0, 0),
	} {
		e := raised("clock", i)
		e.OccurredAt = at
		e.ID = events.NewID(e.Key(), at)
		e.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: strconv.Itoa(i), SHA256: fmt.Sprintf("%064d", i)}}
		all = append(all, e)
	}
	require.NoError(t, s.Commit(t.Context(), changes(all...)))
	check := func() {
		t.Helper()
		for i, e := range all {
			got, err := s.Event(t.Context(), e.ID)
			require.NoError(t, err)
			assert.Equal(t, stored(e, int64(i+1), got.ReceivedAt), got)
		}
		log, err := s.ChangesSince(t.Context(), 0, 100)
		require.NoError(t, err)
		assert.Len(t, log, len(all))
	}
	check()
	assert.Equal(t, int64(6), count(t, dsn, "SELECT count(*) FROM event_default"))
	// Several at once, while events of these months go on coming.
	var wg sync.WaitGroup
	for range 3 {
		other := openAt(t, dsn)
		wg.Go(func() { assert.NoError(t, other.EnsurePartitions(t.Context(), day)) })
	}
	for w := range 2 {
		wg.Go(func() {
			for i := range 40 {
				e := raised(fmt.Sprint("late", w), i)
				e.OccurredAt = time.Date(2026, 9, 2, 0, 0, i, 0, time.UTC)
				e.ID = events.NewID(e.Key(), e.OccurredAt)
				assert.NoError(t, s.Commit(t.Context(), changes(e)))
			}
		})
	}
	wg.Wait()
	require.NoError(t, s.EnsurePartitions(t.Context(), day))
	assert.Equal(t, int64(3), count(t, dsn, "SELECT count(*) FROM event_default"), "1969, 1970 and 2090 stay")
	assert.Equal(t, int64(82), count(t, dsn, "SELECT count(*) FROM event_y2026m09"))
	assert.Equal(t, int64(1), count(t, dsn, "SELECT count(*) FROM event_y2025m11"))
	assert.Equal(t, int64(86), count(t, dsn, "SELECT count(DISTINCT id) FROM event"))
	for i, e := range all {
		got, err := s.Event(t.Context(), e.ID)
		require.NoError(t, err)
		assert.Equal(t, stored(e, int64(i+1), got.ReceivedAt), got)
	}
	done := cleared(all[0], time.Microsecond)
	require.NoError(t, s.Commit(t.Context(), changes(done)))
	got, err := s.Event(t.Context(), done.ID)
	require.NoError(t, err)
	assert.Equal(t, events.StateCleared, got.State)
}

package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(eventstest.M{M: m}) }

// day is the clock of these tests.
var day = time.Date(2026, 11, 23, 15, 14, 5, 120_456_000, time.UTC) //nolint:gochecknoglobals // a constant

// open returns a migrated store in a database of its own, and its address.
func open(tb testing.TB) (*pgstore.Store, string) {
	tb.Helper()
	dsn := eventstest.Database(tb)
	s := openAt(tb, dsn)
	require.NoError(tb, s.Migrate(tb.Context()))
	require.NoError(tb, s.EnsurePartitions(tb.Context(), day))
	return s, dsn
}

func openAt(tb testing.TB, dsn string) *pgstore.Store {
	tb.Helper()
	s, err := pgstore.Open(tb.Context(), dsn, pgstore.Config{Poll: 200 * time.Millisecond})
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	return s
}

// exec runs a statement on a connection of the test's own.
func exec(tb testing.TB, dsn, sql string) error {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context()) // also serves cleanups
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(tb, err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// raised returns the n-th event of a source, one second after the one before.
func raised(source string, n int) events.Event {
	key := events.Key{Source: source, Kind: "intrusion", Rule: "dem", Zone: "san", Object: strconv.Itoa(n)}
	at := day.Add(time.Duration(n) * time.Second)
	return events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh,
		Source: events.Source{Type: "camera", ID: source, Name: "Cổng chợ", Hamlet: "an-thuong"},
		Place:  events.Place{Commune: "31615"}, Zone: key.Zone, Rule: events.RuleRef{Name: key.Rule, Version: 3},
		Object: key.Object, OccurredAt: at, Why: events.Text{VI: "Một người ở trong vùng.", EN: "A person."},
	}
}

func cleared(e events.Event, after time.Duration) events.Event {
	e.State, e.ClearedAt = events.StateCleared, e.OccurredAt.Add(after)
	return e
}

func changes(es ...events.Event) []events.Change {
	out := make([]events.Change, len(es))
	for i, e := range es {
		out[i] = events.Change{Event: e}
	}
	return out
}

// stored is what the store should return for e.
func stored(e events.Event, sequence int64, receivedAt time.Time) events.Event {
	e.Sequence, e.ReceivedAt, e.Workflow.State = sequence, receivedAt, "new"
	if e.Attributes == nil {
		e.Attributes = map[string]any{}
	}
	return e
}

func TestCommitAndRead(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := open(t)
	lat, lon := 9.69, 106.16
	full := raised("cong-cho", 1)
	full.Place.Lat, full.Place.Lon = &lat, &lon
	full.Subject = &events.Subject{Track: math.MaxUint64, Class: "person", Score: 0.81, Box: [4]float64{0.41, 0.52, 0.47, 0.79}}
	full.Attributes = map[string]any{"ghi chú": "«'\"\\», ấp", "n": 1.5, "list": []any{"a", nil}}
	full.Evidence = []events.EvidenceRef{
		{Type: "snapshot", Path: "2026/11/23/a.jpg", SHA256: strings.Repeat("0a", 32), Bytes: 12345},
		{Type: "crop", Path: "2026/11/23/0.jpg", SHA256: strings.Repeat("ff", 32), Bytes: 0},
	}
	bare := raised("kenh", 2)
	batch := changes(full, bare)
	require.NoError(t, s.Commit(ctx, batch))
	assert.Zero(t, batch[0].Event.Sequence, "the caller's events stay as they are")

	got, err := s.Event(ctx, full.ID)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), got.ReceivedAt, time.Minute)
	assert.Equal(t, stored(full, 1, got.ReceivedAt), got)
	received := got.ReceivedAt

	require.NoError(t, s.Commit(ctx, batch), "again")
	require.NoError(t, s.Commit(ctx, nil))
	done := cleared(full, 90*time.Second)
	done.Severity, done.Attributes = events.SeverityCritical, map[string]any{"n": 2.0}
	require.NoError(t, exec(t, dsn, "UPDATE event SET workflow_state = 'acknowledged', assignee = 'lan'"))
	require.NoError(t, s.Commit(ctx, changes(full, done, done, bare)), "known and new, and twice in one batch")

	want := stored(done, 3, received)
	lan := "lan"
	want.Workflow = events.Workflow{State: "acknowledged", Assignee: &lan}
	got, err = s.Event(ctx, full.ID)
	require.NoError(t, err)
	assert.Equal(t, want, got, "clearing keeps received_at and the workflow")

	log, err := s.ChangesSince(ctx, 0, 100)
	require.NoError(t, err)
	require.Len(t, log, 3)
	assert.Equal(t, events.StateRaised, log[0].State, "as of the change")
	assert.Zero(t, log[0].ClearedAt)
	assert.Equal(t, int64(1), log[0].Sequence)
	assert.Equal(t, full.Evidence, log[0].Evidence)
	assert.Equal(t, bare.ID, log[1].ID)
	want.Workflow, want.Step = events.Workflow{State: "new"}, events.StepCleared // no change was about the workflow
	assert.Equal(t, want, log[2])
	log, err = s.ChangesSince(ctx, 1, 1)
	require.NoError(t, err)
	require.Len(t, log, 1)
	assert.Equal(t, int64(2), log[0].Sequence)
	last, err := s.LastSequence(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(3), last)

	opened, err := s.OpenEvents(ctx, "kenh")
	require.NoError(t, err)
	require.Len(t, opened, 1)
	assert.Equal(t, bare.Key(), opened[0].Key())
	opened, err = s.OpenEvents(ctx, "cong-cho")
	require.NoError(t, err)
	assert.Empty(t, opened)

	for _, id := range []string{events.NewID(events.Key{}, day), "", "x", strings.Repeat("-", 36)} {
		_, err = s.Event(ctx, id)
		require.ErrorIs(t, err, events.ErrNotFound)
		assert.NotErrorIs(t, err, events.ErrUnavailable)
	}
}

func TestClearedWithoutRaised(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := open(t)
	alone, both := cleared(raised("a", 1), time.Second), raised("a", 2)
	require.NoError(t, s.Commit(ctx, changes(alone, both, cleared(both, 0))))
	require.NoError(t, s.Commit(ctx, changes(raised("a", 1))), "a late raised")
	got, err := s.Event(ctx, alone.ID)
	require.NoError(t, err)
	assert.Equal(t, stored(alone, 1, got.ReceivedAt), got)
	got, err = s.Event(ctx, both.ID)
	require.NoError(t, err)
	assert.Equal(t, stored(cleared(both, 0), 3, got.ReceivedAt), got)
	last, err := s.LastSequence(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(3), last, "the late raised is no change")
}

// TestRefused holds the schema and the checks before it to what an event is.
func TestRefused(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	value := func(v float64) *float64 { return &v }
	for name, spoil := range map[string]func(e *events.Event){
		"no id":                   func(e *events.Event) { e.ID = "" },
		"id of another time":      func(e *events.Event) { e.OccurredAt = e.OccurredAt.Add(time.Millisecond) },
		"no kind":                 func(e *events.Event) { e.Kind = "" },
		"unknown state":           func(e *events.Event) { e.State = "open" },
		"unknown severity":        func(e *events.Event) { e.Severity = "urgent" },
		"no source":               func(e *events.Event) { e.Source.ID = "" },
		"raised but cleared_at":   func(e *events.Event) { e.ClearedAt = e.OccurredAt },
		"cleared, no cleared_at":  func(e *events.Event) { e.State = events.StateCleared },
		"cleared before raised":   func(e *events.Event) { *e = cleared(*e, -time.Second) },
		"cleared in year 10000":   func(e *events.Event) { *e = cleared(*e, 0); e.ClearedAt = e.ClearedAt.AddDate(9000, 0, 0) },
		"latitude":                func(e *events.Event) { e.Place.Lat, e.Place.Lon = value(91), value(0) },
		"latitude alone":          func(e *events.Event) { e.Place.Lat = value(9) },
		"latitude NaN":            func(e *events.Event) { e.Place.Lat, e.Place.Lon = value(math.NaN()), value(0) },
		"score":                   func(e *events.Event) { e.Subject = &events.Subject{Score: 1.01} },
		"score NaN":               func(e *events.Event) { e.Subject = &events.Subject{Score: math.NaN()} },
		"attribute not JSON":      func(e *events.Event) { e.Attributes = map[string]any{"f": func() {}} },
		"NUL in a name":           func(e *events.Event) { e.Source.Name = "a\x00b" },
		"NUL in an attribute":     func(e *events.Event) { e.Attributes = map[string]any{"a": "\x00"} },
		"not UTF-8":               func(e *events.Event) { e.Why.VI = "\xff" },
		"rule version":            func(e *events.Event) { e.Rule.Version = -1 },
		"rule version too large":  func(e *events.Event) { e.Rule.Version = math.MaxInt64 },
		"kind too long for index": func(e *events.Event) { e.Kind = events.Kind(noise(9000)) },
		"evidence outside":        func(e *events.Event) { e.Evidence[0].Path = "../../etc/passwd" },
		"evidence absolute":       func(e *events.Event) { e.Evidence[0].Path = "/etc/passwd" },
		"evidence sum":            func(e *events.Event) { e.Evidence[0].SHA256 = "abc" },
		"evidence size":           func(e *events.Event) { e.Evidence[0].Bytes = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good, bad := raised(name, 1), raised(name, 2)
			bad.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "a/b.jpg", SHA256: strings.Repeat("00", 32)}}
			spoil(&bad)
			err := s.Commit(t.Context(), changes(good, bad))
			require.Error(t, err)
			require.NotErrorIs(t, err, events.ErrUnavailable, "else the spool would try for ever")
			_, err = s.Event(t.Context(), good.ID)
			assert.ErrorIs(t, err, events.ErrNotFound, "all or nothing")
		})
	}
}

// noise returns text that no compression makes shorter.
func noise(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(events.NewID(events.Key{Object: strconv.Itoa(i)}, day))
	}
	return b.String()
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	batch := changes(raised("a", 1))
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		s := openAt(t, "host=127.0.0.1 port=1 user=x password=geheim dbname=x")
		err := s.Commit(t.Context(), batch)
		require.ErrorIs(t, err, events.ErrUnavailable)
		assert.NotContains(t, err.Error(), "geheim")
		require.ErrorIs(t, s.Ping(t.Context()), events.ErrUnavailable)
		require.ErrorIs(t, s.Migrate(t.Context()), events.ErrUnavailable)
		require.ErrorIs(t, s.EnsurePartitions(t.Context(), day), events.ErrUnavailable)
		_, err = s.Events(t.Context(), events.Filter{}, events.Page{Limit: 1})
		require.ErrorIs(t, err, events.ErrUnavailable)
	})
	t.Run("accepts and says nothing", func(t *testing.T) {
		t.Parallel()
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		s := openAt(t, fmt.Sprintf("postgres://x:y@%s/x?sslmode=disable", l.Addr()))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, s.Commit(ctx, batch), events.ErrUnavailable)
	})
	t.Run("not migrated", func(t *testing.T) {
		t.Parallel()
		s := openAt(t, eventstest.Database(t))
		require.ErrorIs(t, s.Commit(t.Context(), batch), events.ErrUnavailable)
	})
	for name, setting := range map[string]string{
		"read-only": "default_transaction_read_only=on", "statement timeout": "statement_timeout=1", "lock timeout": "lock_timeout=50",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, dsn := open(t)
			s := openAt(t, dsn+" options='-c "+setting+"'")
			conn, err := pgx.Connect(t.Context(), dsn)
			require.NoError(t, err)
			defer conn.Close(context.WithoutCancel(t.Context()))
			tx, err := conn.Begin(t.Context())
			require.NoError(t, err)
			_, err = tx.Exec(t.Context(), "SELECT FROM event_sequence FOR UPDATE") // a slow committer
			require.NoError(t, err)
			if name == "read-only" {
				require.NoError(t, tx.Rollback(t.Context()))
			}
			require.ErrorIs(t, s.Commit(t.Context(), batch), events.ErrUnavailable)
		})
	}
	t.Run("too many connections", func(t *testing.T) {
		t.Parallel()
		_, dsn := open(t)
		require.NoError(t, exec(t, dsn, "CREATE ROLE few LOGIN CONNECTION LIMIT 0"))
		t.Cleanup(func() { _ = exec(t, dsn, "DROP ROLE few") })
		s := openAt(t, dsn+" user=few")
		require.ErrorIs(t, s.Commit(t.Context(), batch), events.ErrUnavailable)
	})
}

func TestOpenRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"postgres://u:geheim@h:p@x/", "postgres://u:geh%eim@host/x", "host=a port=x password=geheim"} {
		_, err := pgstore.Open(t.Context(), dsn, pgstore.Config{})
		require.Error(t, err, dsn)
		assert.NotContains(t, err.Error(), "geh")
	}
}

// TestSequenceVisibleInOrder lets two stores commit at the same time, some of
// it again and some of it in vain, while readers follow.
func TestSequenceVisibleInOrder(t *testing.T) {
	t.Parallel()
	first, dsn := open(t)
	stores := []*pgstore.Store{first, openAt(t, dsn)}
	const writers, batches, size = 4, 25, 7
	const total = writers * batches * size
	var wg, readers sync.WaitGroup
	following, cancel := context.WithTimeout(t.Context(), 30*time.Second) // should a change be missing
	defer cancel()
	for range 2 {
		readers.Go(func() {
			var seen int64
			for seen < total {
				got, err := first.ChangesSince(following, seen, 50)
				if !assert.NoError(t, err) {
					return
				}
				for _, e := range got {
					if !assert.Equal(t, seen+1, e.Sequence, "a number was skipped: it can turn up later") {
						return
					}
					seen = e.Sequence
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			s := stores[w%2]
			for b := range batches {
				var batch []events.Event
				for i := range size {
					batch = append(batch, raised(fmt.Sprint("cam", w), b*size+i))
				}
				bad := batch[0]
				bad.Severity = "none"
				assert.Error(t, s.Commit(t.Context(), changes(append([]events.Event{bad}, batch...)...)), "rolled back")
				assert.NoError(t, s.Commit(t.Context(), changes(batch...)))
				assert.NoError(t, stores[(w+1)%2].Commit(t.Context(), changes(batch[3:]...)))
			}
		})
	}
	wg.Wait()
	readers.Wait()
	last, err := first.LastSequence(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(total), last)
}

func TestMigrateConcurrently(t *testing.T) {
	t.Parallel()
	dsn := eventstest.Database(t)
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		s := openAt(t, dsn)
		wg.Go(func() {
			errs[i] = errors.Join(s.Migrate(t.Context()), s.EnsurePartitions(t.Context(), day))
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
}

func TestSchemaIsAppendOnly(t *testing.T) {
	t.Parallel()
	s, dsn := open(t)
	require.NoError(t, s.Commit(t.Context(), changes(raised("a", 1))))
	_, err := s.PutCamera(t.Context(), pgstore.CameraInput{Slug: "a", Spec: []byte(`{}`), Rules: rules("r", `{}`)})
	require.NoError(t, err)
	for _, sql := range []string{
		"UPDATE event_change SET sequence = 9", "UPDATE rule SET version = 2", "DELETE FROM rule",
		"INSERT INTO event_sequence VALUES (true, 1)", "INSERT INTO event_sequence VALUES (false, 1)",
	} {
		assert.Error(t, exec(t, dsn, sql), sql)
	}
}

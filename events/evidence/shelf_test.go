package evidence_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
)

const aDay = 24 * time.Hour

// shelf is a media folder and a database.
type shelf struct {
	t     *testing.T
	dir   string
	media *evidence.Store
	db    *pgstore.Store
	dsn   string
	now   time.Time
	n     int
}

func newShelf(t *testing.T, dir string) *shelf {
	t.Helper()
	s := &shelf{t: t, dir: dir, dsn: eventstest.Database(t), now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	var err error
	s.media, err = evidence.Open(dir)
	require.NoError(t, err)
	s.db, err = pgstore.Open(t.Context(), s.dsn, pgstore.Config{})
	require.NoError(t, err)
	t.Cleanup(s.db.Close)
	require.NoError(t, s.db.Migrate(t.Context()))
	require.NoError(t, s.db.EnsurePartitions(t.Context(), s.now))
	return s
}

// event stores an event of some age and its picture, or the one given.
func (s *shelf) event(kind events.Kind, age time.Duration, size int, shared ...events.EvidenceRef) events.Event {
	s.t.Helper()
	s.n++
	at := s.now.Add(-age)
	key := events.Key{Source: "cam", Kind: kind, Object: strconv.Itoa(s.n)}
	ev := events.Event{
		ID: events.NewID(key, at), Kind: kind, State: events.StateRaised, Severity: events.SeverityMedium,
		Source: events.Source{Type: "camera", ID: "cam"}, Object: key.Object, OccurredAt: at, Evidence: shared,
	}
	if len(shared) == 0 {
		ref, err := s.media.Put("snapshot", fmt.Sprintf("cam-%d.jpg", s.n), at, bytes.Repeat([]byte{byte(s.n)}, size))
		require.NoError(s.t, err)
		ev.Evidence = []events.EvidenceRef{ref}
	}
	require.NoError(s.t, s.db.Commit(s.t.Context(), []events.Change{{Event: ev}}))
	return ev
}

func (s *shelf) exec(sql string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	require.NoError(s.t, err)
	defer conn.Close(context.WithoutCancel(s.t.Context()))
	_, err = conn.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
}

func (s *shelf) hold(ev events.Event) {
	s.t.Helper()
	s.exec("INSERT INTO case_hold (event_id, case_id, held_by, reason) VALUES ($1, 'vu-1', 'an', 'test')", ev.ID)
}

// deletions returns reason and path of the log, in order.
func (s *shelf) deletions() []string {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	require.NoError(s.t, err)
	defer conn.Close(context.WithoutCancel(s.t.Context()))
	rows, err := conn.Query(s.t.Context(), "SELECT reason || ' ' || path FROM deletion ORDER BY id")
	require.NoError(s.t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err)
	return out
}

// here reports whether the event's file is on disk, and that the store says the
// same.
func (s *shelf) here(ev events.Event) bool {
	s.t.Helper()
	_, err := os.Stat(filepath.Join(s.dir, ev.Evidence[0].Path))
	stored, dberr := s.db.Event(s.t.Context(), ev.ID)
	require.NoError(s.t, dberr)
	require.Len(s.t, stored.Evidence, 1)
	assert.Equal(s.t, err != nil, !stored.Evidence[0].Gone.IsZero(), "disk and store differ about %s", ev.Evidence[0].Path)
	return err == nil
}

// gone reports whether the event's file was deleted, also in the moment between
// the note in the store and the deletion.
func (s *shelf) gone(ev events.Event) bool {
	_, err := os.Stat(filepath.Join(s.dir, ev.Evidence[0].Path))
	return err != nil
}

func (s *shelf) keeper(cfg evidence.KeeperConfig) *evidence.Keeper {
	s.t.Helper()
	cfg.Store, cfg.Catalogue = s.media, s.db
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return s.now }
	}
	k, err := evidence.NewKeeper(cfg)
	require.NoError(s.t, err)
	return k
}

package pgstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

// sealedAs returns a function that builds the manifest of e.
func sealedAs(e events.Event) func(evidence.Link) (evidence.Sealed, error) {
	return func(previous evidence.Link) (evidence.Sealed, error) {
		sum := sha256.Sum256([]byte(previous.SHA256 + e.ID))
		path := "2026/11/23/" + e.ID + ".manifest.json"
		return evidence.Sealed{
			Head: evidence.Head{
				Number: previous.Number + 1, SHA256: hex.EncodeToString(sum[:]), At: day, KeyID: "0011223344556677", Signature: make([]byte, 64),
			},
			Entry: evidence.Entry{
				Number: previous.Number + 1, Previous: previous.SHA256, EventID: e.ID, OccurredAt: e.OccurredAt,
				SHA256: hex.EncodeToString(sum[:]), Path: path, KeyID: "0011223344556677", SealedAt: day,
			},
			Files: append(e.Evidence[:len(e.Evidence):len(e.Evidence)],
				events.EvidenceRef{Type: "manifest", Path: path, SHA256: hex.EncodeToString(sum[:]), Bytes: 7}),
		}, nil
	}
}

func TestSealIsOneTransaction(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := open(t)
	e := raised("cong-cho", 1)
	e.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "2026/11/23/a.jpg", SHA256: strings.Repeat("0a", 32), Bytes: 12}}

	err := s.Seal(ctx, e.ID, func(evidence.Link) (evidence.Sealed, error) {
		t.Error("the event is not stored yet")
		return evidence.Sealed{}, nil
	})
	require.ErrorIs(t, err, events.ErrNotFound)

	require.NoError(t, exec(t, dsn, `INSERT INTO endpoint (name, spec, version, enabled) VALUES ('ioc', '{"filter":{"steps":["raised","evidence"]}}', 1, true)`))
	require.NoError(t, s.Commit(ctx, changes(e)))
	disk := errors.New("disk full")
	err = s.Seal(ctx, e.ID, func(evidence.Link) (evidence.Sealed, error) { return evidence.Sealed{}, disk })
	require.ErrorIs(t, err, disk)
	require.NotErrorIs(t, err, events.ErrUnavailable, "build says itself what its error means")

	require.NoError(t, s.Seal(ctx, e.ID, sealedAs(e)))
	require.NoError(t, s.Seal(ctx, e.ID, func(evidence.Link) (evidence.Sealed, error) {
		t.Error("sealed already")
		return evidence.Sealed{}, nil
	}))

	got, err := s.Event(ctx, e.ID)
	require.NoError(t, err)
	assert.Equal(t, int64(2), got.Sequence)
	assert.Equal(t, events.StateRaised, got.State)
	require.Len(t, got.Evidence, 2)
	assert.Equal(t, "snapshot", got.Evidence[0].Type)
	assert.Equal(t, "manifest", got.Evidence[1].Type)

	chain, err := s.Manifests(ctx, 0, 10)
	require.NoError(t, err)
	require.Len(t, chain, 1)
	want, err := sealedAs(e)(evidence.Link{SHA256: evidence.NoPrevious})
	require.NoError(t, err)
	assert.Equal(t, want.Entry, chain[0])
	head, err := s.ManifestHead(ctx)
	require.NoError(t, err)
	assert.Equal(t, want.Head, head)

	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `SELECT m.step || ' ' || d.sequence || ' ' || jsonb_array_length(m.event -> 'Evidence')
		FROM delivery d JOIN outbox_message m USING (sequence) ORDER BY sequence`)
	require.NoError(t, err)
	said, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	assert.Equal(t, []string{"raised 1 1", "evidence 2 2"}, said, "a delivery of the step, with all files")

	require.NoError(t, s.Commit(ctx, changes(cleared(e, time.Minute))), "an event may end after it was sealed")
	got, err = s.Event(ctx, e.ID)
	require.NoError(t, err)
	assert.Equal(t, int64(3), got.Sequence)
	assert.Len(t, got.Evidence, 2)
}

func TestSealRefusesWhatDoesNotFollow(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := open(t)
	e := raised("cong-cho", 1)
	require.NoError(t, s.Commit(ctx, changes(e)))
	for name, change := range map[string]func(*evidence.Sealed){
		"number":        func(s *evidence.Sealed) { s.Number++ },
		"previous":      func(s *evidence.Sealed) { s.Previous = strings.Repeat("1", 64) },
		"another event": func(s *evidence.Sealed) { s.EventID = raised("kenh", 2).ID },
		"bad hash":      func(s *evidence.Sealed) { s.SHA256, s.Head.SHA256 = "x", "x" },
		"another head":  func(s *evidence.Sealed) { s.Head.Number++ },
		"no signature":  func(s *evidence.Sealed) { s.Head.Signature = nil },
		"path":          func(s *evidence.Sealed) { s.Files[0].Path = "../x" },
	} {
		err := s.Seal(ctx, e.ID, func(previous evidence.Link) (evidence.Sealed, error) {
			out, err := sealedAs(e)(previous)
			change(&out)
			return out, err
		})
		require.Error(t, err, name)
		require.NotErrorIs(t, err, events.ErrUnavailable, name)
	}
	require.Error(t, s.Seal(ctx, "no uuid", sealedAs(e)))
	head, err := s.ManifestHead(ctx)
	require.NoError(t, err)
	assert.Equal(t, evidence.Head{SHA256: evidence.NoPrevious, Signature: []byte{}}, head, "nothing was stored")
	require.NoError(t, s.Seal(ctx, e.ID, sealedAs(e)))
	require.Error(t, exec(t, dsn, "UPDATE manifest SET number = 9"), "append-only")
	require.Error(t, exec(t, dsn, "DELETE FROM manifest"), "append-only")
}

// TestSealBesideCommits holds the order of locks: sealing and committing at
// once neither collide nor leave a gap in either chain.
func TestSealBesideCommits(t *testing.T) {
	t.Parallel()
	const sources, each = 6, 25
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, dsn := open(t)
	require.NoError(t, exec(t, dsn, `INSERT INTO endpoint (name, spec, version, enabled) VALUES ('ioc', '{"filter":{"steps":["raised","evidence","cleared"]}}', 1, true)`))
	var wg sync.WaitGroup
	fail := make(chan error, 4*sources*each)
	for i := range sources {
		todo := make(chan events.Event, each)
		wg.Go(func() {
			defer close(todo)
			for n := range each {
				e := raised(fmt.Sprintf("cam-%d", i), n)
				fail <- s.Commit(ctx, changes(e))
				todo <- e
			}
		})
		for range 2 { // both seal every event, and end it
			wg.Go(func() {
				for e := range todo {
					fail <- s.Seal(ctx, e.ID, sealedAs(e))
					fail <- s.Commit(ctx, changes(cleared(e, time.Minute)))
					fail <- s.Seal(ctx, e.ID, sealedAs(e))
				}
			})
		}
	}
	wg.Wait()
	close(fail)
	for err := range fail {
		require.NoError(t, err)
	}
	chain, err := s.Manifests(ctx, 0, 500)
	require.NoError(t, err)
	require.Len(t, chain, sources*each)
	previous := evidence.NoPrevious
	for i, m := range chain {
		require.Equal(t, int64(i+1), m.Number)
		require.Equal(t, previous, m.Previous)
		previous = m.SHA256
	}
	last, err := s.LastSequence(ctx)
	require.NoError(t, err)
	assert.Equal(t, int64(3*sources*each), last)
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(ctx)
	var deadlocks int
	require.NoError(t, conn.QueryRow(ctx, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(&deadlocks))
	assert.Zero(t, deadlocks)
	lost, err := s.Unchained(ctx, 10)
	require.NoError(t, err)
	assert.Empty(t, lost)
	require.NoError(t, exec(t, dsn, "ALTER TABLE manifest DISABLE TRIGGER append_only; DELETE FROM manifest WHERE number = 7"))
	lost, err = s.Unchained(ctx, 10)
	require.NoError(t, err)
	assert.Equal(t, []string{chain[6].EventID}, lost)
}

func TestDeletionLog(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := open(t)
	sum := strings.Repeat("0a", 32)
	_, known, err := s.Deletion(ctx, "a.jpg", sum)
	require.NoError(t, err)
	require.False(t, known)
	require.NoError(t, exec(t, dsn, `INSERT INTO deletion (path, sha256, bytes, reason, actor) VALUES
		('a.jpg', '`+sum+`', 1, 'missing', 'fsck'), ('a.jpg', '`+sum+`', 1, 'age', 'retention'), ('a.jpg', 'other', 1, 'quota', 'x')`))
	d, known, err := s.Deletion(ctx, "a.jpg", sum)
	require.NoError(t, err)
	require.True(t, known)
	assert.Equal(t, "age by retention", d.Reason+" by "+d.Actor)
	assert.WithinDuration(t, time.Now(), d.At, time.Minute)
}

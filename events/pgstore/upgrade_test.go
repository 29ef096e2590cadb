package pgstore_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
	"github.com/xacam/xacam/events/vault"
)

// TestUpgradeKnowsRequests migrates a database in which version 3 has
// remembered requests: keys of what people did to events in the audit chain, and
// digests of the rest. The rows are written by the code of today, which does
// without what is newer; once it does not, keep them as SQL.
func TestUpgradeKnowsRequests(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dsn := eventstest.Database(t)
	v, err := vault.Open(t.TempDir())
	require.NoError(t, err)
	pool, err := pgxpool.New(ctx, dsn)
	require.NoError(t, err)
	defer pool.Close()
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true))
	require.NoError(t, err)
	_, err = p.UpTo(ctx, 3)
	require.NoError(t, err)
	s := openWith(t, dsn, v)
	require.NoError(t, s.EnsurePartitions(ctx, day))
	ev := outboxtest.Raised(1, events.SeverityLow)
	require.NoError(t, s.Commit(ctx, changes(ev)))
	const by = `Lan "Bảy" <lan@an-thuong> & Minh \`
	requests := map[string]events.WorkflowRequest{
		"note":    {EventID: ev.ID, Action: events.ActionNote, By: by, Note: "Đã gọi <b>ông Tư</b> & con:\n\"},\"sequence\":9\t\\u0041"},
		"hold":    {EventID: ev.ID, Action: events.ActionHold, By: "Minh", Note: "x", Case: "VA-1/2026 & 2"},
		"release": {EventID: ev.ID, Action: events.ActionRelease, By: "Minh", Note: "y", Case: "VA-1/2026 & 2"},
		"assign":  {EventID: ev.ID, Action: events.ActionAssign, By: by, To: "Tổ 3 <đêm>"},
		"old":     {EventID: ev.ID, Action: events.ActionNote, By: "Lan", Note: "of the day before yesterday"},
		"twice":   {EventID: ev.ID, Action: events.ActionNote, By: "Lan", Note: "its key had another request as well"},
	}
	first := map[string]events.Done{}
	for _, key := range []string{"note", "hold", "release", "assign", "old", "twice"} {
		// Without a key it writes what the version before wrote; that noted the key.
		done, err := s.Act(ctx, requests[key])
		require.NoError(t, err, key)
		first[key] = done
		require.NoError(t, exec(t, dsn, `ALTER TABLE audit DISABLE TRIGGER append_only;
			UPDATE audit SET idempotency_key = '`+key+`' WHERE number = (SELECT max(number) FROM audit);
			ALTER TABLE audit ENABLE TRIGGER append_only`))
	}
	require.NoError(t, exec(t, dsn, `
		ALTER TABLE audit DISABLE TRIGGER append_only;
		UPDATE audit SET at = at - interval '2 days' WHERE idempotency_key = 'old';
		ALTER TABLE audit ENABLE TRIGGER append_only;
		INSERT INTO idempotency (key, what, answer) VALUES ('create', repeat('ab', 32), '{"created":true}'), ('twice', repeat('cd', 32), '{}')`))

	require.NoError(t, s.Migrate(ctx))
	entries := tally(t, dsn, "audit")
	for _, key := range []string{"note", "hold", "release", "assign"} {
		r := requests[key]
		r.Key = key
		done, err := s.Act(ctx, r)
		require.NoError(t, err, key)
		assert.True(t, done.Repeated, key)
		assert.Equal(t, first[key].Number, done.Number, key)
		assert.Equal(t, first[key].Event.Workflow, done.Event.Workflow, key)
		assert.Equal(t, first[key].Event.Sequence, done.Event.Sequence, key)
		r.By = "Hai"
		_, err = s.Act(ctx, r)
		require.ErrorContains(t, err, "was used for another request, event."+key)
	}
	twice := requests["twice"]
	twice.Key = "twice"
	_, err = s.Act(ctx, twice)
	require.ErrorIs(t, err, events.ErrConflict)
	_, err = s.CreateEndpoint(ctx, outboxtest.Endpoint("ioc"), outbox.Act{By: "Lan", Key: "create"})
	require.ErrorIs(t, err, events.ErrConflict)
	require.ErrorContains(t, err, "before the server was updated")
	assert.Equal(t, entries, tally(t, dsn, "audit"), "nothing was done again")
	assert.Equal(t, "0", tally(t, dsn, "endpoint"))

	old := requests["old"]
	old.Key = "old" // a day is over
	done, err := s.Act(ctx, old)
	require.NoError(t, err)
	assert.False(t, done.Repeated)
	_, err = p.DownTo(ctx, 3)
	require.NoError(t, err)
	_, err = p.Up(ctx)
	require.NoError(t, err)
}

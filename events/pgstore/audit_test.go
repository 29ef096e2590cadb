package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// openSigned is open with a key for the audit chain.
func openSigned(tb testing.TB) (*pgstore.Store, string, *vault.Vault) {
	tb.Helper()
	dsn := eventstest.Database(tb)
	v, err := vault.Open(tb.TempDir())
	require.NoError(tb, err)
	s, err := pgstore.Open(tb.Context(), dsn, pgstore.Config{Signer: v})
	require.NoError(tb, err)
	tb.Cleanup(s.Close)
	require.NoError(tb, s.Migrate(tb.Context()))
	require.NoError(tb, s.EnsurePartitions(tb.Context(), day))
	return s, dsn, v
}

// verify returns what is wrong with the stored chain.
func verify(tb testing.TB, s *pgstore.Store, v *vault.Vault) (sound int64, err error) {
	tb.Helper()
	require.NoError(tb, s.AuditChain(tb.Context(), func(entries iter.Seq2[audit.Entry, error], head audit.Head) error {
		sound, err = audit.Verify(entries, head, v.Signing)
		return nil
	}))
	return sound, err
}

func TestAuditChain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _, v := openSigned(t)
	_, err := verify(t, s, v)
	require.NoError(t, err, "empty")
	var wg sync.WaitGroup
	const writers, each = 4, 30
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				detail := map[string]any{"n": i, "f": 1.50, "big": 1e21, "text": "«Đã xem» <b> \u2028 '\"\\", "list": []any{nil, true}}
				assert.NoError(t, s.Append(ctx, fmt.Sprint("p", w), "endpoint.create", fmt.Sprint("endpoint:", i), raised("a", i).ID, detail))
				assert.Error(t, s.Append(ctx, "p", "a\x00", "x", "", nil), "refused, no number taken")
			}
		})
	}
	wg.Wait()
	sound, err := verify(t, s, v)
	require.NoError(t, err)
	assert.Equal(t, int64(writers*each), sound)

	page, err := s.Audit(ctx, audit.Filter{Actor: "p2"}, audit.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, page, 10)
	next, err := s.Audit(ctx, audit.Filter{Actor: "p2"}, audit.Page{Before: page[9].Number, Limit: 500})
	require.NoError(t, err)
	assert.Len(t, next, each-10)
	assert.Less(t, next[0].Number, page[9].Number)
	page, err = s.Audit(ctx, audit.Filter{EventID: raised("a", 3).ID, Action: "endpoint.create", Subject: "endpoint:3"}, audit.Page{Limit: 500})
	require.NoError(t, err)
	assert.Len(t, page, writers)

	bare, _ := open(t)
	err = bare.Append(ctx, "a", "b", "c", "", nil)
	require.ErrorContains(t, err, "no key")
	assert.NotErrorIs(t, err, events.ErrUnavailable)
}

// TestAuditTampered is a superuser with the triggers disabled.
func TestAuditTampered(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, v := openSigned(t)
	const n = 1100 // more than a page of the reader
	for i := range n {
		require.NoError(t, s.Append(ctx, "lan", "event.note", "event:x", raised("a", 1).ID, map[string]any{"i": i}))
	}
	for _, sql := range []string{"UPDATE audit SET actor = 'x'", "DELETE FROM audit WHERE number = 3"} {
		require.ErrorContains(t, exec(t, dsn, sql), "append-only")
	}
	for sql, want := range map[string]string{
		"UPDATE audit SET at = at + '1 us' WHERE number = 1050":                         "entry 1050: edited",
		"UPDATE audit SET actor = 'minh' WHERE number = 7":                              "entry 7: edited",
		"UPDATE audit SET action = 'event.close' WHERE number = 1":                      "entry 1: edited",
		"UPDATE audit SET subject = 'event:y' WHERE number = 1100":                      "entry 1100: edited",
		"UPDATE audit SET event_id = NULL WHERE number = 8":                             "entry 8: edited",
		"UPDATE audit SET event_id = gen_random_uuid() WHERE number = 8":                "entry 8: edited",
		"UPDATE audit SET detail = '{\"i\": 0}' WHERE number = 9":                       "entry 9: edited: detail says",
		"UPDATE audit SET detail_text = '{\"i\":0}' WHERE number = 10":                  "entry 10: edited",
		"UPDATE audit SET detail_text = '', detail = '{}' WHERE number = 10":            "entry 10: edited",
		"UPDATE audit SET idempotency_key = 'k' WHERE number = 11":                      "entry 11: edited",
		"UPDATE audit SET previous = decode(repeat('00', 32), 'hex') WHERE number = 12": "entry 12: edited: previous",
		"UPDATE audit SET hash = decode(repeat('00', 32), 'hex') WHERE number = 13":     "entry 13: edited: its hash",
		"UPDATE audit SET number = 5000 WHERE number = 14":                              "entry 14: removed",
		"DELETE FROM audit WHERE number BETWEEN 15 AND 17":                              "entry 15: removed",
		"DELETE FROM audit WHERE number > 1000":                                         "entry 1001: cut off",
		"DELETE FROM audit":                                                             "entry 1: cut off",
		"INSERT INTO audit SELECT 1101, at, actor, action, subject, event_id, detail, detail_text, NULL, hash, hash FROM audit WHERE number = 1100":                               "entry 1101: edited",
		"WITH a AS (DELETE FROM audit WHERE number = 20 RETURNING *) UPDATE audit SET number = -number WHERE number > 20; UPDATE audit SET number = -number - 1 WHERE number < 0": "entry 20: removed",
		"UPDATE audit SET number = -number WHERE number IN (30, 31); UPDATE audit SET number = 61 + number WHERE number < 0":                                                      "entry 30: reordered",
		"UPDATE audit_head SET hash = decode(repeat('ab', 32), 'hex')":                                                                                                            "entry 1100: head",
		"UPDATE audit_head SET number = 1099":  "entry 1100: head",
		"UPDATE audit_head SET signature = ''": "entry 1100: head",
		"UPDATE audit_head SET key_id = 'x'":   "entry 1100: head",
		"DELETE FROM audit_head":               "entry 1100: head",
	} {
		require.NoError(t, exec(t, dsn, "CREATE TABLE audit_kept AS TABLE audit; CREATE TABLE head_kept AS TABLE audit_head; "+
			"ALTER TABLE audit DISABLE TRIGGER ALL; ALTER TABLE audit DROP CONSTRAINT IF EXISTS audit_number_check"))
		require.NoError(t, exec(t, dsn, sql), sql)
		_, err := verify(t, s, v)
		_, ok := errors.AsType[*audit.BreakError](err)
		assert.True(t, ok, "%s: %v", sql, err)
		assert.ErrorContains(t, err, want, sql)
		require.NoError(t, exec(t, dsn, "DELETE FROM audit; INSERT INTO audit TABLE audit_kept; DROP TABLE audit_kept; "+
			"DELETE FROM audit_head; INSERT INTO audit_head TABLE head_kept; DROP TABLE head_kept"))
		_, err = verify(t, s, v)
		require.NoError(t, err, "put back after %s", sql)
	}
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	require.Error(t, s.AuditChain(ctx, func(iter.Seq2[audit.Entry, error], audit.Head) error { return nil }))
}

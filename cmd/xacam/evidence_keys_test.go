package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/vault"
)

func TestEvidenceRotateKey(t *testing.T) {
	t.Parallel()
	s := newSealedServer(t, 2, nil)
	one := s.export(t, 1)
	first := filepath.Join(t.TempDir(), "first.pub")
	text, err := os.ReadFile(s.key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(first, text, 0o600))
	run := func(code int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		assert.Equal(t, code, execute(t.Context(), args, strings.NewReader(""), &out, &out), "%v: %s", args, out.String())
		return out.String()
	}
	rotate := []string{"evidence", "rotate-key", "-c", s.config, "--by", "Lan", "--reason"}
	assert.Contains(t, run(2, rotate[:4]...), "--by")
	lock, err := lockDataDir(s.data)
	require.NoError(t, err)
	assert.Contains(t, run(1, append(rotate, "định kỳ")...), "the server must be stopped")
	require.NoError(t, lock.Close())
	out := run(0, append(rotate, "định kỳ")...)
	assert.Contains(t, out, "sealed up to manifest 2")
	assert.Contains(t, out, "-----BEGIN PUBLIC KEY-----")

	keys, err := vault.Open(filepath.Join(s.data, "keys"))
	require.NoError(t, err)
	require.Len(t, keys.Handovers(), 1)
	h := keys.Handovers()[0]
	entries, err := s.store.Audit(t.Context(), audit.Filter{Action: "evidence.rotate_key"}, audit.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "Lan", entries[0].Actor)
	assert.Equal(t, "key:"+vault.KeyID(h.New), entries[0].Subject)
	assert.Contains(t, entries[0].Detail, `"reason":"định kỳ"`)

	assert.Contains(t, run(0, "evidence", "verify", "--all", "-c", s.config), "VERIFIED")
	assert.Contains(t, run(0, "audit", "verify", "-c", s.config), "2 entries are sound")
	chain := filepath.Join(t.TempDir(), "keys.json")
	run(0, "evidence", "keys", "-c", s.config, "-o", chain)
	run(0, "evidence", "verify", one, "--key", first)
	run(0, "evidence", "verify", one, "--key", chain)
	assert.Contains(t, run(1, "evidence", "verify", one, "--key", s.key), "it claims to be by the key", "it was taken before")
	export := filepath.Join(t.TempDir(), "audit.jsonl")
	run(0, "audit", "export", "-c", s.config, "-o", export)
	run(0, "audit", "verify", "--file", export, "--key", chain)

	require.NoError(t, os.WriteFile(filepath.Join(s.data, "keys", "handover-"+vault.KeyID(h.New)+".json"), []byte("{}"), 0o600))
	assert.Contains(t, run(0, "evidence", "verify", "--all", "-c", s.config), "damaged: ")
	run(1, "evidence", "keys", "-c", s.config)
}

// exec edits the database behind the server's back.
func (s *sealedServer) exec(t *testing.T, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// TestRotateKeyAfterARollback: an old state of the database was put back, so the
// hand-over would name too small a number.
func TestRotateKeyAfterARollback(t *testing.T) {
	t.Parallel()
	s := newSealedServer(t, 3, nil)
	s.exec(t, "ALTER TABLE manifest DISABLE TRIGGER append_only; DELETE FROM manifest WHERE number = 3; "+
		"UPDATE manifest_head SET number = 2, sha256 = (SELECT sha256 FROM manifest WHERE number = 2)")
	rotate := []string{"evidence", "rotate-key", "-c", s.config, "--by", "Lan", "--reason", "định kỳ"}
	before, err := os.ReadFile(s.key)
	require.NoError(t, err)
	r := xacam(t, rotate...)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "evidence-head.json says that manifest 3 was sealed, but the chain ends with 2")
	assert.Contains(t, r.stderr, "chưa đổi khóa")
	after, err := os.ReadFile(s.key)
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	require.NoError(t, os.Rename(filepath.Join(s.data, "evidence-head.json"), filepath.Join(s.data, "evidence-head-3.json")))
	assert.Equal(t, exitFailed, xacam(t, rotate...).code, "under the name that a lost end gets")
	require.NoError(t, os.Rename(filepath.Join(s.data, "evidence-head-3.json"), filepath.Join(s.data, "away.json")))
	r = xacam(t, rotate...)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "sealed up to manifest 2")
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	assert.Contains(t, run(0, "audit", "verify", "-c", s.config), "1 entries are sound")
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

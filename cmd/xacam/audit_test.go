package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAuditCommands makes keys of the feed, which go into the chain, and checks
// it in the database and in a file, before and after somebody changed it.
func TestAuditCommands(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	r := xacam(t, "audit", "verify", "-c", db.config)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "0 entries are sound")
	for _, name := range []string{"ioc", "tinh", "huyen"} {
		r = xacam(t, "feed-key", "create", "-c", db.config, "--by", "Nguyễn Thị Lan", "--camera", "cong-cho", "--step", "raised", name)
		require.Equal(t, exitOK, r.code, r.stderr)
		assert.Regexp(t, `^xfk_[\w-]{43}\n$`, r.stdout)
	}
	r = xacam(t, "feed-key", "create", "-c", db.config, "--by", "a", "ioc")
	require.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "already")
	r = xacam(t, "feed-key", "revoke", "-c", db.config, "--by", "minh", "tinh")
	require.Equal(t, exitOK, r.code, r.stderr)
	r = xacam(t, "feed-key", "revoke", "-c", db.config, "--by", "minh", "tinh")
	require.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "no feed key")
	r = xacam(t, "feed-key", "list", "-c", db.config)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Regexp(t, `(?m)^huyen +60 .*cameras=cong-cho, steps=raised$`, r.stdout)
	assert.NotContains(t, r.stdout, "xfk_")

	r = xacam(t, "audit", "verify", "-c", db.config)
	require.Equal(t, exitOK, r.code, r.stderr)
	known := regexp.MustCompile(`--known (4:[0-9a-f]{64})`).FindStringSubmatch(r.stdout)
	require.NotNil(t, known, r.stdout)
	file, key := filepath.Join(t.TempDir(), "audit.jsonl"), filepath.Join(db.data, "keys", "evidence.pub")
	require.Equal(t, exitOK, xacam(t, "audit", "export", "-c", db.config, "-o", file).code)
	r = xacam(t, "audit", "verify", "--file", file, "--key", key, "--known", known[1])
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "4 entries are sound")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	for name, c := range map[string]struct{ text, says string }{
		"edited":      {strings.Replace(string(text), "minh", "lan", 1), "entry 4: edited"},
		"line gone":   {lines[0] + lines[2] + lines[3] + lines[4], "entry 2: removed"},
		"moved":       {lines[0] + lines[2] + lines[1] + lines[3] + lines[4], "entry 2: removed"},
		"cut off":     {lines[0] + lines[4], "entry 2: cut off"},
		"no head":     {lines[0], "not whole"},
		"no export":   {"{}x\n", "line 1"},
		"read detail": {strings.Replace(string(text), `"expires_at":null},"detail_text"`, `"expires_at":"x"},"detail_text"`, 1), "entry 1: edited: detail"},
	} {
		require.NotEqual(t, string(text), c.text, name)
		r = xacamStdin(t, c.text, "audit", "verify", "--file", "-", "--key", key)
		assert.Equal(t, exitFailed, r.code, name)
		assert.Contains(t, r.stderr, c.says, name)
	}
	for _, args := range [][]string{
		{"audit", "verify", "--file", file},
		{"audit", "verify", "--known", "x"},
		{"audit", "verify", "--file", file, "--key", file},
		{"feed-key", "create", "x"},
		{"feed-key", "create", "--by", "a", "--severity", "urgent", "-c", db.config, "x"},
		{"feed-key", "create", "--by", "a", "-c", db.config, "A b"},
	} {
		assert.Equal(t, exitUsage, xacam(t, args...).code, args)
	}

	conn, err := pgx.Connect(t.Context(), db.dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "ALTER TABLE audit DISABLE TRIGGER ALL; UPDATE audit SET actor = 'Nguyễn Thị Hoa' WHERE number = 2")
	require.NoError(t, err)
	r = xacam(t, "audit", "verify", "-c", db.config)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "1 entries before are sound: entry 2: edited")
}

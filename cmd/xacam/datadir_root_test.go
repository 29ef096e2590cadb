package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestLockOfRoot: a command of root's leaves nothing that the server cannot open.
func TestLockOfRoot(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can write into the folders of others")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chown(dir, 4321, 4321))
	for range 2 {
		lock, err := lockDataDir(dir)
		require.NoError(t, err)
		require.NoError(t, lock.Close())
	}
	info, err := os.Stat(filepath.Join(dir, "lock"))
	require.NoError(t, err)
	st, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	assert.Equal(t, uint32(4321), st.Uid)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

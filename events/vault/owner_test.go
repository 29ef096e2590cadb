package vault

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// someone is a user other than root.
const someone = 4321

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can write into the folders of others")
	}
}

// owners returns who owns a folder and each file in it.
func owners(t *testing.T, dir string) map[string]uint32 {
	t.Helper()
	out := make(map[string]uint32)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		require.NoError(t, err)
		st, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		assert.Equal(t, st.Uid, st.Gid, path)
		out[d.Name()] = st.Uid
		return nil
	}))
	return out
}

// TestOwner: root makes keys in the data folder of the user whom the server runs as.
func TestOwner(t *testing.T) {
	t.Parallel()
	asRoot(t)
	data := t.TempDir()
	require.NoError(t, os.Chown(data, someone, someone))
	dir := filepath.Join(data, "keys")
	_, err := Open(dir)
	require.NoError(t, err)
	_, err = Rotate(dir, someHandover(), func(Handover) error { return nil })
	require.NoError(t, err)
	found := owners(t, dir)
	assert.Len(t, found, 6, "%v", found)
	for name, uid := range found {
		assert.Equal(t, uint32(someone), uid, name)
	}
}

// ownerHelper is set for TestOwnerWithoutTheRight when it runs itself, in the folder.
const ownerHelper = "XACAM_TEST_OWNER"

// TestOwnerWithoutTheRight: root of a container may not be able to give files away.
// Then nothing changes.
func TestOwnerWithoutTheRight(t *testing.T) {
	t.Parallel()
	asRoot(t)
	if os.Getenv(ownerHelper) != "" {
		dir, err := filepath.Abs(".")
		require.NoError(t, err)
		_, err = Rotate(dir, someHandover(), func(Handover) error {
			assert.Fail(t, "it was recorded")
			return nil
		})
		require.ErrorIs(t, err, os.ErrPermission)
		require.ErrorContains(t, err, "run this as the user who runs the server")
		_, err = Open(filepath.Join(dir, "new"))
		require.ErrorIs(t, err, os.ErrPermission)
		return
	}
	dir := filepath.Join(t.TempDir(), "keys")
	before, err := Open(dir)
	require.NoError(t, err)
	for name := range owners(t, dir) {
		if name == "keys" {
			name = "."
		}
		require.NoError(t, os.Chown(filepath.Join(dir, name), someone, someone))
	}
	found := owners(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, "setpriv", "--bounding-set=-chown", "--inh-caps=-chown", self, "-test.run=^TestOwnerWithoutTheRight$")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), ownerHelper+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Equal(t, found, owners(t, dir))
	after, err := Open(dir)
	require.NoError(t, err)
	assert.Equal(t, before.Public(), after.Public())
}

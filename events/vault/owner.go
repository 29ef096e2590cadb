package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// LeaveToOwner gives a file or folder that root has just made to the owner of the
// folder that it is in: a server that runs as another user could not read it. An
// error says that it still is root's.
func LeaveToOwner(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			err = os.Lchown(path, int(st.Uid), int(st.Gid))
		}
	}
	if err != nil {
		return fmt.Errorf("give %s to the owner of %s, so that the server can read it (run this as the user who runs the server): %w", filepath.Base(path), dir, err)
	}
	return nil
}

// makeFolder makes the key folder, which belongs to the owner of the folder around
// it.
func makeFolder(dir string) error {
	_, err := os.Stat(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o700); err != nil || !fresh {
		return err
	}
	if err := LeaveToOwner(dir); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return nil
}

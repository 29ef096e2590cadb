package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ownerOf returns who should own what root makes in a folder: the owner of the
// folder. ours is true when that happens by itself.
func ownerOf(dir string) (uid, gid int, ours bool, err error) {
	if os.Geteuid() != 0 {
		return 0, 0, true, nil
	}
	info, err := os.Stat(dir)
	if err != nil {
		return 0, 0, false, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return 0, 0, true, nil
	}
	return int(st.Uid), int(st.Gid), false, nil
}

// LeaveToOwner gives a new file to the owner of the folder that it is in, where root
// has made it: a server that runs as another user could not read it. An error says
// that it still is root's.
func LeaveToOwner(f *os.File) error {
	dir := filepath.Dir(f.Name())
	uid, gid, ours, err := ownerOf(dir)
	if err == nil && !ours {
		err = f.Chown(uid, gid)
	}
	if err != nil {
		return fmt.Errorf("give the file to the owner of %s, so that the server can read it (run this as the user who runs the server): %w", dir, err)
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
	uid, gid, ours, err := ownerOf(filepath.Dir(dir))
	if err == nil && !ours {
		err = os.Lchown(dir, uid, gid)
	}
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return nil
}

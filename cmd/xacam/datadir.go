package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/xacam/xacam/events/vault"
)

// makeDataDir makes the data folder and checks that it can be written. Others
// may pass through it, because the private database runs as another user when
// the server was started as root; every folder below is closed to them. What
// the account's umask or an earlier command took away is given back to folders
// that are xacam's own.
func makeDataDir(dir string) error {
	_, err := os.Stat(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	err = os.MkdirAll(dir, 0o711) //nolint:gosec // see above
	if err == nil && os.Geteuid() == 0 {
		err = letPass(dir, fresh)
	}
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".check-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("the data folder %s cannot be written, give the user who runs xacam the right to, or name another one with data: %w", dir, err)
	}
	return nil
}

// letPass lets others pass through the standard folder, where dir lies in it,
// and through dir if it is xacam's own.
func letPass(dir string, fresh bool) error {
	own := []string{}
	if standard := dataDir(); dir == standard || strings.HasPrefix(dir, standard+string(filepath.Separator)) {
		own = append(own, standard, dir)
	} else if fresh {
		own = append(own, dir)
	}
	for _, p := range own {
		info, err := os.Stat(p)
		if err == nil && info.Mode().Perm()&0o011 != 0o011 {
			err = os.Chmod(p, info.Mode().Perm()|0o011)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lockDataDir makes sure that one server at a time uses a data folder: two
// would commit each other's spooled events. The lock goes with the process.
func lockDataDir(dir string) (*os.File, error) {
	f, err := openLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the data folder %s is in use by another xacam; stop that one, or name another folder with data: %w", dir, err), f.Close())
	}
	return f, nil
}

// openLock opens the file that is locked. One that root makes is for the server too.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, err
	}
	if err := vault.LeaveToOwner(f.Name()); err != nil {
		return nil, errors.Join(err, os.Remove(path), f.Close()) // nobody has it yet
	}
	return f, nil
}

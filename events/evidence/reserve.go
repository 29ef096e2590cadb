package evidence

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// reserveName is the file that keeps some of the disk back. On a disk that
// others have filled, the store cannot even note that old media goes; then this
// file is given up first.
const reserveName = ".reserve"

// keepReserve makes the reserve, where there is room for it beside what must
// stay free.
func (s *Store) keepReserve(size int64, room Room, lacking bool) error {
	path := filepath.Join(s.dir, reserveName)
	info, err := os.Stat(path)
	if err == nil && info.Size() == size || lacking || room.Free < 2*size {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("keep room in reserve: %w", err)
	}
	err = syscall.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) { // a file system that cannot promise room
		err = f.Truncate(0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("keep room in reserve: %w", err), os.Remove(path))
	}
	return nil
}

// giveReserve frees the reserve and reports whether there was one.
func (s *Store) giveReserve() bool {
	info, err := os.Stat(filepath.Join(s.dir, reserveName))
	if err != nil || info.Size() == 0 {
		return false
	}
	err = os.Remove(filepath.Join(s.dir, reserveName))
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// Package evidence keeps the files that show what happened.
//
// A file is written beside its final name, synced, renamed and its folder
// synced, and only then does the event that refers to it go to the database.
// So after a crash a file is either whole or a leftover that Sweep removes.
package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/xacam/xacam/events"
)

// Store is a folder of evidence files, one folder a day (UTC) below it. It is
// safe for concurrent use.
type Store struct{ dir string }

const tempSuffix = ".part"

// Open makes the folder if it is missing and checks that it can be written. A
// disk that is full or read-only is no reason not to start: a Keeper makes room
// and tells.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open the media folder: %w", err)
	}
	s := &Store{dir}
	err := s.probe()
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EDQUOT) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,127}$`)

// Put stores data as the file name, such as "gate-1732371245120.jpg", in the
// folder of the day of at. Storing the same name again replaces the file as a
// whole. The returned reference is durable: the file survives a power cut.
func (s *Store) Put(typ, name string, at time.Time, data []byte) (events.EvidenceRef, error) {
	if !validName.MatchString(name) || strings.HasSuffix(name, tempSuffix) {
		return events.EvidenceRef{}, fmt.Errorf("store evidence: %q is not a file name of small letters, digits and . _ -", name)
	}
	rel := path.Join(at.UTC().Format("2006/01/02"), name)
	full := filepath.Join(s.dir, filepath.FromSlash(rel))
	if err := writeAtomic(full, data); err != nil {
		return events.EvidenceRef{}, fmt.Errorf("store evidence: %w", err)
	}
	sum := sha256.Sum256(data)
	return events.EvidenceRef{Type: typ, Path: rel, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(data))}, nil
}

func writeAtomic(full string, data []byte) (err error) {
	dir := filepath.Dir(full)
	if err := mkdirAll(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "*"+tempSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), full); err != nil {
		return err
	}
	return syncDir(dir)
}

// mkdirAll makes what is missing of dir and sees to it that it is still there
// after a power cut: a file is only as safe as the folders above it.
func mkdirAll(dir string) error {
	err := os.Mkdir(dir, 0o750)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir:
		if err := mkdirAll(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	case err != nil:
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open opens the file of a reference for reading. A path that leaves the
// folder, or a file that is not there, is events.ErrNotFound.
func (s *Store) Open(ref events.EvidenceRef) (*os.File, error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, fmt.Errorf("open the media folder: %w", err)
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(ref.Path))
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", errors.Join(events.ErrNotFound, err))
	}
	return f, nil
}

// Sweep removes what a crash left half written before the given time, and
// returns how many files. It goes through the whole folder and may take long;
// Put and Open may be called meanwhile.
func (s *Store) Sweep(ctx context.Context, before time.Time) (removed int, err error) {
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return 0, fmt.Errorf("sweep the media folder: %w", err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone meanwhile
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return fs.SkipAll
		case d.IsDir() || !strings.HasSuffix(p, tempSuffix):
			return nil
		}
		if info, err := d.Info(); err != nil || !info.ModTime().Before(before) {
			return nil //nolint:nilerr // it is being written, or has got its name
		}
		removed++
		return root.Remove(p)
	})
	if err != nil {
		return removed, fmt.Errorf("sweep the media folder: %w", err)
	}
	return removed, nil
}

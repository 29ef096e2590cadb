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
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/vault"
)

// Store is a folder of evidence files, one folder a day (UTC) below it. It is
// safe for concurrent use.
type Store struct {
	dir   string
	claim atomic.Pointer[claim] // see Claim; nil: any folder will do
	ready func()                // see OnReady; may be nil
}

const tempSuffix = ".part"

// Open makes the folder if it is missing and checks that it can be written. A
// disk that is full or read-only is no reason not to start: a Keeper makes room
// and tells.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open the media folder: %w", err)
	}
	s := &Store{dir: dir}
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
	rel, err := relative(name, at)
	if err != nil {
		return events.EvidenceRef{}, err
	}
	if err := s.Mounted(); err != nil {
		return events.EvidenceRef{}, fmt.Errorf("store evidence: %w", err)
	}
	full := filepath.Join(s.dir, filepath.FromSlash(rel))
	if err := writeAtomic(full, data); err != nil {
		return events.EvidenceRef{}, fmt.Errorf("store evidence: %w", err)
	}
	sum := sha256.Sum256(data)
	return events.EvidenceRef{Type: typ, Path: rel, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(data))}, nil
}

// relative returns the path of a file in the media folder.
func relative(name string, at time.Time) (string, error) {
	if !validName.MatchString(name) || strings.HasSuffix(name, tempSuffix) {
		return "", fmt.Errorf("store evidence: %q is not a file name of small letters, digits and . _ -", name)
	}
	return path.Join(at.UTC().Format("2006/01/02"), name), nil
}

// Place makes the folder for a file that somebody else writes, in the day of at,
// and returns the file's path in the media folder and in the system. The writer
// must see to it that the file is whole and synced when it gets its name; until
// then its name ends in ".part".
func (s *Store) Place(name string, at time.Time) (rel, full string, err error) {
	rel, err = relative(name, at)
	if err != nil {
		return "", "", err
	}
	if err := s.Mounted(); err != nil {
		return "", "", fmt.Errorf("store evidence: %w", err)
	}
	full = filepath.Join(s.dir, filepath.FromSlash(rel))
	if err := mkdirAll(filepath.Dir(full)); err != nil {
		return "", "", fmt.Errorf("store evidence: %w", err)
	}
	return rel, full, nil
}

// Full returns the path in the system of one in the media folder. It does not
// look whether there is a file.
func (s *Store) Full(rel string) string {
	return filepath.Join(s.dir, filepath.FromSlash(path.Clean("/"+rel)))
}

// Ref returns the reference of a file that is there, whole and synced. A path
// without a file is events.ErrNotFound. It reads the whole file.
func (s *Store) Ref(typ, rel string) (events.EvidenceRef, error) {
	f, err := s.Open(events.EvidenceRef{Path: rel})
	if err != nil {
		return events.EvidenceRef{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err := errors.Join(err, f.Close()); err != nil {
		return events.EvidenceRef{}, fmt.Errorf("read evidence: %w", err)
	}
	return events.EvidenceRef{Type: typ, Path: rel, SHA256: hex.EncodeToString(sum.Sum(nil)), Bytes: n}, nil
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
	leaveToOwner(f.Name())
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
	leaveToOwner(dir)
	return syncDir(filepath.Dir(dir))
}

// leaveToOwner is vault.LeaveToOwner where that can be done: some disks know no
// owners, and there nothing is lost.
func leaveToOwner(path string) { _ = vault.LeaveToOwner(path) }

// syncDir makes the names in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open opens the file of a reference for reading. A path that leaves the
// folder, or a file that is not there, is events.ErrNotFound. Other errors, such
// as a disk that does not answer, say nothing about whether there is one.
func (s *Store) Open(ref events.EvidenceRef) (*os.File, error) {
	f, err := s.open(ref)
	if errors.Is(err, ErrNotMounted) && s.Mounted() == nil { // it was mounted just now
		f, err = s.open(ref)
	}
	return f, err
}

func (s *Store) open(ref events.EvidenceRef) (*os.File, error) {
	root, err := os.OpenRoot(s.dir)
	if errors.Is(err, fs.ErrNotExist) && s.claim.Load() != nil {
		err = s.judge(nil, nil, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the media folder: %w", err)
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(ref.Path))
	if err != nil && absent(err) {
		if merr := s.bears(root); merr != nil { // nobody knows whether it is there
			return nil, fmt.Errorf("open evidence: %w", merr)
		}
		err = errors.Join(events.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	return f, nil
}

// absent reports whether an error of os.Root says that there is no such file in
// the folder, rather than that it cannot be opened now.
func absent(err error) bool {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return true
	}
	// What os.Root itself refuses is not an error of the system.
	var system syscall.Errno
	return !errors.As(err, &system)
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
	if err := s.bears(root); err != nil {
		return 0, fmt.Errorf("sweep the media folder: %w", err)
	}
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

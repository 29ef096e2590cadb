package evidence

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/xacam/xacam/events"
)

// markName is the file that tells the media folder from the empty folder that is
// in its place while its disk is not mounted.
const markName = ".xacam-media"

// ErrNotMounted is a media folder that does not bear the mark that it should. What
// is missing from it is not gone.
var ErrNotMounted = fmt.Errorf("the media disk is not mounted, or it is another one: %w", events.ErrUnavailable)

// ErrUnclaimed is a media folder without a mark that nobody has looked at yet.
var ErrUnclaimed = fmt.Errorf("it is not known yet whether the media folder is the right one: %w", events.ErrUnavailable)

// claim is what is known of the media folder.
type claim struct {
	mark  []byte // that it must bear; nil with doubt
	doubt error  // ErrUnclaimed or ErrNotMounted
}

var validMark = regexp.MustCompile(`^[0-9a-f]{32}\n$`)

// Claim makes the store insist on the mark of its folder, which is remembered in
// the given file outside of it. A folder whose mark is not remembered keeps it.
// One that has none may be the empty one below a disk that is not mounted: that is
// ErrUnclaimed, and until Adopt knows better the store takes files, but neither
// deletes any nor says that one is gone. Another error says that there is no mark
// now, and the store works without.
func (s *Store) Claim(file string) error {
	remembered, err := readMark(file)
	if err == nil {
		s.claim.Store(&claim{mark: remembered})
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mark the media folder: %w", err)
	}
	mark, err := readMark(filepath.Join(s.dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		s.claim.CompareAndSwap(nil, &claim{doubt: ErrUnclaimed})
		return ErrUnclaimed
	}
	if err == nil {
		err = writeAtomic(file, mark)
	}
	if err != nil {
		s.claim.Store(nil)
		return fmt.Errorf("mark the media folder: %w", err)
	}
	s.claim.Store(&claim{mark: mark})
	return nil
}

// Newest is what the store of events knows of the files that came last.
type Newest interface {
	// NewestFiles returns files that should be there, of events that occurred
	// before a moment, the newest first.
	NewestFiles(ctx context.Context, before time.Time, limit int) ([]StoredFile, error)
}

// Adopt finishes a Claim that was ErrUnclaimed. A folder that has what it should
// of the files that came last, before the given moment, gets its mark. Another
// one is ErrNotMounted from then on, until a later call finds it right. Errors that
// wrap events.ErrUnavailable may pass; with another one there is no mark now, and
// the store works without.
func (s *Store) Adopt(ctx context.Context, file string, newest Newest, before time.Time) error {
	if err := s.Claim(file); !errors.Is(err, ErrUnclaimed) {
		return err
	}
	err := s.Familiar(ctx, newest, before)
	if errors.Is(err, ErrNotMounted) {
		s.claim.Store(&claim{doubt: err})
	}
	if err != nil {
		return err
	}
	return s.Mark(file)
}

const (
	newestFiles   = 100 // are looked for
	familiarShare = 2   // one in so many must be there
)

// Familiar returns ErrNotMounted when most of the files that came last before the
// given moment are missing. It changes nothing.
func (s *Store) Familiar(ctx context.Context, newest Newest, before time.Time) error {
	files, err := newest.NewestFiles(ctx, before, newestFiles)
	if err != nil {
		return fmt.Errorf("look whether it is the right media folder: %w", err)
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return fmt.Errorf("look whether it is the right media folder: %w: %w", events.ErrUnavailable, err)
	}
	defer root.Close()
	missing := 0
	for i := range files {
		if _, err := root.Stat(filepath.FromSlash(files[i].Ref.Path)); errors.Is(err, fs.ErrNotExist) {
			missing++
		}
	}
	if (len(files)-missing)*familiarShare < len(files) {
		return fmt.Errorf("%w: %d of the %d files that came last are not in %s", ErrNotMounted, missing, len(files), s.dir)
	}
	return nil
}

// Mark gives the folder, whatever it is, a new mark, unless it has one, and
// remembers it in the given file outside of it.
func (s *Store) Mark(file string) error {
	mark, err := readMark(filepath.Join(s.dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails, see crypto/rand
		mark = []byte(hex.EncodeToString(id) + "\n")
		err = writeAtomic(filepath.Join(s.dir, markName), mark) // first: remembered alone, it would never fit
	}
	if err == nil {
		err = writeAtomic(file, mark)
	}
	if err != nil {
		s.claim.Store(nil)
		return fmt.Errorf("mark the media folder: %w", err)
	}
	s.claim.Store(&claim{mark: mark})
	return nil
}

// Expect is Claim for those who only look: it changes nothing.
func (s *Store) Expect(file string) error {
	mark, err := readMark(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark of the media folder: %w", err)
	}
	s.claim.Store(&claim{mark: mark})
	return nil
}

// Mounted returns ErrNotMounted while the folder does not bear its mark, and
// another error that wraps events.ErrUnavailable while that cannot be said.
func (s *Store) Mounted() error {
	c := s.claim.Load()
	switch {
	case c == nil || errors.Is(c.doubt, ErrUnclaimed):
		return nil
	case c.doubt != nil:
		return c.doubt
	}
	mark, err := readMark(filepath.Join(s.dir, markName))
	return s.judge(c.mark, mark, err)
}

// Certain is Mounted for those who would say that a file is gone, or make it so:
// it also returns ErrUnclaimed.
func (s *Store) Certain() error {
	if c := s.claim.Load(); c != nil && c.doubt != nil {
		return c.doubt
	}
	return s.Mounted()
}

// bears is Certain for an open folder, which stays the one it is when a disk is
// mounted over it.
func (s *Store) bears(root *os.Root) error {
	c := s.claim.Load()
	switch {
	case c == nil:
		return nil
	case c.doubt != nil:
		return c.doubt
	}
	b, err := root.ReadFile(markName)
	mark, err := checkMark(b, err, markName)
	return s.judge(c.mark, mark, err)
}

// judge compares the mark that the folder should bear with what was read.
func (s *Store) judge(want, mark []byte, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s has no file %s", ErrNotMounted, s.dir, markName)
	case errors.Is(err, errBadMark):
		return fmt.Errorf("%w: %w", ErrNotMounted, err)
	case err != nil: // no files left to open, a broken disk, no rights: it may well be mounted
		return fmt.Errorf("read the mark of the media folder: %w: %w", events.ErrUnavailable, err)
	case !bytes.Equal(mark, want):
		return fmt.Errorf("%w: %s bears the mark of another folder", ErrNotMounted, s.dir)
	}
	return nil
}

var errBadMark = errors.New("it is damaged")

func readMark(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	return checkMark(b, err, path)
}

func checkMark(b []byte, err error, path string) ([]byte, error) {
	if err == nil && !validMark.Match(b) {
		err = fmt.Errorf("%s: %w", path, errBadMark)
	}
	return b, err
}

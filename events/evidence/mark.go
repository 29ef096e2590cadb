package evidence

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/xacam/xacam/events"
)

// markName is the file that tells the media folder from the empty folder that is
// in its place while its disk is not mounted.
const markName = ".xacam-media"

// ErrNotMounted is a media folder that does not bear the mark that it should. What
// is missing from it is not gone.
var ErrNotMounted = fmt.Errorf("the media disk is not mounted, or it is another one: %w", events.ErrUnavailable)

var validMark = regexp.MustCompile(`^[0-9a-f]{32}\n$`)

// Claim makes the store insist on the mark of its folder, which is remembered in
// the given file outside of it. The first time the folder is given a mark. Call it
// before the store is used. An error says that there is no mark now, and the store
// works without.
func (s *Store) Claim(file string) error {
	remembered, err := readMark(file)
	if err == nil {
		s.mark = remembered
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("mark the media folder: %w", err)
	}
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
		return fmt.Errorf("mark the media folder: %w", err)
	}
	s.mark = mark
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
	s.mark = mark
	return nil
}

// Mounted returns ErrNotMounted while the folder does not bear its mark, and
// another error that wraps events.ErrUnavailable while that cannot be said.
func (s *Store) Mounted() error {
	if s.mark == nil {
		return nil
	}
	return s.judge(readMark(filepath.Join(s.dir, markName)))
}

// bears is Mounted for an open folder, which stays the one it is when a disk is
// mounted over it.
func (s *Store) bears(root *os.Root) error {
	if s.mark == nil {
		return nil
	}
	b, err := root.ReadFile(markName)
	return s.judge(checkMark(b, err, markName))
}

func (s *Store) judge(mark []byte, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %s has no file %s", ErrNotMounted, s.dir, markName)
	case errors.Is(err, errBadMark):
		return fmt.Errorf("%w: %w", ErrNotMounted, err)
	case err != nil: // no files left to open, a broken disk, no rights: it may well be mounted
		return fmt.Errorf("read the mark of the media folder: %w: %w", events.ErrUnavailable, err)
	case !bytes.Equal(mark, s.mark):
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

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
	"strings"
	"time"

	"github.com/xacam/xacam/events"
)

// lostFolder is where Check puts files that belong to no event.
const lostFolder = "lost+found"

// Problem is what Check finds wrong with one file.
type Problem struct {
	What    string // "missing", "returned", "changed", "orphan", "half-written"
	Path    string
	EventID string // "" when no event refers to it
	Detail  string
	Mended  bool
}

// CheckReport is what Check found.
type CheckReport struct {
	Files    int // that events refer to
	Bytes    int64
	Problems []Problem // at most maxProblems
	Total    int       // of problems
}

// maxProblems bounds the list; the rest is counted.
const maxProblems = 10_000

// CheckConfig says how to check. Store and Catalogue are required.
type CheckConfig struct {
	Store     *Store
	Catalogue Catalogue
	Hash      bool // read every file and compare its SHA-256
	Repair    bool
	// Before leaves out files that were made after it: they may be about to be
	// referred to. Required.
	Before time.Time
	// Returns knows the files that are noted as missing; nil: nobody looks whether
	// they are back.
	Returns Returns
	// Pending reports whether an unfinished package refers to a file; nil: none.
	Pending func(path string) bool
	// Progress hears now and then how many files were looked at; may be nil.
	Progress func(files int)
}

// Check compares the media folder with the store in both directions. A file
// that is missing is noted as gone, so that nobody looks for it, and one of these
// that is back, as it was, is noted as there; one that no
// event refers to is moved to lost+found; what a crash left half written is
// deleted. A file whose bytes changed is only reported: it is evidence that
// something happened to it. Ask Plausible before a repair.
func Check(ctx context.Context, cfg CheckConfig) (*CheckReport, error) {
	c := &checker{cfg: cfg, report: &CheckReport{}}
	if c.cfg.Pending == nil {
		c.cfg.Pending = func(string) bool { return false }
	}
	if c.cfg.Progress == nil {
		c.cfg.Progress = func(int) {}
	}
	root, err := os.OpenRoot(cfg.Store.dir)
	if err != nil {
		return nil, fmt.Errorf("check the media folder: %w", err)
	}
	defer root.Close()
	if err := cfg.Store.bears(root); err != nil {
		return nil, fmt.Errorf("check the media folder: %w", err)
	}
	c.root = root
	if err := c.rows(ctx); err != nil {
		return c.report, err
	}
	return c.report, c.folder(ctx)
}

// ErrManyMissing is that so many files are missing that the media disk is
// probably not there.
var ErrManyMissing = errors.New("many files are missing")

// fewMissing is how many files may be missing, and one in how many, before that
// is taken for a disk that is not there.
const fewMissing, missingShare = 10, 10

// Plausible returns ErrManyMissing when more than ten files, and more than a
// tenth of all, are missing: to note them as gone would be wrong if the disk is
// only not mounted. It reads no file and changes nothing.
func Plausible(ctx context.Context, store *Store, catalogue Catalogue) error {
	root, err := os.OpenRoot(store.dir)
	if err != nil {
		return fmt.Errorf("check the media folder: %w", err)
	}
	defer root.Close()
	missing, total := 0, 0
	for at := (Cursor{}); ; {
		files, next, err := catalogue.AllFiles(ctx, at, page)
		if err != nil {
			return fmt.Errorf("check the media folder: %w", err)
		}
		for i := range files {
			total++
			if _, err := root.Stat(filepath.FromSlash(files[i].Ref.Path)); errors.Is(err, fs.ErrNotExist) {
				missing++
			}
		}
		if at = next; at == (Cursor{}) {
			break
		}
	}
	if missing > fewMissing && missing > total/missingShare {
		return fmt.Errorf("%w: %d of %d in %s", ErrManyMissing, missing, total, store.dir)
	}
	return nil
}

type checker struct {
	cfg    CheckConfig
	root   *os.Root
	report *CheckReport
	seen   int
}

func (c *checker) found(p Problem) {
	c.report.Total++
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, p)
	}
}

func (c *checker) progress() {
	if c.seen++; c.seen%1000 == 0 {
		c.cfg.Progress(c.seen)
	}
}

// rows looks for the file of every reference.
func (c *checker) rows(ctx context.Context) error {
	var at Cursor
	for {
		files, next, err := c.cfg.Catalogue.AllFiles(ctx, at, page)
		if err != nil {
			return fmt.Errorf("check the media folder: %w", err)
		}
		var missing []Problem
		for i := range files {
			c.report.Files++
			c.report.Bytes += files[i].Ref.Bytes
			c.progress()
			p, ok := c.compare(&files[i])
			switch {
			case ok:
			case p.What == "missing":
				missing = append(missing, p)
			default:
				c.found(p)
			}
		}
		if err := c.noteMissing(ctx, missing); err != nil {
			return err
		}
		if next == (Cursor{}) {
			return nil
		}
		at = next
	}
}

func (c *checker) compare(f *StoredFile) (Problem, bool) {
	p := Problem{Path: f.Ref.Path, EventID: f.EventID}
	ok := c.same(&p, f.Ref, c.cfg.Hash)
	return p, ok
}

// same compares a file with its reference, and says in p what is wrong.
func (c *checker) same(p *Problem, ref events.EvidenceRef, hash bool) bool {
	file, err := c.root.Open(filepath.FromSlash(ref.Path))
	if err != nil {
		p.What, p.Detail = "missing", err.Error()
		if !errors.Is(err, fs.ErrNotExist) { // it may be there all the same
			p.What = "changed"
		}
		return false
	}
	defer file.Close()
	p.What = "changed"
	info, err := file.Stat()
	switch {
	case err != nil:
		p.Detail = err.Error()
		return false
	case info.Size() != ref.Bytes:
		p.Detail = fmt.Sprintf("it has %d bytes, not %d", info.Size(), ref.Bytes)
		return false
	case !hash:
		return true
	}
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		p.Detail = err.Error()
		return false
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != ref.SHA256 {
		p.Detail = "its SHA-256 is " + sum + ", not " + ref.SHA256
		return false
	}
	return true
}

func (c *checker) noteMissing(ctx context.Context, missing []Problem) error {
	if c.cfg.Repair && len(missing) > 0 {
		paths := make([]string, len(missing))
		for i := range missing {
			paths[i] = missing[i].Path
		}
		if _, err := c.cfg.Catalogue.Remove(ctx, Removal{Paths: paths, Reason: "missing", Actor: "fsck"}); err != nil {
			return fmt.Errorf("note missing media: %w", err)
		}
	}
	for _, p := range missing {
		p.Mended = c.cfg.Repair
		c.found(p)
	}
	return nil
}

// folder looks for the reference of every file.
func (c *checker) folder(ctx context.Context) error {
	var paths []string
	err := fs.WalkDir(c.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && p == lostFolder:
			return fs.SkipDir
		case d.IsDir() || p == reserveName || p == markName || c.cfg.Pending(p) || c.young(d):
			return nil
		case strings.HasSuffix(p, tempSuffix):
			return c.leftover(p)
		}
		c.progress()
		if paths = append(paths, p); len(paths) < page {
			return nil
		}
		err = c.orphans(ctx, paths)
		paths = paths[:0]
		return err
	})
	if err == nil {
		err = c.orphans(ctx, paths)
	}
	if err != nil {
		return fmt.Errorf("check the media folder: %w", err)
	}
	return nil
}

func (c *checker) young(d fs.DirEntry) bool {
	info, err := d.Info()
	return err != nil || !info.ModTime().Before(c.cfg.Before)
}

func (c *checker) leftover(p string) error {
	if c.cfg.Repair {
		if err := c.root.Remove(p); err != nil {
			return err
		}
	}
	c.found(Problem{What: "half-written", Path: p, Mended: c.cfg.Repair})
	return nil
}

func (c *checker) orphans(ctx context.Context, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	known, err := c.cfg.Catalogue.Known(ctx, paths)
	if err != nil {
		return err
	}
	if err := c.returned(ctx, paths, known); err != nil {
		return err
	}
	for _, p := range paths {
		if known[p] {
			continue
		}
		if c.cfg.Repair {
			if err := c.setAside(p); err != nil {
				return err
			}
		}
		c.found(Problem{What: "orphan", Path: p, Mended: c.cfg.Repair})
	}
	return nil
}

// setAside moves a file below lost+found, where its old path can be read.
func (c *checker) setAside(p string) error {
	to := path.Join(lostFolder, p)
	if err := c.root.MkdirAll(path.Dir(to), 0o750); err != nil {
		return err
	}
	return c.root.Rename(p, to)
}

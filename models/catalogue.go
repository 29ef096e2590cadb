package models

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Default is the model used where none is named.
const Default = "yolox-nano"

//go:embed catalogue/*.yaml
var catalogueFiles embed.FS

// Errors a caller may branch on.
var (
	ErrUnknown = errors.New("unknown model")
	ErrMissing = errors.New("model file is missing")
	ErrDamaged = errors.New("model file is damaged")
)

// Catalogue is a set of manifests by name and the folder their files are in.
// It does not change after Open and is safe for concurrent use.
type Catalogue struct {
	dir    string
	byName map[string]Manifest
	user   map[string]bool // from dir, not built in
}

// Builtin returns the catalogue that comes with the program; model files are
// expected in dir.
func Builtin(dir string) (*Catalogue, error) {
	c := &Catalogue{dir: dir, byName: make(map[string]Manifest), user: make(map[string]bool)}
	if err := c.load(catalogueFiles, "catalogue/*.yaml", false); err != nil {
		return nil, fmt.Errorf("built-in model catalogue: %w", err)
	}
	return c, nil
}

// Open returns the built-in catalogue and the user's own manifests, which are
// dir/*.yaml beside their model files. A folder that does not exist is empty.
// With the error, which lists every manifest that could not be used, comes a
// catalogue of all the others.
func Open(dir string) (*Catalogue, error) {
	c, err := Builtin(dir)
	if err != nil || dir == "" {
		return c, err
	}
	if err := c.load(os.DirFS(dir), "*.yaml", true); err != nil {
		return c, fmt.Errorf("models in %s: %w", dir, err)
	}
	return c, nil
}

func (c *Catalogue) load(fsys fs.FS, pattern string, user bool) error {
	files, err := fs.Glob(fsys, pattern)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range files {
		data, err := readBounded(fsys, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m, err := Parse(data)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		if _, dup := c.byName[m.Name]; dup {
			errs = append(errs, fmt.Errorf("%s: the name %q is taken; choose another", name, m.Name))
			continue
		}
		c.byName[m.Name], c.user[m.Name] = m, user
	}
	return errors.Join(errs...)
}

func readBounded(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxManifest+1))
}

// Names returns all names in alphabetical order.
func (c *Catalogue) Names() []string { return slices.Sorted(maps.Keys(c.byName)) }

// Lookup returns the manifest with the given name. The error wraps ErrUnknown
// and lists the names that exist.
func (c *Catalogue) Lookup(name string) (Manifest, error) {
	if m, ok := c.byName[name]; ok {
		return m, nil
	}
	return Manifest{}, fmt.Errorf("%w %q; there are %s", ErrUnknown, name, strings.Join(c.Names(), ", "))
}

// Path returns where the model's file is, or will be.
func (c *Catalogue) Path(m Manifest) string { return filepath.Join(c.dir, m.File) }

// State says whether a model can be used.
type State string

// States of a model's file.
const (
	Missing State = "missing"
	Ready   State = "ready"
	Damaged State = "damaged" // there, but size or sum is wrong
)

// Status is one line of List.
type Status struct {
	Manifest
	User  bool   // from the user's folder, not built in
	Path  string // of the file, whether or not it is there
	State State
}

// List returns every model in alphabetical order. It reads every file that is
// there: a few milliseconds a megabyte.
func (c *Catalogue) List() []Status {
	out := make([]Status, 0, len(c.byName))
	for _, name := range c.Names() {
		m := c.byName[name]
		s := Status{Manifest: m, User: c.user[name], Path: c.Path(m), State: Ready}
		switch err := CheckFile(s.Path, m); {
		case errors.Is(err, ErrMissing):
			s.State = Missing
		case err != nil:
			s.State = Damaged
		}
		out = append(out, s)
	}
	return out
}

// Verify reads the named model's file and compares size and checksum. The
// error wraps ErrUnknown, ErrMissing or ErrDamaged, and says what to do.
func (c *Catalogue) Verify(name string) error {
	m, err := c.Lookup(name)
	if err != nil {
		return err
	}
	return CheckFile(c.Path(m), m)
}

// CheckFile compares the file's size and SHA-256 with the manifest.
func CheckFile(path string, m Manifest) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("model %s: %w: %s; %s", m.Name, ErrMissing, path, m.advice())
	}
	if err != nil {
		return fmt.Errorf("model %s: %w", m.Name, err)
	}
	defer f.Close()
	return checkReader(f, path, m)
}

func checkReader(r io.Reader, path string, m Manifest) error {
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return fmt.Errorf("model %s: read %s: %w", m.Name, path, err)
	}
	if m.Bytes > 0 && n != m.Bytes {
		return fmt.Errorf("model %s: %w: %s has %d bytes, not %d; %s",
			m.Name, ErrDamaged, path, n, m.Bytes, m.advice())
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != m.SHA256 {
		return fmt.Errorf("model %s: %w: the sha256 of %s is %.12s…, not %.12s…; %s",
			m.Name, ErrDamaged, path, sum, m.SHA256, m.advice())
	}
	return nil
}

// advice says how to get a model's file.
func (m *Manifest) advice() string {
	if m.URL == "" {
		return "it has no address: put the right file there, or remove its manifest and add it again with: xacam models add"
	}
	return "run: xacam models pull " + m.Name
}

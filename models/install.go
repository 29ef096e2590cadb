package models

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// ErrTaken is returned for a name that another model has.
var ErrTaken = errors.New("the name is taken")

// Free reports whether a model of this name can be added: no manifest has it, and
// no file, unless it is the model's. The error wraps ErrTaken.
func (c *Catalogue) Free(m Manifest) error {
	if _, ok := c.byName[m.Name]; ok {
		return fmt.Errorf("model %s: %w; there are %v", m.Name, ErrTaken, c.Names())
	}
	for _, other := range c.byName {
		if other.File == m.File {
			return fmt.Errorf("model %s: its file would be that of %s: %w", m.Name, other.Name, ErrTaken)
		}
	}
	if _, err := os.Lstat(c.Path(m)); err == nil && CheckFile(c.Path(m), m) != nil {
		return fmt.Errorf("model %s: %s is another file: %w", m.Name, c.Path(m), ErrTaken)
	}
	if _, err := os.Lstat(c.manifestPath(m)); err == nil {
		return fmt.Errorf("model %s: there is already %s: %w", m.Name, c.manifestPath(m), ErrTaken)
	}
	return nil
}

func (c *Catalogue) manifestPath(m Manifest) string { return filepath.Join(c.dir, m.Name+".yaml") }

// Add copies a model file into the catalogue's folder and writes its manifest
// beside it; each appears whole or not at all, the manifest last. The catalogue
// itself does not change: open it again. The error wraps ErrTaken where the name is not free.
func (c *Catalogue) Add(m Manifest, file string) error {
	if err := m.validate(); err != nil {
		return fmt.Errorf("add model %s: %w", m.Name, err)
	}
	if err := c.Free(m); err != nil {
		return err
	}
	text, err := m.YAML()
	if err != nil {
		return err
	}
	if err := c.makeDir(); err != nil {
		return fmt.Errorf("add model %s: %w", m.Name, err)
	}
	if err := c.copyIn(m, file); err != nil {
		return fmt.Errorf("add model %s: %w", m.Name, err)
	}
	part := filepath.Join(c.dir, "."+m.Name+".yaml.new")
	if err := writeWhole(part, c.manifestPath(m), bytes.NewReader(text), nil); err != nil {
		return fmt.Errorf("add model %s: %w", m.Name, err)
	}
	return nil
}

// copyIn makes sure that the model's file is in the folder.
func (c *Catalogue) copyIn(m Manifest, file string) error {
	if CheckFile(c.Path(m), m) == nil {
		return nil
	}
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	part := filepath.Join(c.dir, "."+m.File+".new")
	return writeWhole(part, c.Path(m), in, func() error { return CheckFile(part, m) })
}

// writeWhole writes a file under another name, checks it, and gives it its name.
func writeWhole(part, path string, in io.Reader, check func() error) error {
	out, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, MaxBytes+1))
	err = errors.Join(err, out.Sync(), out.Close())
	if err == nil && check != nil {
		err = check()
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return err
}

// makeDir makes the folder. Others may pass through the one above it, which is
// that of the server's data: its database may run as another user.
func (c *Catalogue) makeDir() error {
	if err := os.MkdirAll(filepath.Dir(c.dir), 0o711); err != nil { //nolint:gosec // see above
		return err
	}
	return os.MkdirAll(c.dir, 0o750)
}

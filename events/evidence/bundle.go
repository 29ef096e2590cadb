package evidence

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bundle is a package as somebody hands it in: a ZIP file or a folder. Nothing
// about it is trusted.
type bundle struct {
	names    []string // of files, sorted
	sizes    map[string]int64
	open     func(name string) (io.ReadCloser, error)
	findings []Finding
	close    func() error
}

// Limits of a bundle.
const (
	maxEntries = 3*maxFiles + 16
	maxRatio   = 200      // of a file of a ZIP that unpacks to more than
	freeRatio  = 64 << 20 // so many bytes
)

// openBundle opens a ZIP file or a folder.
func openBundle(path string) (*bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open the package: %w", err)
	}
	var b *bundle
	if info.IsDir() {
		b, err = openFolder(path)
	} else {
		b, err = openZip(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the package %s: %w", path, err)
	}
	slices.Sort(b.names)
	return b, nil
}

func openZip(path string) (*bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b, err := readZip(f, info.Size())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b.close = f.Close
	return b, nil
}

// readZip lists a ZIP file. Of two files of one name, or a name that leads out of
// the package, it makes a finding.
func readZip(r io.ReaderAt, size int64) (*bundle, error) {
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, fmt.Errorf("it is not a ZIP file, or it was cut off: %w", err)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%d files are more than a package has", len(z.File))
	}
	b := &bundle{sizes: make(map[string]int64), close: func() error { return nil }}
	files := make(map[string]*zip.File)
	for _, f := range z.File {
		switch {
		case strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0 && insideName(strings.TrimSuffix(f.Name, "/")):
			continue // a folder, as unpacking and packing again makes them
		case !insideName(f.Name) || !f.Mode().IsRegular():
			b.find(f.Name, "added: it is not the name of a file in a package and would be dangerous to unpack")
		case files[f.Name] != nil:
			b.find(f.Name, "added: there is a second file of this name")
		case f.UncompressedSize64 > freeRatio && f.UncompressedSize64/maxRatio > f.CompressedSize64:
			b.find(f.Name, "changed: it unpacks to far more than it could hold")
		default:
			files[f.Name] = f
			b.names = append(b.names, f.Name)
			b.sizes[f.Name] = int64(min(f.UncompressedSize64, 1<<62)) //nolint:gosec // bounded
		}
	}
	b.open = func(name string) (io.ReadCloser, error) { return files[name].Open() }
	return b, nil
}

// insideName reports whether a name stays inside the package on every system.
func insideName(name string) bool {
	return fs.ValidPath(name) && name != "." && filepath.IsLocal(name) && !strings.ContainsAny(name, "\\:\x00")
}

func openFolder(path string) (*bundle, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	b := &bundle{sizes: make(map[string]int64), close: root.Close}
	b.open = func(name string) (io.ReadCloser, error) { return root.Open(filepath.FromSlash(name)) }
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return nil
		case len(b.names) >= maxEntries:
			return fmt.Errorf("more than %d files, is it a package?", maxEntries)
		case !d.Type().IsRegular():
			b.find(p, "added: it is not a file")
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		b.names = append(b.names, p)
		b.sizes[p] = info.Size()
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return b, nil
}

func (b *bundle) find(name, problem string) {
	b.findings = append(b.findings, Finding{File: printable(name), Problem: problem})
}

func (b *bundle) has(name string) bool {
	_, ok := b.sizes[name]
	return ok
}

// read returns a small file.
func (b *bundle) read(name string, most int64) ([]byte, error) {
	f, err := b.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return data, err
}

// printable returns a foreign name fit to be shown.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 || r >= 0x200e && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 120 {
		s = string(r[:120]) + "…"
	}
	return s
}

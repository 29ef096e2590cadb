package tracklog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Names of files: the hour they hold, UTC.
const (
	hourLayout = "20060102T15"
	suffix     = ".xtr"
	hourMs     = int64(time.Hour / time.Millisecond)
)

var cameraSyntax = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// ValidCamera reports whether name can be that of a camera's folder: a slug.
func ValidCamera(name string) bool { return cameraSyntax.MatchString(name) }

// hourOf returns the hour of a time in Unix milliseconds.
func hourOf(ms int64) int64 {
	h := ms / hourMs
	if ms%hourMs < 0 {
		h--
	}
	return h
}

func hourName(hour int64) string {
	return time.UnixMilli(hour*hourMs).UTC().Format(hourLayout) + suffix
}

// parseHour returns the hour in a file's name.
func parseHour(name string) (hour int64, ok bool) {
	at, err := time.Parse(hourLayout+suffix, name)
	return at.UnixMilli() / hourMs, err == nil && hourName(at.UnixMilli()/hourMs) == name
}

// hourFile is one stored hour of a camera.
type hourFile struct {
	camera string
	hour   int64
	size   int64
}

func (f hourFile) path(dir string) string { return filepath.Join(dir, f.camera, hourName(f.hour)) }

// hours lists the stored hours of a camera in their order. A camera that was
// never recorded has none.
func hours(dir, camera string) ([]hourFile, error) {
	entries, err := os.ReadDir(filepath.Join(dir, camera))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the stored tracks: %w", err)
	}
	var out []hourFile
	for _, e := range entries {
		hour, ok := parseHour(e.Name())
		if info, err := e.Info(); ok && err == nil && info.Mode().IsRegular() {
			out = append(out, hourFile{camera, hour, info.Size()})
		}
	}
	slices.SortFunc(out, func(a, b hourFile) int { return cmp.Compare(a.hour, b.hour) })
	return out, nil
}

// Cameras lists the cameras that have stored tracks in dir.
func Cameras(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the cameras with stored tracks: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && ValidCamera(e.Name()) {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config tunes Pull. The zero value uses the manifest's own address.
type Config struct {
	Mirrors  []string                // folders or http(s) addresses asked before the manifest's own, in order
	Progress func(done, total int64) // called as bytes arrive, from Pull's goroutine; total 0 when unknown
	Client   *http.Client            // default: one without an overall timeout
	Stall    time.Duration           // longest wait for the next byte; default 30s
	Attempts int                     // per address without progress; default 4
	Backoff  time.Duration           // before the second attempt, doubled each time, jittered; default 1s
}

func (c Config) withDefaults() Config {
	if c.Client == nil {
		c.Client = &http.Client{}
	}
	if c.Progress == nil {
		c.Progress = func(int64, int64) {}
	}
	if c.Stall <= 0 {
		c.Stall = 30 * time.Second
	}
	if c.Attempts <= 0 {
		c.Attempts = 4
	}
	if c.Backoff <= 0 {
		c.Backoff = time.Second
	}
	return c
}

// Pull makes sure that the named model's file is in the catalogue's folder and
// whole, and returns its path. It looks there first, then in the mirrors, then
// at the manifest's address. A download that was cut continues where it
// stopped, now or in a later call. The file appears under its name only after
// its checksum was found right. Two processes that pull the same model do not
// disturb each other: the second gets an error.
func (c *Catalogue) Pull(ctx context.Context, name string, cfg Config) (string, error) {
	cfg = cfg.withDefaults()
	m, err := c.Lookup(name)
	if err != nil {
		return "", err
	}
	path := c.Path(m)
	if CheckFile(path, m) == nil {
		return path, nil
	}
	if err := c.makeDir(); err != nil {
		return "", fmt.Errorf("pull model %s: %w", name, err)
	}
	unlock, err := lock(filepath.Join(c.dir, "."+m.File+".lock"))
	if err != nil {
		return "", fmt.Errorf("pull model %s: %w", name, err)
	}
	defer unlock()

	var errs []error
	for _, from := range sources(m, cfg.Mirrors) {
		err := cfg.fetch(ctx, m, from, path)
		if err == nil {
			return path, nil
		}
		if ctx.Err() != nil {
			return "", fmt.Errorf("pull model %s: interrupted; run it again to continue: %w", name, context.Cause(ctx))
		}
		errs = append(errs, err)
		if _, local := errors.AsType[*diskError](err); local {
			break // another address does not help
		}
	}
	if len(errs) == 0 {
		return "", fmt.Errorf("pull model %s: it has no address; put its file at %s", name, path)
	}
	return "", fmt.Errorf("pull model %s: %w", name, errors.Join(errs...))
}

// sources lists folders and addresses to try: the mirrors, with the file's
// name as it is and with dashes and underscores exchanged, then the manifest's
// own address.
func sources(m Manifest, mirrors []string) []string {
	names := []string{m.File}
	for _, alt := range []string{strings.ReplaceAll(m.File, "-", "_"), strings.ReplaceAll(m.File, "_", "-")} {
		if alt != m.File {
			names = append(names, alt)
		}
	}
	var out []string
	for _, base := range mirrors {
		for _, n := range names {
			if isURL(base) {
				out = append(out, strings.TrimRight(base, "/")+"/"+n)
			} else if p := filepath.Join(base, n); fileExists(p) {
				out = append(out, p)
			}
		}
	}
	if m.URL != "" {
		out = append(out, m.URL)
	}
	return out
}

func isURL(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }

func fileExists(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.Mode().IsRegular()
}

// fetch gets the file from one folder or address.
func (c Config) fetch(ctx context.Context, m Manifest, from, to string) error {
	d := &download{cfg: c, m: m, part: filepath.Join(filepath.Dir(to), "."+m.File+".part"), to: to}
	if isURL(from) {
		return d.retry(ctx, from)
	}
	return d.copyFile(ctx, from)
}

// redact returns the address without user, password and query.
func redact(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the given address"
	}
	return u.Scheme + "://" + u.Host + u.Path
}

// diskError is a failure of our own disk, which no other address can mend.
type diskError struct{ err error }

func (e *diskError) Error() string { return "write to disk: " + e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// permanentError is an answer that asking again will not change.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// retry downloads from one address, continuing after cuts. Attempts count
// only while the file does not get longer than it ever was: a server that
// always fails near the end is given up.
func (d *download) retry(ctx context.Context, address string) error {
	wait := d.cfg.Backoff
	best := int64(0)
	for failed := 0; ; {
		size, err := d.attempt(ctx, address)
		if err == nil {
			return nil
		}
		_, final := errors.AsType[*permanentError](err)
		_, disk := errors.AsType[*diskError](err)
		if size > best {
			best, failed, wait = size, 0, d.cfg.Backoff
		}
		failed++
		if final || disk || failed >= d.cfg.Attempts || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", redact(address), err)
		}
		jittered := time.Duration(float64(wait) * (0.5 + rand.Float64())) //nolint:gosec // jitter is no secret
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jittered):
		}
		wait *= 2
	}
}

// stallReader cancels the request when no byte arrives for the given time.
type stallReader struct {
	r     io.Reader
	timer *time.Timer
	wait  time.Duration
}

func (s *stallReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		s.timer.Reset(s.wait)
	}
	return n, err
}

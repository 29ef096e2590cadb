package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// download is one model file on its way to the disk. part holds what has
// arrived, part + ".tag" the server's validator for it.
type download struct {
	cfg      Config
	m        Manifest
	part, to string
}

// attempt makes one request and returns how long the partial file became.
func (d *download) attempt(ctx context.Context, address string) (size int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(d.cfg.Stall, func() {
		cancel(fmt.Errorf("the server sent nothing for %s", d.cfg.Stall))
	})
	defer stall.Stop()

	have, tag := d.resumable()
	resp, err := d.request(ctx, address, have, tag)
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer resp.Body.Close()
	offset, err := d.offset(resp, have)
	if err != nil {
		return 0, err
	}
	limit := int64(MaxBytes)
	if d.m.Bytes > 0 {
		limit = d.m.Bytes
	}
	if resp.ContentLength > 0 && offset+resp.ContentLength > limit {
		return 0, d.tooLong(offset+resp.ContentLength, limit)
	}
	body := &stallReader{r: resp.Body, timer: stall, wait: d.cfg.Stall}
	n, err := d.write(body, offset, limit, resp.Header)
	size = offset + n
	switch {
	case err != nil:
		return size, cause(ctx, err)
	case d.m.Bytes > 0 && size < d.m.Bytes:
		return size, fmt.Errorf("the download ended after %d of %d bytes", size, d.m.Bytes)
	}
	return size, d.finish()
}

// cause prefers the reason for which the context was cancelled.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

func (d *download) request(ctx context.Context, address string, have int64, tag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, &permanentError{errors.New("not a usable address")}
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		req.Header.Set("If-Range", tag) // RFC 9110, 13.1.5
	}
	resp, err := d.cfg.Client.Do(req)
	if err != nil {
		if ue := errors.Unwrap(err); ue != nil { // without the address that *url.Error repeats
			err = ue
		}
		return nil, err
	}
	return resp, nil
}

// offset says at which byte the answer's body begins.
func (d *download) offset(resp *http.Response, have int64) (int64, error) {
	switch resp.StatusCode {
	case http.StatusOK:
		return 0, nil // a whole file: no ranges here, or it has changed
	case http.StatusPartialContent:
		var first int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &first); err != nil || first != have {
			d.discard()
			return 0, errors.New("the server continued at another place than asked for")
		}
		return have, nil
	case http.StatusRequestedRangeNotSatisfiable:
		d.discard()
		return 0, errors.New("the server cannot continue the download")
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return 0, fmt.Errorf("the server answered %s", resp.Status)
	}
	err := fmt.Errorf("the server answered %s", resp.Status)
	if resp.StatusCode < http.StatusInternalServerError {
		return 0, &permanentError{err}
	}
	return 0, err
}

func (d *download) tooLong(n, limit int64) error {
	d.discard()
	return &permanentError{fmt.Errorf("%w: the server offers %d bytes, expected are at most %d", ErrDamaged, n, limit)}
}

// resumable returns the size of what an earlier attempt left and the
// validator to ask with; 0 when it cannot be continued.
func (d *download) resumable() (int64, string) {
	fi, err := os.Stat(d.part)
	if err != nil || fi.Size() == 0 || (d.m.Bytes > 0 && fi.Size() >= d.m.Bytes) {
		return 0, ""
	}
	tag, err := os.ReadFile(d.part + ".tag")
	if err != nil || len(tag) == 0 || len(tag) > 1024 {
		return 0, ""
	}
	return fi.Size(), string(tag)
}

// validator returns a strong validator of the answer, or nothing: a weak ETag
// must not be used with If-Range (RFC 9110, 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		return tag
	}
	return h.Get("Last-Modified")
}

// write appends the body to the partial file from offset on and returns the
// new bytes. More than limit bytes in all are an error.
func (d *download) write(body io.Reader, offset, limit int64, h http.Header) (int64, error) {
	if offset == 0 {
		if err := os.WriteFile(d.part+".tag", []byte(validator(h)), 0o600); err != nil {
			return 0, &diskError{err}
		}
	}
	f, err := os.OpenFile(d.part, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, &diskError{err}
	}
	defer f.Close()
	if err := f.Truncate(offset); err != nil {
		return 0, &diskError{err}
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, &diskError{err}
	}
	buf := make([]byte, 256<<10)
	for n := int64(0); ; {
		k, rerr := body.Read(buf)
		if offset+n+int64(k) > limit {
			return n, d.tooLong(offset+n+int64(k), limit)
		}
		if _, err := f.Write(buf[:k]); err != nil {
			return n, &diskError{err}
		}
		n += int64(k)
		d.cfg.Progress(offset+n, d.m.Bytes)
		if errors.Is(rerr, io.EOF) {
			if err := f.Sync(); err != nil {
				return n, &diskError{err}
			}
			return n, nil
		}
		if rerr != nil {
			return n, fmt.Errorf("the download stopped after %d bytes: %w", offset+n, rerr)
		}
	}
}

// finish checks the sum and puts the file in its place. A wrong sum throws
// everything away.
func (d *download) finish() error {
	if err := CheckFile(d.part, d.m); err != nil {
		d.discard()
		return &permanentError{fmt.Errorf("what was downloaded is not the pinned file: %w", err)}
	}
	if err := os.Rename(d.part, d.to); err != nil {
		return &diskError{err}
	}
	d.discard()
	return syncDir(filepath.Dir(d.to))
}

func (d *download) discard() {
	for _, p := range []string{d.part, d.part + ".tag"} {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // the next attempt reports it
		}
	}
}

// copyFile takes the file from a folder.
func (d *download) copyFile(ctx context.Context, from string) error {
	if err := CheckFile(from, d.m); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("open mirror: %w", err)
	}
	defer src.Close()
	limit := d.m.Bytes
	if limit == 0 {
		limit = MaxBytes
	}
	d.discard()
	if _, err := d.write(&ctxReader{ctx, src}, 0, limit, nil); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return d.finish()
}

// ctxReader ends with the context's error once it is cancelled.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives for one copy
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return &diskError{err}
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return &diskError{err}
	}
	return nil
}

// lock makes this process the only one to write the file's parts. The kernel
// releases it when the process dies.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.New("another process is downloading it")
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil
}

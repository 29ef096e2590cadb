package spool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/xacam/xacam/events"
)

// segmentSuffix ends the names of the files of waiting changes; the rest of
// the name is a number that rises.
const segmentSuffix = ".seg"

// disk is a queue of changes in files. One goroutine may append while another
// reads; all of it is guarded by mu except the reading of bytes that are
// complete.
type disk struct {
	dir   string
	limit int64 // size at which a file is closed
	log   *slog.Logger

	mu       sync.Mutex
	segments []*segment // oldest first; only the last is ever written to
	out      *os.File   // the last segment, if it is open for writing
	offset   int64      // read up to here in segments[0]
	next     uint64     // number of the next file

	waiting atomic.Int64 // changes from offset on
	size    atomic.Int64 // bytes of all segments
}

// segment is one file.
type segment struct {
	number uint64
	size   int64 // complete records; more may be in the file after a failed write
}

// position is the end of a record.
type position struct {
	segment uint64
	offset  int64
}

func (d *disk) path(number uint64) string {
	return filepath.Join(d.dir, fmt.Sprintf("%020d%s", number, segmentSuffix))
}

// openDisk finds the files of an earlier run. They are never written to again:
// the last one may end in half a record.
func openDisk(dir string, limit int64, log *slog.Logger) (*disk, error) {
	d := &disk{dir: dir, limit: limit, log: log, next: 1}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		var number uint64
		if _, err := fmt.Sscanf(e.Name(), "%020d"+segmentSuffix, &number); err != nil || filepath.Base(d.path(number)) != e.Name() {
			continue
		}
		n, size, err := d.inspect(number)
		if err != nil {
			return nil, err
		}
		d.next = max(d.next, number+1)
		d.segments = append(d.segments, &segment{number: number, size: size})
		d.waiting.Add(int64(n))
		d.size.Add(size)
	}
	slices.SortFunc(d.segments, func(a, b *segment) int { return strings.Compare(d.path(a.number), d.path(b.number)) })
	return d, d.dropRead()
}

// inspect counts the complete records of a file. What follows the last of them
// is kept beside the refused changes, should somebody want to look at it.
func (d *disk) inspect(number uint64) (records int, size int64, err error) {
	f, err := os.Open(d.path(number))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		_, n, err := readRecord(r)
		switch {
		case err == nil:
			records++
			size += n
			continue
		case errors.Is(err, io.EOF):
			return records, size, nil
		case !errors.Is(err, errDamaged):
			return records, size, err
		}
		if _, err := f.Seek(size, io.SeekStart); err != nil {
			return records, size, err
		}
		rest, readErr := io.ReadAll(f)
		if readErr != nil {
			return records, size, readErr
		}
		aside := filepath.Join(d.dir, rejectedDir, fmt.Sprintf("%020d-%d.damaged", number, size))
		d.log.Warn("event spool: a file ends in a damaged record",
			"file", d.path(number), "records", records, "damaged_bytes", len(rest), "kept", aside, "error", err)
		return records, size, writeFile(aside, rest)
	}
}

// depth and bytes do not wait for a write in progress.
func (d *disk) depth() int   { return int(d.waiting.Load()) }
func (d *disk) bytes() int64 { return d.size.Load() }

// append writes changes behind all others and syncs them: all, or after an
// error none. A change that JSON cannot hold would stop the queue for ever; it
// is put aside.
func (d *disk) append(changes []events.Change) error {
	var b []byte
	records := 0
	for i := range changes {
		longer, err := appendRecord(b, &changes[i])
		if err != nil {
			aside := filepath.Join(d.dir, rejectedDir, safeName(changes[i].Event.ID)+".txt")
			if err := writeFile(aside, fmt.Appendf(nil, "%s\n%+v\n", err, changes[i])); err != nil {
				return err
			}
			d.log.Error("event spool: a change cannot be written to disk and is put aside", "file", aside, "error", err)
			continue
		}
		b = longer
		records++
	}
	if records == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.openLast(); err != nil {
		return err
	}
	last := d.segments[len(d.segments)-1]
	_, err := d.out.WriteAt(b, last.size)
	if err = errors.Join(err, d.out.Sync()); err != nil {
		// After a failed sync nobody knows what is on disk (fsync(2)): go on in
		// a new file and never trust this one beyond its complete records.
		err = errors.Join(err, d.out.Truncate(last.size), d.out.Close())
		d.out = nil
		if last.size == 0 {
			d.segments = d.segments[:len(d.segments)-1]
			err = errors.Join(err, os.Remove(d.path(last.number)))
		}
		return err
	}
	last.size += int64(len(b))
	d.size.Add(int64(len(b)))
	d.waiting.Add(int64(records))
	return nil
}

// openLast makes sure that the last segment is open and has room.
func (d *disk) openLast() error {
	if d.out != nil && d.segments[len(d.segments)-1].size < d.limit {
		return nil
	}
	if err := d.sealLocked(); err != nil {
		return err
	}
	f, err := os.OpenFile(d.path(d.next), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(d.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	d.out = f
	d.segments = append(d.segments, &segment{number: d.next})
	d.next++
	return nil
}

// seal closes the open file; the next append makes a new one.
func (d *disk) seal() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sealLocked()
}

func (d *disk) sealLocked() error {
	if d.out == nil {
		return nil
	}
	err := d.out.Close()
	d.out = nil
	return err
}

// read returns the oldest changes, at most n, without removing them.
func (d *disk) read(n int) (batch, error) {
	d.mu.Lock()
	if len(d.segments) == 0 {
		d.mu.Unlock()
		return batch{}, nil
	}
	first, offset := *d.segments[0], d.offset
	d.mu.Unlock()
	f, err := os.Open(d.path(first.number))
	if err != nil {
		return batch{}, err
	}
	defer f.Close()
	r := bufio.NewReader(io.NewSectionReader(f, offset, first.size-offset))
	b := batch{records: []position{}}
	for len(b.changes) < n && offset < first.size {
		change, size, err := readRecord(r)
		if errors.Is(err, errDamaged) || errors.Is(err, io.EOF) {
			if len(b.changes) > 0 {
				break // first the good ones
			}
			return b, d.abandon(first, offset, err)
		}
		if err != nil {
			return batch{}, err
		}
		offset += size
		b.changes = append(b.changes, change)
		b.records = append(b.records, position{first.number, offset})
	}
	return b, nil
}

// abandon gives up the rest of a file that was whole when it was opened: the
// disk lost it. The file is kept beside the refused changes.
func (d *disk) abandon(damaged segment, offset int64, reason error) error {
	aside := filepath.Join(d.dir, rejectedDir, fmt.Sprintf("%020d-%d.damaged", damaged.number, offset))
	d.log.Error("event spool: a file was damaged after it was written", "kept", aside, "error", reason)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.segments) == 1 {
		if err := d.sealLocked(); err != nil {
			return err
		}
	}
	if err := os.Rename(d.path(damaged.number), aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	d.size.Add(-d.segments[0].size)
	d.segments, d.offset = d.segments[1:], 0
	waiting := 0
	for _, s := range d.segments {
		n, _, err := d.inspect(s.number)
		if err != nil {
			return err
		}
		waiting += n
	}
	d.waiting.Store(int64(waiting))
	return nil
}

// advance removes the n changes up to a position, and the files that hold
// nothing else.
func (d *disk) advance(to position, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.offset = to.offset
	d.waiting.Add(-int64(n))
	return d.dropRead()
}

// dropRead deletes the files that were read to their end. The last one goes
// too, even when it is open: then the next append begins a new one.
func (d *disk) dropRead() error {
	for len(d.segments) > 0 && d.offset >= d.segments[0].size {
		if len(d.segments) == 1 {
			if err := d.sealLocked(); err != nil {
				return err
			}
		}
		first := d.segments[0]
		d.segments, d.offset = d.segments[1:], 0
		d.size.Add(-first.size)
		// A file that stays only causes changes to be committed again.
		if err := os.Remove(d.path(first.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

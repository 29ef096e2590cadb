package tally

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/xacam/xacam/events"
)

// journal is a file of totals, one a line: eight hexadecimal digits of CRC-32,
// a space and JSON. A line that was not written whole has another sum.
type journal struct {
	path  string
	lines int
}

// record is the JSON of a line.
type record struct {
	Source    string    `json:"source"`
	Run       string    `json:"run"`
	Rule      string    `json:"rule"`
	Line      string    `json:"line"`
	Class     string    `json:"class"`
	Direction string    `json:"direction"`
	Minute    time.Time `json:"minute"`
	N         int       `json:"n"`
}

// maxLine bounds a line of the journal.
const maxLine = 64 << 10

// read returns the whole lines and how many others there are. A file that is not
// there is empty.
func (j *journal) read() (counts []events.Count, damaged int, err error) {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	counts, damaged, err = readLines(f)
	j.lines = len(counts) + damaged
	return counts, damaged, err
}

func readLines(r io.Reader) (counts []events.Count, damaged int, err error) {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			damaged++
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			line = nil
		}
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return nil, 0, err
		case len(line) > 0 && !bytes.Equal(line, []byte("\n")): // which begins each write
			if c, ok := parseLine(line); ok {
				counts = append(counts, c)
			} else {
				damaged++
			}
		}
		if err != nil { // the end
			return counts, damaged, nil //nolint:nilerr // no failure
		}
	}
}

// parseLine reads a line with its end.
func parseLine(line []byte) (events.Count, bool) {
	line, whole := bytes.CutSuffix(line, []byte("\n"))
	sum, text, ok := bytes.Cut(line, []byte(" "))
	if !whole || !ok || fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) != string(sum) {
		return events.Count{}, false
	}
	var r record
	if json.Unmarshal(text, &r) != nil || r.N <= 0 || r.Source == "" {
		return events.Count{}, false
	}
	return events.Count{
		Source: r.Source, Run: r.Run, Rule: r.Rule, Line: r.Line, Class: r.Class, Direction: r.Direction, Minute: r.Minute.UTC(), N: r.N,
	}, true
}

func appendLine(b []byte, c *events.Count) ([]byte, error) {
	text, err := json.Marshal(record{c.Source, c.Run, c.Rule, c.Line, c.Class, c.Direction, c.Minute.UTC(), c.N})
	if err != nil {
		return b, err
	}
	b = fmt.Appendf(b, "%08x ", crc32.ChecksumIEEE(text))
	return append(append(b, text...), '\n'), nil
}

func encode(counts []events.Count) ([]byte, error) {
	var b []byte
	for i := range counts {
		var err error
		if b, err = appendLine(b, &counts[i]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// append writes counts behind the others and syncs them.
func (j *journal) append(counts []events.Count) error {
	b, err := encode(counts)
	if err != nil {
		return err
	}
	_, statErr := os.Stat(j.path)
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append([]byte("\n"), b...)) // ends a line that a crash left unfinished
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && errors.Is(statErr, fs.ErrNotExist) {
		err = syncDir(filepath.Dir(j.path))
	}
	if err == nil {
		j.lines += len(counts)
	}
	return err
}

// replace writes the file anew, whole or not at all.
func (j *journal) replace(counts []events.Count) error {
	b, err := encode(counts)
	if err != nil {
		return err
	}
	tmp := j.path + ".part"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, j.path); err != nil {
		return err
	}
	j.lines = len(counts)
	return syncDir(filepath.Dir(j.path))
}

// remove deletes the file: everything in it is committed. One that comes back
// after a power cut does no harm.
func (j *journal) remove() error {
	if j.lines == 0 {
		return nil
	}
	if err := os.Remove(j.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	j.lines = 0
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

// Package clip writes access units as they came into MP4 files: no picture is
// coded anew.
//
// A clip is a fragmented MP4 (ISO/IEC 14496-12, 8.8): a head and then a fragment
// for each second or so, each whole in itself. It grows under a name that ends
// in ".part" and gets its own name when it is whole and synced. What a crash
// leaves, Salvage cuts behind the last whole fragment.
//
// Times. A picture's place in the clip is that of the stream's own time line;
// where a new session begins, the time of capture carries on. The moment that
// the clip is about is a chapter mark, which ffprobe and players show; the title,
// the date and the comment say the same in words; and a box "prft" before each
// fragment gives the UTC of its first picture, so that any other picture's time
// can be worked out.
package clip

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/xacam/xacam/streams/media"
)

const (
	// PartSuffix ends the name of a clip that is being written.
	PartSuffix = ".part"

	timescale   = 90000                 // of the track, ticks a second
	fragmentFor = time.Second           // a fragment is closed at the first chance after this
	maxPending  = 2048                  // access units of one fragment
	usualStep   = 40 * time.Millisecond // distance of pictures before one is known
	maxStep     = 10 * time.Second      // a longer one between neighbours is a new session's
	stray       = 2 * time.Second       // PTS and Captured may differ by this much between neighbours
)

// Errors of a Writer.
var (
	ErrNoKey  = errors.New("a clip begins with a key picture")
	ErrEmpty  = errors.New("no picture was written")
	ErrFormat = errors.New("the stream's format cannot be written")
)

// Config says what a clip is about.
type Config struct {
	Format  media.Format // parameter sets may be empty where the first access unit has them
	Event   time.Time    // the moment that is marked, UTC; zero marks none
	Label   string       // of the mark and of the clip, a few words; default "event"
	Comment string       // "" for none
}

// Writer writes one clip. It must not be used from two goroutines. After an
// error of Add only Close or Abort may follow.
type Writer struct {
	cfg  Config
	path string
	file *os.File
	buf  *bufio.Writer

	sets    [][]byte      // parameter sets in the head; the stream need not repeat them
	start   time.Time     // capture time of the first picture
	delay   time.Duration // of showing against decoding
	pending []sample
	anchor  time.Duration // greatest time so far, since the start
	units   int
	seq     uint32
	written time.Duration // decoding time that is taken
	step    time.Duration // usual distance of two pictures
	shift   time.Duration // of this session's PTS against the clip's time
	last    *media.AccessUnit
	mehd    int64 // where the length is put in at the end
	bytes   int64
}

// sample is an access unit with its place in the clip.
type sample struct {
	at time.Duration
	au *media.AccessUnit
}

// Create begins the clip at path, in a folder that is there, under its name with
// PartSuffix. Nothing else may write there.
func Create(path string, cfg Config) (*Writer, error) {
	if cfg.Format.Codec != media.H264 && cfg.Format.Codec != media.H265 {
		return nil, fmt.Errorf("begin a clip: codec %v: %w", cfg.Format.Codec, ErrFormat)
	}
	if cfg.Label == "" {
		cfg.Label = "event"
	}
	f, err := os.OpenFile(path+PartSuffix, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o640) //nolint:gosec // the caller's own path
	if err != nil {
		return nil, fmt.Errorf("begin a clip: %w", err)
	}
	return &Writer{cfg: cfg, path: path, file: f, buf: bufio.NewWriterSize(f, 64<<10), step: usualStep}, nil
}

// Add takes the next access unit, in decoding order; it keeps it until its
// fragment is written, which is about a second later. The first must be Key, else
// ErrNoKey. A clip whose stream changed its size must be closed and another begun.
func (w *Writer) Add(au *media.AccessUnit) error {
	if w.units == 0 {
		if !au.Key {
			return fmt.Errorf("write a clip: %w", ErrNoKey)
		}
		w.start = au.Captured
	}
	at := w.place(au)
	if len(w.pending) > 0 && at > w.anchor {
		// What comes later is shown after everything that is pending.
		if at-w.pending[0].at >= fragmentFor || au.Key && w.anchor-w.pending[0].at >= fragmentFor/2 || len(w.pending) >= maxPending {
			if err := w.flush(); err != nil {
				return fmt.Errorf("write a clip: %w", err)
			}
		}
	}
	if len(w.pending) >= 2*maxPending {
		return fmt.Errorf("write a clip: %d pictures without one that is shown after the others: %w", len(w.pending), ErrFormat)
	}
	w.pending = append(w.pending, sample{at, au})
	w.anchor = max(w.anchor, at)
	w.last = au
	w.units++
	return nil
}

// place returns where the picture lies in the clip. Where the stream's own time
// line breaks off, the time of capture goes on.
func (w *Writer) place(au *media.AccessUnit) time.Duration {
	if w.last == nil {
		w.shift = -au.PTS
		return 0
	}
	pts, captured := au.PTS-w.last.PTS, au.Captured.Sub(w.last.Captured)
	if apart := pts - captured; au.Key && (apart > stray || apart < -stray || pts > maxStep) {
		w.shift = w.anchor + min(max(captured, w.step), time.Hour) - au.PTS
	}
	return min(max(au.PTS+w.shift, 0), w.anchor+time.Hour)
}

// begin writes the head. How far pictures are decoded before they are shown is
// taken from the first fragment.
func (w *Writer) begin(times []time.Duration) error {
	for i, s := range w.pending {
		w.delay = max(w.delay, times[i]-s.at)
	}
	h, err := w.head(w.pending[0].au)
	if err != nil {
		return err
	}
	w.mehd = h.mehd
	w.bytes += int64(len(h.data))
	_, err = w.buf.Write(h.data)
	return err
}

// flush writes the pending pictures as one fragment. Decoding times are the
// times at which pictures are shown, in ascending order; showing lags behind by
// delay, which the head's edit list takes away again.
func (w *Writer) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	times := make([]time.Duration, len(w.pending))
	for i, s := range w.pending {
		times[i] = s.at
	}
	slices.Sort(times)
	for i := range times { // strictly ascending, also against what was written
		least := w.written
		if i > 0 {
			least = times[i-1] + time.Second/timescale + 1
		}
		times[i] = max(times[i], least)
	}
	if w.seq == 0 {
		if err := w.begin(times); err != nil {
			return err
		}
	}
	n := len(times)
	if n > 1 {
		w.step = (times[n-1] - times[0]) / time.Duration(n-1)
	}
	w.step = min(max(w.step, time.Millisecond), time.Second)
	end := times[n-1] + w.step
	w.seq++
	first := w.pending[0].au.Captured.Add(times[0] - w.pending[0].at)
	size, err := w.fragment(times, end, first)
	w.bytes += size
	clear(w.pending) // let the payload go
	w.pending = w.pending[:0]
	w.written = times[n-1] + time.Second/timescale + 1
	if err != nil {
		return err
	}
	return w.buf.Flush() // whole fragments: all that a crash of this process may cost is the next one
}

// Info describes a finished clip.
type Info struct {
	Path     string
	Start    time.Time     // capture time of the first picture, UTC
	End      time.Time     // of the last one
	Duration time.Duration // on the clip's own time line
	Units    int
	Bytes    int64
}

// Offset returns where in the clip a moment is, 0 before its start.
func (i Info) Offset(at time.Time) time.Duration { return max(0, at.Sub(i.Start)) }

// Close writes what is pending, syncs the clip and gives it its name. A clip
// without a picture is removed; that is ErrEmpty. The file is on disk for good
// when it returns nil.
func (w *Writer) Close() (Info, error) {
	if w.units == 0 {
		return Info{}, errors.Join(fmt.Errorf("finish a clip: %w", ErrEmpty), w.Abort())
	}
	err := w.flush()
	if err == nil {
		err = w.buf.Flush()
	}
	info := Info{Path: w.path, Start: w.start, End: w.last.Captured, Duration: w.anchor + w.step, Units: w.units, Bytes: w.bytes}
	if err == nil {
		err = w.putLength(info.Duration)
	}
	if err = errors.Join(err, w.file.Sync(), w.file.Close()); err != nil {
		return info, fmt.Errorf("finish a clip: %w", err)
	}
	if err := publish(w.path); err != nil {
		return info, fmt.Errorf("finish a clip: %w", err)
	}
	return info, nil
}

// Abort gives up and removes what was written.
func (w *Writer) Abort() error {
	return errors.Join(w.file.Close(), os.Remove(w.path+PartSuffix))
}

// Start returns the capture time of the first picture; zero before there is one.
func (w *Writer) Start() time.Time { return w.start }

// publish gives a whole clip its name, for good.
func publish(path string) error {
	if err := os.Rename(path+PartSuffix, path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ticks(d time.Duration) int64 {
	return int64(math.Round(float64(d) * timescale / float64(time.Second)))
}

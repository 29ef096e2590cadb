// Package ring keeps the last seconds of a camera's stream as it came, so that
// an event's clip can begin before the event. It keeps whole groups of
// pictures: what it hands out always begins with a key access unit.
package ring

import (
	"sync"
	"time"

	"github.com/xacam/xacam/streams/media"
)

const (
	// stepBack is how far a capture time may lie before the one before it; more
	// means that a clock was set, and older times cannot be compared.
	stepBack = 10 * time.Second
	// overhead is what an access unit costs beside its payload, in bytes.
	overhead = 256
)

// Config tunes a Ring. The zero value is usable.
type Config struct {
	Keep     time.Duration // at least this much is kept, if MaxBytes allows; default 10s
	MaxBytes int           // at most this much, payload and overhead; default 16 MiB
}

func (c Config) withDefaults() Config {
	if c.Keep <= 0 {
		c.Keep = 10 * time.Second
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 16 << 20
	}
	return c
}

// Ring is the pre-roll of one camera. It shares the access units it is given
// and hands out; nobody may modify them. It is safe for concurrent use.
type Ring struct {
	cfg Config

	mu      sync.Mutex
	units   []*media.AccessUnit // units[head:] are kept, in decoding order
	head    int
	keys    []int // positions of key units, counted from the beginning of time
	base    int   // position of units[0]
	bytes   int
	dropped uint64
}

// New returns an empty ring.
func New(cfg Config) *Ring { return &Ring{cfg: cfg.withDefaults()} }

// Add takes the next access unit, in decoding order. Until the first key unit,
// and after a group that alone was larger than MaxBytes, units are dropped and
// counted.
func (r *Ring) Add(u *media.AccessUnit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.units); n > r.head && u.Captured.Before(r.units[n-1].Captured.Add(-stepBack)) {
		r.clear()
	}
	if len(r.keys) == 0 && !u.Key {
		r.dropped++
		return
	}
	if u.Key {
		r.keys = append(r.keys, r.base+len(r.units))
	}
	r.units = append(r.units, u)
	r.bytes += u.Size() + overhead
	for len(r.keys) > 1 && (r.bytes > r.cfg.MaxBytes || u.Captured.Sub(r.at(r.keys[1]).Captured) >= r.cfg.Keep) {
		r.dropGroup()
	}
	if r.bytes > r.cfg.MaxBytes { // one group that is too large
		r.dropped += uint64(len(r.units) - r.head) //nolint:gosec // not negative
		r.clear()
	}
}

// Reset forgets everything, for a stream that was replaced.
func (r *Ring) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
}

func (r *Ring) clear() {
	r.base += len(r.units)
	r.units, r.head, r.keys, r.bytes = nil, 0, nil, 0
}

func (r *Ring) at(pos int) *media.AccessUnit { return r.units[pos-r.base] }

// dropGroup forgets the oldest group; there is a younger one.
func (r *Ring) dropGroup() {
	end := r.keys[1] - r.base
	for i := r.head; i < end; i++ {
		r.bytes -= r.units[i].Size() + overhead
		r.units[i] = nil // let the payload go
	}
	r.keys = append(r.keys[:0], r.keys[1:]...)
	r.head = end
	if r.head > len(r.units)/2 { // slide, at a cost of O(1) per unit
		n := copy(r.units, r.units[r.head:])
		clear(r.units[n:])
		r.units = r.units[:n]
		r.base += r.head
		r.head = 0
	}
}

// Snapshot returns the access units from the key unit at or before from, or
// the oldest one if all are younger, up to the last one captured at or before
// to. It is nil when there is none. The slice is the caller's, the units are
// shared.
func (r *Ring) Snapshot(from, to time.Time) []*media.AccessUnit {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) == 0 {
		return nil
	}
	start := r.seek(from)
	end := len(r.units)
	for end > start-r.base && r.units[end-1].Captured.After(to) {
		end--
	}
	return r.copyOf(start-r.base, end)
}

// SinceKey returns the access units from the latest key unit on, with which a
// decoder that joins now can begin. It is nil when there is none.
func (r *Ring) SinceKey() []*media.AccessUnit {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) == 0 {
		return nil
	}
	return r.copyOf(r.keys[len(r.keys)-1]-r.base, len(r.units))
}

func (r *Ring) copyOf(from, to int) []*media.AccessUnit {
	if from >= to {
		return nil
	}
	return append([]*media.AccessUnit(nil), r.units[from:to]...)
}

// Stats describe what a ring holds.
type Stats struct {
	Units   int
	Bytes   int           // payload and overhead
	Span    time.Duration // between the first and the last unit
	Dropped uint64        // units that could not be kept, since New
}

// Stats returns a snapshot.
func (r *Ring) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Stats{Units: len(r.units) - r.head, Bytes: r.bytes, Dropped: r.dropped}
	if s.Units > 0 {
		s.Span = r.units[len(r.units)-1].Captured.Sub(r.units[r.head].Captured)
	}
	return s
}

// Cursor reads a ring on from where it was made. It holds nothing of the ring:
// a reader that is slower than what the ring keeps loses the oldest. It must not
// be used from two goroutines.
type Cursor struct {
	ring *Ring
	pos  int // counted from the beginning of time
}

// Follow returns a cursor before the key unit at or before from, or the oldest
// one if all are younger; in an empty ring before the next unit.
func (r *Ring) Follow(from time.Time) *Cursor {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Cursor{ring: r, pos: r.seek(from)}
}

// seek returns the position of the key unit at or before from.
func (r *Ring) seek(from time.Time) int {
	if len(r.keys) == 0 {
		return r.base + len(r.units)
	}
	start := r.keys[0]
	for _, k := range r.keys[1:] {
		if r.at(k).Captured.After(from) {
			break
		}
		start = k
	}
	return start
}

// Next returns at most n units that came since, in decoding order, and how many
// were lost before them because the reader was too slow. After a loss the first
// one is Key. It never waits.
func (c *Cursor) Next(n int) (units []*media.AccessUnit, lost int) {
	r := c.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if oldest := r.base + r.head; c.pos < oldest {
		lost, c.pos = oldest-c.pos, oldest
	}
	from := c.pos - r.base
	to := min(from+n, len(r.units))
	c.pos = r.base + to
	return r.copyOf(from, to), lost
}

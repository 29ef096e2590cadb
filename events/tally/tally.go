// Package tally stands between the rules that count and the store: it keeps the
// totals of minutes until they are committed, on disk while the store is away.
package tally

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/events"
)

// Store is where counts end up.
type Store interface {
	// PutCounts stores all of the counts or none. A total that is stored
	// already, or a larger one, stays. An error that wraps
	// events.ErrUnavailable may pass; any other says that the store refuses some
	// count of the batch.
	PutCounts(ctx context.Context, counts []events.Count) error
}

// Config tunes a Writer. Dir and Store are required.
type Config struct {
	Dir     string // exists; the journal is a file in it
	Store   Store
	Every   time.Duration         // how often counts go to the store or to disk; default 2s
	Timeout time.Duration         // of one commit; default 2s
	Batch   int                   // counts in one commit at most; default 2000
	Most    int                   // counts kept while the store is away; default 500,000, the oldest go first
	Log     *slog.Logger          // default discards
	Metrics prometheus.Registerer // default: metrics are kept but not registered
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" || c.Store == nil {
		return c, errors.New("traffic counts: Dir and Store are required")
	}
	if c.Every <= 0 {
		c.Every = 2 * time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 2 * time.Second
	}
	if c.Batch <= 0 {
		c.Batch = 2000
	}
	if c.Most <= 0 {
		c.Most = 500_000
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Writer keeps totals until they are committed. A total replaces the smaller one
// of the same minute, so what is told twice, or found in the journal after it was
// committed, changes nothing: nothing is counted double.
//
// Every two seconds what is new goes to the store, or, while that is away, to
// the journal, synced. So kill -9 loses what passed in the two seconds before
// it, and no more; a power cut the same. A full disk costs only what the memory
// holds when the process ends.
//
// Its methods are safe for concurrent use.
type Writer struct {
	cfg     Config
	journal journal
	metrics *metrics

	mu      sync.Mutex
	pending map[key]int  // not committed
	fresh   map[key]bool // of pending: not in the journal either
	known   map[key]int  // totals of the latest minutes, for the metric
	away    error        // why the store did not take the last commit; nil when it did
}

// key is a Count without its N.
type key struct {
	source, run, rule, line, class, direction string
	minute                                    int64 // Unix seconds
}

func keyOf(c *events.Count) key {
	return key{c.Source, c.Run, c.Rule, c.Line, c.Class, c.Direction, c.Minute.Unix()}
}

func (k key) count(n int) events.Count {
	return events.Count{
		Source: k.source, Run: k.run, Rule: k.rule, Line: k.line, Class: k.class, Direction: k.direction,
		Minute: time.Unix(k.minute, 0).UTC(), N: n,
	}
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.minute, o.minute), cmp.Compare(k.source, o.source), cmp.Compare(k.line, o.line),
		cmp.Compare(k.rule, o.rule), cmp.Compare(k.class, o.class), cmp.Compare(k.direction, o.direction), cmp.Compare(k.run, o.run))
}

// New reads what an earlier process left in the journal. It starts nothing.
func New(cfg Config) (*Writer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Writer{
		cfg: cfg, journal: journal{path: filepath.Join(cfg.Dir, "counts.jsonl")},
		pending: make(map[key]int), fresh: make(map[key]bool), known: make(map[key]int),
	}
	left, damaged, err := w.journal.read()
	if err != nil {
		return nil, fmt.Errorf("traffic counts: read the journal: %w", err)
	}
	for i := range left {
		k := keyOf(&left[i])
		w.pending[k] = max(w.pending[k], left[i].N)
	}
	if damaged > 0 {
		cfg.Log.Warn("traffic counts: lines of the journal are damaged and were left out", "lines", damaged, "file", w.journal.path)
	}
	w.metrics = newMetrics(cfg.Metrics, w)
	return w, nil
}

// Add takes totals. It neither blocks nor fails.
func (w *Writer) Add(counts []events.Count) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range counts {
		c := &counts[i]
		k := keyOf(c)
		if more := c.N - w.known[k]; more > 0 {
			w.known[k] = c.N
			w.metrics.counted.WithLabelValues(c.Source, c.Line, c.Class, c.Direction).Add(float64(more))
		}
		if c.N > w.pending[k] {
			w.pending[k] = c.N
			w.fresh[k] = true
		}
	}
	if len(w.known) > knownMost {
		w.prune()
	}
}

// knownMost bounds Writer.known; minutes older than knownFor are forgotten.
const (
	knownMost = 20_000
	knownFor  = 2 * time.Hour
)

func (w *Writer) prune() {
	latest := int64(0)
	for k := range w.known {
		latest = max(latest, k.minute)
	}
	maps.DeleteFunc(w.known, func(k key, _ int) bool { return latest-k.minute > int64(knownFor.Seconds()) })
	if len(w.known) > knownMost { // so many cameras that the metric may as well be a little off
		clear(w.known)
	}
}

// Waiting returns how many totals are not committed.
func (w *Writer) Waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending)
}

// Run commits what is added until ctx is done, and then what is left, or writes
// it to disk. By then nobody may add any more.
func (w *Writer) Run(ctx context.Context) error {
	tick := time.NewTicker(w.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.flush(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
			w.flush(ctx)
		}
	}
}

// flush brings everything to the store or, what the disk does not have, to disk.
func (w *Writer) flush(ctx context.Context) {
	w.mu.Lock()
	keys := slices.SortedFunc(maps.Keys(w.pending), key.compare)
	w.mu.Unlock()
	var err error
	for batch := range slices.Chunk(keys, w.cfg.Batch) {
		if err = w.commit(ctx, batch); err != nil {
			break
		}
	}
	w.tell(ctx, err)
	if err == nil {
		w.mu.Lock()
		empty := len(w.pending) == 0
		w.mu.Unlock()
		if empty {
			err = w.journal.remove()
		}
	} else {
		err = w.keep()
	}
	if err != nil {
		w.cfg.Log.ErrorContext(ctx, "traffic counts cannot be kept on disk, a crash would lose them", "err", err)
	}
}

// commit stores the totals of the keys and forgets those that did not grow
// meanwhile. A refused batch is halved until the offending total is alone; that
// is dropped.
func (w *Writer) commit(ctx context.Context, keys []key) error {
	counts := make([]events.Count, len(keys))
	w.mu.Lock()
	for i, k := range keys {
		counts[i] = k.count(w.pending[k])
	}
	w.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	err := w.cfg.Store.PutCounts(bounded, counts)
	if err != nil && bounded.Err() != nil && !errors.Is(err, events.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", events.ErrUnavailable, err)
	}
	cancel()
	switch {
	case err == nil:
	case errors.Is(err, events.ErrUnavailable):
		return err
	case len(keys) > 1:
		half := len(keys) / 2
		if err := w.commit(ctx, keys[:half]); err != nil {
			return err
		}
		return w.commit(ctx, keys[half:])
	default:
		w.metrics.refused.Inc()
		w.cfg.Log.ErrorContext(ctx, "traffic count refused by the store and dropped", "count", fmt.Sprintf("%+v", counts[0]), "err", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, k := range keys {
		if w.pending[k] == counts[i].N {
			delete(w.pending, k)
			delete(w.fresh, k)
		}
	}
	return nil
}

// tell logs that the store went away or came back.
func (w *Writer) tell(ctx context.Context, err error) {
	w.mu.Lock()
	was := w.away
	w.away = err
	w.mu.Unlock()
	switch {
	case err != nil && was == nil:
		w.cfg.Log.WarnContext(ctx, "traffic counts wait on disk for the store", "err", err)
	case err == nil && was != nil:
		w.cfg.Log.InfoContext(ctx, "the store takes traffic counts again")
	}
}

// keep writes what is new to the journal, or all of it anew when the journal has
// grown to several times what it is about.
func (w *Writer) keep() error {
	w.mu.Lock()
	w.bound()
	all := len(w.fresh) > 0 && w.journal.lines > 4*len(w.pending)+w.cfg.Batch
	var list []events.Count
	for k, n := range w.pending {
		if all || w.fresh[k] {
			list = append(list, k.count(n))
		}
	}
	w.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b events.Count) int { return keyOf(&a).compare(keyOf(&b)) })
	write := w.journal.append
	if all {
		write = w.journal.replace
	}
	if err := write(list); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range list {
		if k := keyOf(&list[i]); w.pending[k] == list[i].N {
			delete(w.fresh, k)
		}
	}
	return nil
}

// bound drops the oldest totals when there are too many. The caller holds mu.
func (w *Writer) bound() {
	over := len(w.pending) - w.cfg.Most
	if over <= 0 {
		return
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.pending), key.compare)[:over+w.cfg.Most/10] {
		delete(w.pending, k)
		delete(w.fresh, k)
		w.metrics.dropped.Inc()
	}
}

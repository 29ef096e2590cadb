package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/events"
)

// Config tunes a Worker. Queue, Deliverer and Owner are required.
type Config struct {
	Queue     Queue
	Deliverer Deliverer
	Owner     string // the same for all starts of one server on one data folder

	// Heartbeat returns what a heartbeat says, but for At and Backlog, which the
	// Worker knows. The default says nothing. It must return soon.
	Heartbeat func(context.Context) Heartbeat
	// Alarm is told when an endpoint begins to fail and when it takes deliveries
	// again, and may be told the same thing more than once. It must return soon.
	Alarm func(context.Context, Alarm)

	Poll  time.Duration // how often the store is looked at without being woken; default 5s
	Lease time.Duration // must exceed MaxTimeout by 15s; default 1m
	Page  int           // deliveries of a lane that are in memory; default 100
	Grace time.Duration // how long requests may go on after the end; default 5s

	Log *slog.Logger          // default discards
	Reg prometheus.Registerer // default none
}

// Alarm says that an endpoint does not take its deliveries, or that it does
// again.
type Alarm struct {
	Endpoint string
	Failing  bool
	Gone     bool // it answered 410 and is disabled
	Failures int  // in a row
	Since    time.Time
	At       time.Time
	Error    string // of the last attempt; holds no secret
}

// Worker brings deliveries to their endpoints, each at its own pace: one that
// hangs holds up no other. Create it with New; its methods are safe for
// concurrent use.
type Worker struct {
	cfg     Config
	metrics *metrics
	reload  chan struct{} // 1: a request that waits stands for all

	mu       sync.Mutex
	couriers map[string]*running
}

// running is a courier that was started.
type running struct {
	key    string
	cancel context.CancelFunc
	done   chan struct{} // closed when it has ended
	wake   chan struct{} // 1
}

// New checks the configuration and starts nothing.
func New(cfg Config) (*Worker, error) {
	if cfg.Queue == nil || cfg.Deliverer == nil || cfg.Owner == "" {
		return nil, errors.New("outbox: Queue, Deliverer and Owner are required")
	}
	cfg.Poll = cmp.Or(cfg.Poll, 5*time.Second)
	cfg.Lease = cmp.Or(cfg.Lease, time.Minute)
	cfg.Page = cmp.Or(cfg.Page, 100)
	cfg.Grace = cmp.Or(cfg.Grace, 5*time.Second)
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.Lease < MaxTimeout+15*time.Second {
		return nil, fmt.Errorf("outbox: a lease of %s does not outlive an attempt of %s", cfg.Lease, MaxTimeout)
	}
	if cfg.Poll < 0 || cfg.Page < 1 || cfg.Grace < 0 {
		return nil, errors.New("outbox: Poll, Page and Grace must be positive")
	}
	if cfg.Heartbeat == nil {
		cfg.Heartbeat = func(context.Context) Heartbeat { return Heartbeat{} }
	}
	if cfg.Alarm == nil {
		cfg.Alarm = func(context.Context, Alarm) {}
	}
	return &Worker{
		cfg: cfg, metrics: newMetrics(cfg.Reg), reload: make(chan struct{}, 1), couriers: make(map[string]*running),
	}, nil
}

// Wake says that there are new deliveries.
func (w *Worker) Wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.couriers {
		poke(r.wake)
	}
}

// Reload says that endpoints were added, changed or removed.
func (w *Worker) Reload() { poke(w.reload) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// Run delivers until ctx ends; then requests in progress have Grace to end and
// their outcomes are stored. It returns nil.
func (w *Worker) Run(ctx context.Context) error {
	defer w.stopAll()
	var last string
	for {
		list, err := w.cfg.Queue.Endpoints(ctx)
		switch {
		case err == nil:
			last = ""
			w.reconcile(ctx, list)
		case ctx.Err() == nil && err.Error() != last:
			last = err.Error()
			w.cfg.Log.WarnContext(ctx, "endpoints cannot be read, those known go on", "error", err)
		}
		t := time.NewTimer(w.cfg.Poll)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-w.reload:
			t.Stop()
		case <-t.C:
		}
	}
}

// reconcile starts and stops couriers. One that has to stop is replaced only
// when it has ended, which makes it call Reload.
func (w *Worker) reconcile(ctx context.Context, list []Endpoint) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want := make(map[string]string)
	for i := range list {
		if list[i].Enabled {
			want[list[i].Name] = courierKey(&list[i])
		}
	}
	for name, r := range w.couriers {
		ended := isClosed(r.done)
		if key, ok := want[name]; ok && key == r.key && !ended {
			continue
		}
		r.cancel()
		if ended {
			delete(w.couriers, name)
		}
		if !slices.ContainsFunc(list, func(e Endpoint) bool { return e.Name == name }) && ended {
			w.metrics.forget(name)
		}
	}
	for _, e := range list {
		if e.Enabled && w.couriers[e.Name] == nil {
			w.start(ctx, e)
		}
	}
}

func (w *Worker) start(ctx context.Context, e Endpoint) {
	checked, err := e.Check()
	if err != nil { // stored by another version; it may still be reachable
		w.cfg.Log.WarnContext(ctx, "an endpoint breaks the rules of this version", "endpoint", e.Name, "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &running{key: courierKey(&e), cancel: cancel, done: make(chan struct{}), wake: make(chan struct{}, 1)}
	w.couriers[e.Name] = r
	c := newCourier(w, checked, r.wake)
	go func() { // ends with ctx, which stopAll or reconcile ends; stopAll waits
		defer cancel()
		defer w.Reload()
		defer close(r.done)
		defer func() {
			if p := recover(); p != nil {
				w.cfg.Log.ErrorContext(ctx, "delivery to an endpoint broke down and is started again", "endpoint", e.Name, "panic", p)
			}
		}()
		c.run(ctx)
	}()
}

func (w *Worker) stopAll() {
	w.mu.Lock()
	all := w.couriers
	w.couriers = make(map[string]*running)
	w.mu.Unlock()
	for _, r := range all {
		r.cancel()
	}
	for _, r := range all {
		<-r.done
	}
}

// courierKey changes when a courier must be replaced.
func courierKey(e *Endpoint) string {
	key := []string{strconv.Itoa(e.Version)}
	for _, s := range e.Secrets {
		key = append(key, s.ID, s.Expires.Format(time.RFC3339))
	}
	return strings.Join(key, " ")
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// away reports whether the store could not be asked, as against an answer that
// says no.
func away(err error) bool { return err != nil && !errors.Is(err, events.ErrConflict) }

// jitter is in [0,1).
func jitter() float64 { return rand.Float64() } //nolint:gosec // only spreads requests

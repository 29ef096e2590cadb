package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

func newBenchDeliveryCommand() *cobra.Command {
	var o benchDeliveryOptions
	cmd := &cobra.Command{
		Use:   "delivery",
		Short: "Measure the way from the store to a receiver on this machine: how long an event takes, alone and beside an endpoint that hangs, and how fast a backlog drains",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(o.rate > 0 && o.rate <= 500) || o.seconds < 1 || o.backlog < 1 || o.backlog > 1_000_000 {
				return usagef("give a rate of at most 500 events a second, a second at least and a backlog of 1 to 1000000")
			}
			res, err := benchDelivery(cmd, o)
			if err != nil {
				return err
			}
			return writeBench(cmd, o.out, res)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&o.rate, "rate", 50, "events a second while latency is measured; each is cleared a second later")
	f.IntVar(&o.seconds, "seconds", 20, "length of each run")
	f.IntVar(&o.backlog, "backlog", 10_000, "events that wait when the receiver comes back")
	f.StringVar(&o.out, "out", "", "file to write; standard output when not given")
	return cmd
}

type benchDeliveryOptions struct {
	rate             float64
	seconds, backlog int
	out              string
}

// benchDeliveryResult is what bench delivery prints.
type benchDeliveryResult struct {
	Cores     int            `json:"cores"`
	Latencies []benchLatency `json:"latencies"`
	Drains    []benchDrain   `json:"drains"`
}

// benchLatency is from the database's clock in the commit, which is before the
// commit's end, to the receiver's handler. It is of raised events: received_at
// is when an event came first, and stays when it is cleared.
type benchLatency struct {
	Beside    string  `json:"beside"` // "", "hanging"
	Rate      float64 `json:"events_per_second"`
	Delivered int     `json:"delivered"` // cleared events too
	Raised    int     `json:"raised"`    // those that are measured
	P50Ms     float64 `json:"p50_ms"`
	P99Ms     float64 `json:"p99_ms"`
	MaxMs     float64 `json:"max_ms"`
}

type benchDrain struct {
	Concurrency int     `json:"concurrency"`
	Delivered   int     `json:"delivered"`
	PerSecond   float64 `json:"deliveries_per_second"` // 1000 is the most that an endpoint may ask for
}

// stopwatch is a receiver that takes everything and notes when.
type stopwatch struct {
	listener net.Listener
	hang     bool

	mu    sync.Mutex
	seen  map[string]bool
	took  []time.Duration // of raised events
	last  time.Time
	first time.Time
}

func (w *stopwatch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if w.hang {
		<-r.Context().Done()
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxReceivedBody))
	var m struct {
		Data struct {
			State    events.State `json:"state"`
			Received time.Time    `json:"received_at"`
		} `json:"data"`
	}
	if err != nil || json.Unmarshal(body, &m) != nil {
		rw.WriteHeader(http.StatusBadRequest)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
	if m.Data.Received.IsZero() {
		return // a heartbeat
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if id := r.Header.Get("webhook-id"); !w.seen[id] {
		w.seen[id] = true
		if m.Data.State == events.StateRaised {
			w.took = append(w.took, now.Sub(m.Data.Received))
		}
	}
	if w.last = now; w.first.IsZero() {
		w.first = now
	}
}

func (w *stopwatch) run(ctx context.Context) error {
	srv := &http.Server{Handler: w, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() }) // the senders end before
	defer stop()
	if err := srv.Serve(w.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// take returns what was measured, and of how many deliveries in what time, and
// begins anew.
func (w *stopwatch) take() (took []time.Duration, delivered int, between time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	took, delivered, between = w.took, len(w.seen), w.last.Sub(w.first)
	w.took, w.seen, w.first, w.last = nil, make(map[string]bool), time.Time{}, time.Time{}
	slices.Sort(took)
	return took, delivered, between
}

func (w *stopwatch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

func benchDelivery(cmd *cobra.Command, o benchDeliveryOptions) (res *benchDeliveryResult, err error) {
	dir, remove, err := benchDir("")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	cfg := defaultConfig()
	cfg.Listen, cfg.Data, cfg.Log.Level = "127.0.0.1:0", filepath.Join(dir, "data"), "error"
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	srv, err := newServer(cmd.Context(), cfg, cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	b := &deliveryBench{srv: srv, opts: o, log: cmd.ErrOrStderr(), res: &benchDeliveryResult{Cores: runtime.NumCPU()}}
	for _, w := range []**stopwatch{&b.receiver, &b.hanging} {
		l, err := listen(cmd.Context(), "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*w = &stopwatch{listener: l, seen: make(map[string]bool), hang: w == &b.hanging}
		srv.app.Add("receiver", stageStore, (*w).run)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	select {
	case <-srv.db.Ready():
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Minute):
		return nil, errors.New("the private database did not start within a minute")
	}
	return b.res, b.run(ctx)
}

type deliveryBench struct {
	srv               *server
	opts              benchDeliveryOptions
	log               io.Writer
	res               *benchDeliveryResult
	receiver, hanging *stopwatch
}

func (b *deliveryBench) run(ctx context.Context) error {
	for _, hanging := range []bool{false, true} {
		if err := b.latency(ctx, hanging); err != nil {
			return err
		}
	}
	for _, concurrency := range []int{1, 8} {
		if err := b.drain(ctx, concurrency); err != nil {
			return err
		}
	}
	return nil
}

// endpoints stores the endpoint of the receiver and, if wanted, the one that
// hangs.
func (b *deliveryBench) endpoints(ctx context.Context, enabled bool, concurrency int, hanging bool) error {
	var list []outbox.Endpoint
	for name, w := range map[string]*stopwatch{"receiver": b.receiver, "hanging": b.hanging} {
		if w.hang && !hanging {
			continue
		}
		e, err := outbox.Spec{
			Name: name, Enabled: &enabled, URL: "http://" + w.listener.Addr().String() + "/", AllowCIDRs: []string{"127.0.0.0/8"},
			Rate: outbox.MaxRate, Concurrency: concurrency, Filter: outbox.FilterSpec{Kinds: []events.Kind{"intrusion"}},
		}.Endpoint()
		if err != nil {
			return err
		}
		list = append(list, e)
	}
	_, _, err := b.srv.store.ReplaceEndpoints(ctx, list, true, outbox.Act{By: "bench"})
	return err
}

func (b *deliveryBench) latency(ctx context.Context, hanging bool) error {
	if err := b.endpoints(ctx, true, 1, hanging); err != nil {
		return err
	}
	l := &load{rate: b.opts.rate, run: rand.Text(), submit: func(c []events.Change) { b.srv.spool.Submit(c...) }, now: time.Now}
	running, cancel := context.WithTimeout(ctx, 2*time.Second) // warm-up
	err := l.Run(running)
	cancel()
	b.receiver.take()
	running, cancel = context.WithTimeout(ctx, time.Duration(b.opts.seconds)*time.Second)
	defer cancel()
	if err := errors.Join(err, l.Run(running), b.settle(ctx)); err != nil {
		return err
	}
	took, delivered, _ := b.receiver.take()
	r := benchLatency{Rate: b.opts.rate, Delivered: delivered, Raised: len(took), P50Ms: quantile(took, .5), P99Ms: quantile(took, .99), MaxMs: quantile(took, 1)}
	if hanging {
		r.Beside = "hanging"
	}
	b.res.Latencies = append(b.res.Latencies, r)
	fmt.Fprintf(b.log, "%g events/s, beside: %q: %d delivered, %d of them raised: p50 %.1f ms, p99 %.1f ms, max %.1f ms\n", r.Rate, r.Beside, r.Delivered, r.Raised, r.P50Ms, r.P99Ms, r.MaxMs)
	return nil
}

// settle waits until nothing waits for the receiver any more.
func (b *deliveryBench) settle(ctx context.Context) error {
	for before := -1; ; {
		waiting, err := b.srv.store.Backlog(ctx, "receiver")
		if err != nil {
			return err
		}
		n := b.receiver.count()
		if waiting == 0 && n == before {
			return nil
		}
		before = n
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// drain lets a backlog wait behind an endpoint that is failing and measures how
// fast it goes when it is back.
func (b *deliveryBench) drain(ctx context.Context, concurrency int) error {
	if err := b.endpoints(ctx, true, concurrency, false); err != nil {
		return err
	}
	b.receiver.take()
	run := &load{run: rand.Text()}
	for n := 0; n < b.opts.backlog; n += 500 {
		var changes []events.Change
		for i := n; i < min(n+500, b.opts.backlog); i++ {
			changes = append(changes, events.Change{Event: run.event(i, time.Now())})
		}
		if err := b.srv.store.Commit(ctx, changes); err != nil {
			return err
		}
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	_, delivered, between := b.receiver.take()
	d := benchDrain{Concurrency: concurrency, Delivered: delivered, PerSecond: float64(delivered) / max(between.Seconds(), 1e-3)}
	b.res.Drains = append(b.res.Drains, d)
	fmt.Fprintf(b.log, "concurrency %d: %d delivered, %.0f a second\n", concurrency, d.Delivered, d.PerSecond)
	if d.Delivered != b.opts.backlog {
		return fmt.Errorf("%d of %d events were delivered", d.Delivered, b.opts.backlog)
	}
	return nil
}

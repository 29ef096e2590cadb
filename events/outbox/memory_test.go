package outbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Queue for tests of the schedule; events/pgstore has the real one.
type memory struct {
	mu        sync.Mutex
	endpoints map[string]*outbox.Endpoint
	rows      map[string][]*row     // by endpoint, by sequence
	lanes     map[string]*[3][]*row // the same, less what is settled at their beginnings
	counts    map[string]int        // by endpoint and state
	sequence  int64
	leases    map[string]*lease
	attempts  []outbox.Attempt
	settles   int
	largest   int   // page that was asked for
	down      error // what every method returns
}

type row struct {
	outbox.Delivery
	state string
	due   time.Time
}

type lease struct {
	owner string
	epoch int64
	until time.Time
}

func newMemory(list ...outbox.Endpoint) *memory {
	q := &memory{
		endpoints: make(map[string]*outbox.Endpoint), rows: make(map[string][]*row), lanes: make(map[string]*[3][]*row), counts: make(map[string]int),
		leases: make(map[string]*lease),
	}
	for _, e := range list {
		e.Enabled = true
		q.endpoints[e.Name] = &e
	}
	return q
}

// queue adds a message of a source for an endpoint.
func (q *memory) queue(endpoint string, lane outbox.Lane, source string) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sequence++
	id := fmt.Sprintf("event-%d", q.sequence)
	now := time.Now()
	one := &row{Delivery: outbox.Delivery{
		Endpoint: endpoint, Lane: lane, Queued: now, Message: outbox.Message{
			ID: id + "-raised", Sequence: q.sequence, Step: events.StepRaised,
			Event: events.Event{
				ID: id, Kind: "intrusion", Severity: events.SeverityHigh, State: events.StateRaised, OccurredAt: now,
				Sequence: q.sequence, Source: events.Source{Type: "camera", ID: source},
			},
		},
	}}
	q.move(one, "pending")
	q.rows[endpoint] = append(q.rows[endpoint], one)
	if q.lanes[endpoint] == nil {
		q.lanes[endpoint] = new([3][]*row)
	}
	q.lanes[endpoint][lane] = append(q.lanes[endpoint][lane], one)
	return q.sequence
}

func (q *memory) setDown(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.down = err
}

func (q *memory) count(endpoint, state string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts[endpoint+" "+state]
}

// move gives a delivery another state.
func (q *memory) move(r *row, state string) {
	q.counts[r.Endpoint+" "+r.state]--
	r.state = state
	q.counts[r.Endpoint+" "+r.state]++
}

func (q *memory) endpoint(name string) outbox.Endpoint {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *q.endpoints[name]
}

func (q *memory) log() []outbox.Attempt {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.attempts)
}

func (q *memory) Endpoints(context.Context) ([]outbox.Endpoint, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return nil, q.down
	}
	var list []outbox.Endpoint
	for _, e := range q.endpoints {
		list = append(list, *e)
	}
	return list, nil
}

func (q *memory) Lease(_ context.Context, endpoint, owner string, ttl time.Duration) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return 0, q.down
	}
	l := q.leases[endpoint]
	if l == nil {
		l = &lease{}
		q.leases[endpoint] = l
	}
	if l.owner != owner {
		if time.Now().Before(l.until) {
			return 0, fmt.Errorf("lease of %s: %w", endpoint, events.ErrConflict)
		}
		l.owner = owner
		l.epoch++
	}
	l.until = time.Now().Add(ttl)
	return l.epoch, nil
}

func (q *memory) Pending(_ context.Context, endpoint string, lane outbox.Lane, after int64, limit int) ([]outbox.Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return nil, q.down
	}
	q.largest = max(q.largest, limit)
	if q.lanes[endpoint] == nil {
		return nil, nil
	}
	rows := q.lanes[endpoint][lane]
	for len(rows) > 0 && (rows[0].state == "delivered" || rows[0].state == "dead") {
		rows = rows[1:]
	}
	q.lanes[endpoint][lane] = rows
	i, _ := slices.BinarySearchFunc(rows, after+1, func(r *row, s int64) int { return int(r.Message.Sequence - s) })
	var list []outbox.Delivery
	for _, r := range rows[i:] {
		if r.state == "pending" && len(list) < limit {
			list = append(list, r.Delivery)
		}
		if len(list) == limit {
			break
		}
	}
	return list, nil
}

func (q *memory) Parked(_ context.Context, endpoint string, now time.Time, limit int) ([]outbox.Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return nil, q.down
	}
	var list []outbox.Delivery
	if q.counts[endpoint+" parked"] == 0 {
		return nil, nil
	}
	for _, r := range q.rows[endpoint] {
		if r.state == "parked" && !r.due.After(now) && len(list) < limit {
			list = append(list, r.Delivery)
		}
	}
	return list, nil
}

func (q *memory) Backlog(_ context.Context, endpoint string) (int64, error) {
	return int64(q.count(endpoint, "pending") + q.count(endpoint, "parked")), nil
}

func (q *memory) Expire(_ context.Context, endpoint string, _ int64, before time.Time) (int64, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var n int64
	for _, r := range q.rows[endpoint] {
		if !r.Queued.Before(before) {
			break
		}
		if (r.state == "pending" || r.state == "parked") && r.Lane != outbox.LaneReplay {
			q.move(r, "dead")
			n++
		}
	}
	return n, nil
}

func (q *memory) Settle(_ context.Context, s outbox.Settlement) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.down != nil {
		return q.down
	}
	if l := q.leases[s.Endpoint]; l == nil || l.epoch != s.Epoch {
		return fmt.Errorf("settle %s: %w", s.Endpoint, events.ErrConflict)
	}
	q.settles++
	for _, seq := range s.Delivered {
		q.move(q.find(s.Endpoint, seq), "delivered")
	}
	for _, seq := range s.Dead {
		q.move(q.find(s.Endpoint, seq), "dead")
	}
	for seq, at := range s.Park {
		r := q.find(s.Endpoint, seq)
		q.move(r, "parked")
		r.due, r.Parked = at, true
		r.Attempts++
	}
	for _, seq := range s.Failed {
		q.find(s.Endpoint, seq).Attempts++
	}
	q.attempts = append(q.attempts, s.Attempts...)
	e := q.endpoints[s.Endpoint]
	e.Health = s.Health
	if s.Disable != "" {
		e.Enabled, e.Disabled = false, s.Disable
	}
	return nil
}

func (q *memory) find(endpoint string, seq int64) *row {
	rows := q.rows[endpoint]
	i, _ := slices.BinarySearchFunc(rows, seq, func(r *row, s int64) int { return int(r.Message.Sequence - s) })
	return rows[i]
}

// receiver is a Deliverer that answers as it is told.
type receiver struct {
	mu       sync.Mutex
	answer   func(outbox.Message) outbox.Result // nil is 2xx
	takes    time.Duration
	beats    func(outbox.Heartbeat) outbox.Result
	got      []arrival
	tried    []arrival
	heard    []outbox.Heartbeat
	now, max int // requests at a time
}

type arrival struct {
	sequence int64
	source   string
	at       time.Time
}

func (r *receiver) set(answer func(outbox.Message) outbox.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) sequences() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []int64
	for _, a := range r.got {
		list = append(list, a.sequence)
	}
	return list
}

// has looks at the last arrivals.
func (r *receiver) has(sequence int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.got[max(0, len(r.got)-20):], func(a arrival) bool { return a.sequence == sequence })
}

func (r *receiver) tries() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tried)
}

func (r *receiver) Deliver(ctx context.Context, _ outbox.Endpoint, m outbox.Message) outbox.Result {
	started := time.Now()
	r.mu.Lock()
	answer := r.answer
	r.now++
	r.max = max(r.max, r.now)
	a := arrival{sequence: m.Sequence, source: m.Event.Source.ID, at: started}
	r.tried = append(r.tried, a)
	r.mu.Unlock()
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		answer = func(outbox.Message) outbox.Result { return outbox.Result{Outcome: outbox.Retry, Err: ctx.Err()} }
	}
	res := outbox.Result{Outcome: outbox.Delivered, Status: 204}
	if answer != nil {
		res = answer(m)
	}
	res.Started, res.Sent, res.Took = started, started, time.Since(started)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
	if res.Outcome == outbox.Delivered {
		r.got = append(r.got, a)
	}
	return res
}

func (r *receiver) Heartbeat(_ context.Context, _ outbox.Endpoint, _ string, h outbox.Heartbeat) outbox.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, h)
	res := outbox.Result{Outcome: outbox.Delivered, Status: 204}
	if r.beats != nil {
		res = r.beats(h)
	}
	res.Started = time.Now()
	return res
}

func (r *receiver) Test(context.Context, outbox.Endpoint, string) outbox.Result { panic("not used") }

func refuses(status int) func(outbox.Message) outbox.Result {
	return func(outbox.Message) outbox.Result { return failure(status) }
}

func failure(status int) outbox.Result {
	r := outbox.Result{Outcome: outbox.Retry, Status: status, Err: fmt.Errorf("status %d", status)}
	switch status {
	case 400, 413, 415, 422:
		r.Outcome = outbox.Refused
	case 410:
		r.Outcome = outbox.Gone
	}
	return r
}

// run starts a worker inside a bubble and returns what stops it.
func run(t *testing.T, cfg outbox.Config) (w *outbox.Worker, stop func()) {
	t.Helper()
	if cfg.Owner == "" {
		cfg.Owner = "here"
	}
	w, err := outbox.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(t, <-done)
	}
	t.Cleanup(stop)
	return w, stop
}

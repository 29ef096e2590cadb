// Package outbox brings committed events to where they must be known: in
// order, at least once, for days. It knows queues and deliverers by their
// interfaces only; events/pgstore keeps the one, events/webhook is the other.
package outbox

import (
	"context"
	"time"

	"github.com/xacam/xacam/events"
)

// Lane is one of an endpoint's queues. Within a lane messages go in the order
// of their sequence; lanes do not wait for each other.
type Lane int

// Lanes, most urgent first.
const (
	LaneUrgent Lane = iota // critical alarms: a backlog never holds them up
	LaneNormal
	LaneReplay // what a person asked to be sent again
)

// LaneOf returns the lane of a message. All steps of one event go through the
// lane of its first, which the store sees to.
func LaneOf(s events.Severity) Lane {
	if s == events.SeverityCritical {
		return LaneUrgent
	}
	return LaneNormal
}

// Message is what is said of one change. It never changes once stored.
type Message struct {
	ID       string // webhook-id: the same in every attempt, to every endpoint
	Sequence int64  // of the change; 0 for tests and heartbeats
	Step     events.Step
	Event    events.Event // as of the change
}

// Delivery is one message for one endpoint.
type Delivery struct {
	Endpoint string
	Lane     Lane
	Attempts int  // made so far
	Parked   bool // it was refused while others passed, and is tried on its own
	Queued   time.Time
	Message  Message
}

// Outcome says how an attempt ended.
type Outcome string

// Outcomes of an attempt.
const (
	Delivered Outcome = "delivered" // 2xx
	Retry     Outcome = "retry"     // the endpoint is away, busy or wrongly set up
	Refused   Outcome = "refused"   // this message is not wanted: 400, 413, 415, 422
	Gone      Outcome = "gone"      // 410: the endpoint wants nothing any more
)

// Result is what a Deliverer says of one attempt.
type Result struct {
	Outcome    Outcome
	Status     int           // HTTP; 0 when there was no answer
	Err        error         // nil when delivered; never holds a secret
	Excerpt    string        // of the answer, valid UTF-8, at most 1 KiB
	RetryAfter time.Duration // what the receiver asked for, capped at 24 h; 0 when it did not
	Started    time.Time
	Sent       time.Time // when the request's first bytes went out; zero when none did
	Took       time.Duration
}

// AttemptKind says why something was sent.
type AttemptKind string

// Kinds of attempts.
const (
	KindDelivery  AttemptKind = "delivery"
	KindReplay    AttemptKind = "replay"
	KindTest      AttemptKind = "test"
	KindHeartbeat AttemptKind = "heartbeat"
)

// Attempt is a line of the log.
type Attempt struct {
	ID        int64 // given by the store
	Endpoint  string
	Former    bool // the endpoint was deleted since; there may be another one of its name
	Kind      AttemptKind
	MessageID string
	Sequence  int64 // 0 for tests and heartbeats
	Number    int   // of this message to this endpoint, 1 is the first
	Result    Result
}

// Heartbeat is said every Endpoint.Heartbeat, so that silence means trouble.
type Heartbeat struct {
	At       time.Time
	Sequence int64 // of the newest change: a receiver that has less should read the feed
	Backlog  int64 // messages that wait for this endpoint
	Cameras  int   // configured
	Offline  int   // of them without a connection
}

// Deliverer sends one message once. It must be safe for concurrent use and
// return soon after ctx ends, with Retry.
type Deliverer interface {
	Deliver(ctx context.Context, e Endpoint, m Message) Result
	Heartbeat(ctx context.Context, e Endpoint, id string, h Heartbeat) Result
	// Test sends a made-up event that is clearly marked as a test.
	Test(ctx context.Context, e Endpoint, id string) Result
}

// Health is what was learnt of an endpoint while delivering. It is kept by the
// store, so that a restart does not forget it.
type Health struct {
	Failures     int // in a row
	FailingSince time.Time
	RetryAt      time.Time // no attempt before; zero: at once
	LastSuccess  time.Time
	LastAttempt  time.Time
	LastError    string
	HeartbeatAt  time.Time // of the last one sent
}

// Settlement is what becomes of deliveries after attempts. The store applies
// it in one transaction, and not at all when the lease was lost.
type Settlement struct {
	Endpoint  string
	Epoch     int64 // of the lease
	Delivered []int64
	Dead      []int64 // refused or given up; they can be replayed
	Park      map[int64]time.Time
	Failed    []int64 // tried and still pending: their attempts are counted
	Attempts  []Attempt
	Health    Health
	Disable   string // not empty: the endpoint is disabled, for this reason
}

// Queue is the store of deliveries. Its methods return errors that wrap
// events.ErrUnavailable while it cannot be asked, and events.ErrConflict when
// the lease was lost.
type Queue interface {
	// Endpoints returns all endpoints with their secrets opened, sorted by name.
	Endpoints(ctx context.Context) ([]Endpoint, error)
	// Lease takes or renews the right to deliver to an endpoint. owner is the
	// same for all starts of one server on one data folder, which takes its own
	// lease over at once. Another's is events.ErrConflict until it has run out.
	Lease(ctx context.Context, endpoint, owner string, ttl time.Duration) (epoch int64, err error)
	// Pending returns the first deliveries of a lane after a sequence number, in
	// order, without parked ones.
	Pending(ctx context.Context, endpoint string, lane Lane, after int64, limit int) ([]Delivery, error)
	// Parked returns parked deliveries that are due, the longest due first.
	Parked(ctx context.Context, endpoint string, now time.Time, limit int) ([]Delivery, error)
	// Backlog counts pending and parked deliveries.
	Backlog(ctx context.Context, endpoint string) (int64, error)
	// Expire gives up what was queued before a moment and returns how many. It
	// leaves the replay lane alone: a person asked for that.
	Expire(ctx context.Context, endpoint string, epoch int64, before time.Time) (int64, error)
	Settle(ctx context.Context, s Settlement) error
}

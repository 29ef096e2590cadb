package outbox

import (
	"time"

	"github.com/xacam/xacam/events"
)

// Act says who changes something and under what condition.
type Act struct {
	By string // name of the person, or of the program they used
	// Key, when not empty, makes a retry harmless: the second act with the same
	// key and the same arguments changes nothing and gives the first one's answer.
	Key string
	// Version, when not 0, is the version that is to be changed; another one is
	// events.ErrConflict.
	Version int
}

// Test is a test of an endpoint that somebody asked for.
type Test struct {
	Endpoint Endpoint
	// Before, when not nil, is what was sent for the same request before; nothing may
	// be sent again.
	Before *Attempt
	// Key and Claim make what is sent the answer to the request; "" for one without
	// a key.
	Key, Claim string
}

// IssuedSecret is a secret as it is shown, once, to who asked for it.
type IssuedSecret struct {
	Secret
	Text string // whsec_… of v1; whpk_… of v1a, whose private key is never shown
}

// Stored is what became of an endpoint.
type Stored struct {
	Endpoint Endpoint
	Created  bool
	Changed  bool           // false when it was like this before
	Issued   []IssuedSecret // made by this change
}

// DeliveryState is where a delivery stands.
type DeliveryState string

// Delivery states.
const (
	StatePending   DeliveryState = "pending"
	StateParked    DeliveryState = "parked" // refused while others passed: tried on its own, out of order
	StateDelivered DeliveryState = "delivered"
	StateDead      DeliveryState = "dead"    // given up; can be replayed
	StateMissing   DeliveryState = "missing" // never queued for this endpoint
)

// DeliveryStates lists the states that a stored delivery can have.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{StatePending, StateParked, StateDelivered, StateDead}
}

// DeliveryInfo is a delivery as people look at it.
type DeliveryInfo struct {
	Endpoint   string
	Sequence   int64
	MessageID  string
	EventID    string
	Kind       events.Kind
	Step       events.Step
	OccurredAt time.Time // of the event
	State      DeliveryState
	Lane       Lane
	Attempts   int
	Queued     time.Time // zero when missing
	Next       time.Time // of a parked one, else zero
	Settled    time.Time // zero while it waits
	LastError  string
}

// DeliveryFilter selects deliveries of one endpoint, newest first.
type DeliveryFilter struct {
	State  DeliveryState // "" is every one
	Before int64         // sequence of the last one of the page before; 0 for the first page
	Limit  int           // 1 to 500
}

// Replay says what is to be sent again.
type Replay struct {
	Sequences []int64 // these changes only, whatever their state; or else those that the rest selects
	From, To  time.Time
	Kinds     []events.Kind
	// State is StateDead, StateDelivered or StateMissing, or "" for all three. What
	// waits already is not queued twice.
	State DeliveryState
	// Preview only says what would be done.
	Preview bool
}

// Limits of a replay.
const (
	MaxReplay       = 100_000 // messages of one request
	MaxSequences    = 1000    // named one by one
	PreviewExamples = 10
)

// ReplayResult is what a replay does, or would do.
type ReplayResult struct {
	Count    int64 // messages
	More     bool  // MaxReplay was reached: ask again for the rest
	Examples []DeliveryInfo
}

// AttemptFilter selects lines of the log, newest first.
type AttemptFilter struct {
	Endpoint, EventID, MessageID string // "" is every one
	Outcome                      Outcome
	Kind                         AttemptKind
	From, To                     time.Time // of the start; zero is open
	Before                       int64     // ID of the last one of the page before; 0 for the first page
	Limit                        int       // 1 to 500
}

package outbox

import (
	"math"
	"time"
)

// When and how often something is tried. Standard Webhooks 1.0 gives the
// schedule of one message; an endpoint that is away is probed more often, since
// all that is known is that it was away.
const (
	firstRetry    = 5 * time.Second
	maxRetry      = 15 * time.Minute // between probes of an endpoint that is away
	maxUrgent     = time.Minute      // the same while a critical alarm waits
	maxRetryAfter = 24 * time.Hour   // what a receiver may ask for

	failuresToAlarm  = 5 // in a row
	refusalsToDead   = 3 // of one message
	refusalsToAway   = 5 // of different messages in a row: the receiver wants none
	failuresToTest   = 3 // of one message, before it is compared with another
	parkedRecently   = 10 * time.Minute
	parkedAtMost     = time.Second // between parked ones while others wait
	urgentInRow      = 7           // before a message of another lane goes
	normalInRow      = 7           // before one that is replayed goes
	maxTries         = 10_000      // messages whose tries are remembered
	unsettledAtMost  = 256         // outcomes that the store has not taken yet
	settleAt         = 50
	settleAfter      = 200 * time.Millisecond
	loadAtMost       = 25 * time.Millisecond
	replayLoadAtMost = time.Second
	backlogEvery     = 30 * time.Second
	expireEvery      = 10 * time.Minute
	storeTimeout     = 10 * time.Second
	storeRetry       = time.Second
)

// parkedSchedule is how long a message that fails while others pass waits
// before each further try: 75 hours in all.
func parkedSchedule() []time.Duration {
	return []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
		10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// refusedSchedule is the same for one that the receiver says it does not want.
func refusedSchedule() []time.Duration { return []time.Duration{5 * time.Second, time.Minute} }

// backoff is the pause after so many failures in a row (1 or more): 5 s,
// doubling to 15 min, longer by up to a quarter so that the endpoints of one
// receiver do not all come at once. jitter is in [0,1).
func backoff(failures int, jitter float64) time.Duration {
	d := math.Ldexp(firstRetry.Seconds(), min(failures-1, 20)) * (1 + jitter/4)
	return min(time.Duration(d*float64(time.Second)), maxRetry)
}

// perhapsItself reports whether an answer may be about the message rather than
// about the receiver.
func perhapsItself(r *Result) bool {
	return r.Outcome == Refused || r.Outcome == Retry && r.Status >= 500 && r.Status != 503
}

// bucket limits messages a second. One second's worth may go at once.
type bucket struct {
	rate   float64
	tokens float64
	at     time.Time
}

func newBucket(rate float64, now time.Time) bucket {
	return bucket{rate: rate, tokens: max(1, rate), at: now}
}

// wait returns how long it takes until there is a token; 0 when there is one.
func (b *bucket) wait(now time.Time) time.Duration {
	b.tokens = min(max(1, b.rate), b.tokens+b.rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	if b.tokens >= 1-1e-9 {
		return 0
	}
	return time.Duration(math.Ceil((1 - b.tokens) / b.rate * float64(time.Second)))
}

func (b *bucket) take() { b.tokens-- }

package pgcluster

import (
	"math/rand/v2"
	"time"
)

// Bounds of the wait before the server is started again.
const (
	firstWait = 200 * time.Millisecond
	lastWait  = 30 * time.Second
	calmAfter = time.Minute // a server that ran so long starts the series anew
)

// backoff is the series of waits between two starts. The zero value is ready.
type backoff struct{ wait time.Duration }

// next returns the wait after a server that was up for the given time: double
// the one before, at most 30 s, with up to a quarter of it taken off at random.
func (b *backoff) next(up time.Duration) time.Duration {
	if b.wait == 0 || up >= calmAfter {
		b.wait = firstWait
	} else {
		b.wait = min(2*b.wait, lastWait)
	}
	return b.wait - rand.N(b.wait/4) //nolint:gosec // jitter is no secret
}

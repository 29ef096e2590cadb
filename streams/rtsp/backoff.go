package rtsp

import "time"

// Backoff decides how long to wait before the next attempt. Waits double from
// Min; while an outage is younger than QuickFor they stay below Quick, so a
// camera that restarts delivers again within 5 s of its return; later they
// grow to Max, so a camera that is gone costs little. What only a person can
// mend waits Max at once where trying again does harm (a wrong password: many
// cameras lock the account) and grows to Max from the start otherwise. Every
// wait is shortened by a random part of up to a half, so that cameras do not
// come in step after a power cut. An outage is over after 60 s online.
type Backoff struct {
	Min      time.Duration // longest first wait; default 1s
	Quick    time.Duration // longest wait of a young outage; default 3s
	QuickFor time.Duration // how long an outage is young; default 5m
	Max      time.Duration // longest wait; default 30s
	Reset    time.Duration // online this long, the outage is over; default 60s
}

func (b Backoff) withDefaults() Backoff {
	for v, def := range map[*time.Duration]time.Duration{
		&b.Min: time.Second, &b.Quick: 3 * time.Second, &b.QuickFor: 5 * time.Minute,
		&b.Max: 30 * time.Second, &b.Reset: time.Minute,
	} {
		if *v <= 0 {
			*v = def
		}
	}
	return b
}

// wait returns how long to wait after the n-th failure in a row (from 1) for
// reason r, age after the outage began. rnd is in [0, 1).
func (b Backoff) wait(n int, r Reason, age time.Duration, rnd float64) time.Duration {
	d := b.Min
	for i := 1; i < n && d < b.Max; i++ {
		d *= 2
	}
	limit := b.Max
	switch r { //nolint:exhaustive // the rest grow to Max
	case WrongPassword:
		d = b.Max
	case Unreachable, Stalled, Closed, NotRTSP, Internal, NotFound:
		// A camera that boots refuses, then answers nonsense, then has no
		// stream yet.
		if age < b.QuickFor {
			limit = b.Quick
		}
	}
	d = min(d, limit)
	return d - time.Duration(rnd*float64(d/2))
}

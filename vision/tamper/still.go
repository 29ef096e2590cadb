package tamper

import "time"

// Limits within which two pictures are the same. A camera's sensor has noise,
// which no encoder keeps away for long: at the latest the next key picture
// shows it.
const (
	sameMean  = 0.02 // mean difference to the picture before, grey levels
	driftMean = 0.15 // to the first of the same pictures
	sameFar   = 1    // grey levels
	farPixels = 12   // pixels that may differ by more
)

// How long the same picture must be seen: from stillFrom on there is a doubt, at
// stillSure there is none.
const (
	stillFrom = 10 * time.Second
	stillSure = 20 * time.Second
	// lullFactor: where pictures have been the same for a while before, as a
	// frugal encoder may send them at night, it must last this many times as
	// long.
	lullFactor  = 3
	longestLull = 2 * time.Minute
)

// stillness notices that the same picture comes again and again.
type stillness struct {
	have         bool
	first, prev  []byte
	since, until time.Time
	lull         time.Duration // longest time of the same pictures that ended without doubt
}

func (s *stillness) reset() { s.have = false }

// look returns how sure it is that the picture stands still, in [0,1].
func (s *stillness) look(at time.Time, gray []byte, use []bool) float64 {
	if s.have && same(s.prev, gray, use, sameMean) && same(s.first, gray, use, driftMean) {
		copy(s.prev, gray)
		s.until = at
		return s.score(at.Sub(s.since))
	}
	if s.have {
		if d := s.until.Sub(s.since); d < longestLull && s.score(d) < 0.5 {
			s.lull = max(s.lull, d)
		}
	}
	s.first, s.prev = append(s.first[:0], gray...), append(s.prev[:0], gray...)
	s.have, s.since, s.until = true, at, at
	return 0
}

func (s *stillness) score(d time.Duration) float64 {
	sure := max(stillSure, lullFactor*s.lull)
	from := sure - (stillSure - stillFrom)
	return clamp(float64(d-from) / float64(sure-from))
}

// same reports whether two pictures differ by no more than what decoding alone
// explains.
func same(a, b []byte, use []bool, mean float64) bool {
	sum, far, n := 0, 0, 0
	b, use = b[:len(a)], use[:len(a)]
	for i, v := range a {
		d := int(v) - int(b[i])
		if d == 0 || !use[i] {
			continue
		}
		if d < 0 {
			d = -d
		}
		sum += d
		if d > sameFar {
			far++
		}
		n++
	}
	return far <= farPixels && float64(sum) <= mean*float64(len(a))
}

func clamp(v float64) float64 { return min(max(v, 0), 1) }

package evidence

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
)

// Class says how long the files of some events are kept. Empty lists match
// every event.
type Class struct {
	Name       string
	Kinds      []events.Kind
	Severities []events.Severity
	Verdicts   []string // "confirmed", "false_alarm", "other": events that were closed with it
	Keep       time.Duration
}

func (c *Class) matches(u *User) bool {
	return (len(c.Kinds) == 0 || slices.Contains(c.Kinds, u.Kind)) &&
		(len(c.Severities) == 0 || slices.Contains(c.Severities, u.Severity)) &&
		(len(c.Verdicts) == 0 || slices.Contains(c.Verdicts, u.Verdict))
}

// Policy says what is kept. The zero value keeps everything for 90 days.
type Policy struct {
	Keep     time.Duration // of events of no class; default 90 days
	Classes  []Class       // the first that matches counts
	MaxBytes int64         // of all files together; 0 sets no limit
	// MinFree is how much of the disk must stay free, in bytes; default 1 GiB or
	// a twentieth of the disk, whichever is less. MinFreeFiles is the same for
	// files that can still be made; default 1,000 or a twentieth.
	MinFree      int64
	MinFreeFiles int64
}

const (
	defaultKeep  = 90 * 24 * time.Hour
	maxKeep      = 100 * 365 * 24 * time.Hour
	youngest     = time.Minute // what is younger is never taken, whatever the disk says
	goalOverhead = 10          // when room is made, a tenth more than needed is made
)

func (p Policy) withDefaults() (Policy, error) {
	if p.Keep == 0 {
		p.Keep = defaultKeep
	}
	for _, c := range append([]Class{{Name: "all others", Keep: p.Keep}}, p.Classes...) {
		if c.Keep < time.Hour || c.Keep > maxKeep {
			return p, fmt.Errorf("retention of %s: %s is not between an hour and 100 years", c.Name, c.Keep)
		}
	}
	if p.MaxBytes < 0 || p.MinFree < 0 || p.MinFreeFiles < 0 {
		return p, errors.New("retention: sizes must not be negative")
	}
	return p, nil
}

// shortest returns the time before which nothing is due.
func (p *Policy) shortest() time.Duration {
	s := p.Keep
	for _, c := range p.Classes {
		s = min(s, c.Keep)
	}
	return s
}

// due reports whether every event that refers to a file is older than its class
// is kept.
func (p *Policy) due(f *StoredFile, now time.Time) bool {
	for i := range f.Users {
		if !f.Users[i].At.Before(now.Add(-p.keep(&f.Users[i]))) {
			return false
		}
	}
	return len(f.Users) > 0
}

func (p *Policy) keep(u *User) time.Duration {
	for i := range p.Classes {
		if p.Classes[i].matches(u) {
			return p.Classes[i].Keep
		}
	}
	return p.Keep
}

package main

import "time"

// EvidenceConfig says how much of the stream goes into the clip of an event.
type EvidenceConfig struct {
	Before time.Duration `yaml:"before"` // what led to it
	After  time.Duration `yaml:"after"`  // what came of it, from its end on, or its beginning where that is later
	Max    time.Duration `yaml:"max"`    // after so long an event that goes on counts as over
}

// validate reports what is wrong.
func (c EvidenceConfig) validate(bad func(field, format string, args ...any)) {
	if c.Before < 0 || c.Before > 30*time.Second {
		bad("evidence.before", "%s is not between 0s and 30s", c.Before)
	}
	if c.After < time.Second || c.After > 2*time.Minute {
		bad("evidence.after", "%s is not between 1s and 2m", c.After)
	}
	if c.Max < 0 || c.Max > 10*time.Minute {
		bad("evidence.max", "%s is not between 0s and 10m", c.Max)
	}
}

func defaultEvidence() EvidenceConfig {
	return EvidenceConfig{Before: 5 * time.Second, After: 10 * time.Second, Max: time.Minute}
}

const (
	// ringSlack is what the pre-roll keeps beyond what a clip needs: an event is
	// known some time after its picture, and its clip must not fall out of it
	// while the disk is slow.
	ringSlack = 5 * time.Second
	ringBytes = 16 << 20
)

// keep is how much of the stream is held in memory.
func (c EvidenceConfig) keep() time.Duration { return max(10*time.Second, c.Before+ringSlack) }

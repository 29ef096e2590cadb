package outbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestPauseWithoutLease: an outcome that came after the lease was lost cannot be
// stored, so there is nothing to hurry for.
func TestPauseWithoutLease(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := &courier{cfg: &Config{Page: 100}, e: Endpoint{Timeout: DefaultTimeout}, since: now.Add(-time.Minute)}
	c.pollAt, c.renewAt = now.Add(5*time.Second), now.Add(4*time.Second)
	assert.Equal(t, 4*time.Second, c.pause(now))
	c.epoch = 1
	assert.Equal(t, time.Millisecond, c.pause(now), "with the lease it is stored at once")
}

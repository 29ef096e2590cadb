package lifecycle_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := events.Key{Source: "cam", Kind: "loitering", Object: "1"}
	b := events.Key{Source: "cam", Kind: "loitering", Object: "2"}
	m := lifecycle.New(lifecycle.Rules{{Kind: "loitering"}: {Hold: 3 * time.Second, Clear: time.Second, Miss: time.Second}}, 0)
	assert.Empty(t, m.Standing())
	for i := range 5 {
		holding := []events.Signal{{Key: a}}
		if i >= 3 {
			holding = append(holding, events.Signal{Key: b})
		}
		m.Step(at.Add(time.Duration(i)*time.Second), holding)
	}
	want := []lifecycle.Standing{
		{Key: a, Raised: true, Held: 4 * time.Second, Hold: 3 * time.Second},
		{Key: b, Held: time.Second, Hold: 3 * time.Second},
	}
	assert.Equal(t, want, m.Standing())
	assert.Equal(t, want, m.Standing(), "looking changes nothing")
	m.Step(at.Add(10*time.Second), nil)
	assert.Empty(t, m.Standing())
}

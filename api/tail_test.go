package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

// TestTailMemory holds what the memory claims to know against what it has, for
// every position after every change.
func TestTailMemory(t *testing.T) {
	t.Parallel()
	const keep, start, end = 3, 10, 60
	s, err := New(Config{Events: newMemLog(), Cameras: camList{}, Media: testConfig(t, newMemLog()).Media, Tail: keep})
	require.NoError(t, err)
	m := s.tail
	assert.False(t, m.after(0).known)
	m.publish(nil, start)
	for seq := int64(start + 1); seq <= end; seq++ {
		m.publish([]entry{{event: &events.Event{Sequence: seq}}}, -1)
		for position := int64(0); position <= seq; position++ {
			v := m.after(position)
			assert.LessOrEqual(t, v.floor, seq)
			if !v.known {
				assert.Less(t, position, max(start, seq-keep), "at least the newest are kept")
				continue
			}
			require.Len(t, v.entries, int(seq-position), "position %d of %d", position, seq)
			for i, e := range v.entries {
				require.Equal(t, position+1+int64(i), e.sequence())
			}
		}
		assert.Less(t, len(m.entries), 2*keep, "the memory is bounded")
	}
}

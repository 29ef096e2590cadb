package lifecycle_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
)

func rules(r lifecycle.Rule) lifecycle.Rules {
	return lifecycle.Rules{lifecycle.RuleKey{Kind: "k"}: r}
}

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func signal(object string) events.Signal {
	return events.Signal{
		Key:      events.Key{Source: "cam", Kind: "k", Rule: "r", Zone: "z", Object: object},
		Severity: events.SeverityHigh, Score: .8, Rule: events.RuleRef{Name: "r", Version: 3},
		Subject: &events.Subject{Track: 1, Class: "person", Score: .8},
	}
}

func TestStep(t *testing.T) {
	t.Parallel()
	const s = time.Second
	for _, tt := range []struct {
		name string
		rule lifecycle.Rule
		in   string // one character a second: '#' holds, '.' does not, ' ' no step, '<' the clock goes back 10 s, then '#'
		want string // 'R' raises, 'C' clears, followed by the second in which it last held
	}{
		{"raised after hold", lifecycle.Rule{Hold: 2 * s}, "####", "..R."},
		{"a flicker restarts the hold", lifecycle.Rule{Hold: 2 * s}, "##.##.", "......"},
		{"a miss does not", lifecycle.Rule{Hold: 3 * s, Miss: 2 * s}, "##.##", "...R."},
		{"not raised in a miss", lifecycle.Rule{Hold: 2 * s, Miss: 2 * s}, "##.#", "...R"},
		{"a longer miss does", lifecycle.Rule{Hold: 3 * s, Miss: s}, "##..##", "......"},
		{"cleared after clear", lifecycle.Rule{Clear: 2 * s}, "#...", "R.C0."},
		{"gap shorter than clear", lifecycle.Rule{Clear: 3 * s}, "#..#..", "R....."},
		{"one moment", lifecycle.Rule{}, "#.#.", "RC0RC2"},
		{"one moment, slow steps", lifecycle.Rule{}, "#     .", "R     C0"},
		{"a blind source does not count towards hold", lifecycle.Rule{Hold: 3 * s, Stale: 2 * s}, "#   #..", ".   ..."},
		{"nor with miss", lifecycle.Rule{Hold: 3 * s, Stale: 2 * s, Miss: 9 * s}, "#   #.#", ".   ..."},
		{"a blind source does not clear", lifecycle.Rule{Clear: 3 * s, Stale: 2 * s}, "#     ....", "R     ...C0"},
		{"held, then cleared when last held", lifecycle.Rule{Clear: 2 * s}, "###...", "R...C2."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := lifecycle.New(rules(tt.rule), 0)
			var got strings.Builder
			for i, c := range []byte(tt.in) {
				at := start().Add(time.Duration(i) * time.Second)
				if c == ' ' {
					got.WriteByte(' ')
					continue
				}
				var in []events.Signal
				if c == '#' {
					in = append(in, signal("1"))
				}
				out := m.Step(at, in)
				if len(out) == 0 {
					got.WriteByte('.')
				}
				for _, tr := range out {
					if tr.To == events.StateRaised {
						assert.Equal(t, at, tr.At)
						assert.Equal(t, signal("1"), tr.Signal)
						got.WriteByte('R')
						continue
					}
					fmt.Fprintf(&got, "C%d", int(tr.At.Sub(start()).Seconds()))
				}
			}
			assert.Equal(t, tt.want, got.String())
		})
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	m := lifecycle.New(rules(lifecycle.Rule{Hold: 3 * time.Second, Clear: 2 * time.Second}), 0)
	at := start()
	step := func(d time.Duration, holds bool) []lifecycle.Transition {
		at = at.Add(d)
		if holds {
			return m.Step(at, []events.Signal{signal("1")})
		}
		return m.Step(at, nil)
	}
	require.Empty(t, step(0, true))
	require.Empty(t, step(2*time.Second, true))
	require.Empty(t, step(-time.Second, false), "out of order: taken as now")
	require.Empty(t, step(-time.Hour, true), "set back: 2 s of hold stay")
	out := step(time.Second, true)
	require.Len(t, out, 1)
	assert.Equal(t, at, out[0].At)
	raised := at
	require.Empty(t, step(-time.Hour, false), "set back again, long before it was raised")
	out = step(2*time.Second, false)
	require.Len(t, out, 1)
	assert.Equal(t, raised, out[0].At, "never cleared before it was raised")

	m = lifecycle.New(nil, 0)
	require.Len(t, m.Step(start(), []events.Signal{signal("1")}), 1)
	out = m.Step(start().Add(-time.Second), []events.Signal{signal("2")})
	require.Len(t, out, 1, "a moment in a late frame is not lost")
	assert.Equal(t, start(), out[0].At)
	require.Len(t, m.Step(start().Add(time.Second), nil), 2)
}

func TestLimitAndOrder(t *testing.T) {
	t.Parallel()
	m := lifecycle.New(rules(lifecycle.Rule{Clear: time.Second}), 3)
	var in []events.Signal
	for _, o := range []string{"10", "9", "9", "8", "7"} {
		in = append(in, signal(o))
	}
	var got []string
	for _, tr := range m.Step(start(), in) {
		got = append(got, tr.Key.Object)
	}
	assert.Equal(t, []string{"8", "9", "10"}, got)
	assert.Equal(t, uint64(1), m.Dropped())
	assert.Equal(t, 3, m.Len())
	out := m.Step(start().Add(time.Minute), in[4:])
	require.Len(t, out, 3, "no room for 7 in the step that makes room")
	assert.Len(t, m.Step(start().Add(2*time.Minute), in[4:]), 1)
}

// model is the obvious implementation for one key, one step a second: it looks
// at the entire history each time.
func model(r lifecycle.Rule, history []bool) string {
	var out []byte
	sec := func(d time.Duration) int { return int(d / time.Second) }
	active, since, last := false, -1, -1
	for i, holds := range history {
		b := byte('.')
		if !active && since >= 0 && i-last > sec(r.Miss) && !holds {
			since = -1
		}
		if holds {
			if since < 0 {
				since = i
			}
			last = i
			if !active && i-since >= sec(r.Hold) {
				active, b = true, 'R'
			}
		} else if active && i-last >= sec(r.Clear) {
			active, since, b = false, -1, 'C'
		}
		out = append(out, b)
	}
	return string(out)
}

func TestStepAgainstModel(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		rule := lifecycle.Rule{
			Hold: time.Duration(r.IntN(4)) * time.Second, Clear: time.Duration(r.IntN(4)) * time.Second,
			Miss: time.Duration(r.IntN(3)) * time.Second,
		}
		history := make([]bool, 30)
		m := lifecycle.New(rules(rule), 0)
		var got []byte
		for i := range history {
			history[i] = r.IntN(3) > 0
			var in []events.Signal
			if history[i] {
				in = append(in, signal("1"))
			}
			b := byte('.')
			for _, tr := range m.Step(start().Add(time.Duration(i)*time.Second), in) {
				b = map[events.State]byte{events.StateRaised: 'R', events.StateCleared: 'C'}[tr.To]
			}
			got = append(got, b)
		}
		require.Equal(t, model(rule, history), string(got), "%+v %v", rule, history)
	}
}

// FuzzStep checks the invariants with any times: raised and cleared alternate,
// an ID is used once, an event is not cleared before it was raised, and nothing
// stays behind.
func FuzzStep(f *testing.F) {
	f.Add([]byte("##..#0123"), uint8(2), uint8(1), uint8(3), uint8(1))
	f.Add([]byte{1, 200, 3, 255, 0, 7}, uint8(0), uint8(0), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, hold, gone, stale, miss uint8) {
		sec := func(n uint8) time.Duration { return time.Duration(n) * time.Second / 4 }
		m := lifecycle.New(rules(lifecycle.Rule{Hold: sec(hold), Clear: sec(gone), Stale: sec(stale), Miss: sec(miss)}), 3)
		at := start()
		open := map[string]time.Time{}
		used := map[string]bool{}
		step := func(d time.Duration, s []events.Signal) {
			at = at.Add(d)
			for _, tr := range m.Step(at, s) {
				raised, isOpen := open[tr.ID]
				switch {
				case tr.To == events.StateRaised && (isOpen || used[tr.ID]):
					t.Fatal("raised twice")
				case tr.To == events.StateRaised:
					open[tr.ID], used[tr.ID] = tr.At, true
				case !isOpen:
					t.Fatal("cleared without being raised")
				case tr.At.Before(raised):
					t.Fatal("cleared before it was raised")
				default:
					delete(open, tr.ID)
				}
			}
		}
		back := false
		for i, b := range in {
			var s []events.Signal
			for o := range 5 {
				if b>>o&1 == 1 {
					s = append(s, signal(strconv.Itoa(o)))
				}
			}
			d := time.Duration(b>>5) * 250 * time.Millisecond
			if i%7 == 6 && !back {
				d = -4 * d // once: a second return to the same microsecond could repeat an ID
				back = d < -2*time.Second
			}
			step(d+time.Microsecond, s)
		}
		for range 600 {
			step(250*time.Millisecond, nil)
		}
		if m.Len() != 0 || len(open) != 0 {
			t.Fatalf("%d conditions and %d events stay behind", m.Len(), len(open))
		}
	})
}

func BenchmarkStep(b *testing.B) {
	m := lifecycle.New(rules(lifecycle.Rule{Clear: time.Second}), 0)
	var in []events.Signal
	for i := range 20 {
		in = append(in, signal(strconv.Itoa(i)))
	}
	at := start()
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(200 * time.Millisecond)
		m.Step(at, in)
	}
}

// TestBackAfterBlindTime: a camera that was away comes back, and the tracker
// follows the same people under other IDs.
func TestBackAfterBlindTime(t *testing.T) {
	t.Parallel()
	person := func(object string) events.Signal {
		s := signal(object)
		s.Subject = &events.Subject{Class: "person"}
		return s
	}
	dog := person("3")
	dog.Subject = &events.Subject{Class: "dog"}
	m := lifecycle.New(rules(lifecycle.Rule{Clear: 3 * time.Second, Stale: 5 * time.Second}), 0)
	out := m.Step(start(), []events.Signal{person("1"), person("2")})
	require.Len(t, out, 2)
	at := start().Add(10 * time.Second)
	out = m.Step(at, []events.Signal{person("7"), person("2"), dog})
	require.Len(t, out, 1, "7 is who was 1, 2 is 2 still")
	assert.Equal(t, "3", out[0].Key.Object, "the dog is new")
	for range 20 {
		at = at.Add(time.Second)
		require.Empty(t, m.Step(at, []events.Signal{person("7"), person("2"), dog}))
	}
	at = at.Add(4 * time.Second)
	out = m.Step(at, []events.Signal{person("2"), dog})
	require.Len(t, out, 1)
	assert.Equal(t, lifecycle.Transition{ID: events.NewID(person("1").Key, start()), Key: person("1").Key, To: events.StateCleared, At: at.Add(-4 * time.Second)}, out[0])

	m = lifecycle.New(rules(lifecycle.Rule{Clear: 3 * time.Second, Stale: 5 * time.Second}), 0)
	require.Len(t, m.Step(start(), []events.Signal{person("1")}), 1)
	at = start().Add(10 * time.Second)
	require.Empty(t, m.Step(at, nil), "nobody is there after the blind time")
	out = m.Step(at.Add(3*time.Second), nil)
	require.Len(t, out, 1)
	assert.Equal(t, start(), out[0].At)
	require.Len(t, m.Step(at.Add(4*time.Second), []events.Signal{person("7")}), 1, "too late to be the same")
}

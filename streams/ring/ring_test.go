package ring_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/ring"
)

var begin = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func at(d time.Duration) time.Time { return begin.Add(d) }

// feed adds n units at 25 a second, a key every gop, of size bytes.
func feed(r *ring.Ring, from, n, gop, size int) {
	for i := from; i < from+n; i++ {
		r.Add(unit(i, i%gop == 0, size))
	}
}

func unit(i int, key bool, size int) *media.AccessUnit {
	d := time.Duration(i) * 40 * time.Millisecond
	return &media.AccessUnit{PTS: d, Captured: at(d), Key: key, NALUs: [][]byte{make([]byte, size)}}
}

func TestRingKeepsWholeGroups(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{})
	feed(r, 0, 1000, 50, 100) // 40 s in groups of 2 s
	s := r.Stats()
	assert.GreaterOrEqual(t, s.Span, 10*time.Second)
	assert.Less(t, s.Span, 12*time.Second)
	all := r.Snapshot(time.Time{}, at(time.Hour))
	require.Len(t, all, s.Units)
	assert.True(t, all[0].Key)
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{})
	feed(r, 0, 500, 50, 100) // up to 19.96 s
	tests := map[string]struct {
		from, to    time.Duration
		first, last time.Duration
		none        bool
	}{
		"inside":                {from: 12500 * time.Millisecond, to: 15 * time.Second, first: 12 * time.Second, last: 15 * time.Second},
		"exactly at a key":      {from: 14 * time.Second, to: 15 * time.Second, first: 14 * time.Second, last: 15 * time.Second},
		"before what is kept":   {from: 0, to: 15 * time.Second, first: 8 * time.Second, last: 15 * time.Second},
		"up to now":             {from: 19 * time.Second, to: time.Hour, first: 18 * time.Second, last: 19960 * time.Millisecond},
		"nothing so old":        {from: 0, to: time.Second, none: true},
		"from after everything": {from: time.Hour, to: 2 * time.Hour, first: 18 * time.Second, last: 19960 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := r.Snapshot(at(tt.from), at(tt.to))
			if tt.none {
				require.Nil(t, got)
				return
			}
			require.NotEmpty(t, got)
			assert.True(t, got[0].Key)
			assert.Equal(t, at(tt.first), got[0].Captured)
			assert.Equal(t, at(tt.last), got[len(got)-1].Captured)
		})
	}
}

func TestSinceKey(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{})
	require.Nil(t, r.SinceKey())
	r.Add(unit(0, false, 10))
	require.Nil(t, r.SinceKey(), "nothing before the first key")
	feed(r, 50, 60, 50, 100)
	got := r.SinceKey()
	require.Len(t, got, 10)
	assert.Equal(t, at(4*time.Second), got[0].Captured)
}

func TestRingIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	r := ring.New(ring.Config{MaxBytes: limit})
	feed(r, 0, 2000, 25, 10_000)
	assert.LessOrEqual(t, r.Stats().Bytes, limit)
	assert.True(t, r.Snapshot(time.Time{}, at(time.Hour))[0].Key)

	r = ring.New(ring.Config{MaxBytes: limit})
	feed(r, 0, 500, 400, 10_000) // a group of 4 MB
	assert.LessOrEqual(t, r.Stats().Bytes, limit)
	assert.NotZero(t, r.Stats().Dropped)
	feed(r, 800, 10, 400, 100) // the next key
	assert.Len(t, r.SinceKey(), 10)
}

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{})
	feed(r, 90_000, 250, 50, 100)
	feed(r, 0, 250, 50, 100) // an hour earlier
	assert.Less(t, r.Stats().Span, 12*time.Second)
	assert.Equal(t, at(0), r.Snapshot(at(0), at(time.Minute))[0].Captured)
}

func TestReset(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{})
	feed(r, 0, 100, 50, 100)
	r.Reset()
	assert.Zero(t, r.Stats().Units)
	assert.Zero(t, r.Stats().Bytes)
	feed(r, 100, 10, 50, 100)
	assert.Len(t, r.SinceKey(), 10)
}

func TestRingProperty(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		keep := time.Duration(1+rnd.IntN(8)) * time.Second
		limit := 20_000 + rnd.IntN(400_000)
		r := ring.New(ring.Config{Keep: keep, MaxBytes: limit})
		var kept []*media.AccessUnit // what a ring without bounds would hold
		for i := range 600 {
			u := unit(i, rnd.IntN(30) == 0, rnd.IntN(3000))
			r.Add(u)
			kept = append(kept, u)
			s := r.Stats()
			require.LessOrEqual(t, s.Bytes, limit)
			all := r.Snapshot(time.Time{}, at(time.Hour))
			require.Len(t, all, s.Units)
			if len(all) == 0 {
				continue
			}
			require.True(t, all[0].Key)
			require.Equal(t, kept[len(kept)-len(all):], all, "the newest, without a hole")
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{Keep: 4 * time.Second})
	early := r.Follow(begin)
	feed(r, 0, 100, 25, 10) // keys at 0, 1, 2 and 3 s
	c := r.Follow(at(2500 * time.Millisecond))
	got, lost := c.Next(10)
	require.Zero(t, lost)
	require.Len(t, got, 10)
	assert.Equal(t, 2*time.Second, got[0].PTS)
	got, _ = c.Next(1000)
	require.Len(t, got, 40)
	got, _ = c.Next(1000)
	require.Empty(t, got)
	feed(r, 100, 25, 25, 10)
	got, lost = c.Next(1000)
	require.Zero(t, lost)
	require.Len(t, got, 25)
	assert.Equal(t, 4*time.Second, got[0].PTS)

	feed(r, 125, 500, 25, 10) // far more than it keeps
	got, lost = c.Next(1000)
	assert.Positive(t, lost)
	assert.True(t, got[0].Key)
	assert.Equal(t, 500, lost+len(got))
	first, lost := early.Next(1)
	assert.Positive(t, lost)
	assert.True(t, first[0].Key)
	r.Reset()
	got, lost = early.Next(1000)
	assert.Empty(t, got)
	assert.Positive(t, lost)
	r.Add(unit(0, true, 1))
	got, lost = early.Next(1000)
	assert.Len(t, got, 1)
	assert.Zero(t, lost)
}

func TestRingConcurrent(t *testing.T) {
	t.Parallel()
	r := ring.New(ring.Config{Keep: time.Second})
	var wg sync.WaitGroup
	wg.Go(func() { feed(r, 0, 5000, 25, 10) })
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if got := r.Snapshot(at(0), at(time.Hour)); got != nil {
					assert.True(t, got[0].Key)
				}
				r.SinceKey()
				r.Stats()
			}
		})
	}
	wg.Wait()
}

func BenchmarkAdd(b *testing.B) {
	r := ring.New(ring.Config{})
	u := make([]*media.AccessUnit, 10_000)
	for i := range u {
		u[i] = unit(i, i%25 == 0, 100)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		r.Add(u[i%len(u)])
		i++
	}
}

func BenchmarkSnapshot(b *testing.B) {
	r := ring.New(ring.Config{})
	feed(r, 0, 500, 25, 20_000)
	b.ReportAllocs()
	for b.Loop() {
		r.Snapshot(at(12*time.Second), at(20*time.Second))
	}
}

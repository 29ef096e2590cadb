package rtsp

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// toNTP is the inverse of ntpTime.
func toNTP(t time.Time) uint64 {
	sec := uint64(t.Unix() + ntpEpoch)
	return sec<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// rig feeds a clock like a camera would: frames of 40 ms whose capture time is
// known, with the timestamp, report and arrival errors the case asks for.
type rig struct {
	c      clock
	start  time.Time
	ts     uint32        // RTP timestamp of capture 0
	camera time.Duration // error of the camera's clock
	skip   map[int]bool
	shift  map[int]int64 // added to ts from this frame on, in ticks
	outl   map[int]int64 // added to this frame's timestamp only
	late   map[int]time.Duration
	camSet map[int]time.Duration // the camera's clock error from this frame on
	sysSet map[int]time.Duration // step of our own clock at this frame
	order  []int                 // presentation order within a group, for B-frames
	report int                   // a report every so many frames; 0: none
	n      int

	pts      []time.Duration
	captured []time.Time
	truth    []time.Time
	jumps    int
}

func (r *rig) run() {
	r.start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	sys := time.Duration(0)
	ts := r.ts
	for i := range r.n {
		ts += uint32(r.shift[i])
		sys += r.sysSet[i]
		if v, ok := r.camSet[i]; ok {
			r.camera = v
		}
		if r.skip[i] {
			continue
		}
		p := i
		if len(r.order) > 0 {
			g := len(r.order)
			p = i/g*g + r.order[i%g]
		}
		capture := time.Duration(p) * 40 * time.Millisecond
		arrival := time.Duration(i)*40*time.Millisecond + 30*time.Millisecond + r.late[i]
		at := instant{wall: r.start.Add(arrival + sys), mono: 7*time.Minute + arrival}
		frame := ts + uint32(p*3600) + uint32(r.outl[i])
		if r.report > 0 && i%r.report == 0 {
			r.c.senderReport(toNTP(r.start.Add(capture+r.camera)), ts+uint32(p*3600), at)
		}
		got := r.c.observe(frame, at)
		if got.Jumped {
			r.jumps++
		}
		r.pts = append(r.pts, got.PTS)
		r.captured = append(r.captured, got.Captured)
		r.truth = append(r.truth, r.start.Add(capture+sys))
	}
}

// worst is the largest error of Captured from frame `from` on.
func (r *rig) worst(from int) time.Duration {
	var w time.Duration
	for i := from; i < len(r.captured); i++ {
		w = max(w, r.captured[i].Sub(r.truth[i]).Abs())
	}
	return w
}

// slips is the largest error of a PTS difference between neighbours.
func (r *rig) slips() time.Duration {
	var w time.Duration
	for i := 1; i < len(r.pts); i++ {
		w = max(w, ((r.pts[i] - r.pts[i-1]) - (r.truth[i].Sub(r.truth[i-1]) - r.sysSet[i])).Abs())
	}
	return w
}

func every(n int, f func(int) time.Duration) map[int]time.Duration {
	m := map[int]time.Duration{}
	for i := range n {
		m[i] = f(i)
	}
	return m
}

func TestClock(t *testing.T) {
	t.Parallel()
	const hour = int64(3600 * clockRate)
	rnd := rand.New(rand.NewPCG(1, 2))
	jitter := every(2000, func(int) time.Duration { return time.Duration(rnd.IntN(120)) * time.Millisecond })
	tests := map[string]struct {
		rig   rig
		slip  time.Duration // allowed error of neighbouring PTS
		wall  time.Duration // allowed error of Captured
		from  int           // judged from this frame on
		jumps int
	}{
		"plain, reports":          {rig: rig{report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"plain, no reports":       {rig: rig{}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"32-bit wrap":             {rig: rig{ts: 0xffffffff - 400*3600, report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"jitter stays invisible":  {rig: rig{late: jitter}, slip: time.Microsecond, wall: 60 * time.Millisecond, from: 50},
		"jump +10 h":              {rig: rig{shift: map[int]int64{500: 10 * hour}, report: 125}, slip: 5 * time.Millisecond, wall: 32 * time.Millisecond, jumps: 1},
		"jump -10 h":              {rig: rig{shift: map[int]int64{500: -10 * hour}, report: 125}, slip: 5 * time.Millisecond, wall: 32 * time.Millisecond, jumps: 1},
		"jump +5 s":               {rig: rig{shift: map[int]int64{500: 5 * clockRate}, report: 125}, slip: 5 * time.Millisecond, wall: 32 * time.Millisecond, jumps: 1},
		"jump -10 h, no reports":  {rig: rig{shift: map[int]int64{500: -10 * hour}}, slip: 5 * time.Millisecond, wall: 40 * time.Millisecond, jumps: 1},
		"one wild timestamp":      {rig: rig{outl: map[int]int64{500: 3 * hour}, report: 125}, slip: 5 * time.Millisecond, wall: 32 * time.Millisecond, jumps: 2},
		"camera in 1970":          {rig: rig{camera: -56 * 365 * 24 * time.Hour, report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"camera in 2036":          {rig: rig{camera: 10 * 365 * 24 * time.Hour, report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"camera 3 s fast":         {rig: rig{camera: 3 * time.Second, report: 125}, slip: time.Microsecond, wall: 3*time.Second + time.Millisecond},
		"camera clock steps 4 s":  {rig: rig{camera: 4 * time.Second, camSet: map[int]time.Duration{500: 0}, report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond, from: 900},
		"camera clock breaks":     {rig: rig{camSet: map[int]time.Duration{500: -9 * 24 * time.Hour}, report: 125}, slip: time.Microsecond, wall: 50 * time.Millisecond, from: 700},
		"our clock set +1 h":      {rig: rig{sysSet: map[int]time.Duration{500: time.Hour}, report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"our clock set -1 h":      {rig: rig{sysSet: map[int]time.Duration{500: -time.Hour}, report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"repeated timestamps":     {rig: rig{outl: map[int]int64{500: -3600, 501: -7200}, report: 125}, slip: 125 * time.Millisecond, wall: 90 * time.Millisecond},
		"B-frames":                {rig: rig{order: []int{2, 0, 1}, report: 126}, slip: time.Microsecond, wall: 90 * time.Millisecond},
		"loss of 3 s":             {rig: rig{skip: gap(500, 75), report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"network stalls 4 s":      {rig: rig{late: stall(500, 100), report: 125}, slip: time.Microsecond, wall: 31 * time.Millisecond},
		"burst of 4 s at start":   {rig: rig{late: stall(0, 100)}, slip: time.Microsecond, wall: 31 * time.Millisecond, from: 101},
		"report late for 2 s gap": {rig: rig{skip: gap(499, 50), report: 250}, slip: time.Microsecond, wall: 31 * time.Millisecond},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tt.rig
			r.n = 1500
			r.run()
			assert.LessOrEqual(t, r.slips(), tt.slip, "PTS between neighbours")
			assert.LessOrEqual(t, r.worst(tt.from), tt.wall, "Captured")
			assert.Equal(t, tt.jumps, r.jumps, "jumps")
			checkOrder(t, &r)
		})
	}
}

// checkOrder holds for every input: Captured and PTS never go back further
// than reordering does.
func checkOrder(t *testing.T, r *rig) {
	t.Helper()
	var maxPTS time.Duration
	var maxCap time.Time
	for i := range r.pts {
		require.GreaterOrEqual(t, r.pts[i], maxPTS-maxBack, "PTS %d", i)
		if !maxCap.IsZero() {
			require.GreaterOrEqual(t, r.captured[i].Sub(maxCap), -maxBack+min(r.sysSet[i], 0), "Captured %d", i)
		}
		if r.sysSet[i] < 0 {
			maxCap = time.Time{}
		}
		maxPTS = max(maxPTS, r.pts[i])
		if r.captured[i].After(maxCap) {
			maxCap = r.captured[i]
		}
	}
}

func gap(at, n int) map[int]bool {
	m := map[int]bool{}
	for i := range n {
		m[at+i] = true
	}
	return m
}

// stall holds n frames from at back and lets them arrive together.
func stall(at, n int) map[int]time.Duration {
	m := map[int]time.Duration{}
	for i := range n {
		m[at+i] = time.Duration(n-i) * 40 * time.Millisecond
	}
	return m
}

func TestClockProperty(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var c clock
		r := rig{}
		at := instant{wall: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		ts := rnd.Uint32()
		var longest time.Duration
		for range 400 {
			pause := time.Duration(rnd.IntN(200)) * time.Millisecond
			at.wall, at.mono = at.wall.Add(pause), at.mono+pause
			switch rnd.IntN(12) {
			case 0:
				ts = rnd.Uint32()
			case 1:
				ts -= uint32(rnd.IntN(clockRate))
			case 2: // the same again
			case 3:
				c.senderReport(rnd.Uint64(), rnd.Uint32(), at)
			case 4:
				c.senderReport(toNTP(at.wall.Add(time.Duration(rnd.IntN(18)-9)*time.Second)), ts, at)
			default:
				ts += uint32(pause.Milliseconds() * 90)
			}
			got := c.observe(ts, at)
			r.pts = append(r.pts, got.PTS)
			r.captured = append(r.captured, got.Captured)
			longest = max(longest, got.Captured.Sub(at.wall).Abs())
		}
		checkOrder(t, &r)
		require.Less(t, longest, clockTrust+maxLate+maxAhead+settle+aheadStart, "seed %d: Captured stays near arrival", seed)
		total := r.pts[len(r.pts)-1] - r.pts[0]
		require.InDelta(t, (at.mono - c.first).Seconds(), total.Seconds(), 50, "seed %d: PTS stays near arrival", seed)
	}
}

func TestNTPTime(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   uint64
		want time.Time
		ok   bool
	}{
		"zero":        {0, time.Time{}, false},
		"1970":        {ntpEpoch << 32, time.Unix(0, 0).UTC(), true},
		"half second": {ntpEpoch<<32 | 1<<31, time.Unix(0, 5e8).UTC(), true},
		"after 2036":  {1 << 32, time.Date(2036, 2, 7, 6, 28, 17, 0, time.UTC), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := ntpTime(tt.in)
			assert.Equal(t, tt.ok, ok)
			assert.Equal(t, tt.want, got)
		})
	}
}

func BenchmarkClock(b *testing.B) {
	var c clock
	at := instant{wall: time.Now()}
	ts := uint32(0)
	b.ReportAllocs()
	for b.Loop() {
		ts += 3600
		at.mono += 40 * time.Millisecond
		at.wall = at.wall.Add(40 * time.Millisecond)
		c.observe(ts, at)
	}
}

// TestAheadTellsTwoClocksApart: of two streams of one camera only one has
// reports, and the camera's clock is wrong.
func TestAheadTellsTwoClocksApart(t *testing.T) {
	t.Parallel()
	for _, camera := range []time.Duration{4 * time.Second, -4 * time.Second, 0} {
		main := rig{n: 500, report: 125, camera: camera}
		sub := rig{n: 500}
		main.run()
		sub.run()
		last := main.n - 1
		assert.InDelta(t, camera, main.c.ahead()-sub.c.ahead(), float64(40*time.Millisecond))
		assert.InDelta(t, main.captured[last].Sub(sub.captured[last]), main.c.ahead()-sub.c.ahead(), float64(40*time.Millisecond))
	}
}

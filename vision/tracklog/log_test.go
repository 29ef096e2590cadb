package tracklog

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 23, 5, 58, 0, 0, time.UTC) //nolint:gochecknoglobals // never changes

// street makes scenes like a tracker does: n objects that walk about, with
// noise, missed detections, and ends.
type street struct {
	r      *rand.Rand
	at     time.Time
	tracks []vision.Track
	speed  []geom.Point
	id     uint64
}

func newStreet(seed uint64) *street {
	return &street{r: rand.New(rand.NewPCG(seed, 2)), at: start}
}

// next returns the scene after step with n tracks.
func (s *street) next(step time.Duration, n int) *vision.Scene {
	s.at = s.at.Add(step)
	out := &vision.Scene{At: s.at, Aspect: 16. / 9}
	for i := 0; i < len(s.tracks); i++ {
		t := &s.tracks[i]
		c := t.Box.Center()
		if len(s.tracks) > n || c.X < 0.02 || c.X > 0.98 || c.Y < 0.05 || c.Y > 0.95 || s.r.IntN(400) == 0 {
			out.Ended = append(out.Ended, t.ID)
			s.tracks, s.speed = append(s.tracks[:i:i], s.tracks[i+1:]...), append(s.speed[:i:i], s.speed[i+1:]...)
			i--
			continue
		}
		t.Prev = t.Box
		d := geom.Point{X: s.speed[i].X*step.Seconds() + s.r.NormFloat64()*0.0015, Y: s.speed[i].Y*step.Seconds() + s.r.NormFloat64()*0.002}
		t.Box.Min.X, t.Box.Max.X = t.Box.Min.X+d.X, t.Box.Max.X+d.X+s.r.NormFloat64()*0.001
		t.Box.Min.Y, t.Box.Max.Y = t.Box.Min.Y+d.Y, t.Box.Max.Y+d.Y+s.r.NormFloat64()*0.001
		if s.r.IntN(10) > 0 {
			t.Seen, t.Score = s.at, min(0.97, max(0.3, t.Score+s.r.NormFloat64()*0.04))
			if s.speed[i] == (geom.Point{}) || t.StillFor < 600*time.Millisecond {
				t.StillFor += step
			} else {
				t.StillFor = 0
			}
		}
	}
	for len(s.tracks) < n {
		s.id++
		c := geom.Point{X: 0.1 + 0.8*s.r.Float64(), Y: 0.1 + 0.8*s.r.Float64()}
		b := geom.Box{Min: geom.Point{X: c.X - 0.02, Y: c.Y - 0.05}, Max: geom.Point{X: c.X + 0.02, Y: c.Y + 0.05}}
		label := []string{"person", "motorcycle", "car"}[s.r.IntN(3)]
		s.tracks = append(s.tracks, vision.Track{ID: s.id, Label: label, Score: 0.7, Box: b, Prev: b, First: s.at, Seen: s.at})
		speed := geom.Point{X: s.r.NormFloat64() * 0.05, Y: s.r.NormFloat64() * 0.02}
		if s.r.IntN(3) == 0 {
			speed = geom.Point{} // parked
		}
		s.speed = append(s.speed, speed)
	}
	out.Tracks = append(out.Tracks, s.tracks...)
	return out
}

// hold returns a scene of a picture that did not change.
func (s *street) hold(step time.Duration) *vision.Scene {
	before := s.at
	s.at = s.at.Add(step)
	for i := range s.tracks {
		t := &s.tracks[i]
		if t.Prev = t.Box; t.Seen.Equal(before) {
			t.Seen = s.at
			t.StillFor += step
		}
	}
	return &vision.Scene{At: s.at, Held: true, Aspect: 16. / 9, Tracks: append([]vision.Track(nil), s.tracks...)}
}

// started runs a log until the test ends or stop is called.
func started(t *testing.T, cfg Config) (l *Log, stop func()) {
	t.Helper()
	l, err := New(cfg)
	require.NoError(t, err)
	ctx, done := contextWithEnd(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(t, l.Run(ctx))
	}()
	stop = func() {
		done()
		<-ended
	}
	t.Cleanup(stop)
	return l, stop
}

// snapped returns what the log keeps of a scene, in its own memory.
func snapped(s *vision.Scene) vision.Scene {
	out := *s
	new(Snapper).Snap(&out)
	out.Camera = "cho"
	return out
}

// readAll returns every scene of the camera "cho".
func readAll(t *testing.T, dir string) ([]vision.Scene, Stats) {
	t.Helper()
	r, err := Open(t.Context(), dir, "cho", time.Time{}, start.AddDate(10, 0, 0))
	require.NoError(t, err)
	defer r.Close()
	var out []vision.Scene
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out, r.Stats()
		}
		require.NoError(t, err)
		out = append(out, snapped(s))
	}
}

// What was added is read back, over hours, runs and changes of pace, also before
// anything was closed.
func TestLogIsReadBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tracks")
	reg := prometheus.NewRegistry()
	l, stop := started(t, Config{Dir: dir, Registerer: reg})
	var want []vision.Scene
	add := func(tape *Tape, s *vision.Scene) {
		want = append(want, snapped(s))
		tape.Add(s)
	}
	st := newStreet(1)
	tape := l.Tape("cho", Run{Started: start, Model: "yolox-nano", FPS: 5, Needs: []string{"view", "stills"}})
	for i := range 3000 { // ten minutes, over the hour
		switch {
		case i%100 < 60:
			add(tape, st.hold(200*time.Millisecond))
		default:
			add(tape, st.next(time.Duration(190+i%20)*time.Millisecond, i/200))
		}
	}
	require.NoError(t, l.Sync(t.Context(), "cho"))
	got, stats := readAll(t, dir)
	require.Equal(t, want, got)
	require.Zero(t, stats.Missing+stats.Damaged)
	tape.Close()
	tape.Add(st.hold(time.Second)) // not kept: it is closed

	tape = l.Tape("cho", Run{Started: st.at, Model: "other"})
	add(tape, st.next(time.Minute, 2))
	stop()
	got, _ = readAll(t, dir)
	require.Equal(t, want, got, "what was not written yet when it ended")
	files, err := hours(dir, "cho")
	require.NoError(t, err)
	require.Len(t, files, 2)

	r, err := Open(t.Context(), dir, "cho", start.Add(time.Minute), start.Add(2*time.Minute))
	require.NoError(t, err)
	defer r.Close()
	n := 0
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.False(t, s.At.Before(start.Add(time.Minute)))
		require.True(t, s.At.Before(start.Add(2*time.Minute)))
		require.Equal(t, Run{Started: start, Model: "yolox-nano", FPS: 5, Needs: []string{"stills", "view"}}, r.Run())
		n++
	}
	require.InDelta(t, 300, n, 5)
	require.InDelta(t, len(want), testutil.ToFloat64(l.metrics.scenes.WithLabelValues("cho")), 0)
}

// Who stops wanting scenes is not told that there are no more.
func TestReadingIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := Open(ctx, t.TempDir(), "cho", start, start.Add(time.Hour))
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Next()
	require.ErrorIs(t, err, context.Canceled)
	_, err = Open(t.Context(), t.TempDir(), "../cho", start, start.Add(time.Hour))
	require.Error(t, err)
}

// A clock that is set back loses nothing.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, stop := started(t, Config{Dir: dir})
	tape := l.Tape("cho", Run{Started: start})
	st := newStreet(2)
	var want []vision.Scene
	for i := range 100 {
		if i == 50 {
			st.at = st.at.Add(-90 * time.Second)
		}
		s := st.next(200*time.Millisecond, 3)
		want = append(want, snapped(s))
		tape.Add(s)
	}
	tape.Close()
	stop()
	got, _ := readAll(t, dir)
	require.Equal(t, len(want), len(got))
	for _, s := range want {
		require.Contains(t, got, s)
	}
}

// A tail torn at any byte costs its block only, what comes after it is written
// behind the last whole block, and a damaged byte costs one block.
func TestTornAndDamagedFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(from int) []vision.Scene {
		l, stop := started(t, Config{Dir: dir, BlockAge: 5 * time.Second})
		defer stop()
		st := newStreet(3)
		st.at = start.Add(time.Duration(from) * time.Second)
		tape := l.Tape("cho", Run{Started: st.at})
		defer tape.Close()
		var out []vision.Scene
		for range 100 {
			s := st.next(200*time.Millisecond, 2)
			out = append(out, snapped(s))
			tape.Add(s)
			if len(out)%25 == 0 {
				require.NoError(t, l.Sync(t.Context(), "cho"))
			}
		}
		return out
	}
	want := write(0)
	path := filepath.Join(dir, "cho", hourName(hourOf(start.UnixMilli())))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	last := 0
	for size := range len(whole) {
		require.NoError(t, os.WriteFile(path, whole[:size], 0o600))
		got, _ := readAll(t, dir)
		require.Equal(t, append([]vision.Scene(nil), want[:len(got)]...), got)
		require.GreaterOrEqual(t, len(got), last)
		last = len(got)
	}
	require.Equal(t, 75, last)
	more := write(30)
	got, stats := readAll(t, dir)
	require.Equal(t, append(want[:75:75], more...), got)
	require.Zero(t, stats.Damaged, "the torn tail was cut off")

	r := rand.New(rand.NewPCG(4, 4))
	for range 200 {
		bad := append([]byte(nil), whole...)
		bad[r.IntN(len(bad))] ^= byte(1 + r.IntN(255))
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		got, stats := readAll(t, dir)
		require.GreaterOrEqual(t, len(got), 75)
		require.NotZero(t, stats.Damaged)
	}
}

// Who adds never waits: without anybody who writes, blocks are dropped and
// counted.
func TestNobodyWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	l, err := New(Config{Dir: t.TempDir(), Registerer: reg, Queue: 2, BlockAge: time.Second})
	require.NoError(t, err)
	tape := l.Tape("cho", Run{Started: start})
	st := newStreet(5)
	for range 100 {
		tape.Add(st.next(200*time.Millisecond, 1))
	}
	tape.Close()
	require.InDelta(t, 90, testutil.ToFloat64(l.metrics.dropped.WithLabelValues("cho", dropQueue)), 0.5)
}

// A disk that is full, or a folder that cannot be written, costs tracks and
// nothing else, and is tried again.
func TestDiskThatRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "tracks")
		require.NoError(t, os.WriteFile(dir, nil, 0o600)) // a file where the folder should be
		l, stop := started(t, Config{Dir: dir})
		tape := l.Tape("cho", Run{Started: start})
		st := newStreet(6)
		for range 50 {
			tape.Add(st.next(200*time.Millisecond, 1))
		}
		require.NoError(t, l.Sync(t.Context(), "cho"))
		require.InDelta(t, 50, testutil.ToFloat64(l.metrics.dropped.WithLabelValues("cho", dropDisk)), 0)
		require.NoError(t, os.Remove(dir))
		time.Sleep(retryAfter)
		tape.Add(st.next(200*time.Millisecond, 1))
		tape.Close()
		stop()
		got, _ := readAll(t, dir)
		require.Len(t, got, 1)
	})
	l, stop := started(t, Config{Dir: t.TempDir(), MinFree: 1 << 60})
	tape := l.Tape("cho", Run{Started: start})
	tape.Add(&vision.Scene{At: start})
	tape.Close()
	stop()
	require.InDelta(t, 1, testutil.ToFloat64(l.metrics.dropped.WithLabelValues("cho", dropDisk)), 0, "too little is free")
}

// A folder of one camera that cannot be written costs that camera's tracks, and
// nobody else's.
func TestFolderThatRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hong"), nil, 0o600)) // a file where its folder should be
	l, stop := started(t, Config{Dir: dir})
	broken, sound := l.Tape("hong", Run{Started: start}), l.Tape("cho", Run{Started: start})
	st := newStreet(6)
	for range 50 {
		s := st.next(200*time.Millisecond, 1)
		broken.Add(s)
		require.NoError(t, l.Sync(t.Context(), "hong"))
		sound.Add(s)
		require.NoError(t, l.Sync(t.Context(), "cho"))
	}
	broken.Close()
	sound.Close()
	stop()
	require.InDelta(t, 50, testutil.ToFloat64(l.metrics.dropped.WithLabelValues("hong", dropDisk)), 0)
	require.InDelta(t, 0, testutil.ToFloat64(l.metrics.dropped.WithLabelValues("cho", dropDisk)), 0)
	got, _ := readAll(t, dir)
	require.Len(t, got, 50)
}

// A block that nobody completes is written after a while.
func TestBlocksAgeOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l, stop := started(t, Config{Dir: dir})
		tape := l.Tape("cho", Run{Started: start})
		tape.Add(&vision.Scene{At: start})
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		got, _ := readAll(t, dir)
		require.Len(t, got, 1)
		tape.Close()
		stop()
	})
}

// The oldest hours of all cameras go first; what is being written stays.
func TestRetention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := func(camera string, at time.Time, size int) string {
		path := hourFile{camera: camera, hour: hourOf(at.UnixMilli())}.path(dir)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, make([]byte, size), 0o600))
		return path
	}
	now := time.Now()
	ancient, first := old("gone", now.AddDate(0, 0, -40), 10), old("cho", now.Add(-72*time.Hour), 1000)
	second, third := old("cau", now.Add(-48*time.Hour), 1000), old("cho", now.Add(-24*time.Hour), 1000)
	foreign := filepath.Join(dir, "cho", "notes.txt")
	require.NoError(t, os.WriteFile(foreign, make([]byte, 5000), 0o600))
	l, err := New(Config{Dir: dir, MaxBytes: 2100})
	require.NoError(t, err)
	d := newDisk(l)
	d.tidy(t.Context(), now)
	for path, stays := range map[string]bool{ancient: false, first: false, second: true, third: true, foreign: true, filepath.Dir(ancient): false} {
		_, err := os.Stat(path)
		assert.Equal(t, stays, err == nil, path)
	}
	require.InDelta(t, 2000, testutil.ToFloat64(l.metrics.stored), 0)
	require.InDelta(t, 2, testutil.ToFloat64(l.metrics.deleted), 0)
}

package evidence_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

// unmount puts an empty folder in the place of the media folder, and returns what
// puts it back.
func (s *shelf) unmount() (mount func()) {
	s.t.Helper()
	away := s.dir + ".away"
	require.NoError(s.t, os.Rename(s.dir, away))
	require.NoError(s.t, os.Mkdir(s.dir, 0o750))
	return func() {
		require.NoError(s.t, os.RemoveAll(s.dir))
		require.NoError(s.t, os.Rename(away, s.dir))
	}
}

func newMarkedShelf(t *testing.T) (*shelf, string) {
	t.Helper()
	data := t.TempDir()
	s := newShelf(t, filepath.Join(data, "media"))
	file := filepath.Join(data, "media.mark")
	require.NoError(t, s.media.Mark(file))
	return s, file
}

func TestUnmountedDiskIsLeftAlone(t *testing.T) {
	t.Parallel()
	s, _ := newMarkedShelf(t)
	ev := s.event("intrusion", aDay, 10)
	require.NoError(t, s.media.Mounted())
	require.NoError(t, os.Rename(s.dir, s.dir+".lost")) // even the mount point is away
	_, err := s.media.Open(ev.Evidence[0])
	require.ErrorIs(t, err, evidence.ErrNotMounted)
	require.NoError(t, os.Rename(s.dir+".lost", s.dir))
	mount := s.unmount()
	require.ErrorIs(t, s.media.Mounted(), evidence.ErrNotMounted)
	_, err = s.media.Put("snapshot", "x.jpg", s.now, []byte("x"))
	require.ErrorIs(t, err, evidence.ErrNotMounted)
	require.ErrorIs(t, err, events.ErrUnavailable, "it may pass")
	_, _, err = s.media.Place("x.mp4", s.now)
	require.ErrorIs(t, err, evidence.ErrNotMounted)
	require.ErrorIs(t, s.media.Delete(ev.Evidence[0].Path), evidence.ErrNotMounted)
	_, err = s.media.Sweep(t.Context(), s.now)
	require.ErrorIs(t, err, evidence.ErrNotMounted)
	_, err = s.media.Open(ev.Evidence[0])
	require.ErrorIs(t, err, evidence.ErrNotMounted)
	require.NotErrorIs(t, err, events.ErrNotFound, "a sealer would write that it is gone")
	_, err = evidence.Check(t.Context(), evidence.CheckConfig{Store: s.media, Catalogue: s.db, Repair: true, Before: time.Now()})
	require.ErrorIs(t, err, evidence.ErrNotMounted)
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	assert.Empty(t, left, "nothing was written below the mount point")
	mount()
	require.NoError(t, s.media.Mounted(), "by itself")
	assert.True(t, s.here(ev))
	_, err = s.media.Open(events.EvidenceRef{Path: "nothing.jpg"})
	require.ErrorIs(t, err, events.ErrNotFound)
}

func TestKeeperWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	s, _ := newMarkedShelf(t)
	old := s.event("intrusion", 500*aDay, 10)
	mount := s.unmount()
	k, health := s.watch(evidence.KeeperConfig{Reserve: 1 << 20, Policy: evidence.Policy{MaxBytes: 1}})
	require.ErrorIs(t, k.Round(t.Context()), evidence.ErrNotMounted)
	require.Eventually(t, func() bool { return health().Unusable != nil }, 10*time.Second, time.Millisecond)
	h := health()
	require.ErrorIs(t, h.Unusable, evidence.ErrNotMounted)
	sig, on := h.Signal("storage")
	require.True(t, on)
	assert.Contains(t, sig.Why.VI, "Ổ đĩa chứa hình ảnh, video chưa được gắn")
	assert.Contains(t, sig.Why.EN, "not mounted")
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, s.deletions())
	mount()
	require.Eventually(t, func() bool { return health().Unusable == nil }, 10*time.Second, time.Millisecond, "by itself")
	require.Eventually(t, func() bool { return len(s.deletions()) == 1 }, 10*time.Second, time.Millisecond)
	assert.Equal(t, []string{"age " + old.Evidence[0].Path}, s.deletions())
}

// TestFirstMarkIsNotForTheMountPoint: the first start of a version that knows marks
// finds the disk not mounted, and the empty folder below it.
func TestFirstMarkIsNotForTheMountPoint(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := newShelf(t, filepath.Join(data, "media"))
	file := filepath.Join(data, "media.mark")
	var old []events.Event
	for range 5 {
		old = append(old, s.event("intrusion", aDay, 10))
	}
	mount := s.unmount()
	require.ErrorIs(t, s.media.Claim(file), evidence.ErrUnclaimed)

	// The database is not asked yet: new files are taken, and nothing else done.
	require.NoError(t, s.media.Mounted())
	require.ErrorIs(t, s.media.Certain(), evidence.ErrUnclaimed)
	ref, err := s.media.Put("snapshot", "new.jpg", s.now, []byte("x"))
	require.NoError(t, err)
	_, err = s.media.Open(old[0].Evidence[0])
	require.ErrorIs(t, err, evidence.ErrUnclaimed)
	require.NotErrorIs(t, err, events.ErrNotFound)
	require.ErrorIs(t, s.media.Delete(ref.Path), evidence.ErrUnclaimed)
	_, err = s.media.Sweep(t.Context(), time.Now().Add(time.Hour))
	require.ErrorIs(t, err, evidence.ErrUnclaimed)
	k, err := evidence.NewKeeper(evidence.KeeperConfig{
		Store: s.media, Catalogue: s.db, Health: func(evidence.Health) {}, Now: func() time.Time { return s.now },
		Pending: func(context.Context) (func(string) bool, error) { return func(string) bool { return false }, nil },
		Policy:  evidence.Policy{Keep: time.Hour, MaxBytes: 1},
	})
	require.NoError(t, err)
	require.ErrorIs(t, k.Round(t.Context()), evidence.ErrUnclaimed)

	for range 2 {
		err = s.media.Adopt(t.Context(), file, s.db, s.now)
		require.ErrorIs(t, err, evidence.ErrNotMounted)
		assert.ErrorContains(t, err, "5 of the 5 files")
	}
	require.ErrorIs(t, s.media.Mounted(), evidence.ErrNotMounted, "now it is known")
	assert.NoFileExists(t, file)
	assert.NoFileExists(t, filepath.Join(s.dir, ".xacam-media"))
	assert.Empty(t, s.deletions())

	mount()
	require.NoError(t, s.media.Adopt(t.Context(), file, s.db, s.now))
	require.NoError(t, s.media.Certain())
	for _, ev := range old {
		assert.True(t, s.here(ev))
	}
	mount = s.unmount()
	require.ErrorIs(t, s.media.Mounted(), evidence.ErrNotMounted, "from now on by its mark")
	mount()
}

// TestFamiliar: the files that came last tell, not those of the event that is on
// its way, and not every one must be there.
func TestFamiliar(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := newShelf(t, filepath.Join(data, "media"))
	require.NoError(t, s.media.Familiar(t.Context(), s.db, s.now), "the store knows of none")
	for range 120 {
		ev := s.event("intrusion", 30*aDay, 10)
		require.NoError(t, os.Remove(filepath.Join(s.dir, ev.Evidence[0].Path)))
	}
	require.ErrorIs(t, s.media.Familiar(t.Context(), s.db, s.now), evidence.ErrNotMounted)
	require.NoError(t, s.media.Familiar(t.Context(), s.db, s.now.Add(-31*aDay)), "none is so old")
	for i := range 50 {
		require.ErrorIs(t, s.media.Familiar(t.Context(), s.db, s.now), evidence.ErrNotMounted, i)
		s.event("intrusion", aDay, 10)
	}
	require.NoError(t, s.media.Familiar(t.Context(), s.db, s.now), "half of the newest hundred")
	s.db.Close()
	err := s.media.Familiar(t.Context(), s.db, s.now)
	require.ErrorIs(t, err, events.ErrUnavailable)
	require.NotErrorIs(t, err, evidence.ErrNotMounted)
}

// A file is gone when it is missing on the disk, not when the disk was mounted
// while one looked for it.
func TestMountedWhileLooking(t *testing.T) {
	t.Parallel()
	s, _ := newMarkedShelf(t)
	ev := s.event("intrusion", aDay, 10)
	disk, empty := s.dir+".disk", s.dir+".empty"
	require.NoError(t, os.Rename(s.dir, disk))
	require.NoError(t, os.Mkdir(empty, 0o750))
	point := func(to string) {
		require.NoError(t, os.Symlink(to, s.dir+".next"))
		require.NoError(t, os.Rename(s.dir+".next", s.dir))
	}
	point(empty)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			point([]string{disk, empty}[i%2])
		}
	}()
	seen, away := 0, 0
	for range 4_000 {
		f, err := s.media.Open(ev.Evidence[0])
		if err == nil {
			seen++
			assert.NoError(t, f.Close())
			continue
		}
		away++
		if !assert.ErrorIs(t, err, evidence.ErrNotMounted) || !assert.NotErrorIs(t, err, events.ErrNotFound) {
			break
		}
	}
	cancel()
	<-ended
	assert.Positive(t, seen)
	assert.Positive(t, away)
	point(disk)
	_, err := s.media.Open(events.EvidenceRef{Path: "nothing.jpg"})
	require.ErrorIs(t, err, events.ErrNotFound)
}

// TestMarkThatCannotBeRead: who has no right to read the mark, or a broken disk,
// is not told to mount it.
func TestMarkThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s, _ := newMarkedShelf(t)
	mark := filepath.Join(s.dir, ".xacam-media")
	require.NoError(t, os.Remove(mark))
	require.NoError(t, os.Symlink(mark, mark)) // ELOOP
	err := s.media.Mounted()
	require.ErrorIs(t, err, events.ErrUnavailable)
	require.NotErrorIs(t, err, evidence.ErrNotMounted)
	_, err = s.media.Open(events.EvidenceRef{Path: "nothing.jpg"})
	require.Error(t, err)
	require.NotErrorIs(t, err, events.ErrNotFound)
	_, health := s.watch(evidence.KeeperConfig{Reserve: 1 << 20})
	require.Eventually(t, func() bool { return health().Unusable != nil }, 10*time.Second, time.Millisecond)
	h := health()
	sig, on := h.Signal("storage")
	require.True(t, on)
	assert.NotContains(t, sig.Why.EN, "not mounted")
	assert.NotContains(t, sig.Why.EN, "--new-disk")
}

func TestMarks(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	open := func() *evidence.Store {
		s, err := evidence.Open(filepath.Join(data, "media"))
		require.NoError(t, err)
		return s
	}
	mark, file := filepath.Join(data, "media", ".xacam-media"), filepath.Join(data, "media.mark")
	s := open()
	require.NoError(t, s.Expect(file), "nobody has claimed it yet")
	require.NoError(t, s.Mounted())
	assert.NoFileExists(t, mark)
	require.ErrorIs(t, s.Claim(file), evidence.ErrUnclaimed)
	assert.NoFileExists(t, mark)
	require.NoError(t, s.Mark(file))
	first, err := os.ReadFile(mark)
	require.NoError(t, err)
	remembered, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, first, remembered)

	require.NoError(t, os.Remove(file)) // a crash in between, or a data folder from a backup
	require.NoError(t, open().Claim(file))
	remembered, err = os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, first, remembered, "the folder keeps its mark")

	require.NoError(t, os.WriteFile(mark, []byte(strings.Repeat("0a", 16)+"\n"), 0o600))
	s = open()
	require.NoError(t, s.Claim(file))
	require.ErrorContains(t, s.Mounted(), "bears the mark of another folder")
	require.NoError(t, os.WriteFile(mark, nil, 0o600))
	require.ErrorIs(t, s.Mounted(), evidence.ErrNotMounted)
	require.NoError(t, os.WriteFile(mark, first, 0o600))
	require.NoError(t, s.Mounted())

	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	s = open()
	require.ErrorContains(t, s.Claim(file), "damaged")
	require.ErrorContains(t, s.Expect(file), "damaged")
	require.NoError(t, s.Mounted(), "without a mark any folder will do")
}

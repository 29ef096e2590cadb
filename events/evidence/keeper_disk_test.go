package evidence_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
)

// tmpfs mounts a small disk. It needs root.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "media")
	require.NoError(t, os.Mkdir(dir, 0o750))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a small disk can be mounted by root only: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	return dir
}

// watch runs a keeper and returns what it last said of the disk.
func (s *shelf) watch(cfg evidence.KeeperConfig) (k *evidence.Keeper, health func() evidence.Health) {
	s.t.Helper()
	latest := make(chan evidence.Health, 1)
	latest <- evidence.Health{}
	cfg.Look, cfg.Now = 20*time.Millisecond, func() time.Time { return s.now }
	cfg.Health = func(h evidence.Health) {
		<-latest
		latest <- h
	}
	k = s.keeper(cfg)
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		assert.NoError(s.t, <-done)
	})
	return k, func() evidence.Health {
		h := <-latest
		latest <- h
		return h
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "size=8m")
	s := newShelf(t, dir)
	first := s.event("intrusion", 3*aDay, 100_000)
	s.hold(first)
	var all []events.Event
	for i := range 40 {
		all = append(all, s.event("intrusion", 2*aDay-time.Duration(i)*time.Minute, 100_000))
	}
	// Somebody else fills the disk to the last byte.
	filler := filepath.Join(dir, "others.bin")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for chunk := make([]byte, 4096); ; {
		if _, err := f.Write(chunk); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
	}
	require.NoError(t, f.Close())
	_, err = s.media.Put("snapshot", "cam-new.jpg", s.now, make([]byte, 100_000))
	require.Error(t, err)
	s.event("intrusion", 0, 0, events.EvidenceRef{Type: "snapshot", Path: "none.jpg", SHA256: strings.Repeat("0", 64)})

	_, health := s.watch(evidence.KeeperConfig{Policy: evidence.Policy{MinFree: 1 << 20}, Reserve: 1 << 18})
	require.Eventually(t, func() bool {
		h := health()
		return h.Room.Free >= 1<<20 && h.Unusable == nil && !h.Low
	}, 10*time.Second, 20*time.Millisecond)
	assert.True(t, s.here(first), "held")
	assert.False(t, s.here(all[0]), "the oldest goes first")
	assert.True(t, s.here(all[39]))
	_, err = s.media.Put("snapshot", "cam-new.jpg", s.now, make([]byte, 100_000))
	require.NoError(t, err, "pictures are taken again without anyone's help")
	for _, d := range s.deletions() {
		assert.True(t, strings.HasPrefix(d, "disk "), d)
	}
}

func TestNothingLeftToDelete(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "size=4m")
	s := newShelf(t, dir)
	held := s.event("intrusion", aDay, 100_000)
	s.hold(held)
	filler := filepath.Join(dir, "others.bin")
	require.NoError(t, os.WriteFile(filler, make([]byte, 3_500_000), 0o600))
	_, health := s.watch(evidence.KeeperConfig{Policy: evidence.Policy{MinFree: 1 << 20}, Reserve: -1})
	require.Eventually(t, func() bool { return health().Low }, 10*time.Second, 20*time.Millisecond)
	h := health()
	sig, on := h.Signal("storage")
	require.True(t, on)
	assert.Contains(t, sig.Why.VI, "Đĩa gần đầy")
	assert.True(t, s.here(held))
	require.NoError(t, os.Remove(filler))
	require.Eventually(t, func() bool { return !health().Low }, 10*time.Second, 20*time.Millisecond)
	h = health()
	_, on = h.Signal("storage")
	assert.False(t, on)
}

func TestReadOnlyAndNoInodes(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "size=8m,nr_inodes=40")
	s := newShelf(t, dir)
	ev := s.event("intrusion", aDay, 100)
	_, health := s.watch(evidence.KeeperConfig{Policy: evidence.Policy{MinFree: 1, MinFreeFiles: 8}, Reserve: -1})
	require.Eventually(t, func() bool { return !health().At.IsZero() && health().Unusable == nil }, 5*time.Second, 20*time.Millisecond)

	require.Eventually(t, func() bool { // not while the keeper writes
		return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") == nil
	}, 5*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return health().Unusable != nil }, 5*time.Second, 20*time.Millisecond)
	h := health()
	sig, on := h.Signal("storage")
	require.True(t, on)
	assert.Contains(t, sig.Why.EN, "cannot be written")
	assert.True(t, s.here(ev))
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""))
	require.Eventually(t, func() bool { return health().Unusable == nil }, 5*time.Second, 20*time.Millisecond)

	for i := range 100 { // until no file can be made
		if f, err := os.Create(filepath.Join(dir, fmt.Sprintf("others-%d", i))); err == nil {
			f.Close()
		}
	}
	require.Eventually(t, func() bool { return s.gone(ev) }, 5*time.Second, 20*time.Millisecond, "the oldest goes for its inode")
	require.Eventually(t, func() bool { return health().Low }, 5*time.Second, 20*time.Millisecond)
	for i := range 100 {
		_ = os.Remove(filepath.Join(dir, fmt.Sprintf("others-%d", i)))
	}
	require.Eventually(t, func() bool { return !health().Low && health().Unusable == nil }, 5*time.Second, 20*time.Millisecond)
}

// TestReserve fills the disk so that the store cannot note a removal, until the
// reserve is given up.
func TestReserve(t *testing.T) {
	t.Parallel()
	dir := tmpfs(t, "size=4m")
	s := newShelf(t, dir)
	ev := s.event("intrusion", aDay, 100_000)
	full := &fullCatalogue{Store: s.db, media: s.media}
	cfg := evidence.KeeperConfig{
		Store: s.media, Catalogue: full, Policy: evidence.Policy{MinFree: 1 << 20}, Reserve: 1 << 20,
		Look: 20 * time.Millisecond, Now: func() time.Time { return s.now },
	}
	k, err := evidence.NewKeeper(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(t, <-done)
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, ".reserve"))
		return err == nil
	}, 5*time.Second, 20*time.Millisecond)
	room, err := s.media.Room()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "others.bin"), make([]byte, room.Free), 0o600))
	require.Eventually(t, func() bool { return s.gone(ev) }, 5*time.Second, 20*time.Millisecond)
	assert.False(t, s.here(ev))
	assert.NoFileExists(t, filepath.Join(dir, ".reserve"))
}

// fullCatalogue is a store on the same disk: it writes nothing where there is no
// room.
type fullCatalogue struct {
	*pgstore.Store
	media *evidence.Store
}

func (f *fullCatalogue) Remove(ctx context.Context, r evidence.Removal) ([]string, error) {
	if room, err := f.media.Room(); err != nil || room.Free < 1<<16 {
		return nil, fmt.Errorf("could not extend file: %w", syscall.ENOSPC)
	}
	return f.Store.Remove(ctx, r)
}

func TestSignalSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		h    evidence.Health
		want string
	}{
		{evidence.Health{Unusable: syscall.EROFS}, "hãy kiểm tra ổ đĩa"},
		{evidence.Health{Low: true}, "giải phóng dung lượng"},
		{evidence.Health{Stuck: events.ErrUnavailable}, "kiểm tra cơ sở dữ liệu"},
	} {
		sig, on := c.h.Signal("storage")
		require.True(t, on)
		assert.Contains(t, strings.ToLower(sig.Why.VI), c.want)
	}
}

// awayCatalogue is a store that cannot be asked.
type awayCatalogue struct{ evidence.Catalogue }

func (awayCatalogue) Files(context.Context, evidence.Cursor, time.Time, int) ([]evidence.StoredFile, evidence.Cursor, error) {
	return nil, evidence.Cursor{}, events.ErrUnavailable
}

// TestDatabaseAwayIsNotNothingLeft: while the database is away, nobody can say
// that nothing is left to delete.
func TestDatabaseAwayIsNotNothingLeft(t *testing.T) {
	t.Parallel()
	media, err := evidence.Open(t.TempDir())
	require.NoError(t, err)
	heard := make(chan evidence.Health, 1)
	k, err := evidence.NewKeeper(evidence.KeeperConfig{
		Store: media, Catalogue: awayCatalogue{}, Policy: evidence.Policy{MinFree: 1 << 60}, Reserve: -1, Look: time.Hour,
		Health: func(h evidence.Health) { heard <- h },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	h := <-heard
	assert.False(t, h.Low)
	require.ErrorIs(t, h.Stuck, events.ErrUnavailable)
	cancel()
	require.NoError(t, <-done)
}

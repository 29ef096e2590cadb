package evidence_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/evidence"
)

// A draft whose event does not come, one that is none and one whose event was
// refused cost little and hold up no other.
func TestDraftsThatCannotBeSealed(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	lost, refused, damaged := s.draft(t, 1), s.draft(t, 2), s.draft(t, 3)
	refused.Refused = true
	s.chain.known[refused.Event.ID] = true
	for _, d := range []evidence.Draft{lost, refused, damaged} {
		s.drafts.put(t, d)
	}
	s.drafts.list[damaged.Event.ID] = []byte("{half")
	good := s.add(t, 4)
	require.NoError(t, os.Remove(s.path(lost.Files[3].Path)))
	require.NoError(t, os.Symlink("loop", s.path(lost.Files[3].Path))) // reading it would be noticed
	rounds := 0
	s.run(t, func() bool {
		rounds++
		time.Sleep(10 * time.Millisecond)
		return len(s.drafts.left()) == 3 && rounds > 20
	})
	assert.Equal(t, good.Event.ID, s.chain.entries()[0].EventID)
	s.drafts.mu.Lock()
	assert.Equal(t, 4, s.drafts.reads, "each was read once: the clock of the test stands still")
	s.drafts.mu.Unlock()
}

// While the store is away nothing is read.
func TestStoreAwaySparesTheDisk(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	for n := range 5 {
		s.add(t, n)
	}
	s.chain.away = true
	s.run(t, func() bool {
		s.chain.mu.Lock()
		defer s.chain.mu.Unlock()
		return s.chain.asked > 1
	})
	assert.Zero(t, s.drafts.reads)
}

// A file that cannot be read is waited for from when that began, however old the
// draft is; one that nobody will finish is asked about first.
func TestUnreadAndLate(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	d := s.add(t, 1)
	s.clock = d.Started.Add(48 * time.Hour)
	clip := s.path(d.Files[3].Path)
	require.NoError(t, os.Rename(clip, clip+".x"))
	require.NoError(t, os.Symlink(filepath.Base(clip), clip))
	sealer := s.sealer(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sealer.Run(ctx) }()
	assert.Never(t, func() bool { return len(s.chain.entries()) > 0 }, 100*time.Millisecond, 10*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.NoError(t, os.Rename(clip+".x", clip))

	d.Ready = false
	s.drafts.put(t, d)
	var asked atomic.Int64
	s.late = func(*evidence.Draft) bool { return asked.Add(1) > 3 }
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	assert.Equal(t, int64(4), asked.Load(), "whoever works on it is not hurried")
	assert.Len(t, s.manifest(t, s.chain.entries()[0]).Files, 5)
}

// The time in which the disk is not mounted is not counted as one in which a file
// could not be read.
func TestSealerWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	s := newSeals(t)
	d := s.add(t, 1)
	require.NoError(t, s.store.Mark(filepath.Join(s.dir, "media.mark")))
	media := filepath.Join(s.dir, "media")
	require.NoError(t, os.Rename(media, media+".away"))
	require.NoError(t, os.Mkdir(media, 0o750))
	var later atomic.Int64
	sealer, err := evidence.NewSealer(evidence.SealerConfig{
		Store: s.store, Drafts: s.drafts, Chain: s.chain, Signer: s.vault, Every: time.Millisecond,
		Now: func() time.Time { return s.clock.Add(time.Duration(later.Load())) },
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- sealer.Run(ctx) }()
	tried := func(times int) {
		t.Helper()
		require.Eventually(t, func() bool {
			s.drafts.mu.Lock()
			defer s.drafts.mu.Unlock()
			return s.drafts.reads >= times
		}, 20*time.Second, time.Millisecond)
	}
	tried(2)
	later.Store(int64(2 * time.Hour))
	require.NoError(t, os.Remove(media))
	clip := filepath.Join(media+".away", filepath.FromSlash(d.Files[3].Path))
	require.NoError(t, os.Rename(clip, clip+".x"))
	require.NoError(t, os.Symlink(filepath.Base(clip), clip)) // it is back, but for one file
	require.NoError(t, os.Rename(media+".away", media))
	tried(3)
	assert.Never(t, func() bool { return len(s.chain.entries()) > 0 }, 200*time.Millisecond, 10*time.Millisecond)
	clip = s.path(d.Files[3].Path)
	require.NoError(t, os.Rename(clip+".x", clip))
	later.Store(int64(2*time.Hour + 2*time.Minute))
	require.Eventually(t, func() bool { return len(s.drafts.left()) == 0 }, 10*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	m := s.manifest(t, s.chain.entries()[0])
	assert.Len(t, m.Files, 5)
	assert.Equal(t, d.Flaws, m.Flaws)
}

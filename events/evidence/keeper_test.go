package evidence_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
)

const aDay = 24 * time.Hour

// shelf is a media folder and a database.
type shelf struct {
	t     *testing.T
	dir   string
	media *evidence.Store
	db    *pgstore.Store
	dsn   string
	now   time.Time
	n     int
}

func newShelf(t *testing.T, dir string) *shelf {
	t.Helper()
	s := &shelf{t: t, dir: dir, dsn: eventstest.Database(t), now: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
	var err error
	s.media, err = evidence.Open(dir)
	require.NoError(t, err)
	s.db, err = pgstore.Open(t.Context(), s.dsn, pgstore.Config{})
	require.NoError(t, err)
	t.Cleanup(s.db.Close)
	require.NoError(t, s.db.Migrate(t.Context()))
	require.NoError(t, s.db.EnsurePartitions(t.Context(), s.now))
	return s
}

// event stores an event of some age and its picture, or the one given.
func (s *shelf) event(kind events.Kind, age time.Duration, size int, shared ...events.EvidenceRef) events.Event {
	s.t.Helper()
	s.n++
	at := s.now.Add(-age)
	key := events.Key{Source: "cam", Kind: kind, Object: strconv.Itoa(s.n)}
	ev := events.Event{
		ID: events.NewID(key, at), Kind: kind, State: events.StateRaised, Severity: events.SeverityMedium,
		Source: events.Source{Type: "camera", ID: "cam"}, Object: key.Object, OccurredAt: at, Evidence: shared,
	}
	if len(shared) == 0 {
		ref, err := s.media.Put("snapshot", fmt.Sprintf("cam-%d.jpg", s.n), at, bytes.Repeat([]byte{byte(s.n)}, size))
		require.NoError(s.t, err)
		ev.Evidence = []events.EvidenceRef{ref}
	}
	require.NoError(s.t, s.db.Commit(s.t.Context(), []events.Change{{Event: ev}}))
	return ev
}

func (s *shelf) exec(sql string, args ...any) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	require.NoError(s.t, err)
	defer conn.Close(context.WithoutCancel(s.t.Context()))
	_, err = conn.Exec(s.t.Context(), sql, args...)
	require.NoError(s.t, err)
}

func (s *shelf) hold(ev events.Event) {
	s.t.Helper()
	s.exec("INSERT INTO case_hold (event_id, case_id, held_by, reason) VALUES ($1, 'vu-1', 'an', 'test')", ev.ID)
}

// deletions returns reason and path of the log, in order.
func (s *shelf) deletions() []string {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.dsn)
	require.NoError(s.t, err)
	defer conn.Close(context.WithoutCancel(s.t.Context()))
	rows, err := conn.Query(s.t.Context(), "SELECT reason || ' ' || path FROM deletion ORDER BY id")
	require.NoError(s.t, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(s.t, err)
	return out
}

// here reports whether the event's file is on disk, and that the store says the
// same.
func (s *shelf) here(ev events.Event) bool {
	s.t.Helper()
	_, err := os.Stat(filepath.Join(s.dir, ev.Evidence[0].Path))
	stored, dberr := s.db.Event(s.t.Context(), ev.ID)
	require.NoError(s.t, dberr)
	require.Len(s.t, stored.Evidence, 1)
	assert.Equal(s.t, err != nil, !stored.Evidence[0].Gone.IsZero(), "disk and store differ about %s", ev.Evidence[0].Path)
	return err == nil
}

// gone reports whether the event's file was deleted, also in the moment between
// the note in the store and the deletion.
func (s *shelf) gone(ev events.Event) bool {
	_, err := os.Stat(filepath.Join(s.dir, ev.Evidence[0].Path))
	return err != nil
}

func (s *shelf) keeper(cfg evidence.KeeperConfig) *evidence.Keeper {
	s.t.Helper()
	cfg.Store, cfg.Catalogue = s.media, s.db
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return s.now }
	}
	k, err := evidence.NewKeeper(cfg)
	require.NoError(s.t, err)
	return k
}

func TestAgeByClass(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	old := s.event("intrusion", 91*aDay, 10)
	young := s.event("intrusion", 89*aDay, 10)
	crossing := s.event("line_crossing", 31*aDay, 10)
	crossingYoung := s.event("line_crossing", 29*aDay, 10)
	held := s.event("intrusion", 500*aDay, 10)
	s.hold(held)
	wrong := s.event("intrusion", 8*aDay, 10)
	s.exec("UPDATE event SET workflow_state = 'closed', verdict = 'false_alarm' WHERE id = $1", wrong.ID)
	shared := s.event("intrusion", 95*aDay, 10)
	sharedWithYoung := s.event("intrusion", 2*aDay, 10, shared.Evidence...)
	sharedWithHeld := s.event("intrusion", 96*aDay, 10, held.Evidence...)

	k := s.keeper(evidence.KeeperConfig{Policy: evidence.Policy{Classes: []evidence.Class{
		{Name: "false alarms", Verdicts: []string{"false_alarm"}, Keep: 7 * aDay},
		{Name: "traffic", Kinds: []events.Kind{"line_crossing"}, Keep: 30 * aDay},
	}}})
	require.NoError(t, k.Round(t.Context()))
	for name, c := range map[string]struct {
		ev   events.Event
		here bool
	}{
		"too old":                   {old, false},
		"not yet":                   {young, true},
		"of a class, too old":       {crossing, false},
		"of a class, not yet":       {crossingYoung, true},
		"held":                      {held, true},
		"closed as a false alarm":   {wrong, false},
		"shared with a young event": {shared, true},
		"and that one":              {sharedWithYoung, true},
		"shared with a held event":  {sharedWithHeld, true},
	} {
		assert.Equal(t, c.here, s.here(c.ev), name)
	}
	assert.ElementsMatch(t, []string{
		"age " + old.Evidence[0].Path, "age " + crossing.Evidence[0].Path, "age " + wrong.Evidence[0].Path,
	}, s.deletions())

	require.NoError(t, k.Round(t.Context()))
	assert.Len(t, s.deletions(), 3, "nothing is deleted twice")
}

// TestSharedFilesAreKeptForTheLongest: whoever refers to a file decides on it,
// not only the event whose class ends first.
func TestSharedFilesAreKeptForTheLongest(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	wrong := s.event("intrusion", 8*aDay, 10)
	s.exec("UPDATE event SET workflow_state = 'closed', verdict = 'false_alarm' WHERE id = $1", wrong.ID)
	s.event("intrusion", 9*aDay, 10, wrong.Evidence...) // older, and nobody said that it was wrong
	both := s.event("line_crossing", 31*aDay, 10)
	s.event("line_crossing", 32*aDay, 10, both.Evidence...)
	pending := s.event("line_crossing", 31*aDay, 10)
	cfg := evidence.KeeperConfig{
		Policy: evidence.Policy{MaxBytes: 1, Classes: []evidence.Class{
			{Name: "false alarms", Verdicts: []string{"false_alarm"}, Keep: 7 * aDay},
			{Name: "traffic", Kinds: []events.Kind{"line_crossing"}, Keep: 30 * aDay},
		}},
		Pending: func(context.Context) (func(string) bool, error) {
			return func(p string) bool { return p == pending.Evidence[0].Path }, nil
		},
	}
	quota := s.keeper(cfg)
	cfg.Policy.MaxBytes = 0
	k := s.keeper(cfg)
	require.NoError(t, k.Round(t.Context()))
	assert.True(t, s.here(wrong), "the other event needs it")
	assert.False(t, s.here(both), "due for both")
	assert.True(t, s.here(pending), "a package that is not sealed needs it")
	require.NoError(t, quota.Round(t.Context()))
	assert.False(t, s.here(wrong), "for want of room it goes")
	assert.True(t, s.here(pending))
}

func TestQuotaTakesTheOldest(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	var all []events.Event
	for i := range 500 { // more than a page
		all = append(all, s.event("intrusion", time.Duration(500-i)*time.Hour/10, 1000))
	}
	s.hold(all[3])
	k := s.keeper(evidence.KeeperConfig{Policy: evidence.Policy{MaxBytes: 100_000}})
	require.NoError(t, k.Round(t.Context()))
	total, err := s.db.Bytes(t.Context())
	require.NoError(t, err)
	assert.LessOrEqual(t, total, int64(100_000))
	assert.GreaterOrEqual(t, total, int64(55_000), "a tenth more than needed, no more")
	assert.True(t, s.here(all[3]), "held")
	assert.False(t, s.here(all[0]))
	assert.False(t, s.here(all[250]))
	assert.True(t, s.here(all[499]))
	assert.True(t, s.here(all[450]))
}

// TestNoHoldIsLost lets people put events on hold while they are being deleted:
// whatever is on hold at the end must be there.
func TestNoHoldIsLost(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	var all []events.Event
	for range 300 {
		all = append(all, s.event("intrusion", 100*aDay, 10))
	}
	conn, err := pgx.Connect(t.Context(), s.dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	k := s.keeper(evidence.KeeperConfig{})
	go func() { done <- k.Round(t.Context()) }()
	heldThere := 0
	for i := range 300 {
		ev := all[299-i]
		// As the workflow does it: only what is there can be held.
		tag, err := conn.Exec(t.Context(), `INSERT INTO case_hold (event_id, case_id, held_by, reason)
			SELECT event_id, 'vu-1', 'an', 'x' FROM evidence WHERE event_id = $1 AND gone_at IS NULL`, ev.ID)
		require.NoError(t, err)
		if tag.RowsAffected() == 1 {
			heldThere++
			all = append(all, ev)
		}
	}
	require.NoError(t, <-done)
	for _, ev := range all[300:] {
		assert.True(t, s.here(ev))
	}
	t.Logf("%d of 300 were held before they were deleted", heldThere)
}

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

	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
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

func TestPolicyIsChecked(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	for _, p := range []evidence.Policy{
		{Keep: time.Minute}, {Keep: -aDay}, {MaxBytes: -1}, {Classes: []evidence.Class{{Name: "x"}}},
	} {
		_, err := evidence.NewKeeper(evidence.KeeperConfig{Store: s.media, Catalogue: s.db, Policy: p})
		require.Error(t, err, "%+v", p)
	}
}

func TestCheckBothWays(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	whole := s.event("intrusion", aDay, 100)
	missing := s.event("intrusion", aDay, 100)
	shorter := s.event("intrusion", aDay, 100)
	flipped := s.event("intrusion", aDay, 100)
	pending := s.event("intrusion", aDay, 100)
	require.NoError(t, os.Remove(filepath.Join(s.dir, missing.Evidence[0].Path)))
	require.NoError(t, os.Truncate(filepath.Join(s.dir, shorter.Evidence[0].Path), 99))
	b, err := os.ReadFile(filepath.Join(s.dir, flipped.Evidence[0].Path))
	require.NoError(t, err)
	b[50] ^= 1
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, flipped.Evidence[0].Path), b, 0o600))
	orphan, err := s.media.Put("snapshot", "orphan.jpg", s.now, []byte("x"))
	require.NoError(t, err)
	half := filepath.Join(filepath.Dir(orphan.Path), "123.part")
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, half), nil, 0o600))
	s.exec("DELETE FROM evidence WHERE event_id = $1", pending.ID)

	cfg := evidence.CheckConfig{
		Store: s.media, Catalogue: s.db, Hash: true, Before: time.Now().Add(time.Minute),
		Pending: func(p string) bool { return p == pending.Evidence[0].Path },
	}
	found := func(mended bool) map[string]string {
		r, err := evidence.Check(t.Context(), cfg)
		require.NoError(t, err)
		assert.Equal(t, len(r.Problems), r.Total)
		out := map[string]string{}
		for _, p := range r.Problems {
			out[p.Path] = p.What
			assert.Equal(t, mended && p.What != "changed", p.Mended, p.What)
		}
		return out
	}
	changed := map[string]string{shorter.Evidence[0].Path: "changed", flipped.Evidence[0].Path: "changed"}
	all := map[string]string{missing.Evidence[0].Path: "missing", orphan.Path: "orphan", half: "half-written"}
	maps.Copy(all, changed)
	assert.Equal(t, all, found(false))
	cfg.Repair = true
	assert.Equal(t, all, found(true))
	assert.Equal(t, changed, found(true), "a second run finds only what cannot be mended")
	assert.Equal(t, []string{"missing " + missing.Evidence[0].Path}, s.deletions())
	assert.FileExists(t, filepath.Join(s.dir, "lost+found", orphan.Path))
	assert.True(t, s.here(whole))

	cfg.Hash, cfg.Before = false, time.Now().Add(-time.Hour)
	r, err := evidence.Check(t.Context(), cfg)
	require.NoError(t, err)
	assert.Equal(t, 1, r.Total, "without reading the files only sizes are compared")
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

// TestDiskNotMounted: an empty folder in place of the disk is told from a few
// files that are missing.
func TestDiskNotMounted(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	var all []events.Event
	for range 12 {
		all = append(all, s.event("intrusion", aDay, 10))
	}
	for i, ev := range all {
		require.NoError(t, evidence.Plausible(t.Context(), s.media, s.db), "%d are missing", i)
		if i == 10 {
			break
		}
		require.NoError(t, s.media.Delete(ev.Evidence[0].Path))
	}
	require.NoError(t, s.media.Delete(all[10].Evidence[0].Path))
	require.ErrorIs(t, evidence.Plausible(t.Context(), s.media, s.db), evidence.ErrManyMissing)
}

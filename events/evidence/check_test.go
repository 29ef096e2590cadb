package evidence_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

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

// TestMissingFilesThatAreBack: what fsck noted as missing is there again, as it
// was, changed, or though somebody has deleted it.
func TestMissingFilesThatAreBack(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	same, wrong, deleted := s.event("intrusion", aDay, 100), s.event("intrusion", aDay, 100), s.event("intrusion", aDay, 100)
	path := func(ev events.Event) string { return ev.Evidence[0].Path }
	content := make(map[string][]byte)
	for _, ev := range []events.Event{same, wrong, deleted} {
		b, err := os.ReadFile(filepath.Join(s.dir, path(ev)))
		require.NoError(t, err)
		content[path(ev)] = b
		require.NoError(t, os.Remove(filepath.Join(s.dir, path(ev))))
	}
	_, err := s.db.Remove(t.Context(), evidence.Removal{Paths: []string{path(deleted)}, Reason: "request", Actor: "Lan"})
	require.NoError(t, err)
	cfg := evidence.CheckConfig{Store: s.media, Catalogue: s.db, Returns: s.db, Repair: true, Before: time.Now().Add(time.Minute)}
	_, err = evidence.Check(t.Context(), cfg)
	require.NoError(t, err)
	require.False(t, s.here(same))

	content[path(wrong)][7] ^= 1
	for p, b := range content {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(s.dir, p)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, p), b, 0o600))
	}
	found := func() map[string]string {
		r, err := evidence.Check(t.Context(), cfg)
		require.NoError(t, err)
		out := map[string]string{}
		for _, p := range r.Problems {
			out[p.Path] = p.What
			if p.What == "changed" {
				assert.Contains(t, p.Detail, "it was noted as missing and is back, but its SHA-256 is")
				assert.Equal(t, wrong.ID, p.EventID)
			}
			assert.Equal(t, cfg.Repair && p.What != "changed", p.Mended)
		}
		return out
	}
	want := map[string]string{path(same): "returned", path(wrong): "changed", path(deleted): "orphan"}
	cfg.Repair = false
	assert.Equal(t, want, found())
	assert.Equal(t, want, found(), "nothing was touched")
	cfg.Repair = true
	assert.Equal(t, want, found())
	assert.True(t, s.here(same), "on the disk and in the store")
	assert.FileExists(t, filepath.Join(s.dir, path(wrong)), "evidence that something happened to it stays")
	assert.Equal(t, map[string]string{path(wrong): "changed"}, found())
	log := s.deletions()
	assert.Equal(t, "returned "+path(same), log[len(log)-1])
	_, known, err := s.db.Deletion(t.Context(), path(same), same.Evidence[0].SHA256)
	require.NoError(t, err)
	assert.False(t, known, "if it is missing once more, nothing accounts for it")
	require.NoError(t, os.Remove(filepath.Join(s.dir, path(same))))
	assert.Equal(t, "missing", found()[path(same)])
	_, known, err = s.db.Deletion(t.Context(), path(same), same.Evidence[0].SHA256)
	require.NoError(t, err)
	assert.True(t, known)
}

//go:build cgo

package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/evidence"
)

// An event that a crash has lost between its draft and the database is stored at
// the next start, and its package is sealed. One that the database refused is
// left alone, and a draft that is none holds up nobody.
func TestEventLostByACrash(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	store, err := evidence.Open(filepath.Join(db.data, "media"))
	require.NoError(t, err)
	at := time.Now().UTC().Truncate(time.Microsecond).Add(-time.Hour)
	lost, refused, damaged := openEvent("intrusion", "gate", at), openEvent("intrusion", "yard", at), openEvent("intrusion", "lane", at)
	ref, err := store.Put("snapshot", "gate-1.jpg", at, []byte("picture"))
	require.NoError(t, err)
	lost.Evidence = append(lost.Evidence, ref)
	require.NoError(t, store.PutDraft(evidence.Draft{Event: lost, Files: lost.Evidence, Started: at, Record: []byte(`{}`)}))
	require.NoError(t, store.PutDraft(evidence.Draft{Event: refused, Started: at, Ready: true, Record: []byte(`{}`)}))
	rejected := filepath.Join(db.data, "spool", "rejected", refused.ID+"-raised.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(rejected), 0o700))
	require.NoError(t, os.WriteFile(rejected, []byte(`{}`), 0o600))
	drafts := filepath.Join(db.data, "evidence-drafts")
	require.NoError(t, os.WriteFile(filepath.Join(drafts, damaged.ID+".json"), []byte("{half"), 0o600))

	s := serve(t, db, newScripted())
	<-s.db.Ready()
	within(t, time.Minute, "the lost event is stored and sealed", func() bool {
		head, err := s.store.ManifestHead(t.Context())
		return err == nil && head.Number == 1
	})
	got, err := s.store.Event(t.Context(), lost.ID)
	require.NoError(t, err)
	assert.Equal(t, "snapshot", got.Evidence[0].Type)
	_, err = s.store.Event(t.Context(), refused.ID)
	require.Error(t, err)
	d, err := store.Draft(refused.ID)
	require.NoError(t, err)
	assert.True(t, d.Refused)
	assert.FileExists(t, filepath.Join(drafts, damaged.ID+".json.damaged"))
	s.stop()

	// Somebody has seen to it.
	require.NoError(t, os.Remove(rejected))
	s = serve(t, db, newScripted())
	within(t, time.Minute, "it is tried again", func() bool {
		head, err := s.store.ManifestHead(t.Context())
		return err == nil && head.Number == 2
	})
	within(t, time.Minute, "its draft goes after the seal", func() bool {
		ids, err := store.DraftIDs(t.Context())
		return err == nil && len(ids) == 0
	})
}

package evidence_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

func draft(at time.Time) evidence.Draft {
	ev := events.Event{
		Kind: "intrusion", State: events.StateRaised, Source: events.Source{Type: "camera", ID: "gate"}, OccurredAt: at,
		Subject: &events.Subject{Track: 7, Class: "person", Box: [4]float64{.1, .2, .3, .4}},
	}
	ev.ID = events.NewID(ev.Key(), at)
	return evidence.Draft{Event: ev, Record: json.RawMessage(`{"rule":1}`), Started: at, Clip: "2026/11/23/x.mp4"}
}

func TestDrafts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := evidence.Open(filepath.Join(dir, "media"))
	require.NoError(t, err)
	woken := 0
	s.OnReady(func() { woken++ })
	list, err := s.Drafts(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)

	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	late, early := draft(at.Add(time.Second)), draft(at)
	require.NoError(t, s.PutDraft(late))
	require.NoError(t, s.PutDraft(early))
	require.Zero(t, woken)
	early.Ready, early.Flaws = true, []string{"no clip"}
	require.NoError(t, s.PutDraft(early))
	require.Equal(t, 1, woken)
	list, err = s.Drafts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []evidence.Draft{early, late}, list)

	damaged := filepath.Join(dir, "evidence-drafts", late.Event.ID+".json")
	require.NoError(t, os.WriteFile(damaged, []byte("{half"), 0o600))
	list, err = s.Drafts(t.Context())
	require.ErrorContains(t, err, late.Event.ID)
	require.Len(t, list, 1)
	require.FileExists(t, damaged, "looking changes nothing")
	_, err = s.Draft(late.Event.ID)
	require.ErrorIs(t, err, evidence.ErrDamaged)
	require.NoError(t, s.SetDraftAside(late.Event.ID))
	list, err = s.Drafts(t.Context())
	require.NoError(t, err, "it was set aside")
	require.Len(t, list, 1)
	_, err = s.Draft(late.Event.ID)
	require.ErrorIs(t, err, events.ErrNotFound)

	require.NoError(t, s.RemoveDraft(early.Event.ID))
	require.NoError(t, s.RemoveDraft(early.Event.ID))
	list, err = s.Drafts(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	for _, id := range []string{"", "../x", early.Event.ID + "/.."} {
		require.Error(t, s.RemoveDraft(id))
		require.Error(t, s.PutDraft(evidence.Draft{Event: events.Event{ID: id}}))
	}
}

func TestFilesOfOthers(t *testing.T) {
	t.Parallel()
	s, err := evidence.Open(filepath.Join(t.TempDir(), "media"))
	require.NoError(t, err)
	rel, full, err := s.Place("gate-1.mp4", time.Date(2026, 11, 23, 23, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	assert.Equal(t, "2026/11/23/gate-1.mp4", rel)
	assert.Equal(t, full, s.Full(rel))
	_, err = s.Ref("clip", rel)
	require.ErrorIs(t, err, events.ErrNotFound)
	require.NoError(t, os.WriteFile(full, []byte("picture"), 0o600))
	ref, err := s.Ref("clip", rel)
	require.NoError(t, err)
	assert.Equal(t, events.EvidenceRef{
		Type: "clip", Path: rel, Bytes: 7, SHA256: "2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97",
	}, ref)
	_, _, err = s.Place("../x.mp4", time.Unix(0, 0))
	require.Error(t, err)
	outside, err := filepath.Rel(s.Full(""), s.Full("../../etc/passwd"))
	require.NoError(t, err)
	assert.Equal(t, "etc/passwd", outside)
}

package evidence_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

func TestExportIsLoggedOrRefused(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	x, audit := s.exporter(t, nil)
	e := s.stored(t, 1)
	for name, r := range map[string]evidence.Request{
		"by":     {Reason: "x"},
		"reason": {By: "a", Reason: " "},
		"blur":   {By: "a", Reason: "x", Blur: "most"},
	} {
		_, err := x.Prepare(t.Context(), e, r)
		field, ok := errors.AsType[*events.FieldError](err)
		require.True(t, ok, name)
		assert.Equal(t, name, field.Field)
	}
	for _, by := range []string{"a\nb", strings.Repeat("x", 101), "\xff"} {
		_, err := x.Prepare(t.Context(), e, evidence.Request{By: by, Reason: "x"})
		require.Error(t, err, "%q", by)
	}
	assert.Empty(t, audit.list)
	_, err := x.Prepare(t.Context(), s.draft(t, 1).Event, request)
	require.ErrorIs(t, err, events.ErrConflict, "not sealed yet")

	audit.err = events.ErrUnavailable
	_, err = x.Prepare(t.Context(), e, request)
	require.ErrorIs(t, err, events.ErrUnavailable)
	audit.err = nil
	_, err = x.Prepare(t.Context(), e, request)
	require.NoError(t, err)
	assert.Equal(t, []string{"Nguyễn Văn A evidence.export event:" + e.ID + " " + e.ID}, audit.list)
	assert.Equal(t, "Hồ sơ 12/2026", audit.last["reason"])
	assert.Equal(t, s.chain.entries()[0].SHA256, audit.last["sha256"])

	require.NoError(t, os.WriteFile(s.path(s.chain.entries()[0].Path), []byte("{}"), 0o600))
	_, err = x.Prepare(t.Context(), e, request)
	require.ErrorContains(t, err, "changed")
	assert.Len(t, audit.list, 1)
}

func TestPackageSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	e := s.stored(t, 1)
	for i := range e.Evidence {
		switch e.Evidence[i].Type {
		case "clip":
			e.Evidence[i].Gone = day
			require.NoError(t, os.Remove(s.path(e.Evidence[i].Path)))
		case "track":
			require.NoError(t, os.Remove(s.path(e.Evidence[i].Path)))
		}
	}
	b, err := os.ReadFile(s.path(e.Evidence[0].Path))
	require.NoError(t, err)
	b[3] ^= 1
	require.NoError(t, os.WriteFile(s.path(e.Evidence[0].Path), b, 0o600))
	x, _ := s.exporter(t, plainViewer{err: errors.New("no memory")})
	p, err := x.Prepare(t.Context(), e, request)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, p.Write(t.Context(), &out))
	r, err := verify(t, out.Bytes(), s.vault.Public())
	require.NoError(t, err)
	assert.Equal(t, []string{"snapshot.jpg"}, files(r), "changed on the server")
	assert.Equal(t, []string{
		"clip.mp4: no longer kept since 2026-11-23T15:14:05Z, says export.json",
		"track.jsonl: the file is missing on the server, says export.json",
		"viewing/snapshot.jpg: the copy could not be made, says export.json",
		"viewing/still-approach.jpg: the copy could not be made, says export.json",
		"viewing/still-act.jpg: the copy could not be made, says export.json",
		"viewing/clip.mp4: the copy could not be made, says export.json",
	}, r.Notes)
}

func TestCopiesHideOthers(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	for blur, want := range map[evidence.Blur]int{"none": 0, "others": 1, "all": 2} {
		r := request
		r.Blur = blur
		copies := map[string]string{}
		for _, e := range unzip(t, s.export(t, 1, r)) {
			if name, ok := strings.CutPrefix(e.name, "viewing/"); ok {
				copies[name] = string(e.data)
			}
		}
		assert.Equal(t, want, strings.Count(copies["snapshot.jpg"], "#"), "%s", blur)
		assert.Equal(t, want, strings.Count(copies["still-act.jpg"], "#"), "%s", blur)
		assert.True(t, strings.HasPrefix(copies["snapshot.jpg"], "BẢN SAO / COPY|Nguyễn Văn A · 23/11/2026 15:15:05 +00:00|"))
		_, approach := copies["still-approach.jpg"]
		assert.Equal(t, blur == "none", approach, "boxes are known of the act only")
		original := unzip(t, s.export(t, 1, r))[4]
		assert.Equal(t, "snapshot.jpg", original.name)
		assert.NotContains(t, string(original.data), "#")
	}
}

// TestExportAfterTheKeyChanged has packages of both keys verified.
func TestExportAfterTheKeyChanged(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	old := s.vault.Public()
	keys := filepath.Join(s.dir, "keys")
	require.NoError(t, os.Rename(filepath.Join(keys, vault.PublicFile), filepath.Join(keys, "evidence-2026.pub")))
	require.NoError(t, os.Remove(filepath.Join(keys, "evidence.key")))
	var err error
	s.vault, err = vault.Open(keys)
	require.NoError(t, err)
	b := s.export(t, 1, request)
	text := unzip(t, b)[1].data
	inside, err := evidence.ParseKeys(text)
	require.NoError(t, err)
	require.Len(t, inside, 2)
	r, err := verify(t, b, old, s.vault.Public())
	require.NoError(t, err)
	assert.Empty(t, r.Findings)
	r, err = verify(t, b, old)
	require.NoError(t, err)
	assert.Equal(t, []string{"export.json", "export.sig"}, files(r))
	known, err := vault.PublicKeys(keys)
	require.NoError(t, err)
	assert.ElementsMatch(t, inside, known)
}

// slowViewer looks, before it makes a copy, at what has reached the client.
type slowViewer struct {
	plainViewer
	reply   *flushedReply
	reached []int
}

func (v *slowViewer) Picture(picture []byte, lines []string, areas [][4]float64) ([]byte, error) {
	v.reached = append(v.reached, v.reply.sent)
	return v.plainViewer.Picture(picture, lines, areas)
}

// flushedReply is a reply that keeps what it is given until it is flushed, as one
// by HTTP does.
type flushedReply struct {
	bytes.Buffer
	sent int
}

func (r *flushedReply) Flush() { r.sent = r.Len() }

// A proxy gives up on a reply of which nothing comes: what needs no making goes
// first.
func TestOriginalsGoBeforeCopiesAreMade(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	reply := &flushedReply{}
	v := &slowViewer{reply: reply}
	x, _ := s.exporter(t, v)
	p, err := x.Prepare(t.Context(), s.stored(t, 1), request)
	require.NoError(t, err)
	require.NoError(t, p.Write(t.Context(), reply))
	require.NotEmpty(t, v.reached)
	sent := reply.Bytes()[:v.reached[0]]
	for _, name := range []string{"README.txt", "manifest.json", "clip.mp4", "track.jsonl"} {
		assert.Contains(t, string(sent), name)
	}
	assert.Contains(t, string(sent), "clip cong-cho-", "the clip itself")
	report, err := verify(t, reply.Bytes(), s.vault.Public())
	require.NoError(t, err)
	assert.Empty(t, report.Findings)
}

package evidence_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

// auditLog remembers what was appended.
type auditLog struct {
	list []string
	last map[string]any
	err  error
}

func (a *auditLog) Append(_ context.Context, actor, action, subject, eventID string, detail map[string]any) error {
	if a.err != nil {
		return a.err
	}
	a.list, a.last = append(a.list, strings.Join([]string{actor, action, subject, eventID}, " ")), detail
	return nil
}

// plainViewer marks copies with their text.
type plainViewer struct{ err error }

func (v plainViewer) Picture(picture []byte, lines []string, areas [][4]float64) ([]byte, error) {
	return append([]byte(strings.Join(lines, "|")+strings.Repeat("#", len(areas))), picture...), v.err
}

func (v plainViewer) Clip(_ context.Context, from, to string, lines []string, _ evidence.Veil) (string, error) {
	b, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	return "the copy ends after 60 s", errors.Join(v.err, os.WriteFile(to, append([]byte(lines[0]), b...), 0o600))
}

// exporter returns an exporter and its audit log.
func (s *seals) exporter(t *testing.T, viewer evidence.Viewer) (*evidence.Exporter, *auditLog) {
	t.Helper()
	audit := &auditLog{}
	x, err := evidence.NewExporter(evidence.ExporterConfig{
		Store: s.store, Keys: s.vault, Audit: audit, Viewer: viewer, Software: "xacam test",
		Temp: t.TempDir(), Now: func() time.Time { return s.clock },
	})
	require.NoError(t, err)
	return x, audit
}

// stored is the n-th event as the store has it after it was sealed.
func (s *seals) stored(t *testing.T, n int) events.Event {
	t.Helper()
	e := s.draft(t, n).Event
	for _, sealed := range s.chain.entries() {
		if sealed.EventID == e.ID {
			e.Evidence = sealed.Files
		}
	}
	return e
}

var request = evidence.Request{By: "Nguyễn Văn A", Reason: "Hồ sơ 12/2026", Blur: "none"} //nolint:gochecknoglobals // a constant

// export returns the package of the n-th event as a ZIP file.
func (s *seals) export(t *testing.T, n int, r evidence.Request) []byte {
	t.Helper()
	x, _ := s.exporter(t, plainViewer{})
	p, err := x.Prepare(t.Context(), s.stored(t, n), r)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, p.Write(t.Context(), &b))
	return b.Bytes()
}

// sealed returns a bench with so many sealed events.
func sealed(t *testing.T, events int) *seals {
	t.Helper()
	s := newSeals(t)
	for n := range events {
		s.add(t, n+1)
	}
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
	return s
}

// entry is a file of a ZIP file.
type entry struct {
	name string
	data []byte
}

func unzip(t *testing.T, b []byte) []entry {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	var out []entry
	for _, f := range z.File {
		r, err := f.Open()
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		out = append(out, entry{f.Name, data})
	}
	return out
}

func pack(t *testing.T, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, err := z.Create(e.name)
		require.NoError(t, err)
		_, err = w.Write(e.data)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.Bytes()
}

// verify checks a package given as bytes.
func verify(t *testing.T, b []byte, keys ...ed25519.PublicKey) (*evidence.Report, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.zip")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return evidence.Verify(t.Context(), path, keys)
}

// unpack writes a package into a folder.
func unpack(t *testing.T, entries []entry) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range entries {
		path := filepath.Join(dir, filepath.FromSlash(e.name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, e.data, 0o600))
	}
	return dir
}

func clone(entries []entry) []entry {
	out := slices.Clone(entries)
	for i := range out {
		out[i].data = bytes.Clone(out[i].data)
	}
	return out
}

func files(r *evidence.Report) []string {
	var out []string
	for _, f := range r.Findings {
		out = append(out, f.File)
	}
	return slices.Compact(out)
}

func TestPackage(t *testing.T) {
	t.Parallel()
	s := sealed(t, 2)
	b := s.export(t, 2, request)
	names := make([]string, 0, 20)
	for _, e := range unzip(t, b) {
		names = append(names, e.name)
	}
	assert.Equal(t, []string{
		"README.txt", "evidence.pub", "manifest.json", "manifest.sig",
		"snapshot.jpg", "still-approach.jpg", "still-act.jpg", "clip.mp4", "track.jsonl",
		"viewing/snapshot.jpg", "viewing/still-approach.jpg", "viewing/still-act.jpg", "viewing/clip.mp4", "export.json", "export.sig",
	}, names)
	assert.Equal(t, b, s.export(t, 2, request), "the same bytes at the same time")
	for name, keys := range map[string][]ed25519.PublicKey{"given key": {s.vault.Public()}, "inside key": nil} {
		r, err := verify(t, b, keys...)
		require.NoError(t, err)
		assert.Empty(t, r.Findings, name)
		assert.Equal(t, len(keys) > 0, r.Trusted)
		assert.Equal(t, int64(2), r.Manifest.Number)
		assert.Equal(t, "Nguyễn Văn A", r.Export.By)
		assert.Equal(t, []string{"viewing/clip.mp4: the copy ends after 60 s, says export.json"}, r.Notes)
	}
	folder, err := evidence.Verify(t.Context(), unpack(t, unzip(t, b)), []ed25519.PublicKey{s.vault.Public()})
	require.NoError(t, err)
	assert.Empty(t, folder.Findings, "unpacked")
}

// TestEveryFlippedByteIsNamed flips bits of every file of a package.
func TestEveryFlippedByteIsNamed(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	whole := unzip(t, s.export(t, 1, request))
	pairs := map[string]string{"export.json": "export.sig", "export.sig": "export.json"}
	for i, f := range whole {
		places := []int{bytes.Index(f.data, []byte(`"key_id":"`)) + 12} // 11 where there is none
		for at := 0; at < len(f.data); at += max(1, len(f.data)/16) {
			places = append(places, at)
		}
		for _, at := range places {
			changed := clone(whole)
			changed[i].data[at] ^= 1 << (at % 8)
			for _, keys := range [][]ed25519.PublicKey{{s.vault.Public()}, nil} {
				r, err := verify(t, pack(t, changed), keys...)
				require.NoError(t, err)
				require.Contains(t, files(r), f.name, "byte %d", at)
				if len(keys) == 0 && f.name == "evidence.pub" {
					continue // nothing can be trusted then
				}
				for _, named := range files(r) {
					require.Contains(t, []string{f.name, pairs[f.name]}, named, "byte %d of %s", at, f.name)
				}
			}
		}
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	whole := unzip(t, s.export(t, 1, request))
	at := func(name string) int { return slices.IndexFunc(whole, func(e entry) bool { return e.name == name }) }
	other := newSeals(t)
	for _, c := range []struct {
		name   string
		change func([]entry) []entry
		want   []string
	}{
		{"added", func(e []entry) []entry { return append(e, entry{"clip2.mp4", []byte("x")}) }, []string{"clip2.mp4: added: it does not belong to the package"}},
		{"added copy", func(e []entry) []entry { return append(e, entry{"viewing/x.jpg", []byte("x")}) }, []string{"viewing/x.jpg: added: it does not belong to the package"}},
		{"renamed", func(e []entry) []entry { e[at("clip.mp4")].name = "phim.mp4"; return e }, []string{"phim.mp4: renamed: it is clip.mp4"}},
		{"other order", func(e []entry) []entry { slices.Reverse(e); return e }, nil},
		{"swapped", func(e []entry) []entry {
			a, b := at("still-act.jpg"), at("still-approach.jpg")
			e[a].data, e[b].data = e[b].data, e[a].data
			return e
		}, []string{"still-act.jpg: changed", "still-approach.jpg: changed"}},
		{"twice", func(e []entry) []entry { return append(e, entry{"clip.mp4", []byte("another")}) }, []string{"clip.mp4: added: there is a second file of this name"}},
		{"path out", func(e []entry) []entry { return append(e, entry{"../../etc/cron.d/x", []byte("x")}) }, []string{"../../etc/cron.d/x: added: it is not the name"}},
		{"absolute", func(e []entry) []entry { return append(e, entry{"/etc/x", []byte("x")}) }, []string{"/etc/x: added: it is not the name"}},
		{"backslash", func(e []entry) []entry { return append(e, entry{`..\x`, []byte("x")}) }, []string{`..\x: added: it is not the name`}},
		{"drive", func(e []entry) []entry { return append(e, entry{"C:x", []byte("x")}) }, []string{"C:x: added: it is not the name"}},
		{"escape codes", func(e []entry) []entry { return append(e, entry{"\x1b[2J", []byte("x")}) }, []string{"?[2J: added"}},
		{"huge manifest", func(e []entry) []entry { e[at("manifest.json")].data = make([]byte, 5<<20); return e }, []string{"manifest.json: changed: it cannot be read: more than"}},
	} {
		r, err := verify(t, pack(t, c.change(clone(whole))), s.vault.Public())
		require.NoError(t, err)
		var got []string
		for _, f := range r.Findings {
			got = append(got, f.String())
		}
		require.Len(t, got, len(c.want), "%s: %v", c.name, got)
		for i := range got {
			assert.True(t, strings.HasPrefix(got[i], c.want[i]), "%s: %s", c.name, got[i])
		}
	}
	for i, f := range whole { // each one removed
		r, err := verify(t, pack(t, slices.Delete(clone(whole), i, i+1)), s.vault.Public())
		require.NoError(t, err)
		assert.Contains(t, r.Findings, evidence.Finding{File: f.name, Problem: "missing"})
	}
	r, err := verify(t, pack(t, whole), other.vault.Public())
	require.NoError(t, err)
	assert.Equal(t, []string{"export.json", "export.sig", "manifest.sig"}, files(r), "signed by somebody else")
}

// TestForgedPackage signs everything anew with another key.
func TestForgedPackage(t *testing.T) {
	t.Parallel()
	s, forger := sealed(t, 1), sealed(t, 1)
	b := forger.export(t, 1, request)
	r, err := verify(t, b)
	require.NoError(t, err)
	assert.True(t, r.OK())
	assert.False(t, r.Trusted, "consistent, which proves nothing")
	r, err = verify(t, b, s.vault.Public())
	require.NoError(t, err)
	assert.False(t, r.OK())
}

func TestBrokenZip(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	b := s.export(t, 1, request)
	for cut := 0; cut < len(b); cut += 1 + len(b)/200 {
		_, err := verify(t, b[:cut], s.vault.Public())
		require.Error(t, err, "cut at %d of %d", cut, len(b))
	}
	bomb := bombOf(t)
	start := time.Now()
	r, err := verify(t, bomb, s.vault.Public())
	require.NoError(t, err)
	assert.Contains(t, r.Findings, evidence.Finding{File: "clip.mp4", Problem: "changed: it unpacks to far more than it could hold"})
	assert.Less(t, time.Since(start), 5*time.Second)

	var many bytes.Buffer
	z := zip.NewWriter(&many)
	for i := range 3000 {
		_, err := z.Create(strings.Repeat("x", 1+i%50) + string(rune('a'+i%26)) + time.Duration(i).String())
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	_, err = verify(t, many.Bytes(), s.vault.Public())
	require.ErrorContains(t, err, "3000 files")
}

// bombOf returns a small ZIP file that claims to unpack to a gigabyte.
func bombOf(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("clip.mp4")
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 80<<20))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	require.Less(t, b.Len(), 1<<20)
	// The size in the central directory, APPNOTE 4.3.12.
	at := bytes.LastIndex(b.Bytes(), []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b.Bytes()[at+24:], 1<<30)
	return b.Bytes()
}

func TestLinks(t *testing.T) {
	t.Parallel()
	s, other := sealed(t, 3), sealed(t, 3)
	reports := make([]*evidence.Report, 3)
	for n := range 3 {
		var err error
		reports[n], err = verify(t, s.export(t, n+1, request), s.vault.Public())
		require.NoError(t, err)
	}
	assert.Empty(t, evidence.Links([]string{"3", "1", "2"}, []*evidence.Report{reports[2], reports[0], reports[1]}))
	forged, err := verify(t, other.export(t, 2, request), other.vault.Public())
	require.NoError(t, err)
	got := evidence.Links([]string{"a.zip", "b.zip"}, []*evidence.Report{forged, reports[2]})
	require.Len(t, got, 1)
	assert.Contains(t, got[0].String(), "b.zip: it does not follow a.zip")
	got = evidence.Links([]string{"a.zip", "b.zip"}, []*evidence.Report{forged, reports[1]})
	require.Len(t, got, 1)
	assert.Contains(t, got[0].String(), "one of them is forged")
}

// TestWithOpenssl follows README.txt to the letter.
func TestWithOpenssl(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"openssl", "sha256sum", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s", tool)
		}
	}
	s := sealed(t, 1)
	entries := unzip(t, s.export(t, 1, request))
	dir := unpack(t, entries)
	key, err := vault.EncodePublic(s.vault.Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "KEY.pub"), key, 0o600))
	var lines []string
	for line := range strings.SplitSeq(string(entries[0].data), "\n") {
		if _, cmd, ok := strings.Cut(line, ". "); ok && (strings.HasPrefix(cmd, "openssl ") || strings.HasPrefix(cmd, "sed ")) {
			lines = append(lines, strings.ReplaceAll(cmd, "KHÓA.pub", "KEY.pub"))
		}
	}
	require.Len(t, lines, 4, "two in each language")
	run := func(line string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, line := range lines {
		out, err := run(line)
		require.NoError(t, err, out)
		if strings.HasPrefix(line, "openssl") {
			assert.Contains(t, out, "Signature Verified Successfully")
		} else {
			assert.Equal(t, 5, strings.Count(out, ": OK\n"), out)
		}
	}
	for _, name := range []string{"manifest.json", "clip.mp4"} {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		b[len(b)/2] ^= 1
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
	out, err := run(lines[0])
	require.Error(t, err, out)
	out, err = run(lines[1])
	require.Error(t, err, out)
	assert.Contains(t, out, "clip.mp4: FAILED")
}

func FuzzManifest(f *testing.F) {
	m := evidence.Manifest{
		Format: evidence.ManifestFormat, Number: 1, Previous: evidence.Link{SHA256: evidence.NoPrevious}, SealedAt: day,
		KeyID: "0011223344556677", Event: []byte(`{"id":"x"}`), Record: []byte(`{}`), Flaws: []string{"a"},
		Files: []evidence.File{{SHA256: strings.Repeat("0a", 32), Name: "clip.mp4", Bytes: 1, Type: "clip", Path: "a.mp4"}},
	}
	b, err := m.Encode()
	require.NoError(f, err)
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := evidence.ParseManifest(data)
		if err != nil {
			return
		}
		again, err := m.Encode()
		require.NoError(t, err)
		require.Equal(t, data, again)
		for _, f := range m.Files {
			require.True(t, filepath.IsLocal(f.Name))
		}
	})
}

package evidence_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

// rotate changes the key that signs.
func (s *seals) rotate(t *testing.T) vault.Handover {
	t.Helper()
	last := evidence.Link{SHA256: evidence.NoPrevious}
	if e := s.chain.entries(); len(e) > 0 {
		last = e[len(e)-1].Head.Link()
	}
	h, err := vault.Rotate(filepath.Join(s.dir, "keys"), vault.Handover{At: s.clock, Number: last.Number, SHA256: last.SHA256, By: "Lan", Reason: "định kỳ"},
		func(vault.Handover) error { return nil })
	require.NoError(t, err)
	s.vault, err = vault.Open(filepath.Join(s.dir, "keys"))
	require.NoError(t, err)
	s.clock = s.clock.Add(time.Minute)
	return h
}

// seal seals one more event.
func (s *seals) seal(t *testing.T, n int) {
	t.Helper()
	s.add(t, n)
	s.run(t, func() bool { return len(s.drafts.left()) == 0 })
}

// TestPackagesOfBothKeys verifies packages from before and after two rotations
// with each of the public keys, and with the key chain.
func TestPackagesOfBothKeys(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	before := s.export(t, 1, request)
	first := s.vault.Public()
	h := s.rotate(t)
	s.seal(t, 2)
	s.rotate(t)
	s.seal(t, 3)
	chain, err := evidence.EncodeKeychain(s.vault.Public(), s.vault.Handovers())
	require.NoError(t, err)
	key, handovers, err := evidence.ParseTrust(chain)
	require.NoError(t, err)
	require.Len(t, handovers, 2)
	for name, b := range map[string][]byte{
		"of the first key": s.export(t, 1, request), "of the second": s.export(t, 2, request), "of the third": s.export(t, 3, request),
	} {
		for _, with := range [][]ed25519.PublicKey{{first}, {h.New}, {s.vault.Public()}, key} {
			r, err := verify(t, b, with...)
			require.NoError(t, err)
			assert.Empty(t, r.Findings, name)
			assert.True(t, r.Trusted)
		}
		stranger, err := vault.Open(t.TempDir())
		require.NoError(t, err)
		r, err := verify(t, b, stranger.Public())
		require.NoError(t, err)
		assert.NotEmpty(t, r.Findings, "%s: no hand-over leads to it", name)
	}
	// A package that was taken before the rotations brings no hand-over.
	path := filepath.Join(t.TempDir(), "p.zip")
	writeFile(t, path, before)
	r, err := evidence.Verify(t.Context(), path, key)
	require.NoError(t, err)
	assert.NotEmpty(t, r.Findings)
	r, err = evidence.Verify(t.Context(), path, key, handovers...)
	require.NoError(t, err)
	assert.Empty(t, r.Findings, "the key chain leads to its key")
}

// TestRetiredKeySealsNoMore: whoever has stolen the old key cannot seal packages
// that would have come later.
func TestRetiredKeySealsNoMore(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	stolen := s.vault
	h := s.rotate(t)
	s.vault = stolen
	s.seal(t, 2)
	b := s.export(t, 2, request)
	r, err := verify(t, b, h.Old)
	require.NoError(t, err)
	assert.Empty(t, r.Findings, "who knows nothing of the rotation")
	path := filepath.Join(t.TempDir(), "p.zip")
	writeFile(t, path, b)
	r, err = evidence.Verify(t.Context(), path, []ed25519.PublicKey{h.New}, h)
	require.NoError(t, err)
	require.Len(t, r.Findings, 2)
	assert.Equal(t, "export.json", r.Findings[0].File)
	assert.Contains(t, r.Findings[0].Problem, "so it cannot have signed at 2026-11-23T15:16:05Z")
	assert.Equal(t, "manifest.sig", r.Findings[1].File)
	assert.Contains(t, r.Findings[1].Problem, "was handed over after manifest 1, so it cannot have sealed 2")
	// In the place of the last one.
	s2 := newSeals(t)
	s2.vault = stolen
	s2.seal(t, 3)
	writeFile(t, path, s2.export(t, 3, request))
	r, err = evidence.Verify(t.Context(), path, []ed25519.PublicKey{h.New}, h)
	require.NoError(t, err)
	require.Len(t, r.Findings, 1)
	assert.Contains(t, r.Findings[0].Problem, "handed over after manifest 1, which was another one")
}

func TestChangedKeychain(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	first := s.vault.Public()
	s.rotate(t)
	entries := unzip(t, s.export(t, 1, request))
	for i := range entries {
		if entries[i].name == "keys.json" {
			entries[i].data = []byte(strings.Replace(string(entries[i].data), `"by": "Lan"`, `"by": "Ban"`, 1))
		}
	}
	r, err := verify(t, pack(t, entries), first)
	require.NoError(t, err)
	assert.Contains(t, files(r), "keys.json")
	for _, text := range []string{"{}", `{"format":"xacam-keys/1"}`, `{"format":"xacam-keys/1","key":"AAAA","handovers":[]}`, "{"} {
		_, _, err := evidence.ParseTrust([]byte(text))
		require.Error(t, err, text)
	}
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

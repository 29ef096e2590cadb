package evidence_test

import (
	"crypto/ed25519"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

// handOver is what whoever has both keys can make.
func handOver(t *testing.T, from, to *vault.Vault, like vault.Handover) vault.Handover {
	t.Helper()
	h := like
	h.Format, h.Old, h.New = vault.HandoverFormat, from.Public(), to.Public()
	_, h.OldSig = from.Sign(h.Message())
	_, h.NewSig = to.Sign(h.Message())
	require.True(t, h.Valid())
	return h
}

// bring makes packages of a bench bring hand-overs along.
func (s *seals) bring(t *testing.T, handovers ...vault.Handover) {
	t.Helper()
	for _, h := range handovers {
		b, err := json.Marshal(h)
		require.NoError(t, err)
		writeFile(t, filepath.Join(s.dir, "keys", "handover-"+vault.KeyID(h.New)+".json"), b)
	}
	var err error
	s.vault, err = vault.Open(filepath.Join(s.dir, "keys"))
	require.NoError(t, err)
}

// problems verifies a package and returns what is wrong with it.
func problems(t *testing.T, pack []byte, keys []ed25519.PublicKey, handovers ...vault.Handover) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.zip")
	writeFile(t, path, pack)
	r, err := evidence.Verify(t.Context(), path, keys, handovers...)
	require.NoError(t, err)
	lines := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// theft is a server whose old key was stolen, and the thief's own.
type theft struct {
	server, thief  *seals
	stolen         *vault.Vault
	genuine, fork  vault.Handover
	oldKey, newKey []ed25519.PublicKey
}

func steal(t *testing.T) *theft {
	t.Helper()
	s := sealed(t, 1)
	x := &theft{server: s, stolen: s.vault, thief: newSeals(t)}
	x.genuine = s.rotate(t)
	x.fork = handOver(t, x.stolen, x.thief.vault, x.genuine)
	x.oldKey, x.newKey = []ed25519.PublicKey{x.genuine.Old}, []ed25519.PublicKey{x.genuine.New}
	s.seal(t, 2)
	return x
}

// forge makes the thief's package number 2, which brings hand-overs along.
func (x *theft) forge(t *testing.T, handovers ...vault.Handover) []byte {
	t.Helper()
	x.thief.bring(t, handovers...)
	x.thief.seal(t, 1)
	x.thief.seal(t, 2)
	return x.thief.export(t, 2, request)
}

// TestForkOfAStolenKey: whoever has stolen the old key hands it over once more, to
// a key of his own.
func TestForkOfAStolenKey(t *testing.T) {
	t.Parallel()
	x := steal(t)
	forged := x.forge(t, x.genuine, x.fork)
	evil := vault.KeyID(x.fork.New)
	named := "keys.json: the hand-over of the key " + vault.KeyID(x.genuine.Old) + " to " + evil + " is forged"
	for name, got := range map[string]string{
		"the new key":    problems(t, forged, x.newKey),
		"the key chain":  problems(t, forged, x.newKey, x.genuine),
		"the hand-over":  problems(t, forged, x.oldKey, x.genuine),
		"both keys":      problems(t, forged, append(x.oldKey, x.newKey...)),
		"newest is last": problems(t, forged, append(x.newKey, x.oldKey...)),
	} {
		assert.Contains(t, got, named, name)
		assert.Contains(t, got, "manifest.sig: it claims to be by the key "+evil, name)
		assert.Contains(t, got, "export.json: it claims to be signed by the key "+evil, name)
	}
	got := problems(t, forged, x.oldKey)
	assert.Contains(t, got, "was handed over twice", "who knows the old one only cannot tell which")
	assert.Contains(t, got, "manifest.sig: it claims to be by the key "+evil)
	// The server's own package, with the forged hand-over slipped in.
	x.server.bring(t, x.fork)
	got = problems(t, x.server.export(t, 2, request), x.newKey)
	assert.Equal(t, 1, strings.Count(got, "\n")+1, got)
	assert.Contains(t, got, named)
}

// TestForkAlone: the package does not bring the hand-over that was there.
func TestForkAlone(t *testing.T) {
	t.Parallel()
	x := steal(t)
	forged := x.forge(t, x.fork)
	evil := vault.KeyID(x.fork.New)
	assert.Empty(t, problems(t, forged, x.oldKey), "as the help says: the old key alone cannot tell")
	for name, got := range map[string]string{
		"the new key":   problems(t, forged, x.newKey),
		"the key chain": problems(t, forged, x.newKey, x.genuine),
		"the hand-over": problems(t, forged, x.oldKey, x.genuine),
		"both keys":     problems(t, forged, append(x.oldKey, x.newKey...)),
	} {
		assert.Contains(t, got, "manifest.sig: it claims to be by the key "+evil, name)
	}
}

// TestBackwards: a key that was reached from the new one verifies what was sealed
// until it was handed over, and what the thief puts before it no more than that.
func TestBackwards(t *testing.T) {
	t.Parallel()
	x := steal(t)
	assert.Empty(t, problems(t, x.server.export(t, 1, request), x.newKey))
	before := x.genuine
	before.Number, before.SHA256 = 100, strings.Repeat("0a", 32) // of the thief's, up to where he likes
	got := problems(t, x.forge(t, x.genuine, handOver(t, x.thief.vault, x.stolen, before)), x.newKey)
	assert.Contains(t, got, "was handed over after manifest 1, so it cannot have sealed 2")
	// Two steps, the first without a time.
	x = steal(t)
	second := newSeals(t)
	before.At = before.At.AddDate(-2025, -10, -22).Truncate(24 * 3600e9)
	b := handOver(t, second.vault, x.stolen, before)
	got = problems(t, x.forge(t, x.genuine, b, handOver(t, x.thief.vault, second.vault, before)), x.newKey)
	assert.Contains(t, got, "was handed over after manifest 1, so it cannot have sealed 2")
}

// TestSeveralKeysLeadOn: of several keys that are given only the last leads on.
func TestSeveralKeysLeadOn(t *testing.T) {
	t.Parallel()
	s := sealed(t, 1)
	first := s.rotate(t)
	s.rotate(t)
	s.seal(t, 2)
	third := s.export(t, 2, request)
	assert.Empty(t, problems(t, third, []ed25519.PublicKey{first.Old, first.New}))
	assert.Empty(t, problems(t, third, []ed25519.PublicKey{first.New, first.Old}))
}

// TestLateExport: the old key signs nothing after it was handed over.
func TestLateExport(t *testing.T) {
	t.Parallel()
	x := steal(t)
	v := x.server.vault
	x.server.vault = x.stolen
	late := x.server.export(t, 1, request)
	assert.Contains(t, problems(t, late, x.newKey, x.genuine), "export.json: the key "+vault.KeyID(x.genuine.Old)+" was handed over at 2026-11-23T15:15:05Z, so it cannot have signed at")
	x.server.clock = x.genuine.At
	early := x.server.export(t, 1, request)
	assert.Empty(t, problems(t, early, x.newKey, x.genuine))
	x.server.vault = v
}

package pgstore_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/vault"
)

// TestHandoverIsAKnownEnd: a hand-over says where the chain was, so the stolen old
// key cannot cut it off before that, nor sign an end after it.
func TestHandoverIsAKnownEnd(t *testing.T) {
	t.Parallel()
	c := sealChain(t, 5)
	head, err := c.store.ManifestHead(t.Context())
	require.NoError(t, err)
	dir := filepath.Join(filepath.Dir(c.media), "keys")
	h, err := vault.Rotate(dir, vault.Handover{At: time.Now(), Number: head.Number, SHA256: head.SHA256, By: "Lan", Reason: "mất khóa"},
		func(vault.Handover) error { return nil })
	require.NoError(t, err)
	keys, err := vault.PublicKeys(dir)
	require.NoError(t, err)
	find := func(known ...evidence.KnownHead) string {
		var out []string
		_, err := evidence.VerifyChain(t.Context(), evidence.ChainConfig{
			Store: c.files, Chain: c.store, Keys: keys, Handovers: []vault.Handover{h}, Known: known,
			Found: func(f evidence.Finding) { out = append(out, f.String()) },
		})
		require.NoError(t, err)
		return strings.Join(out, "\n")
	}
	assert.Empty(t, find())
	forged := evidence.SignHead(evidence.Link{Number: 6, SHA256: strings.Repeat("0a", 32)}, day, c.vault)
	got := find(evidence.KnownHead{Where: "forged.json", Head: forged})
	assert.Contains(t, got, "forged.json: the key "+vault.KeyID(h.Old)+" was handed over after manifest 5, so it cannot have signed the end at 6")

	fifth := c.headAt(t, 5)
	c.cut(t, c.headAt(t, 3)) // signed by the old key
	got = find()
	assert.Equal(t, 0, strings.Count(got, "\n"), got)
	assert.Contains(t, got, "the hand-over of the key "+vault.KeyID(h.Old)+": manifest 5 was sealed by ")
	assert.Contains(t, got, "but the chain ends with 3")
	require.NoError(t, exec(t, c.dsn, "UPDATE manifest_head SET number = 6, sha256 = repeat('0a', 32)"))
	c.putHead(t, forged)
	assert.Contains(t, find(), "the end of the chain: the key "+vault.KeyID(h.Old)+" was handed over after manifest 5, so it cannot have signed the end at 6")
	assert.ErrorContains(t, evidence.GoesOn(t.Context(), c.store, []evidence.KnownHead{{Where: "kept.json", Head: fifth}}), "kept.json")
}

// TestGoesOn compares the chain with what is known of it.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	c := sealChain(t, 5)
	third, fifth := evidence.KnownHead{Where: "third.json", Head: c.headAt(t, 3)}, evidence.KnownHead{Where: "fifth.json", Head: c.headAt(t, 5)}
	goesOn := func(known ...evidence.KnownHead) error { return evidence.GoesOn(t.Context(), c.store, known) }
	require.NoError(t, goesOn())
	require.NoError(t, goesOn(third, fifth))
	other := third
	other.Head.SHA256 = strings.Repeat("0a", 32)
	require.ErrorContains(t, goesOn(fifth, other), "third.json says that manifest 3 was")
	require.ErrorContains(t, goesOn(evidence.KnownHead{Where: "empty.json"}), "empty.json")
	c.cut(t, c.headAt(t, 3))
	require.NoError(t, goesOn(third))
	require.ErrorContains(t, goesOn(third, fifth), "fifth.json says that manifest 5 was sealed, but the chain ends with 3")
}

package pgstore_test

import (
	"context"
	"fmt"
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

// named verifies with heads that were kept, and returns what is wrong.
func (c *chain) named(t *testing.T, known ...evidence.KnownHead) []string {
	t.Helper()
	keys, err := vault.PublicKeys(filepath.Join(filepath.Dir(c.media), "keys"))
	require.NoError(t, err)
	var out []string
	_, err = evidence.VerifyChain(t.Context(), evidence.ChainConfig{
		Store: c.files, Chain: c.store, Keys: keys, Known: known, Found: func(f evidence.Finding) { out = append(out, f.String()) },
	})
	require.NoError(t, err)
	return out
}

// cut removes everything after manifest 3 without a trace in the log of changes,
// and puts the old, signed end back.
func (c *chain) cut(t *testing.T, old evidence.Head) {
	t.Helper()
	require.NoError(t, exec(t, c.dsn, "ALTER TABLE event_change DISABLE TRIGGER append_only; DELETE FROM event_change WHERE step = 'evidence'"))
	c.asSuperuser("DELETE FROM manifest WHERE number > 3; UPDATE manifest_head SET number = 3, sha256 = (SELECT sha256 FROM manifest WHERE number = 3)")
	c.putHead(t, old)
}

// putHead replaces the signature.
func (c *chain) putHead(t *testing.T, h evidence.Head) {
	t.Helper()
	require.NoError(t, exec(t, c.dsn, fmt.Sprintf("UPDATE manifest_head SET key_id = '%s', signature = '\\x%x', signed_at = '%s'",
		h.KeyID, h.Signature, h.At.Format(time.RFC3339Nano))))
}

// headAt is the end that was signed when a manifest was the last.
func (c *chain) headAt(t *testing.T, number int64) evidence.Head {
	t.Helper()
	entries, err := c.store.Manifests(t.Context(), number-1, 1)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	return evidence.SignHead(evidence.Link{Number: number, SHA256: entries[0].SHA256}, entries[0].SealedAt, c.vault)
}

func TestSignedHead(t *testing.T) {
	t.Parallel()
	c := sealChain(t, 5)
	head, err := c.store.ManifestHead(t.Context())
	require.NoError(t, err)
	assert.Equal(t, c.headAt(t, 5), head, "each sealing signs the end, deterministically")
	kept, err := c.heads.Known()
	require.NoError(t, err)
	require.Len(t, kept, 1)
	assert.Equal(t, head, kept[0].Head)
	early := evidence.KnownHead{Where: "handed-out.json", Head: c.headAt(t, 3)}
	assert.Empty(t, c.named(t, append(kept, early)...))

	c.cutTail(t, kept)
	c.removeSignature(t)
	c.putOldEndBack(t, kept, early)
	c.goOnElsewhere(t)
}

// cutTail removes the last manifest without the key.
func (c *chain) cutTail(t *testing.T, kept []evidence.KnownHead) {
	t.Helper()
	c.asSuperuser("CREATE TABLE saved AS SELECT * FROM manifest; DELETE FROM manifest WHERE number = 5; " +
		"UPDATE manifest_head SET number = 4, sha256 = (SELECT sha256 FROM manifest WHERE number = 4)")
	got := c.named(t)
	require.NotEmpty(t, got)
	assert.Contains(t, got[0], "the end of the chain: its signature by the key "+kept[0].Head.KeyID+" does not fit: manifest 4 was not the last")
	c.asSuperuser("INSERT INTO manifest SELECT * FROM saved WHERE number = 5; UPDATE manifest_head SET number = 5, sha256 = (SELECT sha256 FROM manifest WHERE number = 5)")
	require.Empty(t, c.named(t, kept...))
}

// removeSignature is also what an update of the server leaves.
func (c *chain) removeSignature(t *testing.T) {
	t.Helper()
	require.NoError(t, exec(t, c.dsn, "UPDATE manifest_head SET key_id = '', signature = '', signed_at = NULL"))
	got := c.named(t)
	require.Len(t, got, 1)
	assert.Contains(t, got[0], "nobody has signed that manifest 5 is the last")
	require.NoError(t, c.store.SignHead(t.Context(), func(end evidence.Link) evidence.Head { return evidence.SignHead(end, day, c.vault) }))
	assert.Empty(t, c.named(t))
	require.NoError(t, c.store.SignHead(t.Context(), func(evidence.Link) evidence.Head { panic("it is signed") }))
}

// putOldEndBack leaves a sound chain in the database.
func (c *chain) putOldEndBack(t *testing.T, kept []evidence.KnownHead, early evidence.KnownHead) {
	t.Helper()
	c.cut(t, c.headAt(t, 3))
	assert.Empty(t, c.named(t), "inside the database nothing tells")
	got := c.named(t, append(kept, early)...)
	require.Len(t, got, 1)
	assert.True(t, strings.HasPrefix(got[0], "evidence-head.json: manifest 5 was sealed by "), got[0])
	assert.Contains(t, got[0], "but the chain ends with 3: its end was cut off, or an old state of the database was put back")
	forged := kept[0]
	forged.Head.Number = 2
	got = c.named(t, forged)
	require.Len(t, got, 1)
	assert.Contains(t, got[0], "its signature is not one of this server's")
}

// goOnElsewhere seals another package in the place of one that was cut off.
func (c *chain) goOnElsewhere(t *testing.T) {
	t.Helper()
	next := evidence.SignHead(evidence.Link{Number: 4, SHA256: strings.Repeat("ab", 32)}, day.Add(time.Hour), c.vault)
	third := c.headAt(t, 3)
	lost, err := c.heads.Keep(next, third.Link())
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(lost, "evidence-head-5-"), lost)
	known, err := c.heads.Known()
	require.NoError(t, err)
	require.Len(t, known, 2)
	got := c.named(t, known...)
	require.Len(t, got, 2)
	assert.Contains(t, got[1], "manifest 5 was sealed by", "what was the end once is named for ever")
	require.NoError(t, os.WriteFile(filepath.Join(c.heads.Dir, "evidence-head.json"), []byte("{}"), 0o600))
	known, err = c.heads.Known()
	require.NoError(t, err)
	got = c.named(t, known...)
	require.Len(t, got, 2)
}

// TestChainOfAnEarlierVersion: what was sealed before ends were signed is signed
// at the next start, and not before.
func TestChainOfAnEarlierVersion(t *testing.T) {
	t.Parallel()
	c := sealChain(t, 2)
	require.NoError(t, exec(t, c.dsn, "UPDATE manifest_head SET key_id = '', signature = '', signed_at = NULL"))
	require.NoError(t, os.Remove(filepath.Join(c.heads.Dir, "evidence-head.json")))
	require.Len(t, c.named(t), 1)
	sealer, err := evidence.NewSealer(evidence.SealerConfig{
		Store: c.files, Drafts: &draftList{}, Chain: c.store, Signer: c.vault, Heads: c.store, Kept: &c.heads,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sealer.Run(ctx) }()
	require.Eventually(t, func() bool {
		kept, err := c.heads.Known()
		return err == nil && len(kept) == 1 && kept[0].Head.Number == 2
	}, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	kept, err := c.heads.Known()
	require.NoError(t, err)
	assert.Empty(t, c.named(t, kept...))
}

func TestHeadIsWrittenAndRead(t *testing.T) {
	t.Parallel()
	keys, err := vault.Open(t.TempDir())
	require.NoError(t, err)
	h := evidence.SignHead(evidence.Link{Number: 7, SHA256: strings.Repeat("0a", 32)}, day, keys)
	text, err := h.Encode()
	require.NoError(t, err)
	again, err := evidence.ParseHead(text)
	require.NoError(t, err)
	assert.Equal(t, h, again)
	assert.NotContains(t, string(h.Message()), "{", "no JSON that the key signs can be taken for it")
	for _, bad := range []string{"", "{}", "null", strings.Replace(string(text), "xacam-head/1", "xacam-head/2", 1), strings.Replace(string(text), ":7", ":0", 1)} {
		_, err := evidence.ParseHead([]byte(bad))
		require.Error(t, err, bad)
	}
}

package pgstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// draftList keeps drafts in memory.
type draftList struct {
	mu   sync.Mutex
	list []evidence.Draft
}

func (d *draftList) Drafts(context.Context) ([]evidence.Draft, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.list), nil
}

func (d *draftList) DraftIDs(ctx context.Context) ([]string, error) {
	list, err := d.Drafts(ctx)
	var out []string
	for i := range list {
		out = append(out, list[i].Event.ID)
	}
	slices.Sort(out)
	return out, err
}

func (d *draftList) Draft(id string) (evidence.Draft, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.list, func(d evidence.Draft) bool { return d.Event.ID == id })
	if i < 0 {
		return evidence.Draft{}, events.ErrNotFound
	}
	return d.list[i], nil
}

func (d *draftList) RemoveDraft(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = slices.DeleteFunc(d.list, func(d evidence.Draft) bool { return d.Event.ID == id })
	return nil
}

// chain is a store of sealed events on a real database and real files.
type chain struct {
	t     *testing.T
	store *pgstore.Store
	dsn   string
	media string
	files *evidence.Store
	vault *vault.Vault
	heads evidence.HeadFolder
}

// sealChain commits and seals so many events.
func sealChain(t *testing.T, n int) *chain {
	t.Helper()
	s, dsn := open(t)
	dir := t.TempDir()
	c := &chain{t: t, store: s, dsn: dsn, media: filepath.Join(dir, "media"), heads: evidence.HeadFolder{Dir: dir}}
	var err error
	c.files, err = evidence.Open(c.media)
	require.NoError(t, err)
	c.vault, err = vault.Open(filepath.Join(dir, "keys"))
	require.NoError(t, err)
	drafts := &draftList{}
	for i := range n {
		e := raised("gate", i+1)
		ref, err := c.files.Put("snapshot", fmt.Sprintf("gate-%d.jpg", i+1), e.OccurredAt, bytes.Repeat([]byte{byte(i)}, 1000))
		require.NoError(t, err)
		e.Evidence = []events.EvidenceRef{ref}
		require.NoError(t, s.Commit(t.Context(), changes(e)))
		clip, err := c.files.Put("clip", fmt.Sprintf("gate-%d.mp4", i+1), e.OccurredAt, bytes.Repeat([]byte{byte(i)}, 3000))
		require.NoError(t, err)
		drafts.list = append(drafts.list, evidence.Draft{
			Event: e, Record: json.RawMessage(`{"x":1}`), Files: []events.EvidenceRef{ref, clip}, Started: e.OccurredAt, Ready: true,
		})
	}
	sealer, err := evidence.NewSealer(evidence.SealerConfig{
		Store: c.files, Drafts: drafts, Chain: s, Signer: c.vault, Heads: s, Kept: &c.heads, Every: 10 * time.Millisecond,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sealer.Run(ctx) }()
	require.Eventually(t, func() bool {
		left, _ := drafts.Drafts(ctx)
		return len(left) == 0
	}, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-done)
	return c
}

// verify returns the faults and what is gone.
func (c *chain) verify(t *testing.T) (faults, gone []string, sum evidence.ChainSummary) {
	t.Helper()
	keys, err := vault.PublicKeys(filepath.Join(filepath.Dir(c.media), "keys"))
	require.NoError(t, err)
	sum, err = evidence.VerifyChain(t.Context(), evidence.ChainConfig{
		Store: c.files, Chain: c.store, Keys: keys,
		Found: func(f evidence.Finding) { faults = append(faults, f.String()) },
		Gone:  func(where string, d evidence.Deletion) { gone = append(gone, where+": "+d.Reason+" by "+d.Actor) },
	})
	require.NoError(t, err)
	return faults, gone, sum
}

// asSuperuser edits an append-only table.
func (c *chain) asSuperuser(sql string) {
	c.t.Helper()
	require.NoError(c.t, exec(c.t, c.dsn, "ALTER TABLE manifest DISABLE TRIGGER append_only; "+sql))
}

func TestVerifyChain(t *testing.T) {
	t.Parallel()
	c := sealChain(t, 5)
	faults, gone, sum := c.verify(t)
	assert.Empty(t, faults)
	assert.Empty(t, gone)
	assert.Equal(t, evidence.ChainSummary{Manifests: 5, Files: 10}, sum)
	got, err := c.store.Event(t.Context(), raised("gate", 2).ID)
	require.NoError(t, err)
	require.Len(t, got.Evidence, 4)
	for i, typ := range []string{"snapshot", "clip", "signature", "manifest"} {
		assert.Equal(t, typ, got.Evidence[i].Type)
	}
}

// TestChainEditsAreNamed edits rows and files as somebody with every right on
// the machine could.
func TestChainEditsAreNamed(t *testing.T) {
	t.Parallel()
	id := func(n int) string { return raised("gate", n).ID }
	at := func(n int) string { return fmt.Sprintf("manifest %d (event %s)", n, id(n)) }
	manifest := func(n int, suffix string) string { return "2026/11/23/" + id(n) + ".manifest." + suffix }
	for _, tt := range []struct {
		name string
		edit func(c *chain)
		want []string // beginnings, in order
	}{
		{"row: hash", func(c *chain) {
			c.asSuperuser("UPDATE manifest SET sha256 = repeat('a', 64) WHERE number = 2")
		}, []string{at(2) + ": the chain has the SHA-256 aaaa", at(3) + ": it names"}},
		{"row: previous", func(c *chain) {
			c.asSuperuser("UPDATE manifest SET previous = repeat('a', 64) WHERE number = 2")
		}, []string{at(2) + ": it names", at(2) + ": its row says"}},
		{"row: key", func(c *chain) { c.asSuperuser("UPDATE manifest SET key_id = 'x' WHERE number = 2") }, []string{at(2) + ": its row says"}},
		{"row: time", func(c *chain) {
			c.asSuperuser("UPDATE manifest SET sealed_at = sealed_at - interval '1 day' WHERE number = 2")
		}, []string{at(2) + ": its row says that it was sealed at"}},
		{"row: path", func(c *chain) {
			c.asSuperuser("UPDATE manifest SET path = '" + manifest(3, "json") + "' WHERE number = 2")
		}, []string{at(2) + ": " + manifest(3, "json") + " has the SHA-256"}},
		{"row: deleted", func(c *chain) { c.asSuperuser("DELETE FROM manifest WHERE number = 2") }, []string{at(3) + ": manifest 2 before it is missing", "event " + id(2) + ": it was sealed"}},
		{"end cut off", func(c *chain) { c.asSuperuser("DELETE FROM manifest WHERE number > 2") }, []string{"the end of the chain: manifest 4", "event " + id(3), "event " + id(4)}},
		{"end cut off with its head", func(c *chain) {
			c.asSuperuser("DELETE FROM manifest WHERE number = 4; UPDATE manifest_head SET number = 3, sha256 = (SELECT sha256 FROM manifest WHERE number = 3)")
		}, []string{"the end of the chain: its signature by the key", "event " + id(4) + ": it was sealed"}},
		{"manifest changed", func(c *chain) { c.flip(manifest(2, "json"), -10) }, []string{at(2) + ": " + manifest(2, "json") + " was changed"}},
		{"signature changed", func(c *chain) { c.flip(manifest(2, "sig"), 7) }, []string{at(2) + ": the signature " + manifest(2, "sig")}},
		{"manifests swapped", func(c *chain) {
			for _, suffix := range []string{"json", "sig"} {
				a, b, temp := c.path(manifest(2, suffix)), c.path(manifest(3, suffix)), c.path("temp")
				require.NoError(c.t, os.Rename(a, temp))
				require.NoError(c.t, os.Rename(b, a))
				require.NoError(c.t, os.Rename(temp, b))
			}
		}, []string{at(2) + ": " + manifest(2, "json") + " has the SHA-256", at(3) + ": " + manifest(3, "json") + " has the SHA-256"}},
		{"manifest removed", func(c *chain) { require.NoError(c.t, os.Remove(c.path(manifest(2, "json")))) }, []string{at(2) + ", " + manifest(2, "json") + ": "}},
		{"signature removed", func(c *chain) { require.NoError(c.t, os.Remove(c.path(manifest(2, "sig")))) }, []string{at(2) + ": its signature"}},
		{"file changed", func(c *chain) { c.flip("2026/11/23/gate-3.mp4", 99) }, []string{at(3) + ", clip.mp4: 2026/11/23/gate-3.mp4 was changed"}},
		{"file longer", func(c *chain) {
			f, err := os.OpenFile(c.path("2026/11/23/gate-3.mp4"), os.O_APPEND|os.O_WRONLY, 0)
			require.NoError(c.t, err)
			_, err = f.WriteString("x")
			require.NoError(c.t, err)
			require.NoError(c.t, f.Close())
		}, []string{at(3) + ", clip.mp4: 2026/11/23/gate-3.mp4 was changed"}},
		{"file removed", func(c *chain) { require.NoError(c.t, os.Remove(c.path("2026/11/23/gate-3.jpg"))) }, []string{at(3) + ", snapshot.jpg: 2026/11/23/gate-3.jpg is missing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := sealChain(t, 4)
			tt.edit(c)
			faults, _, sum := c.verify(t)
			assert.Equal(t, len(faults), sum.Faults)
			require.Len(t, faults, len(tt.want), "%v", faults)
			for i := range faults {
				assert.Equal(t, tt.want[i], faults[i][:min(len(faults[i]), len(tt.want[i]))])
			}
		})
	}
}

func (c *chain) path(ref string) string { return filepath.Join(c.media, filepath.FromSlash(ref)) }

// flip changes one bit; a negative place counts from the end.
func (c *chain) flip(ref string, at int) {
	c.t.Helper()
	b, err := os.ReadFile(c.path(ref))
	require.NoError(c.t, err)
	b[(at+len(b))%len(b)] ^= 1
	require.NoError(c.t, os.WriteFile(c.path(ref), b, 0o600))
}

func TestDeletedFilesAreAccountedFor(t *testing.T) {
	t.Parallel()
	c := sealChain(t, 2)
	got, err := c.store.Event(t.Context(), raised("gate", 1).ID)
	require.NoError(t, err)
	clip := got.Evidence[1]
	require.NoError(t, os.Remove(c.path(clip.Path)))
	require.NoError(t, exec(t, c.dsn, fmt.Sprintf(`INSERT INTO deletion (path, sha256, bytes, reason, actor) VALUES ('%s', '%s', %d, 'age', 'retention');
		UPDATE evidence SET gone_at = now() WHERE path = '%s'`, clip.Path, clip.SHA256, clip.Bytes, clip.Path)))
	faults, gone, sum := c.verify(t)
	assert.Empty(t, faults)
	assert.Equal(t, []string{fmt.Sprintf("manifest 1 (event %s), clip.mp4: age by retention", got.ID)}, gone)
	assert.Equal(t, 1, sum.Gone)
	got, err = c.store.Event(t.Context(), got.ID)
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), got.Evidence[1].Gone, time.Minute)
	assert.Zero(t, got.Evidence[0].Gone)
}

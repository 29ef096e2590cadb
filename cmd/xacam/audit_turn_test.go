package main

import (
	"bytes"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// turned is a server whose key was changed after one entry of the audit chain, and
// the old key, stolen before.
type turned struct {
	testDatabase
	stolen, keys *vault.Vault
}

func newTurned(t *testing.T) *turned {
	t.Helper()
	b := &turned{testDatabase: newTestDatabase(t)}
	r := xacam(t, "feed-key", "create", "-c", b.config, "--by", "Lan", "ioc")
	require.Equal(t, exitOK, r.code, r.stderr)
	var err error
	b.stolen, err = vault.Open(keyDir(b.data))
	require.NoError(t, err)
	r = xacam(t, "evidence", "rotate-key", "-c", b.config, "--by", "Lan", "--reason", "mất khóa")
	require.Equal(t, exitOK, r.code, r.stderr)
	b.keys, err = vault.Open(keyDir(b.data))
	require.NoError(t, err)
	return b
}

// chain returns the audit chain.
func (b *turned) chain(t *testing.T) (list []audit.Entry, head audit.Head) {
	t.Helper()
	s, err := pgstore.Open(t.Context(), b.dsn, pgstore.Config{})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.AuditChain(t.Context(), func(entries iter.Seq2[audit.Entry, error], h audit.Head) error {
		for e, err := range entries {
			require.NoError(t, err)
			list = append(list, e)
		}
		head = h
		return nil
	}))
	return list, head
}

// crash leaves the audit chain as the end of the process right after the turn does.
func (b *turned) crash(t *testing.T) {
	t.Helper()
	list, _ := b.chain(t)
	h := audit.Head{Number: 2, Hash: list[1].Hash}
	h.KeyID, h.Signature = b.stolen.Sign(h.Message())
	conn, err := pgx.Connect(t.Context(), b.dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), fmt.Sprintf("ALTER TABLE audit DISABLE TRIGGER ALL; DELETE FROM audit WHERE number > 2; "+
		"UPDATE audit_head SET number = 2, hash = '\\x%x', key_id = '%s', signature = '\\x%x'", h.Hash[:], h.KeyID, h.Signature))
	require.NoError(t, err)
}

// verify checks the chain in the database.
func (b *turned) verify(t *testing.T) result {
	t.Helper()
	return xacam(t, "audit", "verify", "-c", b.config)
}

// TestNewKeySignsTheAuditChain: right after the turn the end of the chain is the new
// key's, also where the process ended in between.
func TestNewKeySignsTheAuditChain(t *testing.T) {
	t.Parallel()
	b := newTurned(t)
	inUse := func(code int, says string) {
		t.Helper()
		r := b.verify(t)
		assert.Equal(t, code, r.code, r.stdout)
		assert.Contains(t, r.stdout+r.stderr, says)
	}
	inUse(exitOK, "3 entries are sound")
	list, head := b.chain(t)
	require.Len(t, list, 3)
	assert.Equal(t, "evidence.key_in_use", list[2].Action)
	assert.Equal(t, "key:"+vault.KeyID(b.keys.Public()), list[2].Subject)
	assert.Equal(t, vault.KeyID(b.keys.Public()), head.KeyID)
	h := b.keys.Handovers()[0]
	assert.Equal(t, int64(1), h.AuditNumber)
	assert.Equal(t, list[0].Hash.String(), h.AuditSHA256)

	const old = "it was handed over to "
	b.crash(t)
	inUse(exitFailed, old)
	inUse(exitFailed, old) // verifying does not sign
	r := xacam(t, "feed-key", "create", "-c", b.config, "--by", "Lan", "tinh")
	require.Equal(t, exitOK, r.code, r.stderr)
	inUse(exitOK, "4 entries are sound")
	list, _ = b.chain(t)
	assert.Equal(t, "evidence.key_in_use", list[2].Action)
}

// TestStolenKeyWritesTheAuditChain: the old key goes on with the chain. The server does
// not sign that, nor takes it for what the hand-over left.
func TestStolenKeyWritesTheAuditChain(t *testing.T) {
	t.Parallel()
	b := newTurned(t)
	b.crash(t)
	s, err := pgstore.Open(t.Context(), b.dsn, pgstore.Config{Signer: b.stolen})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Append(t.Context(), "Lan", "event.close", "event:x", "", nil))
	r := b.verify(t)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "entry 3: head: the head is signed with the key \""+vault.KeyID(b.stolen.Public())+"\": it was handed over to "+vault.KeyID(b.keys.Public()))
	require.ErrorContains(t, tellTurn(t.Context(), s, b.keys), "ends with entry 3, which is not how the hand-over")
	// In the place of the entry of the hand-over.
	list, _ := b.chain(t)
	h := b.keys.Handovers()[0]
	head := audit.Append(audit.Head{Number: list[0].Number, Hash: list[0].Hash}, &list[1], b.stolen)
	assert.True(t, leftBy(&h, &head, &list[1]))
	for name, change := range map[string]func(*audit.Entry){
		"another action": func(e *audit.Entry) { e.Action = "event.close" }, "another key": func(e *audit.Entry) { e.Subject = "key:x" },
		"another person": func(e *audit.Entry) { e.Actor = "Minh" },
	} {
		e := list[1]
		change(&e)
		head = audit.Append(audit.Head{Number: list[0].Number, Hash: list[0].Hash}, &e, b.stolen)
		assert.False(t, leftBy(&h, &head, &e), name)
	}
	e := list[1]
	head = audit.Append(audit.Head{Number: 1, Hash: list[2].Hash}, &e, b.stolen)
	assert.False(t, leftBy(&h, &head, &e), "what was before it was written anew")
	e = list[1]
	head = audit.Append(audit.Head{Number: 5, Hash: list[0].Hash}, &e, b.stolen)
	assert.False(t, leftBy(&h, &head, &e), "another place")
	e = list[1]
	head = audit.Append(audit.Head{Number: 1, Hash: list[0].Hash}, &e, b.keys)
	assert.False(t, leftBy(&h, &head, &e), "signed by another")
}

// TestExportOfAnOlderKey: the key chain says who must have signed an export, and where
// the chain was when the key was changed.
func TestExportOfAnOlderKey(t *testing.T) {
	t.Parallel()
	b := newTurned(t)
	keychain, newKey := filepath.Join(t.TempDir(), "keys.json"), filepath.Join(b.data, "keys", "evidence.pub")
	oldKey := filepath.Join(b.data, "keys", "evidence-"+vault.KeyID(b.stolen.Public())+".pub")
	require.Equal(t, exitOK, xacam(t, "evidence", "keys", "-c", b.config, "-o", keychain).code)
	list, head := b.chain(t)
	check := func(head audit.Head, list []audit.Entry, key string) result {
		t.Helper()
		var out bytes.Buffer
		require.NoError(t, exportChain(func(yield func(audit.Entry, error) bool) {
			for _, e := range list {
				if !yield(e, nil) {
					return
				}
			}
		}, head, &out))
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
		return xacam(t, "audit", "verify", "--file", path, "--key", key)
	}
	for _, key := range []string{keychain, newKey} {
		r := check(head, list, key)
		assert.Equal(t, exitOK, r.code, r.stderr)
	}
	write := func(from int, signer audit.Signer) (audit.Head, []audit.Entry) {
		out := slices.Clone(list[:2])
		end := audit.Head{}
		for i := range out {
			if i >= from {
				out[i].Actor = "Minh"
			}
			end = audit.Append(end, &out[i], signer)
		}
		return end, out
	}
	forged, entries := write(1, b.stolen)
	r := check(forged, entries, keychain)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "it was handed over to "+vault.KeyID(b.keys.Public()))
	r = check(forged, entries, newKey)
	assert.Contains(t, r.stderr, "it is not one that was given")
	assert.Equal(t, exitOK, check(forged, entries, oldKey).code, "as the help says: the old key alone cannot tell")
	forged, entries = write(0, b.keys)
	r = check(forged, entries, keychain)
	assert.Equal(t, exitFailed, r.code)
	assert.Contains(t, r.stderr, "entry 1: head: its hash is ")
}

package vault

import (
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func someHandover() Handover {
	return Handover{At: time.Date(2026, 11, 28, 8, 0, 0, 123_456_789, time.UTC), Number: 7, SHA256: strings.Repeat("0a", 32), AuditNumber: 9, AuditSHA256: strings.Repeat("0b", 32), By: "Lan", Reason: "định kỳ\n"}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	first, err := Open(dir)
	require.NoError(t, err)
	sealed := first.Seal([]byte("s3cret"), "x")
	var told []Handover
	record := func(h Handover) error { told = append(told, h); return nil }
	h, err := Rotate(dir, someHandover(), record)
	require.NoError(t, err)
	assert.Equal(t, []Handover{h}, told)
	second, err := Open(dir)
	require.NoError(t, err)
	assert.Equal(t, h.New, second.Public())
	assert.Equal(t, h.Old, first.Public())
	assert.Equal(t, []Handover{h}, second.Handovers())
	_, err = second.Signing(KeyID(first.Public()))
	require.ErrorContains(t, err, "it was handed over to "+KeyID(h.New))
	_, err = second.Signing("x")
	require.ErrorContains(t, err, "it is not known")
	key, err := second.Signing(KeyID(h.New))
	require.NoError(t, err)
	assert.Equal(t, h.New, key)
	_, known := second.Known(KeyID(first.Public()))
	assert.True(t, known, "what it signed before is still verified")
	plain, err := second.Open(sealed, "x")
	require.NoError(t, err, "secrets have another key")
	assert.Equal(t, "s3cret", string(plain))
	public, err := PublicKeys(dir)
	require.NoError(t, err)
	assert.ElementsMatch(t, []ed25519.PublicKey{h.New, h.Old}, public)
	for _, name := range []string{signingFile, sealingFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
	_, err = os.Stat(filepath.Join(dir, nextFile))
	require.ErrorIs(t, err, os.ErrNotExist)

	h2, err := Rotate(dir, someHandover(), record)
	require.NoError(t, err)
	third, err := Open(dir)
	require.NoError(t, err)
	assert.Equal(t, []Handover{h, h2}, third.Handovers(), "oldest first")
	_, known = third.Known(KeyID(first.Public()))
	assert.True(t, known)
}

// TestRotateAfterACrashInTheTurn: the new key signs, and its draft is still there.
func TestRotateAfterACrashInTheTurn(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := Open(dir)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(dir, signingFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, nextFile), text, 0o600))
	h, err := Rotate(dir, someHandover(), func(Handover) error { return nil })
	require.NoError(t, err)
	assert.False(t, h.Old.Equal(h.New))
}

func TestRotateIsRecordedFirst(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	before, err := Open(dir)
	require.NoError(t, err)
	away := errors.New("the database is away")
	_, err = Rotate(dir, someHandover(), func(Handover) error { return away })
	require.ErrorIs(t, err, away)
	after, err := Open(dir)
	require.NoError(t, err)
	assert.Equal(t, before.Public(), after.Public())
	assert.Empty(t, after.Handovers())
}

// TestRotateAfterACrash ends the process behind every step.
func TestRotateAfterACrash(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		dir := filepath.Join(t.TempDir(), "keys")
		before, err := Open(dir)
		require.NoError(t, err)
		r := rotation{dir: dir, h: someHandover(), record: func(Handover) error { return nil }}
		for _, step := range r.steps()[:n] {
			require.NoError(t, step())
		}
		after, err := Open(dir)
		require.NoError(t, err, n)
		if turned := n >= 5; turned {
			require.Equal(t, r.h.New, after.Public(), n)
			require.Len(t, after.Handovers(), 1, n)
			_, known := after.Known(KeyID(before.Public()))
			assert.True(t, known, n)
			continue
		}
		require.Equal(t, before.Public(), after.Public(), n)
		assert.Empty(t, after.Handovers(), "what did not happen does not count, after %d steps", n)
		again := someHandover()
		again.Number = 9 // the old key went on
		h, err := Rotate(dir, again, func(Handover) error { return nil })
		require.NoError(t, err, n)
		if n >= 2 {
			assert.Equal(t, r.h.New, h.New, "it goes on with the same key")
		}
		last, err := Open(dir)
		require.NoError(t, err)
		require.Equal(t, []Handover{h}, last.Handovers(), n)
		assert.Equal(t, int64(9), last.Handovers()[0].Number)
	}
}

func TestForgedHandover(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := Open(dir)
	require.NoError(t, err)
	h, err := Rotate(dir, someHandover(), func(Handover) error { return nil })
	require.NoError(t, err)
	require.True(t, h.Valid())
	other, err := Open(filepath.Join(t.TempDir(), "keys"))
	require.NoError(t, err)
	for name, change := range map[string]func(*Handover){
		"old": func(h *Handover) { h.Old = other.Public() }, "new": func(h *Handover) { h.New = other.Public() },
		"number": func(h *Handover) { h.Number++ }, "hash": func(h *Handover) { h.SHA256 = strings.Repeat("1", 64) },
		"audit number": func(h *Handover) { h.AuditNumber++ }, "audit hash": func(h *Handover) { h.AuditSHA256 = strings.Repeat("1", 64) },
		"by": func(h *Handover) { h.By += "x" }, "reason": func(h *Handover) { h.Reason = "" }, "time": func(h *Handover) { h.At = h.At.Add(time.Second) },
		"signature": func(h *Handover) { h.OldSig, h.NewSig = h.NewSig, h.OldSig }, "short": func(h *Handover) { h.New = h.New[:5] },
		"itself": func(h *Handover) { h.Old = h.New }, "format": func(h *Handover) { h.Format = "" },
	} {
		forged := h
		change(&forged)
		assert.False(t, forged.Valid(), name)
	}
	path := filepath.Join(dir, handoverName(KeyID(h.New)))
	require.NoError(t, os.WriteFile(path, []byte(`{"format":"xacam-handover/1"}`), 0o600))
	_, err = ReadHandovers(dir)
	require.ErrorContains(t, err, path)
	v, err := Open(dir)
	require.NoError(t, err, "the server starts all the same")
	assert.Empty(t, v.Handovers())
}

package vault

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKeysLast(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	v, err := Open(dir)
	require.NoError(t, err)
	sealed := v.Seal([]byte("s3cret"), "endpoint ioc")
	id, sig := v.Sign([]byte("message"))

	again, err := Open(dir)
	require.NoError(t, err)
	plain, err := again.Open(sealed, "endpoint ioc")
	require.NoError(t, err)
	assert.Equal(t, "s3cret", string(plain))
	key, ok := again.Known(id)
	require.True(t, ok)
	assert.True(t, ed25519.Verify(key, []byte("message"), sig))
	assert.False(t, ed25519.Verify(key, []byte("Message"), sig))

	text, err := os.ReadFile(filepath.Join(dir, PublicFile))
	require.NoError(t, err)
	published, err := ParsePublic(text)
	require.NoError(t, err)
	assert.Equal(t, again.Public(), published)
	for _, name := range []string{sealingFile, signingFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), name)
	}
}

func TestSealedSecretsStayInTheirPlace(t *testing.T) {
	t.Parallel()
	v, err := Open(t.TempDir())
	require.NoError(t, err)
	sealed := v.Seal([]byte("s3cret"), "a")
	assert.NotContains(t, string(sealed), "s3cret")
	assert.NotEqual(t, sealed, v.Seal([]byte("s3cret"), "a"), "the nonce is new each time")
	_, err = v.Open(sealed, "b")
	require.Error(t, err)
	sealed[len(sealed)-1] ^= 1
	_, err = v.Open(sealed, "a")
	require.Error(t, err)
	_, err = v.Open(sealed[:4], "a")
	require.Error(t, err)
	other, err := Open(t.TempDir())
	require.NoError(t, err)
	_, err = other.Open(v.Seal([]byte("x"), "a"), "a")
	require.ErrorContains(t, err, "another key")
}

func TestADamagedKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	for _, name := range []string{sealingFile, signingFile} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("not a key"), 0o600))
		_, err := Open(dir)
		require.ErrorContains(t, err, "backup", name)
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.Equal(t, "not a key", string(text))
	}
}

func TestRetiredKeysAreKnown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, err := Open(dir)
	require.NoError(t, err)
	id, _ := old.Sign(nil)
	require.NoError(t, os.Rename(filepath.Join(dir, PublicFile), filepath.Join(dir, "evidence-"+id+".pub")))
	require.NoError(t, os.Remove(filepath.Join(dir, signingFile)))
	v, err := Open(dir)
	require.NoError(t, err)
	assert.NotEqual(t, old.Public(), v.Public())
	key, ok := v.Known(id)
	require.True(t, ok)
	assert.Equal(t, old.Public(), key)
}

func TestDerivedKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v, err := Open(dir)
	require.NoError(t, err)
	links, err := v.Derive("links")
	require.NoError(t, err)
	assert.Len(t, links, 32)
	other, err := v.Derive("other")
	require.NoError(t, err)
	assert.NotEqual(t, links, other)
	again, err := Open(dir)
	require.NoError(t, err)
	same, err := again.Derive("links")
	require.NoError(t, err)
	assert.Equal(t, links, same)
	stranger, err := Open(t.TempDir())
	require.NoError(t, err)
	foreign, err := stranger.Derive("links")
	require.NoError(t, err)
	assert.NotEqual(t, links, foreign)
	assert.NotContains(t, string(links), string(v.sealing[:8]))
}

func TestALostKeyIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, err := Open(dir)
	require.NoError(t, err)
	id, _ := old.Sign(nil)
	require.NoError(t, os.Remove(filepath.Join(dir, signingFile)))
	before, err := os.ReadFile(filepath.Join(dir, PublicFile))
	require.NoError(t, err)
	_, err = Open(dir)
	require.ErrorContains(t, err, "backup")
	require.ErrorContains(t, err, "evidence-"+id+".pub", "and what to do to begin a new one")
	after, err := os.ReadFile(filepath.Join(dir, PublicFile))
	require.NoError(t, err)
	assert.Equal(t, string(before), string(after))
	assert.NoFileExists(t, filepath.Join(dir, signingFile))
}

// TestAnotherPublicKeyIsKept: a new secret key was put in place by hand.
func TestAnotherPublicKeyIsKept(t *testing.T) {
	t.Parallel()
	dir, newer := t.TempDir(), t.TempDir()
	old, err := Open(dir)
	require.NoError(t, err)
	id, _ := old.Sign(nil)
	_, err = Open(newer)
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(newer, signingFile), filepath.Join(dir, signingFile)))
	v, err := Open(dir)
	require.NoError(t, err)
	key, ok := v.Known(id)
	require.True(t, ok, "what it signed is verified still")
	assert.Equal(t, old.Public(), key)
	keys, err := PublicKeys(dir)
	require.NoError(t, err)
	assert.Len(t, keys, 2)

	require.NoError(t, os.WriteFile(filepath.Join(dir, PublicFile), []byte("damaged"), 0o644))
	_, err = Open(dir)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(dir, PublicFile+".damaged"))
}

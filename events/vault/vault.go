// Package vault keeps the server's own keys: one that seals secrets at rest and
// one that signs evidence and the audit chain.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Files of a vault.
const (
	sealingFile = "secrets.key"    // 32 bytes, hex
	signingFile = "evidence.key"   // Ed25519, PKCS #8, PEM
	PublicFile  = "evidence.pub"   // Ed25519, SubjectPublicKeyInfo, PEM; to be given to whoever verifies
	retiredGlob = "evidence-*.pub" // public keys that signed before
)

// Vault holds the keys in memory. It never changes; safe for concurrent use.
type Vault struct {
	aead    cipher.AEAD
	sealing []byte
	signing ed25519.PrivateKey
	id      string
	known   map[string]ed25519.PublicKey // by KeyID, retired ones too

	handovers []Handover
}

// Open reads the keys in dir and makes those that are missing, readable by
// their owner only. A key that is there but cannot be read is an error: a new
// one would make what it sealed unreadable for ever. So is a public key whose
// secret one is missing.
func Open(dir string) (*Vault, error) {
	if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("open the key folder: %w", err)
	}
	sealing, err := loadOrMake(filepath.Join(dir, sealingFile), newSealing, parseSealing)
	if err != nil {
		return nil, err
	}
	if err := mayMakeSigning(dir); err != nil {
		return nil, err
	}
	signing, err := loadOrMake(filepath.Join(dir, signingFile), newSigning, parseSigning)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(sealing)
	if err != nil {
		return nil, fmt.Errorf("open the key folder: %w", err)
	}
	v := &Vault{sealing: sealing, signing: signing, known: make(map[string]ed25519.PublicKey)}
	if v.aead, err = cipher.NewGCM(block); err != nil {
		return nil, fmt.Errorf("open the key folder: %w", err)
	}
	public := ed25519.PublicKey(signing[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	v.id = KeyID(public)
	v.known[v.id] = public
	if err := v.publish(filepath.Join(dir, PublicFile), public); err != nil {
		return nil, err
	}
	return v, errors.Join(v.loadRetired(dir), v.loadHandovers(dir))
}

// mayMakeSigning reports an error where the key that signs is lost but its public
// one is there: whoever lost it must say so before another takes its place.
func mayMakeSigning(dir string) error {
	_, err := os.Stat(filepath.Join(dir, signingFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return nil // reading it tells
	}
	public := filepath.Join(dir, PublicFile)
	text, err := os.ReadFile(public)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	retired := "evidence-old.pub"
	if key, perr := ParsePublic(text); err == nil && perr == nil {
		retired = retiredName(key)
	}
	return fmt.Errorf("%s is missing but %s is there: put the key back from the backup, or, to go on with a new one, rename %s to %s",
		filepath.Join(dir, signingFile), public, PublicFile, retired)
}

// retiredName returns the name of the file of a public key that signs no more.
func retiredName(k ed25519.PublicKey) string { return "evidence-" + KeyID(k) + ".pub" }

// publish writes the public key for others, where it is not there yet. That of
// another key is kept under the name of a retired one, and a file that is none
// beside it.
func (v *Vault) publish(path string, public ed25519.PublicKey) error {
	text, err := EncodePublic(public)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeKey(path, text, 0o644)
	case err != nil:
		return fmt.Errorf("read the public key: %w", err)
	case string(old) == string(text):
		return nil
	}
	aside := path + ".damaged"
	if key, err := ParsePublic(old); err == nil {
		aside = filepath.Join(filepath.Dir(path), retiredName(key))
	}
	if err := os.Rename(path, aside); err != nil { //nolint:gosec // the name is made of a folder of ours and a key ID
		return fmt.Errorf("keep the public key of before: %w", err)
	}
	return writeKey(path, text, 0o644)
}

func (v *Vault) loadRetired(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, retiredGlob))
	if err != nil {
		return fmt.Errorf("list retired keys: %w", err)
	}
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			return fmt.Errorf("read a retired key: %w", err)
		}
		key, err := ParsePublic(text)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		v.known[KeyID(key)] = key
	}
	return nil
}

// Seal encrypts a secret (AES-256-GCM, random nonce in front). about binds it to
// its place: what was sealed for one endpoint does not open for another.
func (v *Vault) Seal(secret []byte, about string) []byte {
	nonce := make([]byte, v.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails, see crypto/rand
	return v.aead.Seal(nonce, nonce, secret, []byte(about))
}

// Open decrypts what Seal made.
func (v *Vault) Open(sealed []byte, about string) ([]byte, error) {
	n := v.aead.NonceSize()
	if len(sealed) < n {
		return nil, errors.New("open a secret: too short")
	}
	plain, err := v.aead.Open(nil, sealed[:n], sealed[n:], []byte(about))
	if err != nil {
		return nil, fmt.Errorf("open a secret of %s: it was sealed with another key (was secrets.key replaced?) or changed", about)
	}
	return plain, nil
}

// Derive returns a key of 32 bytes for one purpose (HKDF-SHA256, RFC 5869). It
// says nothing about the others, and is the same after a restart.
func (v *Vault) Derive(purpose string) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, v.sealing, nil, "xacam "+purpose, 32)
	if err != nil {
		return nil, fmt.Errorf("derive a key for %s: %w", purpose, err)
	}
	return key, nil
}

// Sign returns the Ed25519 signature (RFC 8032) of a message and the ID of the
// key.
func (v *Vault) Sign(message []byte) (keyID string, signature []byte) {
	return v.id, ed25519.Sign(v.signing, message)
}

// Public returns the key that verifies what Sign signs.
func (v *Vault) Public() ed25519.PublicKey { return v.known[v.id] }

// Known returns a public key by its ID, also one that signed before.
func (v *Vault) Known(keyID string) (ed25519.PublicKey, bool) {
	k, ok := v.known[keyID]
	return k, ok
}

// Signing returns the key that signs, by its ID. Of another one the error says what
// became of it.
func (v *Vault) Signing(keyID string) (ed25519.PublicKey, error) {
	if keyID == v.id {
		return v.Public(), nil
	}
	for i := range v.handovers {
		if h := &v.handovers[i]; KeyID(h.Old) == keyID {
			return nil, h.Retired()
		}
	}
	if _, known := v.known[keyID]; known {
		return nil, fmt.Errorf("it signed before %s, and has not handed over", v.id)
	}
	return nil, errors.New("it is not known")
}

// KeyID is the first 16 hex digits of the SHA-256 of the 32 bytes of the key.
func KeyID(k ed25519.PublicKey) string {
	sum := sha256.Sum256(k)
	return hex.EncodeToString(sum[:8])
}

// EncodePublic writes a public key as PEM (RFC 8410), as openssl reads it.
func EncodePublic(k ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePublic reads what EncodePublic writes.
func ParsePublic(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		return nil, errors.New("not a public key: it must be PEM with -----BEGIN PUBLIC KEY-----")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not a public key: %w", err)
	}
	k, ok := key.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("not an Ed25519 public key but %T", key)
	}
	return k, nil
}

func newSealing() ([]byte, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return []byte(hex.EncodeToString(key) + "\n"), nil
}

func parseSealing(text []byte) ([]byte, error) {
	var key [32]byte
	if n, err := hex.Decode(key[:], trimNewline(text)); err != nil || n != len(key) {
		return nil, errors.New("not 64 hex digits")
	}
	return key[:], nil
}

func trimNewline(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return b[:n-1]
	}
	return b
}

func newSigning() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseSigning(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("not a PEM private key")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	k, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("not an Ed25519 key but %T", key)
	}
	return k, nil
}

// loadOrMake reads a key file, or makes it where there is none.
func loadOrMake[K any](path string, produce func() ([]byte, error), parse func([]byte) (K, error)) (key K, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = produce(); err == nil {
			err = writeKey(path, text, 0o600)
		}
	}
	if err != nil {
		return key, fmt.Errorf("key file %s: %w", path, err)
	}
	if key, err = parse(text); err != nil {
		return key, fmt.Errorf("key file %s: %w; put it back from the backup: a new key could not read what this one sealed", path, err)
	}
	return key, nil
}

// writeKey writes a file whole or not at all, and syncs it. It belongs to the owner
// of its folder.
func writeKey(path string, text []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, werr := f.Write(text)
	if err := errors.Join(werr, f.Chmod(mode), LeaveToOwner(f.Name()), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// PublicKeys returns the public keys in a key folder, retired ones too, without
// opening the secret ones.
func PublicKeys(dir string) ([]ed25519.PublicKey, error) {
	paths, err := filepath.Glob(filepath.Join(dir, retiredGlob))
	if err != nil {
		return nil, fmt.Errorf("list public keys: %w", err)
	}
	var out []ed25519.PublicKey
	for _, p := range append([]string{filepath.Join(dir, PublicFile)}, paths...) {
		text, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read a public key: %w", err)
		}
		key, err := ParsePublic(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, key)
	}
	return out, nil
}

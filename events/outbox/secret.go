package outbox

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Prefixes of keys as Standard Webhooks 1.0 writes them.
const (
	prefixSecret  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"
)

// NewSecret makes a random secret of a scheme: 32 bytes.
func NewSecret(scheme string, now time.Time) Secret {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return secretOf(scheme, key, now)
}

func secretOf(scheme string, key []byte, now time.Time) Secret {
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	s := Secret{ID: hex.EncodeToString(id), Scheme: scheme, Key: key, Created: now.UTC().Truncate(time.Microsecond)}
	if scheme == SchemeEd25519 {
		public := ed25519.NewKeyFromSeed(key)[ed25519.SeedSize:]
		s.Public = prefixPublic + base64.StdEncoding.EncodeToString(public)
	}
	return s
}

// ParseSecret reads whsec_… (24 to 64 bytes, v1) or whsk_… (the Ed25519 seed, or
// seed and public key, v1a). Its error never shows the text.
func ParseSecret(text string, now time.Time) (Secret, error) {
	text = strings.TrimSpace(text)
	var body string
	scheme, least, most := SchemeHMAC, 24, 64
	switch {
	case strings.HasPrefix(text, prefixSecret):
		body = strings.TrimPrefix(text, prefixSecret)
	case strings.HasPrefix(text, prefixPrivate):
		scheme, body, least = SchemeEd25519, strings.TrimPrefix(text, prefixPrivate), ed25519.SeedSize
	default:
		return Secret{}, fmt.Errorf("must begin with %s or %s", prefixSecret, prefixPrivate)
	}
	key, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return Secret{}, errors.New("must be base64 behind its prefix") // the cause would show a part of it
	}
	if len(key) < least || len(key) > most || scheme == SchemeEd25519 && len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
		return Secret{}, fmt.Errorf("holds %d bytes; a secret has 24 to 64, a private key 32 or 64", len(key))
	}
	if scheme == SchemeEd25519 {
		seed := key[:ed25519.SeedSize]
		if len(key) == ed25519.PrivateKeySize && !ed25519.NewKeyFromSeed(seed).Equal(ed25519.PrivateKey(key)) {
			return Secret{}, errors.New("holds two halves that do not belong together")
		}
		key = seed
	}
	return secretOf(scheme, key, now), nil
}

// Text is the secret as its receiver needs it: whsec_… of v1, the public key
// whpk_… of v1a.
func (s Secret) Text() string {
	if s.Scheme == SchemeEd25519 {
		return s.Public
	}
	return prefixSecret + base64.StdEncoding.EncodeToString(s.Key)
}

// Reveal is the secret as ParseSecret reads it back, for a backup.
func (s Secret) Reveal() string {
	if s.Scheme == SchemeEd25519 {
		return prefixPrivate + base64.StdEncoding.EncodeToString(s.Key)
	}
	return s.Text()
}

// String keeps the key out of logs.
func (s Secret) String() string { return s.Scheme + " " + s.ID }

// GoString keeps the key out of dumps.
func (s Secret) GoString() string { return "outbox.Secret(" + s.String() + ")" }

package webhook

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/xacam/xacam/events/outbox"
)

// Prefixes of keys in text form, Standard Webhooks 1.0.
const (
	prefixHMAC    = "whsec_" // shared secret of v1
	prefixPrivate = "whsk_"  // Ed25519 private key of v1a
	prefixPublic  = "whpk_"  // Ed25519 public key of v1a
)

// NewSecret makes a signing key. shown is what the receiver needs to verify:
// the shared secret (whsec_…, to be kept secret) for v1 and the public key
// (whpk_…) for v1a.
func NewSecret(scheme string, now time.Time) (s outbox.Secret, shown string, err error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	switch scheme {
	case outbox.SchemeHMAC:
		return secret(scheme, key, "", now), prefixHMAC + base64.StdEncoding.EncodeToString(key), nil
	case outbox.SchemeEd25519:
		public := PublicText(publicOf(key))
		return secret(scheme, key, public, now), public, nil
	}
	return outbox.Secret{}, "", fmt.Errorf("scheme %q is not one of [%s %s]", scheme, outbox.SchemeHMAC, outbox.SchemeEd25519)
}

// ParseSecret reads whsec_… or whsk_…, which a person brings along. Errors never
// show it.
func ParseSecret(text string, now time.Time) (outbox.Secret, error) {
	text = strings.TrimSpace(text)
	if enc, ok := strings.CutPrefix(text, prefixHMAC); ok {
		key, err := base64.StdEncoding.DecodeString(enc)
		if err != nil || len(key) < 24 || len(key) > 64 {
			return outbox.Secret{}, errors.New("whsec_ must be followed by 24 to 64 bytes in base64")
		}
		return secret(outbox.SchemeHMAC, key, "", now), nil
	}
	if enc, ok := strings.CutPrefix(text, prefixPrivate); ok {
		key, err := base64.StdEncoding.DecodeString(enc)
		if err != nil || len(key) != ed25519.SeedSize && len(key) != ed25519.PrivateKeySize {
			return outbox.Secret{}, errors.New("whsk_ must be followed by 32 or 64 bytes in base64")
		}
		seed := key[:ed25519.SeedSize]
		if len(key) == ed25519.PrivateKeySize && !publicOf(seed).Equal(ed25519.PublicKey(key[ed25519.SeedSize:])) {
			return outbox.Secret{}, errors.New("whsk_ holds two halves that do not belong together")
		}
		return secret(outbox.SchemeEd25519, seed, PublicText(publicOf(seed)), now), nil
	}
	return outbox.Secret{}, errors.New("a signing key begins with whsec_ (v1) or whsk_ (v1a)")
}

func secret(scheme string, key []byte, public string, now time.Time) outbox.Secret {
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	return outbox.Secret{ID: "sec-" + hex.EncodeToString(id), Scheme: scheme, Key: key, Public: public, Created: now}
}

func publicOf(seed []byte) ed25519.PublicKey {
	private := ed25519.NewKeyFromSeed(seed)
	return ed25519.PublicKey(private[ed25519.SeedSize:])
}

// PublicText is a public key as receivers are given it.
func PublicText(k ed25519.PublicKey) string { return prefixPublic + base64.StdEncoding.EncodeToString(k) }

// texts are the forms in which an answer could repeat the secret.
func texts(s *outbox.Secret) []string {
	return []string{base64.StdEncoding.EncodeToString(s.Key), hex.EncodeToString(s.Key), string(s.Key)}
}

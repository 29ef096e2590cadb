package evidence

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/xacam/xacam/events/vault"
)

// keychainFormat is the version of the format of a key chain.
const keychainFormat = "xacam-keys/1"

// Limits of a key chain.
const (
	maxKeychain  = 1 << 20
	maxHandovers = 100
)

// keychain is the file that holds the public keys of a server: the one that signs
// and how it came to that from the ones of before.
type keychain struct {
	Format    string            `json:"format"`
	Key       ed25519.PublicKey `json:"key"` // base64
	Handovers []vault.Handover  `json:"handovers"`
}

// EncodeKeychain writes the key that signs and the hand-overs that led to it, to
// be given to whoever verifies.
func EncodeKeychain(key ed25519.PublicKey, handovers []vault.Handover) ([]byte, error) {
	b, err := json.MarshalIndent(keychain{keychainFormat, key, append([]vault.Handover{}, handovers...)}, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode a key chain: %w", err)
	}
	return append(b, '\n'), nil
}

// ParseKeychain reads what EncodeKeychain writes. Hand-overs whose signatures do
// not fit are an error.
func ParseKeychain(text []byte) (ed25519.PublicKey, []vault.Handover, error) {
	var c keychain
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&c)
	switch {
	case len(text) > maxKeychain:
		err = fmt.Errorf("more than %d bytes", maxKeychain)
	case err != nil:
	case c.Format != keychainFormat:
		err = fmt.Errorf("its format is %.40q, not %q", c.Format, keychainFormat)
	case len(c.Key) != ed25519.PublicKeySize || len(c.Handovers) > maxHandovers:
		err = errors.New("it has no key, or too many")
	default:
		for i := range c.Handovers {
			if !c.Handovers[i].Valid() {
				err = fmt.Errorf("hand-over %d is not signed by both keys", i+1)
			}
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read a key chain: %w", err)
	}
	return c.Key, c.Handovers, nil
}

// ParseTrust reads what somebody trusts: public keys as PEM, or a key chain.
func ParseTrust(text []byte) ([]ed25519.PublicKey, []vault.Handover, error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
		key, handovers, err := ParseKeychain(text)
		return []ed25519.PublicKey{key}, handovers, err
	}
	keys, err := ParseKeys(text)
	return keys, nil, err
}

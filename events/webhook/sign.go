package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xacam/xacam/events/outbox"
)

// Headers of Standard Webhooks 1.0.
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

// Tolerance is how far the clocks of sender and receiver may be apart.
const Tolerance = 5 * time.Minute

// Sign returns the signature header of a message: one signature for every
// secret that is valid at the moment and whose scheme is wanted, newest first.
// It fails when there is none, since nothing may go out unsigned.
func Sign(secrets []outbox.Secret, schemes []string, id string, at time.Time, body []byte) (string, error) {
	if id == "" || strings.ContainsAny(id, ". \r\n") {
		return "", fmt.Errorf("a message cannot be signed as %q", id)
	}
	valid := make([]*outbox.Secret, 0, len(secrets))
	for i := range secrets {
		s := &secrets[i]
		if slices.Contains(schemes, s.Scheme) && (s.Expires.IsZero() || at.Before(s.Expires)) {
			valid = append(valid, s)
		}
	}
	if len(valid) == 0 {
		return "", errors.New("no signing secret is valid; make a new one for this endpoint")
	}
	slices.SortStableFunc(valid, func(a, b *outbox.Secret) int { return b.Created.Compare(a.Created) })
	content := signed(id, at.Unix(), body)
	var b strings.Builder
	for i, s := range valid {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(s.Scheme + ",")
		b.WriteString(base64.StdEncoding.EncodeToString(signature(s, content)))
	}
	return b.String(), nil
}

// signed is what a signature is over.
func signed(id string, unix int64, body []byte) []byte {
	b := make([]byte, 0, len(id)+len(body)+22)
	b = append(b, id...)
	b = append(b, '.')
	b = strconv.AppendInt(b, unix, 10)
	b = append(b, '.')
	return append(b, body...)
}

func signature(s *outbox.Secret, content []byte) []byte {
	if s.Scheme == outbox.SchemeEd25519 {
		return ed25519.Sign(ed25519.NewKeyFromSeed(s.Key), content)
	}
	mac := hmac.New(sha256.New, s.Key)
	mac.Write(content)
	return mac.Sum(nil)
}

// Verifier checks signatures as a receiver does. It never changes; safe for
// concurrent use.
type Verifier struct {
	shared [][]byte
	public []ed25519.PublicKey
}

// NewVerifier takes shared secrets (whsec_…) and public keys (whpk_…), any of
// which may sign a message. Errors never show a secret.
func NewVerifier(keys ...string) (*Verifier, error) {
	v := &Verifier{}
	for _, text := range keys {
		if enc, ok := strings.CutPrefix(text, prefixPublic); ok {
			key, err := base64.StdEncoding.DecodeString(enc)
			if err != nil || len(key) != ed25519.PublicKeySize {
				return nil, errors.New("whpk_ must be followed by 32 bytes in base64")
			}
			v.public = append(v.public, key)
			continue
		}
		s, err := outbox.ParseSecret(text, time.Time{})
		if err != nil || s.Scheme != outbox.SchemeHMAC {
			return nil, errors.New("a receiver needs whsec_… (24 to 64 bytes in base64) or whpk_…")
		}
		v.shared = append(v.shared, s.Key)
	}
	if len(keys) == 0 {
		return nil, errors.New("a receiver needs at least one key")
	}
	return v, nil
}

// Verify checks the headers of a message against its body: the signature, and
// that it was made within Tolerance of now. The scheme is that of the key, never
// what the sender names.
func (v *Verifier) Verify(h http.Header, body []byte, now time.Time) error {
	id, stamp, given := h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignature)
	if id == "" || stamp == "" || given == "" {
		return errors.New("webhook-id, webhook-timestamp or webhook-signature is missing")
	}
	if strings.Contains(id, ".") {
		return errors.New("webhook-id holds a dot")
	}
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || strconv.FormatInt(unix, 10) != stamp {
		return errors.New("webhook-timestamp is not a number of seconds")
	}
	if d := now.Sub(time.Unix(unix, 0)); d > Tolerance || d < -Tolerance {
		return fmt.Errorf("the message was signed %s from now; check both clocks", d.Round(time.Second))
	}
	content := signed(id, unix, body)
	list := strings.Split(given, " ")
	for _, one := range list[:min(len(list), 20)] {
		scheme, enc, _ := strings.Cut(one, ",")
		sig, err := base64.StdEncoding.DecodeString(enc)
		if err == nil && v.matches(scheme, sig, content) {
			return nil
		}
	}
	return errors.New("no signature fits; is this the right secret?")
}

func (v *Verifier) matches(scheme string, sig, content []byte) bool {
	switch scheme {
	case outbox.SchemeHMAC:
		return slices.ContainsFunc(v.shared, func(key []byte) bool {
			mac := hmac.New(sha256.New, key)
			mac.Write(content)
			return subtle.ConstantTimeCompare(sig, mac.Sum(nil)) == 1
		})
	case outbox.SchemeEd25519:
		return slices.ContainsFunc(v.public, func(key ed25519.PublicKey) bool { return ed25519.Verify(key, content, sig) })
	}
	return false
}

// Package audit makes the record of what people did evident when somebody
// changes it: every entry carries the hash of the one before, and the newest
// hash is signed. It does no input or output.
//
// What it cannot show by itself is a whole older state put back with the head
// of that time. Whoever wants to notice that keeps a head elsewhere, as every
// export does, and gives it to Verify.
package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xacam/xacam/events"
)

// Hash is a SHA-256. That before the first entry is all zeros.
type Hash [sha256.Size]byte

// String returns 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String writes.
func ParseHash(s string) (h Hash, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("%.80q is not 64 hex digits", s)
	}
	copy(h[:], b)
	return h, nil
}

// Entry is one thing that was done.
type Entry struct {
	Number  int64     // 1 is the first; without gaps
	At      time.Time // UTC, microseconds
	Actor   string    // who: a name, "system" for the server itself
	Action  string    // what, "event.acknowledge"
	Subject string    // to what, "event:0199…", "endpoint:ioc"
	EventID string    // canonical UUID; "" when it is not about an event
	// Detail is a JSON object, the very bytes that are hashed.
	Detail string
	// DetailValue is the same object as the store can search it; "" when there is
	// only one form. It is not hashed but held against Detail.
	DetailValue string
	Key         string // Idempotency-Key of the request; "" for none
	Previous    Hash   // of the entry before
	Hash        Hash
}

// version is the first thing hashed, so that no other use of the bytes can give
// the same hash.
const version = "xacam audit entry v1"

// Canonical returns the bytes that are hashed: version, number and time in
// microseconds since 1970 as eight bytes each, big endian; actor, action,
// subject, event, detail and key, each after its length in eight bytes; the
// previous hash.
func (e *Entry) Canonical() []byte {
	b := make([]byte, 0, 256+len(e.Detail))
	b = append(b, version...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Number)) //nolint:gosec // the bits
	b = binary.BigEndian.AppendUint64(b, uint64(e.At.UnixMicro()))
	for _, s := range []string{e.Actor, e.Action, e.Subject, e.EventID, e.Detail, e.Key} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return append(b, e.Previous[:]...)
}

// Sum returns the hash that the entry should have.
func (e *Entry) Sum() Hash { return sha256.Sum256(e.Canonical()) }

// Limits of an entry.
const (
	maxName   = 200 // characters of actor, action, subject
	maxKey    = 200 // characters of an idempotency key
	maxDetail = 64 << 10
)

// Check returns what is wrong with an entry that is to be appended, as joined
// *events.FieldError. Number, Previous and Hash are not looked at.
func (e *Entry) Check() error {
	for _, f := range []struct{ name, value string }{{"actor", e.Actor}, {"action", e.Action}, {"subject", e.Subject}} {
		if !clean(f.value) || f.value == "" || utf8.RuneCountInString(f.value) > maxName {
			return &events.FieldError{Field: f.name, Reason: fmt.Sprintf("must be 1 to %d printable characters", maxName)}
		}
	}
	if utf8.RuneCountInString(e.Key) > maxKey || !clean(e.Key) {
		return &events.FieldError{Field: "Idempotency-Key", Reason: fmt.Sprintf("must be at most %d printable characters", maxKey)}
	}
	if len(e.Detail) > maxDetail || !strings.HasPrefix(e.Detail, "{") || !json.Valid([]byte(e.Detail)) {
		return &events.FieldError{Field: "detail", Reason: fmt.Sprintf("must be a JSON object of at most %d bytes", maxDetail)}
	}
	return nil
}

// clean reports whether the database takes s as it is.
func clean(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Head is the end of the chain.
type Head struct {
	Number    int64 // 0 for an empty chain
	Hash      Hash
	KeyID     string // of the key that signed
	Signature []byte // Ed25519 over Message
}

// Message returns what is signed.
func (h *Head) Message() []byte {
	return fmt.Appendf(nil, "xacam audit head v1\n%d\n%s\n", h.Number, h.Hash)
}

// Signer signs heads; *vault.Vault is one.
type Signer interface {
	Sign(message []byte) (keyID string, signature []byte)
}

// Keys returns the public key of a KeyID, or says why that must not have signed the
// head: the last key only may; (*vault.Vault).Signing is one.
type Keys func(keyID string) (ed25519.PublicKey, error)

// Append links e to the head, hashes it and returns the new head, signed. e
// must have passed Check.
func Append(head Head, e *Entry, signer Signer) Head {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Number, e.Previous = head.Number+1, head.Hash
	e.Hash = e.Sum()
	next := Head{Number: e.Number, Hash: e.Hash}
	next.KeyID, next.Signature = signer.Sign(next.Message())
	return next
}

// Filter selects entries; "" matches all.
type Filter struct {
	EventID string
	Actor   string
	Action  string
	Subject string
}

// Page asks for one page of a list, newest first.
type Page struct {
	Before int64 // number of the last entry of the page before; 0 for the first page
	Limit  int   // 1 to 500
}

// Moment is one line in the history of an event: a change, an entry, or a change
// and the entry that says who made it.
type Moment struct {
	At       time.Time
	Step     events.Step // "" when the event itself did not change
	Sequence int64       // of the change; 0 without one
	Entry    *Entry      // nil when nobody did it
}

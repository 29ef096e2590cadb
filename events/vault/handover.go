package vault

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Files of hand-overs in a vault. One that is pending counts from the moment that
// its new key signs.
const (
	handoverGlob  = "handover-*.json"
	pendingSuffix = ".pending"
	maxHandover   = 16 << 10
)

// HandoverFormat is the version of the format of a Handover.
const HandoverFormat = "xacam-handover/1"

// Handover says that another key signs from now on. Both have signed it, so that
// whoever trusts one of them can trust the other.
type Handover struct {
	Format string            `json:"format"`
	At     time.Time         `json:"at"`  // milliseconds, UTC
	Old    ed25519.PublicKey `json:"old"` // base64, like the signatures
	New    ed25519.PublicKey `json:"new"`
	Number int64             `json:"last_number"` // of the last package that the old key sealed; 0 for none
	SHA256 string            `json:"last_sha256"` // of its manifest
	// Where the audit chain was: whoever has stolen the old key cannot write it anew
	// up to there.
	AuditNumber int64  `json:"audit_number"` // of its last entry; 0 for none
	AuditSHA256 string `json:"audit_sha256"`

	By     string `json:"by"`
	Reason string `json:"reason"`
	OldSig []byte `json:"old_signature"` // Ed25519 of Message
	NewSig []byte `json:"new_signature"`
}

// Message returns what is signed. Its first line keeps it apart from everything
// else that the keys sign.
func (h *Handover) Message() []byte {
	return fmt.Appendf(nil, "xacam key hand-over v1\n%x\n%x\n%s\n%d\n%s\n%d\n%s\n%q\n%q\n",
		[]byte(h.Old), []byte(h.New), h.At.UTC().Format("2006-01-02T15:04:05.000Z"), h.Number, h.SHA256, h.AuditNumber, h.AuditSHA256, h.By, h.Reason)
}

// Valid reports whether both keys have signed it.
func (h *Handover) Valid() bool {
	if h.Format != HandoverFormat || len(h.Old) != ed25519.PublicKeySize || len(h.New) != ed25519.PublicKeySize || h.Old.Equal(h.New) {
		return false
	}
	m := h.Message()
	return ed25519.Verify(h.Old, m, h.OldSig) && ed25519.Verify(h.New, m, h.NewSig)
}

// Retired says why the old key must not have signed what is the newest.
func (h *Handover) Retired() error {
	return fmt.Errorf("it was handed over to %s at %s, so this is older than that, or whoever has stolen it wrote it", KeyID(h.New), h.At.UTC().Format(time.RFC3339))
}

// parseHandover reads one that both keys have signed.
func parseHandover(text []byte) (Handover, error) {
	var h Handover
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return h, fmt.Errorf("not a hand-over of keys: %w", err)
	}
	if !h.Valid() {
		return h, errors.New("not a hand-over of keys: the signatures of both do not fit")
	}
	return h, nil
}

// ReadHandovers returns the hand-overs in a key folder, oldest first. Those that
// are damaged are told in the error, which does not concern the others.
func ReadHandovers(dir string) ([]Handover, error) {
	paths, err := filepath.Glob(filepath.Join(dir, handoverGlob))
	if err != nil {
		return nil, fmt.Errorf("list hand-overs of keys: %w", err)
	}
	var out []Handover
	var errs []error
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err == nil && len(text) > maxHandover {
			err = fmt.Errorf("more than %d bytes", maxHandover)
		}
		var h Handover
		if err == nil {
			h, err = parseHandover(text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
			continue
		}
		out = append(out, h)
	}
	return inOrder(out), errors.Join(errs...)
}

// inOrder sorts hand-overs by who follows whom, as far as they tell.
func inOrder(list []Handover) []Handover {
	out := make([]Handover, 0, len(list))
	for len(list) > 0 {
		i := 0
		for j := range list { // one whose old key nobody else hands over to
			first := true
			for k := range list {
				first = first && !list[k].New.Equal(list[j].Old)
			}
			if first {
				i = j
				break
			}
		}
		out = append(out, list[i])
		list = append(list[:i:i], list[i+1:]...)
	}
	return out
}

// Handovers returns the hand-overs that led to the key that signs, oldest first.
func (v *Vault) Handovers() []Handover { return v.handovers }

// loadHandovers reads the hand-overs and makes that to the key that signs one
// that counts: a crash may have left it pending.
func (v *Vault) loadHandovers(dir string) error {
	path := filepath.Join(dir, handoverName(v.id))
	text, err := os.ReadFile(path + pendingSuffix)
	if err == nil {
		if h, perr := parseHandover(text); perr == nil && KeyID(h.New) == v.id {
			if err := os.Rename(path+pendingSuffix, path); err != nil {
				return fmt.Errorf("finish the hand-over of keys: %w", err)
			}
		}
	}
	v.handovers, _ = ReadHandovers(dir) // a damaged one is named by whoever verifies
	for i := range v.handovers {
		for _, k := range []ed25519.PublicKey{v.handovers[i].Old, v.handovers[i].New} {
			v.known[KeyID(k)] = k
		}
	}
	return nil
}

func handoverName(newID string) string { return strings.Replace(handoverGlob, "*", newID, 1) }

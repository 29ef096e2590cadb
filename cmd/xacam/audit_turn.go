package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// Actions in the audit chain: the old key signs the first, the new one the other.
const (
	actionRotateKey = "evidence.rotate_key"
	actionKeyInUse  = "evidence.key_in_use"
)

// auditHead returns the end of the audit chain.
func auditHead(ctx context.Context, s *pgstore.Store) (head audit.Head, err error) {
	err = s.AuditChain(ctx, func(_ iter.Seq2[audit.Entry, error], h audit.Head) error {
		head = h
		return nil
	})
	return head, err
}

// tellTurn has the new key sign the audit chain after a hand-over: until then the old
// one, which may have been stolen, could write it anew. It does nothing where the new
// key has signed already. The chain must be as the hand-over left it, or it is not
// signed.
func tellTurn(ctx context.Context, s *pgstore.Store, keys *vault.Vault) error {
	id, _ := keys.Sign(nil)
	line := keys.Handovers()
	if len(line) == 0 || vault.KeyID(line[len(line)-1].New) != id {
		return nil
	}
	h := &line[len(line)-1]
	head, err := auditHead(ctx, s)
	if err != nil || head.KeyID == id {
		return err
	}
	last, err := s.Audit(ctx, audit.Filter{}, audit.Page{Limit: 1})
	if err != nil {
		return err
	}
	if len(last) == 0 || !leftBy(h, &head, &last[0]) {
		return fmt.Errorf("the audit chain ends with entry %d, which is not how the hand-over of the key %s left it: see xacam audit verify", head.Number, vault.KeyID(h.Old))
	}
	return s.Append(ctx, h.By, actionKeyInUse, "key:"+id, "", map[string]any{
		"old": vault.KeyID(h.Old), "audit_number": h.AuditNumber, "audit_sha256": h.AuditSHA256,
	})
}

// leftBy reports whether the audit chain ends with the entry of a hand-over, right
// after where that says that it was.
func leftBy(h *vault.Handover, head *audit.Head, last *audit.Entry) bool {
	return head.KeyID == vault.KeyID(h.Old) && ed25519.Verify(h.Old, head.Message(), head.Signature) &&
		head.Number == h.AuditNumber+1 && last.Number == head.Number && last.Hash == head.Hash && last.Sum() == last.Hash &&
		last.Previous.String() == h.AuditSHA256 && last.Actor == h.By && last.Action == actionRotateKey && last.Subject == "key:"+vault.KeyID(h.New)
}

// keepTelling is tellTurn for a server, which starts all the same.
func (s *server) keepTelling(ctx context.Context) error {
	err := tellTurn(ctx, s.store, s.keys)
	if err == nil || errors.Is(err, events.ErrUnavailable) {
		return err
	}
	s.log.ErrorContext(ctx, "the new key does not sign the audit chain", "err", err)
	return nil
}

// trustedHeads returns who may sign the head of the audit chain: keys that were not
// handed over.
func trustedHeads(trusted []ed25519.PublicKey, handovers []vault.Handover) audit.Keys {
	return func(keyID string) (ed25519.PublicKey, error) {
		for i := range handovers {
			if vault.KeyID(handovers[i].Old) == keyID {
				return nil, handovers[i].Retired()
			}
		}
		for _, k := range trusted {
			if vault.KeyID(k) == keyID {
				return k, nil
			}
		}
		return nil, errors.New("it is not one that was given")
	}
}

// handedOver returns where the audit chain was at each hand-over.
func handedOver(handovers []vault.Handover) (out []audit.Head) {
	for i := range handovers {
		if hash, err := audit.ParseHash(handovers[i].AuditSHA256); err == nil && handovers[i].AuditNumber > 0 {
			out = append(out, audit.Head{Number: handovers[i].AuditNumber, Hash: hash})
		}
	}
	return out
}

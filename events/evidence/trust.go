package evidence

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/events/vault"
)

// trust is what somebody can rely on: the keys that were given, and those that
// hand-overs lead to.
//
//   - Forward, from an old key to the new one, it goes from keys that were given and
//     on from those that this leads to. Whoever has stolen an old key can sign a
//     second hand-over to a key of his own; so of two that begin at one key neither
//     counts, unless what was given tells which.
//   - Backward, from the new key to the old one, it goes from given keys only. What is
//     reached so may verify what it sealed until it was handed over, and leads
//     nowhere else.
type trust struct {
	keys  []ed25519.PublicKey // given first, without any twice
	ends  map[string]*end     // by KeyID, of those that were handed over
	line  []*vault.Handover   // that count, without any twice
	forks []string            // what is wrong with hand-overs, one sentence each

	given   []ed25519.PublicKey
	sure    []vault.Handover // given
	claimed []vault.Handover // brought along by what is verified
}

// end is where the work of a key ended.
type end struct {
	last Link // at most; its hash counts for that very number
	at   time.Time
}

// newTrust finds out what can be relied on. sure are hand-overs that were given
// like the keys, claimed those that came with what is verified.
func newTrust(given []ed25519.PublicKey, sure, claimed []vault.Handover) *trust {
	t := &trust{given: given, sure: valid(sure), claimed: valid(claimed), ends: make(map[string]*end)}
	for _, k := range given {
		t.add(k)
	}
	for _, k := range given {
		t.back(k, nil, make(map[string]bool))
	}
	for i := 0; i < len(t.keys); i++ { // it grows
		t.forward(t.keys[i])
	}
	for _, k := range t.keys {
		t.fork(k)
	}
	return t
}

func valid(list []vault.Handover) (out []vault.Handover) {
	for i := range list {
		if list[i].Valid() {
			out = append(out, list[i])
		}
	}
	return out
}

func isKey(keys []ed25519.PublicKey, k ed25519.PublicKey) bool {
	return slices.ContainsFunc(keys, func(o ed25519.PublicKey) bool { return o.Equal(k) })
}

func (t *trust) add(k ed25519.PublicKey) {
	if !isKey(t.keys, k) {
		t.keys = append(t.keys, k)
	}
}

// all returns every hand-over, given ones first.
func (t *trust) all() (out []*vault.Handover) {
	for i := range t.sure {
		out = append(out, &t.sure[i])
	}
	for i := range t.claimed {
		out = append(out, &t.claimed[i])
	}
	return out
}

// counts notes that a hand-over is relied on, and where that ends its old key:
// where several say so, at the first.
// until is where the new key ended, nil where that may do what it likes.
func (t *trust) counts(h *vault.Handover, until *end) *end {
	e := &end{Link{h.Number, h.SHA256}, h.At}
	for _, other := range []*end{until, t.ends[vault.KeyID(h.Old)]} {
		if other != nil && other.last.Number <= e.last.Number {
			e.last = other.last
		}
		if other != nil && other.at.Before(e.at) {
			e.at = other.at
		}
	}
	t.ends[vault.KeyID(h.Old)] = e
	if !slices.ContainsFunc(t.line, func(o *vault.Handover) bool { return string(o.OldSig) == string(h.OldSig) }) {
		t.line = append(t.line, h)
	}
	return e
}

// back follows hand-overs from a given key to those before it. Where one was given
// for the key, what came along says nothing about it.
func (t *trust) back(k ed25519.PublicKey, until *end, seen map[string]bool) {
	if seen[vault.KeyID(k)] {
		return
	}
	seen[vault.KeyID(k)] = true
	for _, list := range [][]vault.Handover{t.sure, t.claimed} {
		found := false
		for i := range list {
			if h := &list[i]; h.New.Equal(k) {
				found = true
				t.add(h.Old)
				t.back(h.Old, t.counts(h, until), seen)
			}
		}
		if found {
			return
		}
	}
}

// forward follows the hand-over of a key to the one after it.
func (t *trust) forward(k ed25519.PublicKey) {
	h := t.next(k)
	if h == nil {
		return
	}
	t.counts(h, nil)
	t.add(h.New)
}

// next returns the hand-over of a key that counts, nil for none. That of a key that
// was reached backwards leads back to where it came from.
func (t *trust) next(k ed25519.PublicKey) *vault.Handover {
	var found *vault.Handover
	best := 0
	for _, h := range t.all() {
		if !h.Old.Equal(k) {
			continue
		}
		rank := t.rank(h)
		switch {
		case rank > best:
			found, best = h, rank
		case rank == best && found != nil && !found.New.Equal(h.New):
			found = nil
		}
	}
	return found
}

// Ranks of hand-overs that begin at one key.
const (
	rankStray   = iota // claimed, and does not lead to all that was given
	rankClaimed        // claimed
	rankSure           // given, or on the way to a key that was given: that says itself where it came from
)

func (t *trust) rank(h *vault.Handover) int {
	for i := range t.sure {
		if string(t.sure[i].OldSig) == string(h.OldSig) {
			return rankSure
		}
	}
	if slices.ContainsFunc(t.line, func(o *vault.Handover) bool { return o.New.Equal(h.New) && o.Old.Equal(h.Old) }) {
		return rankSure
	}
	for _, k := range t.given { // of several keys only the last leads on
		if !k.Equal(h.Old) && !t.before(k, h.Old) {
			return rankStray
		}
	}
	return rankClaimed
}

// before reports whether hand-overs that count lead from a key to another.
func (t *trust) before(k, other ed25519.PublicKey) bool {
	reached := []ed25519.PublicKey{k}
	for i := 0; i < len(reached); i++ {
		for _, h := range t.line {
			if h.Old.Equal(reached[i]) && !isKey(reached, h.New) {
				reached = append(reached, h.New)
			}
		}
	}
	return isKey(reached, other)
}

// fork notes hand-overs that begin at one key and end at several.
func (t *trust) fork(k ed25519.PublicKey) {
	chosen := t.next(k)
	var others []ed25519.PublicKey
	for _, h := range t.all() {
		if h.Old.Equal(k) && (chosen == nil || !h.New.Equal(chosen.New)) && !isKey(others, h.New) {
			others = append(others, h.New)
		}
	}
	switch {
	case chosen == nil && len(others) > 1:
		t.forks = append(t.forks, fmt.Sprintf("the key %s was handed over twice, to %s and to %s: one of them is forged by whoever has stolen it, "+
			"so neither counts; get the key chain from those who run the server", vault.KeyID(k), vault.KeyID(others[0]), vault.KeyID(others[1])))
	case chosen != nil:
		for _, o := range others {
			t.forks = append(t.forks, fmt.Sprintf("the hand-over of the key %s to %s is forged by whoever has stolen it: it was handed over to %s",
				vault.KeyID(k), vault.KeyID(o), vault.KeyID(chosen.New)))
		}
	}
}

// overdrawn says what is wrong with the end of a chain, or a package, that a key
// has signed after it was handed over; "" for nothing. sealed is "sealed" or what
// else the key did with it.
func (t *trust) overdrawn(keyID, did string, l Link) string {
	e, ended := t.ends[keyID]
	switch {
	case !ended:
	case l.Number > e.last.Number:
		return fmt.Sprintf("the key %s was handed over after manifest %d, so it cannot have %s %d", keyID, e.last.Number, did, l.Number)
	case l.Number == e.last.Number && l.SHA256 != e.last.SHA256:
		return fmt.Sprintf("the key %s was handed over after manifest %d, which was another one (%s)", keyID, e.last.Number, e.last.SHA256)
	}
	return ""
}

// late says what is wrong with a signature of that time; "" for nothing.
func (t *trust) late(keyID string, at time.Time) string {
	if e, ended := t.ends[keyID]; ended && at.After(e.at) {
		return fmt.Sprintf("the key %s was handed over at %s, so it cannot have signed at %s", keyID, e.at.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return ""
}

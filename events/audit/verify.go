package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"iter"
	"math/big"
	"reflect"
)

// Fault is what is wrong with a chain.
type Fault string

// Faults.
const (
	Edited    Fault = "edited"    // a field of an entry is not what was written
	Removed   Fault = "removed"   // entries are missing
	Inserted  Fault = "inserted"  // an entry was put in later
	Reordered Fault = "reordered" // entries changed places
	CutOff    Fault = "cut off"   // the newest entries are missing
	BadHead   Fault = "head"      // the head was replaced, or the whole chain written anew
)

// BreakError is the first place where a chain is broken.
type BreakError struct {
	Number int64 // of the entry; of the head, that of the newest entry
	Fault  Fault
	Detail string // what was found, one sentence
}

// Error implements error.
func (b *BreakError) Error() string {
	return fmt.Sprintf("entry %d: %s: %s", b.Number, b.Fault, b.Detail)
}

// searched is how far from its place the origin of a renumbered entry is looked
// for.
const searched = 1000

// Verify reads a chain in the order of its numbers, and then its head. known
// are heads kept elsewhere earlier, whose entries must still be there as they
// were. It returns how many entries are sound from the first on, and a *BreakError
// as the error where one is not; any other error is the iterator's.
func Verify(entries iter.Seq2[Entry, error], head Head, keys Keys, known ...Head) (sound int64, err error) {
	v := verifier{head: head, known: known}
	var held *Entry // one behind, so that each is judged knowing the next
	for e, err := range entries {
		if err != nil {
			return v.sound, err
		}
		if held != nil {
			if b := v.judge(held, &e); b != nil {
				return v.sound, b
			}
		}
		held = &e
	}
	if held != nil {
		if b := v.judge(held, nil); b != nil {
			return v.sound, b
		}
	}
	if b := v.end(keys); b != nil {
		return v.sound, b
	}
	return v.sound, nil
}

// verifier is how far a chain is sound.
type verifier struct {
	sound int64
	last  Hash
	head  Head
	known []Head
}

// judge looks at the entry that should be the next one; follower is the one
// after it, nil at the end.
func (v *verifier) judge(e, follower *Entry) *BreakError {
	place := v.sound + 1
	if e.Number != place {
		return v.misplaced(e, place)
	}
	switch from := origin(e); {
	case from == place && e.Previous == v.last:
	case from == place:
		return v.unlinked(e, follower)
	case from > 0:
		return renumbered(e, follower, from)
	default:
		return v.edited(e, follower)
	}
	if e.DetailValue != "" && !sameJSON(e.Detail, e.DetailValue) {
		return &BreakError{place, Edited, "detail says something else than detail_text, which is what was written"}
	}
	for i := range v.known {
		if k := &v.known[i]; k.Number == place && k.Hash != e.Hash {
			return &BreakError{place, BadHead, fmt.Sprintf("its hash is %s, but %s was kept earlier: the chain was written anew", e.Hash, k.Hash)}
		}
	}
	v.sound, v.last = place, e.Hash
	return nil
}

// misplaced judges an entry whose number is not the next one.
func (v *verifier) misplaced(e *Entry, place int64) *BreakError {
	switch {
	case e.Number > place && e.Previous == v.last && hashAs(e, place) == e.Hash:
		return &BreakError{place, Edited, fmt.Sprintf("its number was changed to %d", e.Number)}
	case e.Number > place:
		return &BreakError{place, Removed, fmt.Sprintf("after %d comes %d", place-1, e.Number)}
	case e.Number == v.sound:
		return &BreakError{e.Number, Inserted, "there are two with this number"}
	default:
		return &BreakError{e.Number, Reordered, fmt.Sprintf("it comes after %d", v.sound)}
	}
}

// unlinked judges an entry that is sound by itself but remembers another one
// before it. If the chain goes on from it, the one before was made anew.
func (v *verifier) unlinked(e, follower *Entry) *BreakError {
	goesOn := follower != nil && follower.Previous == e.Hash || follower == nil && v.head.Hash == e.Hash
	if goesOn && e.Number > 1 {
		return &BreakError{e.Number - 1, Edited, "it was written anew with a hash of its own: the entry after it remembers another"}
	}
	return &BreakError{e.Number, Edited, "it was written anew with a hash of its own: it does not remember the entry before it"}
}

// renumbered judges an entry that was written under another number.
func renumbered(e, follower *Entry, from int64) *BreakError {
	switch {
	case from < e.Number:
		return &BreakError{from, Inserted, fmt.Sprintf("what is entry %d now was written as %d, so something was put before it", e.Number, from)}
	case follower == nil || origin(follower) > follower.Number:
		return &BreakError{e.Number, Removed, fmt.Sprintf("what is entry %d now was written as %d", e.Number, from)}
	default:
		return &BreakError{e.Number, Reordered, fmt.Sprintf("it was written as %d", from)}
	}
}

// edited judges an entry whose hash does not fit.
func (v *verifier) edited(e, follower *Entry) *BreakError {
	what := "its fields are not those that its hash was made of"
	relinked := *e
	relinked.Previous = v.last
	next := v.head.Hash
	if follower != nil {
		if origin(follower) == e.Number {
			return &BreakError{e.Number, Inserted, fmt.Sprintf("what is entry %d now was written as %d", follower.Number, e.Number)}
		}
		next = follower.Previous
	}
	switch {
	case relinked.Sum() == e.Hash:
		what = "previous is not the hash of the entry before"
	case e.Sum() == next:
		what = "its hash was changed, the other fields are as they were"
	}
	return &BreakError{e.Number, Edited, what}
}

// end judges the head.
func (v *verifier) end(keys Keys) *BreakError {
	h := &v.head
	if v.sound == 0 && h.Number == 0 && h.Hash == (Hash{}) && len(h.Signature) == 0 {
		return v.missed()
	}
	key, err := keys(h.KeyID)
	switch {
	case err != nil:
		return &BreakError{v.sound, BadHead, fmt.Sprintf("the head is signed with the key %q: %v", h.KeyID, err)}
	case !ed25519.Verify(key, h.Message(), h.Signature):
		return &BreakError{v.sound, BadHead, fmt.Sprintf("the signature of the head, at %d, is not right", h.Number)}
	case h.Number > v.sound:
		return &BreakError{v.sound + 1, CutOff, fmt.Sprintf("the head is at %d, but there is nothing after %d", h.Number, v.sound)}
	case h.Number < v.sound:
		return &BreakError{h.Number + 1, Inserted, fmt.Sprintf("the head is at %d, but there are %d entries", h.Number, v.sound)}
	case h.Hash != v.last:
		return &BreakError{v.sound, BadHead, "the head is that of another chain: entries were written anew, with new hashes"}
	}
	return v.missed()
}

// missed finds heads that were kept and are past the end now.
func (v *verifier) missed() *BreakError {
	for _, k := range v.known {
		if k.Number > v.sound {
			return &BreakError{v.sound + 1, CutOff, fmt.Sprintf("there were %d entries earlier, and there are %d now: an older state was put back", k.Number, v.sound)}
		}
	}
	return nil
}

// origin returns the number with which the entry's hash was made, 0 when none
// near its place fits.
func origin(e *Entry) int64 {
	if e.Sum() == e.Hash {
		return e.Number
	}
	for d := int64(1); d <= searched; d++ {
		for _, n := range []int64{e.Number - d, e.Number + d} {
			if n > 0 && hashAs(e, n) == e.Hash {
				return n
			}
		}
	}
	return 0
}

func hashAs(e *Entry, number int64) Hash {
	other := *e
	other.Number = number
	return other.Sum()
}

// sameJSON reports whether two texts are the same JSON value, however written.
func sameJSON(a, b string) bool {
	x, xerr := decode(a)
	y, yerr := decode(b)
	return xerr == nil && yerr == nil && reflect.DeepEqual(x, y)
}

func decode(text string) (any, error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	return exact(v), nil
}

// exact replaces numbers by one form of their value.
func exact(v any) any {
	switch v := v.(type) {
	case json.Number:
		if len(v) > 40 { // nothing that we write; do not compute with it
			return v
		}
		if f, _, err := big.ParseFloat(v.String(), 10, 256, big.ToNearestEven); err == nil {
			return f.Text('g', 60)
		}
		return v
	case []any:
		for i := range v {
			v[i] = exact(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(v[k])
		}
	}
	return v
}

package audit_test

import (
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/vault"
)

// chain returns n entries, their head and the vault that signed it.
func chain(t *testing.T, n int) ([]audit.Entry, audit.Head, *vault.Vault) {
	t.Helper()
	v, err := vault.Open(t.TempDir())
	require.NoError(t, err)
	entries, head := grow(v, nil, audit.Head{}, n)
	return entries, head, v
}

func grow(s audit.Signer, entries []audit.Entry, head audit.Head, n int) ([]audit.Entry, audit.Head) {
	for i := range n {
		e := audit.Entry{
			At: time.Date(2026, 11, 23, 15, 0, i, 1500, time.UTC), Actor: "lan", Action: "event.note", Subject: fmt.Sprint("event:", i),
			EventID: "0199aaaa-0000-7000-8000-000000000000", Detail: fmt.Sprintf(`{"n":%d,"note":"Đã xem"}`, i),
			DetailValue: fmt.Sprintf(`{"note": "Đã xem", "n": %d.0}`, i), Key: fmt.Sprint("k", i),
		}
		head = audit.Append(head, &e, s)
		entries = append(entries, e)
	}
	return entries, head
}

func all(entries []audit.Entry) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestCanonical holds the bytes to what the comment says, for whoever verifies
// with other tools.
func TestCanonical(t *testing.T) {
	t.Parallel()
	e := audit.Entry{Number: 1, At: time.UnixMicro(2), Actor: "a", Action: "b", Subject: "c", Detail: "{}"}
	var want strings.Builder
	want.WriteString("xacam audit entry v1" + "\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x00\x00\x00\x00\x00\x00\x02")
	for _, s := range []string{"a", "b", "c", "", "{}", ""} {
		want.WriteString("\x00\x00\x00\x00\x00\x00\x00" + string(rune(len(s))) + s)
	}
	assert.Equal(t, want.String()+strings.Repeat("\x00", 32), string(e.Canonical()))
}

func TestSound(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 50} {
		entries, head, v := chain(t, n)
		sound, err := audit.Verify(all(entries), head, v.Signing, audit.Head{Number: int64(n), Hash: head.Hash})
		require.NoError(t, err)
		assert.Equal(t, int64(n), sound)
	}
}

// TestEveryFieldOfEveryEntry edits one field of one entry at a time, with and
// without a new hash.
func TestEveryFieldOfEveryEntry(t *testing.T) {
	t.Parallel()
	const n = 7
	entries, head, v := chain(t, n)
	edits := map[string]func(e *audit.Entry){
		"at":           func(e *audit.Entry) { e.At = e.At.Add(time.Microsecond) },
		"actor":        func(e *audit.Entry) { e.Actor = "minh" },
		"action":       func(e *audit.Entry) { e.Action = "event.close" },
		"subject":      func(e *audit.Entry) { e.Subject += "0" },
		"event":        func(e *audit.Entry) { e.EventID = "" },
		"detail":       func(e *audit.Entry) { e.Detail = strings.Replace(e.Detail, "Đã", "Chưa", 1) },
		"detail value": func(e *audit.Entry) { e.DetailValue = strings.Replace(e.DetailValue, "Đã", "Chưa", 1) },
		"detail n":     func(e *audit.Entry) { e.DetailValue = strings.Replace(e.DetailValue, ".0", ".5", 1) },
		"key":          func(e *audit.Entry) { e.Key = "" },
		"previous":     func(e *audit.Entry) { e.Previous[31] ^= 1 },
		"hash":         func(e *audit.Entry) { e.Hash[0] ^= 0x80 },
		"number":       func(e *audit.Entry) { e.Number += 100 },
		// Moving a part of one field to its neighbour keeps the joined text.
		"two fields": func(e *audit.Entry) { e.Actor, e.Action = e.Actor+"e", e.Action[1:] },
	}
	for name, edit := range edits {
		for i := range entries {
			changed := slices.Clone(entries)
			edit(&changed[i])
			sound, err := audit.Verify(all(changed), head, v.Signing)
			b, ok := errors.AsType[*audit.BreakError](err)
			require.True(t, ok, "%s of entry %d: %v", name, i+1, err)
			assert.Equal(t, audit.Edited, b.Fault, "%s of entry %d: %v", name, i+1, err)
			assert.Equal(t, int64(i+1), b.Number, "%s: %v", name, err)
			assert.Equal(t, int64(i), sound, name)

			if strings.HasPrefix(name, "detail ") || name == "hash" || name == "number" {
				continue
			}
			changed[i].Hash = changed[i].Sum() // somebody who knows how
			_, err = audit.Verify(all(changed), head, v.Signing)
			b, ok = errors.AsType[*audit.BreakError](err)
			require.True(t, ok, "%s of entry %d with a new hash: %v", name, i+1, err)
			assert.Equal(t, int64(i+1), b.Number, "%s with a new hash: %v", name, err)
		}
	}
}

func TestNamesFields(t *testing.T) {
	t.Parallel()
	for says, edit := range map[string]func(e *audit.Entry){
		"previous is not":      func(e *audit.Entry) { e.Previous[0]++ },
		"its hash was changed": func(e *audit.Entry) { e.Hash[0]++ },
		"detail says":          func(e *audit.Entry) { e.DetailValue = "{}" },
		"number was changed":   func(e *audit.Entry) { e.Number = 90 },
		"fields are not those": func(e *audit.Entry) { e.Actor = "x" },
	} {
		entries, head, v := chain(t, 5)
		for _, i := range []int{0, 2, 4} {
			changed := slices.Clone(entries)
			edit(&changed[i])
			_, err := audit.Verify(all(changed), head, v.Signing)
			assert.ErrorContains(t, err, says, "entry %d", i+1)
		}
	}
}

// renumber makes the numbers 1, 2, 3 … again.
func renumber(entries []audit.Entry) []audit.Entry {
	for i := range entries {
		entries[i].Number = int64(i + 1)
	}
	return entries
}

// rewrite makes numbers, links and hashes anew from an index on.
func rewrite(entries []audit.Entry, from int) []audit.Entry {
	renumber(entries)
	for i := max(from, 1); i < len(entries); i++ {
		entries[i].Previous = entries[i-1].Hash
		entries[i].Hash = entries[i].Sum()
	}
	return entries
}

func TestStructure(t *testing.T) {
	t.Parallel()
	foreign := audit.Entry{At: time.Unix(1, 0), Actor: "x", Action: "y", Subject: "z", Detail: "{}"}
	forged := func(list []audit.Entry, at int) audit.Entry { // links and hash are right
		e := foreign
		e.Number, e.Previous = int64(at+1), list[at-1].Hash
		e.Hash = e.Sum()
		return e
	}
	swap := func(l []audit.Entry, i, j int) []audit.Entry { l[i], l[j] = l[j], l[i]; return l }
	for name, c := range map[string]struct {
		change func(l []audit.Entry) []audit.Entry
		number int64
		fault  audit.Fault
	}{
		"removed":                  {func(l []audit.Entry) []audit.Entry { return slices.Delete(l, 4, 5) }, 5, audit.Removed},
		"first removed":            {func(l []audit.Entry) []audit.Entry { return l[2:] }, 1, audit.Removed},
		"removed, renumbered":      {func(l []audit.Entry) []audit.Entry { return renumber(slices.Delete(l, 4, 6)) }, 5, audit.Removed},
		"removed, rewritten":       {func(l []audit.Entry) []audit.Entry { return rewrite(slices.Delete(l, 4, 5), 4) }, 10, audit.CutOff},
		"inserted":                 {func(l []audit.Entry) []audit.Entry { return renumber(slices.Insert(l, 4, foreign)) }, 5, audit.Inserted},
		"inserted, forged":         {func(l []audit.Entry) []audit.Entry { return renumber(slices.Insert(l, 4, forged(l, 4))) }, 5, audit.Inserted},
		"inserted, same number":    {func(l []audit.Entry) []audit.Entry { return slices.Insert(l, 4, l[3]) }, 4, audit.Inserted},
		"inserted, rewritten":      {func(l []audit.Entry) []audit.Entry { return rewrite(slices.Insert(l, 4, foreign), 4) }, 11, audit.Inserted},
		"swapped":                  {func(l []audit.Entry) []audit.Entry { return swap(l, 4, 5) }, 5, audit.Removed},
		"swapped, renumbered":      {func(l []audit.Entry) []audit.Entry { return renumber(swap(l, 4, 5)) }, 5, audit.Reordered},
		"far swapped, renumbered":  {func(l []audit.Entry) []audit.Entry { return renumber(swap(l, 2, 8)) }, 3, audit.Reordered},
		"swapped, rewritten":       {func(l []audit.Entry) []audit.Entry { return rewrite(swap(l, 4, 5), 4) }, 10, audit.BadHead},
		"moved back":               {func(l []audit.Entry) []audit.Entry { return append(l, l[3]) }, 4, audit.Reordered},
		"cut off":                  {func(l []audit.Entry) []audit.Entry { return l[:7] }, 8, audit.CutOff},
		"all gone":                 {func([]audit.Entry) []audit.Entry { return nil }, 1, audit.CutOff},
		"appended behind the head": {func(l []audit.Entry) []audit.Entry { return append(l, forged(l, 10)) }, 11, audit.Inserted},
		"edited, rewritten": {func(l []audit.Entry) []audit.Entry {
			l[2].Actor = "x"
			l[2].Hash = l[2].Sum()
			return rewrite(l, 3)
		}, 10, audit.BadHead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entries, head, v := chain(t, 10)
			_, err := audit.Verify(all(c.change(slices.Clone(entries))), head, v.Signing)
			b, ok := errors.AsType[*audit.BreakError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, c.fault, b.Fault, "%v", err)
			assert.Equal(t, c.number, b.Number, "%v", err)
		})
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	entries, head, v := chain(t, 5)
	_, other, thief := chain(t, 5)
	_, older := grow(v, nil, audit.Head{}, 3)
	for name, c := range map[string]struct {
		entries []audit.Entry
		head    audit.Head
		known   []audit.Head
		fault   audit.Fault
		number  int64
	}{
		"signed by another":           {entries, other, nil, audit.BadHead, 5},
		"key renamed":                 {entries, audit.Head{Number: 5, Hash: head.Hash, KeyID: head.KeyID, Signature: other.Signature}, nil, audit.BadHead, 5},
		"no signature":                {entries, audit.Head{Number: 5, Hash: head.Hash, KeyID: head.KeyID}, nil, audit.BadHead, 5},
		"number":                      {entries, audit.Head{Number: 4, Hash: head.Hash, KeyID: head.KeyID, Signature: head.Signature}, nil, audit.BadHead, 5},
		"hash":                        {entries, audit.Head{Number: 5, Hash: entries[3].Hash, KeyID: head.KeyID, Signature: head.Signature}, nil, audit.BadHead, 5},
		"emptied":                     {entries, audit.Head{}, nil, audit.BadHead, 5},
		"of an earlier time":          {entries, older, nil, audit.Inserted, 4},
		"an older state put back":     {entries[:3], older, []audit.Head{head}, audit.CutOff, 4},
		"everything emptied":          {nil, audit.Head{}, []audit.Head{head}, audit.CutOff, 1},
		"written anew and signed too": {entries, head, []audit.Head{{Number: 2}}, audit.BadHead, 2},
	} {
		_, err := audit.Verify(all(c.entries), c.head, v.Signing, c.known...)
		b, ok := errors.AsType[*audit.BreakError](err)
		require.True(t, ok, "%s: %v", name, err)
		assert.Equal(t, c.fault, b.Fault, "%s: %v", name, err)
		assert.Equal(t, c.number, b.Number, "%s: %v", name, err)
	}
	_, err := audit.Verify(all(entries), head, thief.Signing)
	require.ErrorContains(t, err, "not known")
}

func TestIteratorFails(t *testing.T) {
	t.Parallel()
	entries, head, v := chain(t, 3)
	gone := errors.New("connection lost")
	_, err := audit.Verify(func(yield func(audit.Entry, error) bool) {
		_ = yield(entries[0], nil) && yield(audit.Entry{}, gone)
	}, head, v.Signing)
	require.ErrorIs(t, err, gone)
	assert.NotErrorAs(t, err, new(*audit.BreakError))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := audit.Entry{Actor: "Nguyễn Thị Lan", Action: "event.note", Subject: "event:1", Detail: "{}"}
	require.NoError(t, good.Check())
	for field, spoil := range map[string]func(e *audit.Entry){
		"actor":           func(e *audit.Entry) { e.Actor = "" },
		"action":          func(e *audit.Entry) { e.Action = "a\nb" },
		"subject":         func(e *audit.Entry) { e.Subject = strings.Repeat("x", 201) },
		"detail":          func(e *audit.Entry) { e.Detail = "[]" },
		"Idempotency-Key": func(e *audit.Entry) { e.Key = "\x00" },
	} {
		e := good
		spoil(&e)
		f, ok := errors.AsType[*events.FieldError](e.Check())
		require.True(t, ok, field)
		assert.Equal(t, field, f.Field)
	}
}

// TestStolenOldKey: whoever has stolen the key of before the last hand-over writes the
// whole chain anew, with the entry that says so in it.
func TestStolenOldKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	stolen, err := vault.Open(dir)
	require.NoError(t, err)
	_, err = vault.Rotate(dir, vault.Handover{At: time.Now(), SHA256: "00", By: "Lan", Reason: "mất khóa"}, func(vault.Handover) error { return nil })
	require.NoError(t, err)
	now, err := vault.Open(dir)
	require.NoError(t, err)
	write := func(list []audit.Entry, head audit.Head, action string, signer audit.Signer) ([]audit.Entry, audit.Head) {
		e := audit.Entry{At: time.Now(), Actor: "Lan", Action: action, Subject: "x:y", Detail: "{}"}
		head = audit.Append(head, &e, signer)
		return append(list, e), head
	}
	list, head := write(nil, audit.Head{}, "evidence.rotate_key", stolen)
	forged, end := write(list, head, "event.delete", stolen)
	_, err = audit.Verify(all(forged), end, now.Signing)
	b, ok := errors.AsType[*audit.BreakError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, audit.BadHead, b.Fault)
	assert.Contains(t, b.Detail, "it was handed over to "+vault.KeyID(now.Public()))
	list, head = write(list, head, "evidence.key_in_use", now)
	sound, err := audit.Verify(all(list), head, now.Signing)
	require.NoError(t, err)
	assert.Equal(t, int64(2), sound)
}

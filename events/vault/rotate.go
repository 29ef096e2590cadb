package vault

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// nextFile is the key that will sign, while a rotation is under way.
const nextFile = signingFile + ".next"

// Rotate puts a new key that signs in the place of the one of before, in a folder
// that nobody else uses meanwhile. Of h, At, By, Reason and where both
// chains end are given. record is called with the hand-over, which both keys have signed, before
// anything changes; when it fails nothing does. After a crash the folder has the
// old key, and another Rotate goes on with the same new one, or it has the new.
func Rotate(dir string, h Handover, record func(Handover) error) (Handover, error) {
	r := rotation{dir: dir, h: h, record: record}
	for _, step := range r.steps() {
		if err := step(); err != nil {
			return Handover{}, fmt.Errorf("rotate the key that signs: %w", err)
		}
	}
	return r.h, nil
}

// rotation is one Rotate.
type rotation struct {
	dir     string
	h       Handover
	record  func(Handover) error
	old     *Vault
	pending string // path of the hand-over
}

func (r *rotation) steps() []func() error {
	return []func() error{r.prepare, r.sign, r.tell, r.retire, r.turn, r.finish}
}

// prepare makes the new key.
func (r *rotation) prepare() (err error) {
	if r.old, err = Open(r.dir); err != nil {
		return err
	}
	path := filepath.Join(r.dir, nextFile)
	next, err := loadOrMake(path, newSigning, parseSigning)
	if err != nil || !next.Equal(r.old.signing) {
		return err
	}
	// It signs already: the process ended before it could be removed.
	if err := os.Remove(path); err != nil {
		return err
	}
	_, err = loadOrMake(path, newSigning, parseSigning)
	return err
}

// sign writes the hand-over, which does not count yet.
func (r *rotation) sign() error {
	next, err := loadOrMake(filepath.Join(r.dir, nextFile), newSigning, parseSigning)
	if err != nil {
		return err
	}
	r.h.Format, r.h.At = HandoverFormat, r.h.At.UTC().Truncate(time.Millisecond)
	r.h.Old, r.h.New = r.old.Public(), ed25519.PublicKey(next[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	_, r.h.OldSig = r.old.Sign(r.h.Message())
	r.h.NewSig = ed25519.Sign(next, r.h.Message())
	if !r.h.Valid() {
		return errors.New("the new key is the old one")
	}
	text, err := json.MarshalIndent(r.h, "", " ")
	if err != nil {
		return err
	}
	r.pending = filepath.Join(r.dir, handoverName(KeyID(r.h.New))) + pendingSuffix
	return writeKey(r.pending, append(text, '\n'), 0o644)
}

func (r *rotation) tell() error { return r.record(r.h) }

// retire keeps the old public key under the name that it will be found by.
func (r *rotation) retire() error {
	text, err := EncodePublic(r.h.Old)
	if err != nil {
		return err
	}
	return writeKey(filepath.Join(r.dir, retiredName(r.h.Old)), text, 0o644)
}

// turn is the moment from which the new key signs.
func (r *rotation) turn() error {
	text, err := os.ReadFile(filepath.Join(r.dir, nextFile))
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(r.dir, signingFile), text, 0o600); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(r.dir, nextFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// finish publishes the new key and has the hand-over count, as Open does also
// after a crash.
func (r *rotation) finish() error {
	v, err := Open(r.dir)
	if err == nil && v.id != KeyID(r.h.New) {
		err = errors.New("another key signs now: was the folder used meanwhile?")
	}
	return err
}

package evidence

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/xacam/xacam/events/wire"
)

// HeadFormat is the version of the format of a head that is written out.
const HeadFormat = "xacam-head/1"

// Head is the signed end of the chain: the last package that was sealed, and
// when. Whoever keeps one can tell later whether the chain was cut off before it,
// or an old state of the whole database put back.
type Head struct {
	Number    int64 // 0 for an empty chain, which is not signed
	SHA256    string
	At        time.Time // milliseconds, UTC
	KeyID     string
	Signature []byte // Ed25519 of Message; none when an earlier version sealed it
}

// Link returns the package that is the end.
func (h *Head) Link() Link { return Link{Number: h.Number, SHA256: h.SHA256} }

// Message returns what is signed. Its first line keeps it apart from everything
// else that the key signs.
func (h *Head) Message() []byte {
	return fmt.Appendf(nil, "xacam manifest head v1\n%d\n%s\n%s\n", h.Number, h.SHA256, h.At.UTC().Format(wire.TimeLayout))
}

// SignHead returns the signed head of a chain that ends with a package.
func SignHead(end Link, at time.Time, signer Signer) Head {
	h := Head{Number: end.Number, SHA256: end.SHA256, At: at.UTC().Truncate(time.Millisecond)}
	h.KeyID, h.Signature = signer.Sign(h.Message())
	return h
}

// signedBy reports whether one of the keys has signed the head.
func (h *Head) signedBy(keys []ed25519.PublicKey) bool {
	return verifySignature(keyOf(keys, h.KeyID), h.Message(), h.Signature)
}

// headJSON is a Head as it is written out.
type headJSON struct {
	Format    string    `json:"format"`
	Number    int64     `json:"number"`
	SHA256    string    `json:"sha256"`
	SignedAt  time.Time `json:"signed_at"`
	KeyID     string    `json:"key_id"`
	Signature []byte    `json:"signature"` // base64
}

// Encode writes a head as one line of JSON, to be kept elsewhere.
func (h *Head) Encode() ([]byte, error) {
	b, err := json.Marshal(headJSON{HeadFormat, h.Number, h.SHA256, h.At.UTC(), h.KeyID, h.Signature})
	if err != nil {
		return nil, fmt.Errorf("encode the end of the chain: %w", err)
	}
	return append(b, '\n'), nil
}

// ParseHead reads what Encode writes. It does not check the signature.
func ParseHead(b []byte) (Head, error) {
	var j headJSON
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return Head{}, fmt.Errorf("read the end of a chain: %w", err)
	}
	if j.Format != HeadFormat || j.Number < 1 || !hexSum.MatchString(j.SHA256) || len(j.Signature) != ed25519.SignatureSize {
		return Head{}, fmt.Errorf("read the end of a chain: it is not one of the format %s", HeadFormat)
	}
	return Head{j.Number, j.SHA256, j.SignedAt, j.KeyID, j.Signature}, nil
}

// Heads is where the chain's end is kept.
type Heads interface {
	// SignHead calls sign with the end of the chain if nobody has signed that, and
	// stores what it returns.
	SignHead(ctx context.Context, sign func(end Link) Head) error
}

// Files of heads in the data folder.
const (
	headFile = "evidence-head.json"
	headGlob = "evidence-head*.json"
	maxHead  = 4 << 10
)

// HeadFolder keeps the latest head as a file outside the database. One that the
// chain does not go on from, as after an old state of the database was put back,
// is kept under another name for VerifyChain to name.
type HeadFolder struct{ Dir string }

// Keep stores a head that follows previous. lost names the file of the head before
// when the chain does not go on from that; "" when it does.
func (f HeadFolder) Keep(h Head, previous Link) (lost string, err error) {
	path := filepath.Join(f.Dir, headFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", fmt.Errorf("keep the end of the chain: %w", err)
	default:
		old, perr := ParseHead(text)
		if perr == nil && (old.Link() == h.Link() || old.Number < previous.Number || old.Link() == previous) {
			break
		}
		lost = strings.TrimSuffix(headFile, ".json") + fmt.Sprintf("-%d-%.8s.json", old.Number, sumOf(text))
		if err := os.Rename(path, filepath.Join(f.Dir, lost)); err != nil { //nolint:gosec // the name is made of numbers
			return "", fmt.Errorf("keep the end of the chain: %w", err)
		}
	}
	b, err := h.Encode()
	if err == nil {
		err = writeAtomic(path, b)
	}
	if err != nil {
		return lost, fmt.Errorf("keep the end of the chain: %w", err)
	}
	return lost, nil
}

// KnownHead is a head that was kept, and where.
type KnownHead struct {
	Where string
	Head  Head
}

// Known returns the heads that are kept in the folder.
func (f HeadFolder) Known() ([]KnownHead, error) {
	paths, err := filepath.Glob(filepath.Join(f.Dir, headGlob))
	if err != nil {
		return nil, fmt.Errorf("list the kept ends of the chain: %w", err)
	}
	var out []KnownHead
	for _, p := range paths {
		h, err := ReadHead(p)
		if err != nil { // VerifyChain says that nobody has signed it
			h = KnownHead{Where: filepath.Base(p)}
		}
		out = append(out, h)
	}
	return out, nil
}

// ReadHead reads a head from a file.
func ReadHead(path string) (KnownHead, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxHead {
		err = fmt.Errorf("more than %d bytes", maxHead)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return KnownHead{}, fmt.Errorf("read the end of a chain: %w", err)
	}
	h, err := ParseHead(text)
	if err != nil {
		return KnownHead{}, fmt.Errorf("%s: %w", path, err)
	}
	return KnownHead{filepath.Base(path), h}, nil
}

// GoesOn returns an error that names the first known end that the chain does not go
// on from, and says what to do about it. It looks at the rows only, not at signatures
// and files as VerifyChain does.
func GoesOn(ctx context.Context, chain ChainReader, known []KnownHead) error {
	head, err := chain.ManifestHead(ctx)
	if err != nil {
		return err
	}
	for _, k := range known {
		if k.Head.Number < 1 {
			return fmt.Errorf("%s is damaged: see xacam evidence verify --all, and move it away when it is clear why", k.Where)
		}
		if k.Head.Number > head.Number {
			return fmt.Errorf("%s says that manifest %d was sealed, but the chain ends with %d: an old state of the database was put back, or its end was cut off; "+
				"see xacam evidence verify --all, and move the file away if that was meant", k.Where, k.Head.Number, head.Number)
		}
		page, err := chain.Manifests(ctx, k.Head.Number-1, 1)
		if err != nil {
			return err
		}
		if len(page) == 0 || page[0].Number != k.Head.Number || page[0].SHA256 != k.Head.SHA256 {
			return fmt.Errorf("%s says that manifest %d was %s, but the chain has another in its place: see xacam evidence verify --all", k.Where, k.Head.Number, k.Head.SHA256)
		}
	}
	return nil
}

package evidence

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/vault"
)

// ChainReader reads the chain of manifests and the log of deletions.
type ChainReader interface {
	Manifests(ctx context.Context, after int64, limit int) ([]Entry, error)
	ManifestHead(ctx context.Context) (Head, error)
	Unchained(ctx context.Context, limit int) ([]string, error)
	Deletion(ctx context.Context, path, sha256 string) (Deletion, bool, error)
}

// ChainConfig is what VerifyChain needs.
type ChainConfig struct {
	Store *Store
	Chain ChainReader
	Keys  []ed25519.PublicKey
	// Handovers between keys: they lead to others, and say what an old one cannot
	// have sealed. Those beside the chain count as far as Keys and Handovers do not
	// say otherwise.
	Handovers, Beside []vault.Handover
	Known             []KnownHead // ends of the chain that were kept elsewhere: it must go on from each
	// Found is called for each fault, Gone for each file that the log of deletions
	// accounts for, and Progress now and then with the number that was reached;
	// nil: not called.
	Found    func(Finding)
	Gone     func(where string, d Deletion)
	Progress func(number, last int64)
}

// ChainSummary counts what VerifyChain has looked at.
type ChainSummary struct {
	Manifests, Files, Gone, Faults int
}

// VerifyChain checks every manifest of the store and every file that they list:
// numbers without a gap, each naming the one before, signed, and every file as it
// was or accounted for. Sealing may go on meanwhile. An error says that it could
// not go on; faults are reported to Found.
func VerifyChain(ctx context.Context, cfg ChainConfig) (ChainSummary, error) {
	w := &walk{ctx: ctx, cfg: cfg, last: Link{SHA256: NoPrevious}, known: make(map[int64][]KnownHead)}
	w.trust = newTrust(w.cfg.Keys, w.cfg.Handovers, w.cfg.Beside)
	w.cfg.Keys = w.trust.keys
	if w.cfg.Found == nil {
		w.cfg.Found = func(Finding) {}
	}
	if w.cfg.Gone == nil {
		w.cfg.Gone = func(string, Deletion) {}
	}
	if w.cfg.Progress == nil {
		w.cfg.Progress = func(int64, int64) {}
	}
	err := w.run()
	return w.sum, err
}

// walk is one VerifyChain.
type walk struct {
	ctx   context.Context //nolint:containedctx // of the one call that it lives for
	cfg   ChainConfig
	trust *trust
	known map[int64][]KnownHead // by number, those that were not reached yet
	last  Link
	sum   ChainSummary
}

func (w *walk) find(where, problem string, args ...any) {
	w.sum.Faults++
	w.cfg.Found(Finding{File: where, Problem: fmt.Sprintf(problem, args...)})
}

func (w *walk) run() error {
	head, err := w.cfg.Chain.ManifestHead(w.ctx) // first: what is sealed meanwhile is beyond it
	if err != nil {
		return err
	}
	for _, said := range w.trust.forks {
		w.find("the hand-overs of keys", "%s", said)
	}
	w.signedHeads(&head)
	w.handovers()
	reached := w.last
	for {
		page, err := w.cfg.Chain.Manifests(w.ctx, w.last.Number, 200)
		if err != nil {
			return err
		}
		for i := range page {
			if err := w.entry(&page[i]); err != nil {
				return err
			}
			if page[i].Number <= head.Number {
				reached = w.last
			}
		}
		w.cfg.Progress(w.last.Number, max(head.Number, w.last.Number))
		if len(page) == 0 {
			break
		}
	}
	if reached != head.Link() {
		w.find("the end of the chain", "manifest %d (%s) was the last that was sealed, but the chain ends with %d (%s)",
			head.Number, head.SHA256, reached.Number, reached.SHA256)
	}
	w.unreached()
	lost, err := w.cfg.Chain.Unchained(w.ctx, 100)
	for _, id := range lost {
		w.find("event "+id, "it was sealed, but its manifest is not in the chain: the row was deleted")
	}
	return err
}

// signedHeads checks the signatures of the chain's end and of those that were
// kept.
func (w *walk) signedHeads(head *Head) {
	switch {
	case head.Number == 0:
	case len(head.Signature) == 0:
		w.find("the end of the chain", "nobody has signed that manifest %d is the last; a server of this version does when it runs, "+
			"so start it once, or the signature was removed", head.Number)
	case keyOf(w.cfg.Keys, head.KeyID) == nil:
		w.find("the end of the chain", "it claims to be signed by the key %s, which is not one of the server's", printable(head.KeyID))
	case !head.signedBy(w.cfg.Keys):
		w.find("the end of the chain", "its signature by the key %s does not fit: manifest %d was not the last at %s",
			printable(head.KeyID), head.Number, head.At.Format(time.RFC3339))
	default:
		w.retired("the end of the chain", head)
	}
	for _, k := range w.cfg.Known {
		if !k.Head.signedBy(w.cfg.Keys) {
			w.find(k.Where, "its signature is not one of this server's, or it was changed")
			continue
		}
		w.retired(k.Where, &k.Head)
		w.known[k.Head.Number] = append(w.known[k.Head.Number], k)
	}
}

// retired names an end that a key has signed after it was handed over.
func (w *walk) retired(where string, h *Head) {
	if said := w.trust.overdrawn(h.KeyID, "signed the end at", h.Link()); said != "" {
		w.find(where, "%s", said)
	}
}

// handovers makes known ends of the hand-overs: each says where the chain was.
func (w *walk) handovers() {
	for _, h := range w.trust.line {
		if h.Number > 0 {
			w.known[h.Number] = append(w.known[h.Number], KnownHead{
				Where: "the hand-over of the key " + vault.KeyID(h.Old), Head: Head{Number: h.Number, SHA256: h.SHA256, At: h.At},
			})
		}
	}
}

// unreached names what was the end once and is not in the chain.
func (w *walk) unreached() {
	for _, n := range slices.Sorted(maps.Keys(w.known)) {
		for _, k := range w.known[n] {
			w.find(k.Where, "manifest %d was sealed by %s, but the chain ends with %d: its end was cut off, or an old state of the database was put back",
				n, k.Head.At.Format(time.RFC3339), w.last.Number)
		}
	}
}

// entry checks one row, its manifest and its files.
func (w *walk) entry(e *Entry) error {
	where := fmt.Sprintf("manifest %d (event %s)", e.Number, e.EventID)
	w.sum.Manifests++
	switch n := w.last.Number + 1; {
	case e.Number == n+1:
		w.find(where, "manifest %d before it is missing from the chain", n)
	case e.Number > n:
		w.find(where, "manifests %d to %d before it are missing from the chain", n, e.Number-1)
	case e.Previous != w.last.SHA256:
		w.find(where, "it names %s before it, but manifest %d is %s", e.Previous, w.last.Number, w.last.SHA256)
	}
	w.last = Link{Number: e.Number, SHA256: e.SHA256}
	for _, k := range w.known[e.Number] {
		if k.Head.SHA256 != e.SHA256 {
			w.find(where, "its SHA-256 is %s, but %s, signed at %s, says that it was %s: the chain was written anew",
				e.SHA256, k.Where, k.Head.At.Format(time.RFC3339), k.Head.SHA256)
		}
	}
	delete(w.known, e.Number)
	m, err := w.manifest(where, e)
	if err != nil || m == nil {
		return err
	}
	for _, f := range m.Files {
		if err := w.file(where, f); err != nil {
			return err
		}
	}
	return nil
}

// manifest reads a manifest and compares it with its row. It returns nil when it
// cannot be relied on, which is reported.
func (w *walk) manifest(where string, e *Entry) (*Manifest, error) {
	text, err := w.read(e.Path, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, w.gone(where+", "+e.Path, e.Path, e.SHA256)
	}
	if err != nil {
		w.find(where, "%s cannot be read: %v", e.Path, err)
		return nil, w.ctx.Err()
	}
	sigPath := e.Path[:max(0, len(e.Path)-len(".json"))] + ".sig"
	sig, err := w.read(sigPath, ed25519.SignatureSize)
	if err != nil {
		w.find(where, "its signature %s cannot be read: %v", sigPath, err)
		sig = nil
	}
	m, err := ParseManifest(text)
	if err != nil {
		w.find(where, "%s: %v", e.Path, err)
		return nil, nil //nolint:nilnil // reported
	}
	sum := sumOf(text)
	key := keyOf(w.cfg.Keys, m.KeyID)
	signed := key != nil && verifySignature(key, text, sig)
	if !signed && sum != e.SHA256 {
		w.find(where, "%s was changed: its SHA-256 is %s, not %s, and its signature does not fit", e.Path, sum, e.SHA256)
		return nil, nil //nolint:nilnil // reported
	}
	switch {
	case signed:
		if said := w.trust.overdrawn(m.KeyID, "sealed", Link{e.Number, sum}); said != "" {
			w.find(where, "%s", said)
		}
	case sig == nil:
	case key == nil:
		w.find(where, "%s claims to be by the key %s, which is not one of the server's", e.Path, printable(m.KeyID))
	default:
		w.find(where, "the signature %s does not fit: it was changed, or the manifest and its row were", sigPath)
	}
	switch fits := m.Number == e.Number && m.EventID() == e.EventID && m.Previous.SHA256 == e.Previous && m.KeyID == e.KeyID; {
	case sum != e.SHA256 && fits:
		w.find(where, "the chain has the SHA-256 %s for it, but the signed file has %s: the row was edited", e.SHA256, sum)
	case sum != e.SHA256:
		w.find(where, "%s has the SHA-256 %s, not %s: the file was replaced", e.Path, sum, e.SHA256)
	case !fits:
		w.find(where, "its row says number %d, event %s, previous %s, key %s, but the manifest says %d, %s, %s, %s: the row was edited",
			e.Number, e.EventID, e.Previous, e.KeyID, m.Number, printable(m.EventID()), m.Previous.SHA256, printable(m.KeyID))
	case !m.SealedAt.Equal(e.SealedAt):
		w.find(where, "its row says that it was sealed at %s, but the manifest says %s: the row was edited", e.SealedAt, m.SealedAt)
	}
	return m, nil
}

func (w *walk) read(path string, most int64) ([]byte, error) {
	f, err := w.cfg.Store.Open(events.EvidenceRef{Path: path})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return b, err
}

// file checks one file of a manifest.
func (w *walk) file(where string, f File) error {
	where += ", " + f.Name
	w.sum.Files++
	in, err := w.cfg.Store.Open(events.EvidenceRef{Path: f.Path})
	if errors.Is(err, fs.ErrNotExist) {
		return w.gone(where, f.Path, f.SHA256)
	}
	if err != nil {
		w.find(where, "%s cannot be read: %v", f.Path, err)
		return w.ctx.Err()
	}
	defer in.Close()
	sum, n, err := hashOf(w.ctx, in, f.Bytes)
	switch {
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case err != nil:
		w.find(where, "%s cannot be read: %v", f.Path, err)
	case sum != f.SHA256 || n != f.Bytes:
		w.find(where, "%s was changed: its SHA-256 is %s, not %s", f.Path, sum, f.SHA256)
	}
	return nil
}

// gone looks whether the log of deletions accounts for a file.
func (w *walk) gone(where, path, sha256 string) error {
	d, known, err := w.cfg.Chain.Deletion(w.ctx, path, sha256)
	if err != nil {
		return err
	}
	if !known {
		w.find(where, "%s is missing, and the log of deletions says nothing of it", path)
		return nil
	}
	w.sum.Gone++
	w.cfg.Gone(where, d)
	return nil
}

package evidence

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// Drafts are the packages in the making. Store implements it.
type Drafts interface {
	// DraftIDs returns the events that have a draft, the oldest first.
	DraftIDs(ctx context.Context) ([]string, error)
	// Draft reads one. It returns events.ErrNotFound for one that is not there and
	// ErrDamaged for one that no reading will help.
	Draft(eventID string) (Draft, error)
	RemoveDraft(eventID string) error
}

// Chain is where manifests are numbered, and events are.
type Chain interface {
	// Event returns a stored event, events.ErrNotFound when it is not stored and
	// events.ErrUnavailable when it cannot be said now.
	Event(ctx context.Context, id string) (events.Event, error)
	// Seal calls build with the link that the next manifest must name, holding
	// the chain, and stores what it returns as one transaction, which is a step of
	// the event. An event that is sealed already is left as it is, and build is
	// not called. It returns events.ErrNotFound while the event itself is not
	// stored and events.ErrUnavailable when it may be tried again.
	Seal(ctx context.Context, eventID string, build func(previous Link) (Sealed, error)) error
}

// Signer signs. vault.Vault implements it.
type Signer interface {
	Sign(message []byte) (keyID string, signature []byte)
}

// SealerConfig is what a Sealer needs. Store, Drafts, Chain and Signer are
// required.
type SealerConfig struct {
	Store    *Store
	Drafts   Drafts
	Chain    Chain
	Signer   Signer
	Heads    Heads          // to sign the end of a chain that an earlier version began; nil: left unsigned
	Kept     *HeadFolder    // keeps the end outside the database; nil: nowhere
	Software string         // "xacam 1.2.0"
	Location *time.Location // of the times in the event; default UTC

	Every    time.Duration // looks for drafts at least so often; default 5s
	Patience time.Duration // a draft that is not ready after this is sealed as it is; default 1h
	// Late, if not nil, is asked about a draft that is not ready after Patience. It
	// returns false where somebody still works on it, and otherwise may add to the
	// draft what it finds of the package.
	Late    func(d *Draft) bool
	Now     func() time.Time
	Log     *slog.Logger          // default discards
	Metrics prometheus.Registerer // nil registers nothing
}

// Sealer turns drafts into sealed packages, one after the other. Safe for
// concurrent use.
type Sealer struct {
	cfg     SealerConfig
	metrics *sealMetrics
	wake    chan struct{}
	aside   map[string]bool // events whose draft cannot be sealed; only used by Run
	delays  map[string]delay
	signed  bool // the end of the chain was looked at; only used by Run
}

// NewSealer checks the configuration. It starts nothing.
func NewSealer(cfg SealerConfig) (*Sealer, error) {
	if cfg.Store == nil || cfg.Drafts == nil || cfg.Chain == nil || cfg.Signer == nil {
		return nil, errors.New("evidence: SealerConfig needs Store, Drafts, Chain and Signer")
	}
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Second
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	if cfg.Software == "" {
		cfg.Software = "xacam"
	}
	return &Sealer{
		cfg: cfg, metrics: newSealMetrics(cfg.Metrics), wake: make(chan struct{}, 1), aside: make(map[string]bool),
		delays: make(map[string]delay),
	}, nil
}

// Wake says that a draft has become ready. It never blocks.
func (s *Sealer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// maxPause bounds how long Run waits while the store or the disk is away.
const maxPause = 30 * time.Second

// Run seals what is ready until ctx ends and then returns nil. It may be called
// once.
func (s *Sealer) Run(ctx context.Context) error {
	pause := time.Duration(0)
	for {
		err := s.round(ctx)
		next, wake := s.cfg.Every, s.wake
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // asked to end
		case err != nil:
			if pause == 0 {
				s.cfg.Log.WarnContext(ctx, "evidence waits to be sealed", "err", err)
			}
			pause = min(max(2*pause, 500*time.Millisecond), maxPause)
			next, wake = pause, nil
		case pause > 0:
			s.cfg.Log.InfoContext(ctx, "evidence is being sealed again")
			pause = 0
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// seal makes one package.
func (s *Sealer) seal(ctx context.Context, d *Draft) error {
	m, err := s.manifest(ctx, d)
	if err != nil {
		return err
	}
	start := s.cfg.Now()
	var sealed Sealed // zero when it was sealed already
	var before Link
	err = s.cfg.Chain.Seal(ctx, d.Event.ID, func(previous Link) (Sealed, error) {
		var err error
		before = previous
		sealed, err = s.write(d, m, previous)
		return sealed, err
	})
	if err != nil {
		return err
	}
	s.keep(ctx, sealed.Head, before)
	if err := s.cfg.Drafts.RemoveDraft(d.Event.ID); err != nil {
		return unavailable(fmt.Errorf("remove a draft: %w", err)) // it is sealed; the next round removes it
	}
	s.metrics.sealed.Inc()
	s.metrics.seconds.Observe(s.cfg.Now().Sub(start).Seconds())
	return nil
}

// keep stores the end of the chain outside the database. It is only a witness: a
// disk that does not take it holds nothing up.
func (s *Sealer) keep(ctx context.Context, h Head, previous Link) {
	if s.cfg.Kept == nil || h.Number == 0 {
		return
	}
	lost, err := s.cfg.Kept.Keep(h, previous)
	if err != nil {
		s.cfg.Log.WarnContext(ctx, "the end of the chain of evidence cannot be kept outside the database", "err", err)
	}
	if lost != "" {
		s.cfg.Log.ErrorContext(ctx, "the chain of evidence does not go on from where it ended: was an old state of the database put back? "+
			"see xacam evidence verify --all", "kept", lost)
	}
}

// signEnd signs the end of a chain that an earlier version has sealed.
func (s *Sealer) signEnd(ctx context.Context) error {
	if s.signed || s.cfg.Heads == nil {
		return nil
	}
	var head Head
	err := s.cfg.Heads.SignHead(ctx, func(end Link) Head {
		head = SignHead(end, s.cfg.Now(), s.cfg.Signer)
		return head
	})
	if err != nil {
		return err
	}
	s.signed = true
	s.keep(ctx, head, head.Link())
	return nil
}

// errUnread says that a file is there, but cannot be read now. It holds up its
// own package only.
var errUnread = errors.New("evidence cannot be read")

// unavailable says that an error of the disk may pass.
func unavailable(err error) error { return fmt.Errorf("%w: %w", events.ErrUnavailable, err) }

// manifest puts together what can be said before the number is known. An error
// that is not unavailable says that the draft can never be sealed.
func (s *Sealer) manifest(ctx context.Context, d *Draft) (*Manifest, error) {
	raised := d.Event
	raised.Evidence = nil // the manifest's own list is the better one
	w := wire.FromEvent(&raised, wire.Options{Location: s.cfg.Location})
	event, err := w.AppendJSON(nil)
	if err != nil {
		return nil, err
	}
	m := &Manifest{
		Format: ManifestFormat, Number: 1, Previous: Link{SHA256: NoPrevious}, SealedAt: s.cfg.Now(), Software: s.cfg.Software,
		KeyID: "-", Event: event, Record: d.Record,
	}
	for _, flaw := range d.Flaws {
		m.Flaws = append(m.Flaws, strings.ToValidUTF8(flaw, "?"))
	}
	if len(m.Record) == 0 {
		m.Record = json.RawMessage("{}")
	}
	names := wire.Names(d.Files)
	for i, ref := range d.Files {
		flaw, err := s.look(ctx, ref)
		switch {
		case ctx.Err() != nil:
			return nil, unavailable(ctx.Err())
		case errors.Is(err, ErrNotMounted) || errors.Is(err, ErrUnclaimed): // for however long: it will be there again
			return nil, fmt.Errorf("%w: %w", errUnread, err)
		case err != nil && !s.unread(d.Event.ID):
			return nil, fmt.Errorf("%w: %w", errUnread, err)
		case err != nil:
			flaw = "the file could not be read: " + err.Error()
		}
		if flaw != "" {
			m.Flaws = append(m.Flaws, strings.ToValidUTF8(names[i]+": "+flaw, "?"))
			continue
		}
		m.Files = append(m.Files, File{Name: names[i], Type: ref.Type, Path: ref.Path, Bytes: ref.Bytes, SHA256: ref.SHA256})
	}
	_, err = m.Encode() // with a number to be replaced: it shows whether the rest is fit
	return m, err
}

// look reads a file again and says what is wrong with it, "" for nothing.
func (s *Sealer) look(ctx context.Context, ref events.EvidenceRef) (flaw string, err error) {
	f, err := s.cfg.Store.Open(ref)
	if errors.Is(err, events.ErrNotFound) {
		return fmt.Sprintf("the file (SHA-256 %s) was gone before it was sealed", ref.SHA256), nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, n, err := hashOf(ctx, f, ref.Bytes)
	switch {
	case err != nil:
		return "", fmt.Errorf("read %s: %w", ref.Path, err)
	case sum != ref.SHA256 || n != ref.Bytes:
		return fmt.Sprintf("the file was changed before it was sealed and is left out; written were %d bytes with SHA-256 %s", ref.Bytes, ref.SHA256), nil
	}
	return "", nil
}

// hashOf reads at most one byte more than size and returns the hash and length
// of what it read.
func hashOf(ctx context.Context, r io.Reader, size int64) (sum string, n int64, err error) {
	h := sha256.New()
	limited := io.LimitReader(r, size+1)
	for {
		if err := ctx.Err(); err != nil {
			return "", n, err
		}
		k, err := io.CopyN(h, limited, 1<<20)
		n += k
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), n, nil
		}
		if err != nil {
			return "", n, err
		}
	}
}

// write signs the manifest with its number and makes both files durable. Their
// names are those of the event, so that a second try after a crash replaces
// what the first left.
func (s *Sealer) write(d *Draft, m *Manifest, previous Link) (Sealed, error) {
	m.Number, m.Previous, m.SealedAt = previous.Number+1, previous, s.cfg.Now().UTC().Truncate(time.Millisecond)
	m.KeyID, _ = s.cfg.Signer.Sign(nil)
	text, err := m.Encode()
	if err != nil {
		return Sealed{}, err
	}
	_, sig := s.cfg.Signer.Sign(text)
	out := Sealed{Entry: Entry{
		Number: m.Number, EventID: d.Event.ID, OccurredAt: d.Event.OccurredAt, SHA256: sumOf(text), Previous: previous.SHA256,
		KeyID: m.KeyID, SealedAt: m.SealedAt,
	}}
	out.Head = SignHead(Link{Number: out.Number, SHA256: out.SHA256}, m.SealedAt, s.cfg.Signer)
	for _, f := range m.Files {
		out.Files = append(out.Files, events.EvidenceRef{Type: f.Type, Path: f.Path, SHA256: f.SHA256, Bytes: f.Bytes})
	}
	for _, f := range []struct {
		typ, name string
		data      []byte
	}{{TypeSignature, d.Event.ID + ".manifest.sig", sig}, {TypeManifest, d.Event.ID + ".manifest.json", text}} {
		ref, err := s.cfg.Store.Put(f.typ, f.name, d.Event.OccurredAt, f.data)
		if err != nil {
			return Sealed{}, unavailable(err)
		}
		out.Files, out.Path = append(out.Files, ref), ref.Path
	}
	return out, nil
}

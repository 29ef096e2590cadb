package evidence

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/vault"
)

// Keys are the server's own. vault.Vault implements it.
type Keys interface {
	Signer
	Known(keyID string) (ed25519.PublicKey, bool)
	Public() ed25519.PublicKey
	Handovers() []vault.Handover // of the key that signs, oldest first
}

// Auditor keeps the log of what people did.
type Auditor interface {
	Append(ctx context.Context, actor, action, subject, eventID string, detail map[string]any) error
}

// Viewer makes copies to look at.
type Viewer interface {
	// Picture returns a JPEG copy of a picture with the lines of text written on
	// it and the areas (x0, y0, x1, y1 in [0,1]) made unrecognisable.
	Picture(picture []byte, lines []string, areas [][4]float64) ([]byte, error)
	// Clip writes an MP4 copy of the video at from, with the lines of text written
	// on it and what veil says made unrecognisable, to the file to. It may be
	// shorter than the original, and then says so in note.
	Clip(ctx context.Context, from, to string, lines []string, veil Veil) (note string, err error)
}

// ExporterConfig is what an Exporter needs. Store, Keys and Audit are required.
type ExporterConfig struct {
	Store    *Store
	Keys     Keys
	Audit    Auditor
	Viewer   Viewer // nil: packages have no copies to look at
	Software string
	Location *time.Location // of the time on copies; default UTC
	Temp     string         // folder for copies in the making; default that of the system
	Now      func() time.Time
	Log      *slog.Logger // default discards
}

// Exporter makes packages to take away. Safe for concurrent use.
type Exporter struct{ cfg ExporterConfig }

// NewExporter checks the configuration.
func NewExporter(cfg ExporterConfig) (*Exporter, error) {
	if cfg.Store == nil || cfg.Keys == nil || cfg.Audit == nil {
		return nil, errors.New("evidence: ExporterConfig needs Store, Keys and Audit")
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
	return &Exporter{cfg}, nil
}

// Package is an export that has been logged and may be written once.
type Package struct {
	x        *Exporter
	event    events.Event
	request  Request
	manifest *Manifest
	text     []byte // of manifest.json
	sig      []byte
	export   Export
}

// Prepare checks the request and the seal of e, and writes who takes it, when
// and why into the audit log. It returns a *events.FieldError for a bad request
// and an error that wraps events.ErrConflict while the package is not sealed.
func (x *Exporter) Prepare(ctx context.Context, e events.Event, r Request) (*Package, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	p := &Package{x: x, event: e, request: r}
	if err := p.load(); err != nil {
		return nil, fmt.Errorf("export the evidence of event %s: %w", e.ID, err)
	}
	p.export = Export{
		Format: ExportFormat, ExportedAt: x.cfg.Now().UTC().Truncate(time.Millisecond), Software: x.cfg.Software, EventID: e.ID,
		Manifest: Link{Number: p.manifest.Number, SHA256: sumOf(p.text)}, By: r.By, Reason: r.Reason, Blur: r.Blur,
	}
	p.export.KeyID, _ = x.cfg.Keys.Sign(nil)
	err := x.cfg.Audit.Append(ctx, r.By, "evidence.export", "event:"+e.ID, e.ID, map[string]any{
		"reason": r.Reason, "blur": string(r.Blur), "manifest": p.manifest.Number, "sha256": p.export.Manifest.SHA256,
	})
	if err != nil {
		return nil, fmt.Errorf("export the evidence of event %s: it cannot be logged, so it is refused: %w", e.ID, err)
	}
	return p, nil
}

// load reads the manifest and checks its signature.
func (p *Package) load() error {
	var err error
	if p.text, err = p.document(TypeManifest, maxManifest); err != nil {
		return err
	}
	if p.sig, err = p.document(TypeSignature, ed25519.SignatureSize); err != nil {
		return err
	}
	if p.manifest, err = ParseManifest(p.text); err != nil {
		return err
	}
	key, known := p.x.cfg.Keys.Known(p.manifest.KeyID)
	if !known || !verifySignature(key, p.text, p.sig) || p.manifest.EventID() != p.event.ID {
		return errors.New("the manifest on the disk is not the one that was signed; see xacam evidence verify --all")
	}
	return nil
}

func (p *Package) document(typ string, most int64) ([]byte, error) {
	i := slices.IndexFunc(p.event.Evidence, func(ref events.EvidenceRef) bool { return ref.Type == typ })
	if i < 0 {
		return nil, fmt.Errorf("it is not sealed yet: %w", events.ErrConflict)
	}
	return p.read(p.event.Evidence[i], most)
}

// read returns a file of at most so many bytes, which must be as it was stored.
func (p *Package) read(ref events.EvidenceRef, most int64) ([]byte, error) {
	f, err := p.x.cfg.Store.Open(ref)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", ref.Path, err)
	case int64(len(b)) > most:
		return nil, fmt.Errorf("read %s: more than %d bytes", ref.Path, most)
	case sumOf(b) != ref.SHA256:
		return nil, fmt.Errorf("read %s: it was changed after it was stored", ref.Path)
	}
	return b, nil
}

// Name is a file name for the package.
func (p *Package) Name() string { return "evidence-" + p.event.ID + ".zip" }

// tempFile makes an empty file for a copy; the caller removes it.
func (x *Exporter) tempFile() (string, error) {
	f, err := os.CreateTemp(x.cfg.Temp, "xacam-copy-*.mp4")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

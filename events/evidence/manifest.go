package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// ManifestFormat is the version of the format that is written.
const ManifestFormat = "xacam-evidence/1"

// Types of the files that the sealer adds.
const (
	TypeManifest  = "manifest"
	TypeSignature = "signature"
)

// Limits of what is read from outside.
const (
	maxManifest = 4 << 20 // bytes
	maxFiles    = 500     // of a manifest
)

// NoPrevious is the hash before the first manifest.
var NoPrevious = strings.Repeat("0", 64) //nolint:gochecknoglobals // a constant

// Manifest says what is in a sealed package. What is signed, and what the next
// manifest names, are the very bytes that Encode returns: one line for each
// field, and one for each file, so that sha256sum can be fed from them.
type Manifest struct {
	Format   string          // ManifestFormat
	Number   int64           // in the chain, from 1
	Previous Link            // the manifest before
	SealedAt time.Time       // by the server's clock
	Software string          // "xacam 1.2.0"
	KeyID    string          // of the key that signs, see vault.KeyID
	Event    json.RawMessage // a wire.Event as it was raised
	Record   json.RawMessage // rule, zone, model, calibration and clock, see Draft
	Files    []File
	Flaws    []string // what is missing, and why
}

// Link names a manifest.
type Link struct {
	Number int64  `json:"number"` // 0 before the first
	SHA256 string `json:"sha256"` // 64 hex digits
}

// File is a file of a package. SHA256 and Name come first: see Encode.
type File struct {
	SHA256 string `json:"sha256"`
	Name   string `json:"name"` // in the package
	Bytes  int64  `json:"bytes"`
	Type   string `json:"type"` // see events.EvidenceRef
	Path   string `json:"path"` // in the server's media folder
}

// manifestJSON is a Manifest as it is read.
type manifestJSON struct {
	Format   string          `json:"format"`
	Number   int64           `json:"number"`
	Previous Link            `json:"previous"`
	SealedAt time.Time       `json:"sealed_at"`
	Software string          `json:"software"`
	KeyID    string          `json:"key_id"`
	Event    json.RawMessage `json:"event"`
	Record   json.RawMessage `json:"record"`
	Files    []File          `json:"files"`
	Flaws    []string        `json:"flaws"`
}

// Encode returns the bytes of manifest.json, which end in a line feed.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("encode a manifest: %w", err)
	}
	b, err := encodeLines([]field{
		{"format", m.Format},
		{"number", m.Number},
		{"previous", m.Previous},
		{"sealed_at", m.SealedAt.UTC().Format(wire.TimeLayout)},
		{"software", m.Software},
		{"key_id", m.KeyID},
		{"event", m.Event},
		{"record", m.Record},
		{"flaws", append([]string{}, m.Flaws...)},
	}, m.Files)
	if err != nil {
		return nil, fmt.Errorf("encode a manifest: %w", err)
	}
	return b, nil
}

// field is one line of a document.
type field struct {
	name  string
	value any
}

// encodeLines writes a JSON object: a line for each field, then the list
// "files" with a line for each entry.
func encodeLines[F any](fields []field, files []F) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("{\n")
	for _, f := range fields {
		line, err := oneLine(f.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		fmt.Fprintf(&b, "%q:%s,\n", f.name, line)
	}
	b.WriteString("\"files\":[")
	for i, f := range files {
		line, err := oneLine(f)
		if err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
		b.Write(line)
	}
	b.WriteString("\n]\n}\n")
	if b.Len() > maxManifest {
		return nil, fmt.Errorf("%d bytes are more than %d", b.Len(), maxManifest)
	}
	return b.Bytes(), nil
}

func oneLine(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b) // it makes raw JSON compact
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ParseManifest reads manifest.json. It fails for bytes that Encode would not
// have written: a signed text has one reading only.
func ParseManifest(b []byte) (*Manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("read a manifest: more than %d bytes", maxManifest)
	}
	var j manifestJSON
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return nil, fmt.Errorf("read a manifest: %w", err)
	}
	m := Manifest(j)
	if j.Format != ManifestFormat {
		return nil, fmt.Errorf("read a manifest: its format is %.40q, not %q; a newer xacam may read it", j.Format, ManifestFormat)
	}
	again, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("read a manifest: it is not written as xacam writes it, so it was changed")
	}
	return &m, nil
}

var (
	hexSum    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	fileName  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,99}$`)
	validType = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
)

// check reports what makes a manifest unfit to be signed or relied on.
func (m *Manifest) check() error {
	switch {
	case m.Number < 1 || m.Previous.Number != m.Number-1:
		return fmt.Errorf("number %d does not follow %d", m.Number, m.Previous.Number)
	case !hexSum.MatchString(m.Previous.SHA256) || m.Number == 1 && m.Previous.SHA256 != NoPrevious:
		return errors.New("previous: not a SHA-256")
	case m.KeyID == "" || m.SealedAt.Year() < 1 || m.SealedAt.Year() > 9999:
		return errors.New("key_id or sealed_at is missing")
	case len(m.Files) > maxFiles:
		return fmt.Errorf("%d files are more than %d", len(m.Files), maxFiles)
	}
	for name, raw := range map[string]json.RawMessage{"event": m.Event, "record": m.Record} {
		if !isObject(raw) {
			return fmt.Errorf("%s: not a JSON object", name)
		}
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if !fileName.MatchString(f.Name) || reserved(f.Name) || seen[f.Name] {
			return fmt.Errorf("files: %.120q cannot be the name of a file", f.Name)
		}
		seen[f.Name] = true
		if !hexSum.MatchString(f.SHA256) || f.Bytes < 0 || !validType.MatchString(f.Type) || !utf8.ValidString(f.Path) {
			return fmt.Errorf("files: %s: its hash, size or type cannot be", f.Name)
		}
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	return json.Valid(raw) && bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{"))
}

// reserved reports whether a package has something else of that name.
func reserved(name string) bool {
	switch name {
	case manifestName, signatureName, keyName, keysName, exportName, exportSignatureName, strings.ToLower(readmeName), strings.TrimSuffix(viewingPrefix, "/"):
		return true
	}
	return false
}

// EventID returns the identifier of the event that the package is about.
func (m *Manifest) EventID() string {
	var e struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(m.Event, &e) // "" says it as well
	return e.ID
}

// verifySignature reports whether sig is the signature of the exact bytes by
// key.
func verifySignature(key ed25519.PublicKey, text, sig []byte) bool {
	return len(key) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize && ed25519.Verify(key, text, sig)
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Entry is a manifest's row in the chain.
type Entry struct {
	Number     int64
	EventID    string
	OccurredAt time.Time
	Path       string // of the manifest in the media folder
	SHA256     string // of the manifest
	Previous   string // SHA256 of Number - 1; NoPrevious for the first
	KeyID      string
	SealedAt   time.Time
}

// Sealed is what one sealing adds to the store.
type Sealed struct {
	Entry
	Head  Head                 // of the chain that ends with it
	Files []events.EvidenceRef // all of the event, the manifest and its signature too; durable
}

package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// ExportFormat is the version of the format of export.json.
const ExportFormat = "xacam-export/1"

// Blur says what is made unrecognisable on the copies to look at. It never
// touches an original.
type Blur string

// Blurs.
const (
	BlurNone   Blur = "none"
	BlurOthers Blur = "others" // people and number plates that the event is not about
	BlurAll    Blur = "all"    // likewise, and the head or the plate that it is about
)

// Blurs lists every Blur.
func Blurs() []Blur { return []Blur{BlurNone, BlurOthers, BlurAll} }

// Limits, in characters, of what people may say.
const (
	maxBy     = 100
	maxReason = 500
)

// Request says who takes a package away, and what for.
type Request struct {
	By     string // 1 to 100 characters
	Reason string // 1 to 500
	Blur   Blur   // "" is none
}

// Check returns a *events.FieldError for what is missing or wrong.
func (r *Request) Check() error {
	r.By, r.Reason = strings.TrimSpace(r.By), strings.TrimSpace(r.Reason)
	if r.Blur == "" {
		r.Blur = BlurNone
	}
	for _, f := range []struct {
		name, text string
		most       int
	}{{"by", r.By, maxBy}, {"reason", r.Reason, maxReason}} {
		if f.text == "" || !utf8.ValidString(f.text) || utf8.RuneCountInString(f.text) > f.most ||
			strings.ContainsFunc(f.text, func(c rune) bool { return !unicode.IsPrint(c) }) {
			return &events.FieldError{Field: f.name, Reason: fmt.Sprintf("is required, 1 to %d printable characters: it is written into the package and the audit log", f.most)}
		}
	}
	if slices.Contains(Blurs(), r.Blur) {
		return nil
	}
	return &events.FieldError{Field: "blur", Reason: "must be none, others or all"}
}

// Export is export.json: who took a package, when and why, and the files that
// the manifest does not list. It is signed like the manifest.
type Export struct {
	Format     string
	ExportedAt time.Time
	Software   string
	KeyID      string
	EventID    string
	Manifest   Link // that of the package
	By         string
	Reason     string
	Blur       Blur
	LeftOut    []LeftOut
	Files      []ExtraFile
}

// LeftOut is a file that a package lacks, and why.
type LeftOut struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// ExtraFile is a file that the server added.
type ExtraFile struct {
	SHA256 string `json:"sha256"`
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Note   string `json:"note,omitempty"`
}

// exportJSON is an Export as it is read.
type exportJSON struct {
	Format     string      `json:"format"`
	ExportedAt time.Time   `json:"exported_at"`
	Software   string      `json:"software"`
	KeyID      string      `json:"key_id"`
	EventID    string      `json:"event_id"`
	Manifest   Link        `json:"manifest"`
	By         string      `json:"by"`
	Reason     string      `json:"reason"`
	Blur       Blur        `json:"blur"`
	LeftOut    []LeftOut   `json:"left_out"`
	Files      []ExtraFile `json:"files"`
}

// Encode returns the bytes of export.json, which end in a line feed.
func (x *Export) Encode() ([]byte, error) {
	b, err := encodeLines([]field{
		{"format", x.Format},
		{"exported_at", x.ExportedAt.UTC().Format(wire.TimeLayout)},
		{"software", x.Software},
		{"key_id", x.KeyID},
		{"event_id", x.EventID},
		{"manifest", x.Manifest},
		{"by", x.By},
		{"reason", x.Reason},
		{"blur", x.Blur},
		{"left_out", append([]LeftOut{}, x.LeftOut...)},
	}, x.Files)
	if err != nil {
		return nil, fmt.Errorf("encode export.json: %w", err)
	}
	return b, nil
}

// ParseExport reads export.json, strictly as ParseManifest does.
func ParseExport(b []byte) (*Export, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("read export.json: more than %d bytes", maxManifest)
	}
	var j exportJSON
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		return nil, fmt.Errorf("read export.json: %w", err)
	}
	x := Export(j)
	if j.Format != ExportFormat {
		return nil, fmt.Errorf("read export.json: its format is %.40q, not %q; a newer xacam may read it", j.Format, ExportFormat)
	}
	if len(x.Files) > maxFiles || len(x.LeftOut) > 2*maxFiles {
		return nil, errors.New("read export.json: too many files")
	}
	again, err := x.Encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, errors.New("read export.json: it is not written as xacam writes it, so it was changed")
	}
	return &x, nil
}

// why returns what is said of a file that is left out; false when nothing is.
func (x *Export) why(name string) (string, bool) {
	if x == nil {
		return "", false
	}
	for _, l := range x.LeftOut {
		if l.Name == name {
			return l.Why, true
		}
	}
	return "", false
}

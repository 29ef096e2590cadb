package evidence

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xacam/xacam/events/vault"
)

// Finding is something wrong with a package.
type Finding struct {
	File    string // in the package
	Problem string // "changed: …", "missing: …", "added: …", in words
}

// String implements fmt.Stringer.
func (f Finding) String() string { return f.File + ": " + f.Problem }

// Report is what was found out about a package.
type Report struct {
	Manifest *Manifest // nil when it cannot be read or relied on
	Export   *Export   // nil likewise
	SHA256   string    // of manifest.json
	Findings []Finding
	Notes    []string // what is no fault, but should be known
	Trusted  bool     // verified with a key that was given, not with the one in the package
}

// OK reports whether nothing is wrong. Only with Trusted does that say anything
// about where the package comes from.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// ParseKeys reads one or more public keys, as PEM.
func ParseKeys(text []byte) ([]ed25519.PublicKey, error) {
	var out []ed25519.PublicKey
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		key, err := vault.ParsePublic(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
		if err != nil {
			return nil, err
		}
		out, text = append(out, key), rest
	}
	if len(out) == 0 || len(out) > 100 {
		return nil, errors.New("not a public key: it must be PEM with -----BEGIN PUBLIC KEY-----")
	}
	return out, nil
}

// Verify checks a package, a ZIP file or a folder, offline: every file against
// the manifest, the manifest against its signature by one of keys. Without keys
// it can only use the one in the package, see Report.Trusted. An error says
// that there is nothing to verify; faults of a package are findings.
// Over hand-overs, given or in the package, keys lead to others of the same
// server; given ones outrank those in the package. Whoever has stolen a key can
// sign a hand-over to one of his own: only the newest key tells that.
func Verify(ctx context.Context, path string, keys []ed25519.PublicKey, handovers ...vault.Handover) (*Report, error) {
	b, err := openBundle(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.close() }() // it was only read
	return verifyBundle(ctx, b, keys, handovers)
}

// verifier checks one bundle.
type verifier struct {
	b         *bundle
	keys      []ed25519.PublicKey
	handovers []vault.Handover // that the package brings
	trust     *trust
	report    *Report
	accepted  map[string]bool // names that are accounted for
}

func verifyBundle(ctx context.Context, b *bundle, keys []ed25519.PublicKey, handovers []vault.Handover) (*Report, error) {
	v := &verifier{b: b, keys: keys, report: &Report{Trusted: len(keys) > 0, Findings: b.findings}, accepted: make(map[string]bool)}
	if !v.report.Trusted {
		v.insideKeys()
	}
	v.insideHandovers()
	v.trust = newTrust(v.keys, handovers, v.handovers)
	v.keys = v.trust.keys
	for _, said := range v.trust.forks {
		v.find(keysName, "%s", said)
	}
	v.exportDocument()
	v.manifestDocument()
	if err := v.files(ctx); err != nil {
		return nil, err
	}
	slices.SortStableFunc(v.report.Findings, func(a, b Finding) int { return strings.Compare(a.File, b.File) })
	v.report.Findings = slices.Compact(v.report.Findings)
	return v.report, nil
}

func (v *verifier) find(name, problem string, args ...any) {
	v.report.Findings = append(v.report.Findings, Finding{File: printable(name), Problem: fmt.Sprintf(problem, args...)})
}

// insideKeys uses the keys that the package brings.
func (v *verifier) insideKeys() {
	text, ok := v.document(keyName, 64<<10)
	if !ok {
		return
	}
	var err error
	if v.keys, err = ParseKeys(text); err != nil {
		v.find(keyName, "changed: %v", err)
	}
}

// insideHandovers uses what the package brings: a hand-over speaks for itself
// where one of its keys is trusted. Whether the file is as it was exported,
// export.json tells.
func (v *verifier) insideHandovers() {
	if !v.b.has(keysName) {
		return
	}
	text, err := v.b.read(keysName, maxKeychain)
	if err == nil {
		var inside []vault.Handover
		if _, inside, err = ParseKeychain(text); err == nil {
			v.handovers = inside
		}
	}
	if err != nil {
		v.find(keysName, "changed: %v", err)
	}
}

// document reads a small file that every package has.
func (v *verifier) document(name string, most int64) ([]byte, bool) {
	v.accepted[name] = true
	if !v.b.has(name) {
		v.find(name, "missing")
		return nil, false
	}
	data, err := v.b.read(name, most)
	if err != nil {
		v.find(name, "changed: it cannot be read: %v", err)
		return nil, false
	}
	return data, true
}

// key returns the key of an ID, nil for none.
func (v *verifier) key(id string) ed25519.PublicKey { return keyOf(v.keys, id) }

func keyOf(keys []ed25519.PublicKey, id string) ed25519.PublicKey {
	for _, k := range keys {
		if vault.KeyID(k) == id {
			return k
		}
	}
	return nil
}

// keyNames lists the keys that were given.
func (v *verifier) keyNames() string {
	names := make([]string, len(v.keys))
	for i, k := range v.keys {
		names[i] = vault.KeyID(k)
	}
	if len(names) == 0 {
		return "no usable key"
	}
	return strings.Join(names, ", ")
}

// exportDocument reads export.json. The report has it only when its signature
// is right.
func (v *verifier) exportDocument() {
	text, ok := v.document(exportName, maxManifest)
	sig, ok2 := v.document(exportSignatureName, ed25519.SignatureSize)
	if !ok || !ok2 {
		return
	}
	x, err := ParseExport(text)
	if err != nil {
		v.find(exportName, "changed: %v", err)
		return
	}
	key := v.key(x.KeyID)
	switch {
	case key == nil && !v.report.Trusted && !v.manifestKey():
		v.find(keyName, "changed: it is not the key %s that export.json names, but %s", printable(x.KeyID), v.keyNames())
	case key == nil:
		v.find(exportName, "it claims to be signed by the key %s, which is not %s", printable(x.KeyID), v.keyNames())
		v.find(exportSignatureName, "it is not by the key that was expected (%s)", v.keyNames())
	case !verifySignature(key, text, sig):
		v.find(exportName, "changed: its signature does not fit, so this file or export.sig was changed")
		v.find(exportSignatureName, "changed: it does not fit, so this file or export.json was changed")
	default:
		v.report.Export = x
		if said := v.trust.late(x.KeyID, x.ExportedAt); said != "" {
			v.find(exportName, "%s", said)
		}
	}
}

// manifestKey reports whether the key that the manifest names is there.
func (v *verifier) manifestKey() bool {
	if !v.b.has(manifestName) {
		return false
	}
	text, err := v.b.read(manifestName, maxManifest)
	if err != nil {
		return false
	}
	m, err := ParseManifest(text)
	return err == nil && v.key(m.KeyID) != nil
}

// manifestDocument reads manifest.json. The report has it also when its
// signature is wrong, so that files can be compared, unless it is certain that
// it was changed.
func (v *verifier) manifestDocument() {
	text, ok := v.document(manifestName, maxManifest)
	sig, ok2 := v.document(signatureName, ed25519.SignatureSize)
	if !ok {
		return
	}
	v.report.SHA256 = sumOf(text)
	m, err := ParseManifest(text)
	if err != nil {
		v.find(manifestName, "changed: %v", err)
		return
	}
	v.report.Manifest = m
	key := v.key(m.KeyID)
	x := v.report.Export
	switch {
	case !ok2:
	case key != nil && verifySignature(key, text, sig):
		if said := v.trust.overdrawn(m.KeyID, "sealed", Link{m.Number, v.report.SHA256}); said != "" {
			v.find(signatureName, "%s", said)
		}
	case x != nil && x.Manifest.SHA256 != v.report.SHA256:
		v.find(manifestName, "changed: its signature does not fit, and it is not the one that was exported; the files could not be compared with it")
		v.report.Manifest = nil
	case key == nil && v.report.Trusted:
		v.find(signatureName, "it claims to be by the key %s, which is not the one given (%s)", printable(m.KeyID), v.keyNames())
	case key == nil:
		v.find(keyName, "changed: it is not the key %s that the manifest names, but %s", printable(m.KeyID), v.keyNames())
	case x != nil:
		v.find(signatureName, "changed: it does not fit manifest.json, which is as it was exported")
	default:
		v.find(manifestName, "changed: its signature does not fit, so this file or manifest.sig was changed")
		v.find(signatureName, "changed: it does not fit, so this file or manifest.json was changed")
	}
	if x != nil && x.Manifest.SHA256 != v.report.SHA256 && v.report.OK() {
		v.find(exportName, "it is of another package: of manifest %d", x.Manifest.Number)
	}
}

// files compares every file with the manifest and export.json, and names what
// is too much or too few.
func (v *verifier) files(ctx context.Context) error {
	var missing []File
	if m := v.report.Manifest; m != nil {
		for _, f := range m.Files {
			if gone, err := v.file(ctx, f); err != nil {
				return err
			} else if gone {
				missing = append(missing, f)
			}
		}
	}
	if x := v.report.Export; x != nil {
		for _, f := range x.Files {
			as := File{Name: f.Name, Bytes: f.Bytes, SHA256: f.SHA256}
			if f.Note != "" {
				v.report.Notes = append(v.report.Notes, printable(f.Name)+": "+printable(f.Note)+", says export.json")
			}
			if gone, err := v.file(ctx, as); err != nil {
				return err
			} else if gone {
				missing = append(missing, as)
			}
		}
		for _, l := range x.LeftOut {
			if !v.b.has(l.Name) {
				v.report.Notes = append(v.report.Notes, printable(l.Name)+": "+printable(l.Why)+", says export.json")
			}
		}
	}
	v.accepted[keyName], v.accepted[readmeName] = true, true
	return v.surplus(ctx, missing)
}

// file checks one file, and reports whether it is missing without a reason.
func (v *verifier) file(ctx context.Context, f File) (missing bool, err error) {
	v.accepted[f.Name] = true
	if !v.b.has(f.Name) {
		_, told := v.report.Export.why(f.Name)
		return !told, nil
	}
	if size := v.b.sizes[f.Name]; size != f.Bytes {
		v.find(f.Name, "changed: it has %d bytes, not %d", size, f.Bytes)
		return false, nil
	}
	sum, err := v.sum(ctx, f.Name, f.Bytes)
	switch {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil:
		v.find(f.Name, "changed: it cannot be read: %v", err)
	case sum != f.SHA256:
		v.find(f.Name, "changed: its SHA-256 is %s, not %s", sum, f.SHA256)
	}
	return false, nil
}

func (v *verifier) sum(ctx context.Context, name string, size int64) (string, error) {
	in, err := v.b.open(name)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum, _, err := hashOf(ctx, in, size)
	return sum, err
}

// unlisted reports whether the list that a file would be in cannot be read,
// which is a finding already.
func (v *verifier) unlisted(name string) bool {
	if strings.HasPrefix(name, viewingPrefix) {
		return v.report.Export == nil
	}
	return v.report.Manifest == nil
}

// surplus names what nobody accounts for, and what is missing; a file that is
// both was renamed.
func (v *verifier) surplus(ctx context.Context, missing []File) error {
	for _, name := range v.b.names {
		if v.accepted[name] || v.unlisted(name) {
			continue
		}
		i := -1
		if size := v.b.sizes[name]; slices.ContainsFunc(missing, func(f File) bool { return f.Bytes == size }) {
			sum, err := v.sum(ctx, name, size)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				i = slices.IndexFunc(missing, func(f File) bool { return f.SHA256 == sum })
			}
		}
		if i < 0 {
			v.find(name, "added: it does not belong to the package")
			continue
		}
		v.find(name, "renamed: it is %s", missing[i].Name)
		missing = slices.Delete(missing, i, i+1)
	}
	for _, f := range missing {
		v.find(f.Name, "missing")
	}
	return nil
}

// Links checks whether packages that were given together follow each other as
// they say. Packages whose numbers are not next to each other cannot be
// compared.
func Links(names []string, reports []*Report) []Finding {
	var out []Finding
	byNumber := make(map[int64]int)
	for i, r := range reports {
		if r.Manifest == nil {
			continue
		}
		j, twice := byNumber[r.Manifest.Number]
		switch {
		case !twice:
			byNumber[r.Manifest.Number] = i
		case reports[j].SHA256 != r.SHA256:
			out = append(out, Finding{names[i], fmt.Sprintf("it has the number %d, like %s, and is another package: one of them is forged", r.Manifest.Number, names[j])})
		}
	}
	for i, r := range reports {
		if r.Manifest == nil {
			continue
		}
		if j, ok := byNumber[r.Manifest.Number-1]; ok && reports[j].SHA256 != r.Manifest.Previous.SHA256 {
			out = append(out, Finding{names[i], fmt.Sprintf("it does not follow %s: it names the manifest %s before it, that one is %s",
				names[j], r.Manifest.Previous.SHA256, reports[j].SHA256)})
		}
	}
	return out
}

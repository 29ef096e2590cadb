package evidence

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/vault"
)

// maxPicture bounds, in bytes, a picture that is copied.
const maxPicture = 64 << 20

// Write writes the package as a ZIP file. Files that are no longer kept are left
// out, which the package says. It must be called once only.
func (p *Package) Write(ctx context.Context, w io.Writer) error {
	z := &zipper{ctx: ctx, p: p, out: zip.NewWriter(w), to: w}
	err := z.write()
	if closeErr := z.out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write the package of event %s: %w", p.event.ID, err)
	}
	return nil
}

// zipper writes one package.
type zipper struct {
	ctx   context.Context //nolint:containedctx // of the one call that it lives for
	p     *Package
	out   *zip.Writer
	to    io.Writer        // below out
	veils map[string]*veil // of clips, by path; none when nothing is hidden
}

func (z *zipper) write() error {
	keys, err := z.keys()
	if err != nil {
		return err
	}
	z.veil()
	for _, f := range []struct {
		name string
		data []byte
		ours bool
	}{{readmeName, z.readme(), true}, {keyName, keys, true}, {manifestName, z.p.text, false}, {signatureName, z.p.sig, false}} {
		if err := z.add(f.name, f.data, f.ours); err != nil {
			return err
		}
	}
	if handovers := z.p.x.cfg.Keys.Handovers(); len(handovers) > 0 {
		text, err := EncodeKeychain(z.p.x.cfg.Keys.Public(), handovers)
		if err != nil {
			return err
		}
		if err := z.add(keysName, text, true); err != nil {
			return err
		}
	}
	if err := z.flush(); err != nil {
		return err
	}
	for _, f := range z.p.manifest.Files {
		if err := z.original(f); err != nil {
			return err
		}
	}
	if err := z.flush(); err != nil { // copies take their time, and who waits should see something
		return err
	}
	if z.p.x.cfg.Viewer != nil {
		if err := z.copies(); err != nil {
			return err
		}
	}
	text, err := z.p.export.Encode()
	if err != nil {
		return err
	}
	_, sig := z.p.x.cfg.Keys.Sign(text)
	if err := z.add(exportName, text, false); err != nil {
		return err
	}
	return z.add(exportSignatureName, sig, false)
}

// flush sends what is written so far on its way.
func (z *zipper) flush() error {
	err := z.out.Flush()
	if f, ok := z.to.(interface{ Flush() }); ok { // of a reply by HTTP
		f.Flush()
	}
	return err
}

// keys returns the key of the manifest and, where that is another one, the key
// that signs the export.
func (z *zipper) keys() ([]byte, error) {
	var out []byte
	for _, id := range []string{z.p.manifest.KeyID, z.p.export.KeyID} {
		key, ok := z.p.x.cfg.Keys.Known(id)
		if !ok {
			return nil, fmt.Errorf("the public key %s is not known any more", id)
		}
		text, err := vault.EncodePublic(key)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(out, text) {
			out = append(out, text...)
		}
	}
	return out, nil
}

// create begins a file. Media are compressed already.
func (z *zipper) create(name string) (io.Writer, error) {
	if err := z.ctx.Err(); err != nil {
		return nil, err
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: z.p.export.ExportedAt}
	switch path.Ext(name) {
	case ".jpg", ".jpeg", ".png", ".mp4", ".sig":
		h.Method = zip.Store
	}
	return z.out.CreateHeader(h)
}

// add writes a small file; ours go into export.json.
func (z *zipper) add(name string, data []byte, ours bool) error {
	w, err := z.create(name)
	if err != nil {
		return err
	}
	if ours {
		z.p.export.Files = append(z.p.export.Files, ExtraFile{Name: name, Bytes: int64(len(data)), SHA256: sumOf(data)})
	}
	_, err = w.Write(data)
	return err
}

func (z *zipper) leaveOut(name, why string) {
	z.p.export.LeftOut = append(z.p.export.LeftOut, LeftOut{Name: name, Why: strings.ToValidUTF8(why, "?")})
}

// original writes a file of the manifest, as it is.
func (z *zipper) original(f File) error {
	for _, ref := range z.p.event.Evidence {
		if ref.Path == f.Path && !ref.Gone.IsZero() {
			z.leaveOut(f.Name, "no longer kept since "+ref.Gone.UTC().Format("2006-01-02T15:04:05Z"))
			return nil
		}
	}
	in, err := z.p.x.cfg.Store.Open(events.EvidenceRef{Path: f.Path})
	if errors.Is(err, fs.ErrNotExist) {
		z.leaveOut(f.Name, "the file is missing on the server")
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := z.create(f.Name)
	if err != nil {
		return err
	}
	sum, n, err := hashOf(z.ctx, io.TeeReader(in, w), f.Bytes)
	if err != nil {
		return err
	}
	if sum != f.SHA256 || n != f.Bytes {
		z.p.x.cfg.Log.ErrorContext(z.ctx, "a file of sealed evidence was changed", "event", z.p.event.ID, "file", f.Path)
	}
	return nil
}

// copies writes the pictures and the clip with a watermark. One that cannot be
// made is left out, and the package says why.
func (z *zipper) copies() error {
	r := z.p.request
	lines := []string{
		"BẢN SAO / COPY",
		r.By + " · " + z.p.export.ExportedAt.In(z.p.x.cfg.Location).Format("02/01/2006 15:04:05 -07:00"),
		z.p.event.ID,
		r.Reason,
	}
	boxes, known := boxesOf(z.p.manifest.Record)
	hide := areas(boxes, r.Blur)
	if r.Blur != BlurNone {
		hide = append(hide, masked(z.p.manifest.Record)...)
	}
	for _, f := range z.p.manifest.Files {
		name := viewingPrefix + strings.TrimSuffix(f.Name, path.Ext(f.Name))
		var err error
		switch f.Type {
		case "snapshot", "annotated", "still":
			ofTheAct := f.Type != "still" || strings.HasPrefix(f.Name, "still-act")
			if r.Blur != BlurNone && (!known || !ofTheAct) {
				z.leaveOut(name+".jpg", "it was not recorded where people and vehicles are in this picture, so they cannot be blurred")
				continue
			}
			err = z.picture(f, name+".jpg", lines, hide)
		case "clip":
			err = z.clip(f, name+".mp4", lines)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (z *zipper) picture(f File, name string, lines []string, hide [][4]float64) error {
	original, err := z.p.read(events.EvidenceRef{Path: f.Path, SHA256: f.SHA256}, maxPicture)
	if err == nil {
		var made []byte
		if made, err = z.p.x.cfg.Viewer.Picture(original, lines, hide); err == nil {
			return z.add(name, made, true)
		}
	}
	z.p.x.cfg.Log.WarnContext(z.ctx, "no copy of a picture", "event", z.p.event.ID, "file", f.Path, "err", err)
	z.leaveOut(name, "the copy could not be made")
	return nil
}

func (z *zipper) clip(f File, name string, lines []string) (err error) {
	temp, err := z.p.x.tempFile()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temp)) }()
	var hide Veil
	if v := z.veils[f.Path]; v != nil {
		hide = v.at
	}
	note, err := z.p.x.cfg.Viewer.Clip(z.ctx, filepath.Join(z.p.x.cfg.Store.dir, filepath.FromSlash(f.Path)), temp, lines, hide)
	if err != nil {
		z.p.x.cfg.Log.WarnContext(z.ctx, "no copy of a clip", "event", z.p.event.ID, "file", f.Path, "err", err)
		z.leaveOut(name, "the copy could not be made")
		return nil
	}
	in, err := os.Open(temp)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	w, err := z.create(name)
	if err != nil {
		return err
	}
	sum, n, err := hashOf(z.ctx, io.TeeReader(in, w), info.Size())
	if err != nil {
		return err
	}
	if said := z.veils[f.Path].note(); said != "" {
		note = strings.TrimPrefix(note+"; "+said, "; ")
	}
	z.p.export.Files = append(z.p.export.Files, ExtraFile{Name: name, Bytes: n, SHA256: sum, Note: strings.ToValidUTF8(note, "?")})
	return nil
}

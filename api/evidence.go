package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// Exporter makes packages of evidence to take away.
type Exporter interface {
	// Export checks and logs a request, and returns what writes the package as a
	// ZIP file. It returns *events.FieldError for a bad request and an error that
	// wraps events.ErrConflict while the evidence is not sealed.
	Export(ctx context.Context, ev events.Event, r ExportRequest) (write func(context.Context, io.Writer) error, err error)
}

// ExportRequest says who takes a package away, and what for.
type ExportRequest struct {
	By     string
	Reason string
	Blur   string // "" is none; of the copies to look at
}

// zipSuffix ends the address of a package.
const zipSuffix = "/evidence.zip"

// exportParams are those of a package.
func exportParams() []string { return []string{"by", "reason", "blur"} }

// evidenceJSON is one file in the list of an event's evidence.
type evidenceJSON struct {
	Type   string  `json:"type"`
	Name   string  `json:"name"`
	URL    string  `json:"url"` // "" once it is gone
	SHA256 string  `json:"sha256"`
	Bytes  int64   `json:"bytes"`
	GoneAt *string `json:"gone_at"` // null while it is there
}

// listEvidence answers the files of an event.
func (s *Server) listEvidence(c *gin.Context) {
	ev, ok := s.event(c)
	if !ok {
		return
	}
	names := wire.Names(ev.Evidence)
	items := make([]evidenceJSON, len(ev.Evidence))
	sealed := false
	for i, ref := range ev.Evidence {
		items[i] = evidenceJSON{Type: ref.Type, Name: names[i], SHA256: ref.SHA256, Bytes: ref.Bytes, GoneAt: s.timeJSON(ref.Gone)}
		if ref.Gone.IsZero() {
			items[i].URL = pathEvents + "/" + ev.ID + "/evidence/" + names[i]
		}
		sealed = sealed || ref.Type == "manifest"
	}
	s.writeJSON(c, http.StatusOK, map[string]any{"sealed": sealed, "items": items})
}

// getEvidence answers one file as it was stored. It never changes, so a browser
// may keep it for good.
func (s *Server) getEvidence(c *gin.Context) {
	ev, ok := s.event(c)
	if !ok {
		return
	}
	i := slices.Index(wire.Names(ev.Evidence), c.Param("name"))
	if i < 0 {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this event has no such file"})
		return
	}
	s.serveEvidence(c, ev.Evidence[i], c.Param("name"))
}

// kept opens a file of the media folder, which the caller closes. After nil the
// request has been answered.
func (s *Server) kept(c *gin.Context, ref events.EvidenceRef) *os.File {
	root := s.cfg.Media
	if s.cfg.OpenMedia != nil && ref.Gone.IsZero() {
		var err error
		if root, err = s.cfg.OpenMedia(); err != nil {
			s.fail(c, err)
			return nil
		}
		defer root.Close()
	}
	f, err := openEvidence(root, ref)
	if !ref.Gone.IsZero() || errors.Is(err, fs.ErrNotExist) {
		if f != nil {
			f.Close()
		}
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this file is no longer kept"})
		return nil
	}
	if err != nil {
		s.fail(c, err)
		return nil
	}
	return f
}

// serveEvidence answers a file of the media folder.
func (s *Server) serveEvidence(c *gin.Context, ref events.EvidenceRef, name string) {
	f := s.kept(c, ref)
	if f == nil {
		return
	}
	defer f.Close()
	h := c.Writer.Header()
	h.Set("Content-Type", contentType(name))
	h.Set("Content-Disposition", `inline; filename="`+ref.SHA256[:min(8, len(ref.SHA256))]+"-"+name+`"`) // both have nothing to escape
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
	h.Set("ETag", `"`+ref.SHA256+`"`)
	// A clip over a slow line may take longer than an answer of the API should.
	http.ServeContent(&problemWriter{c: c, w: patientWriter(c)}, c.Request, "", time.Time{}, f)
}

// contentType returns the type of a file by its name.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".png":
		return "image/png"
	case ".mp4":
		return "video/mp4"
	case ".json":
		return "application/json"
	case ".jsonl":
		return "application/jsonl"
	}
	return "application/octet-stream"
}

// exportEvidence answers the package of an event. That it was taken is logged
// before the first byte goes out.
func (s *Server) exportEvidence(c *gin.Context) {
	if s.cfg.Export == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server seals no evidence"})
		return
	}
	r, err := parseExport(c.Request.URL.RawQuery)
	if err != nil {
		s.fail(c, err)
		return
	}
	ev, ok := s.event(c)
	if !ok {
		return
	}
	select {
	case s.exports <- struct{}{}:
		defer func() { <-s.exports }()
	default:
		s.fail(c, &refusal{Status: http.StatusServiceUnavailable, Detail: "other packages are being made; try again in a moment"})
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.ExportTimeout)
	defer cancel()
	write, err := s.cfg.Export.Export(ctx, ev, r)
	if errors.Is(err, events.ErrConflict) {
		s.fail(c, &refusal{Status: http.StatusConflict, Detail: "the evidence of this event is not sealed yet; try again in a minute"})
		return
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	h := c.Writer.Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", `attachment; filename="evidence-`+ev.ID+`.zip"`)
	c.Status(http.StatusOK)
	if err := write(ctx, patientWriter(c)); err != nil {
		if c.Request.Context().Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "package of evidence cut off", "event", ev.ID, "err", err)
		}
		panic(http.ErrAbortHandler) // so that nobody takes the part for the whole
	}
}

// parseExport reads the query of a package. The exporter checks the values.
func parseExport(raw string) (ExportRequest, error) {
	var r ExportRequest
	if len(raw) > maxQuery {
		return r, &events.FieldError{Field: "query", Reason: fmt.Sprintf("must be at most %d bytes", maxQuery)}
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return r, &events.FieldError{Field: "query", Reason: "must be name=value pairs joined by &, with %XX for special characters"}
	}
	for name, list := range values {
		switch {
		case !slices.Contains(exportParams(), name):
			return r, &events.FieldError{Field: printable(name), Reason: "is not a parameter here; allowed are " + strings.Join(exportParams(), ", ")}
		case len(list) != 1:
			return r, &events.FieldError{Field: name, Reason: "must be given once"}
		}
	}
	for _, f := range []struct {
		name string
		to   *string
	}{{"by", &r.By}, {"reason", &r.Reason}} {
		if *f.to = values.Get(f.name); strings.TrimSpace(*f.to) == "" {
			return r, &events.FieldError{Field: f.name, Reason: "is required: who takes the evidence, and why, is logged"}
		}
	}
	if r.Blur = values.Get("blur"); !slices.Contains([]string{"", "none", "others", "all"}, r.Blur) {
		return r, &events.FieldError{Field: "blur", Reason: "must be none, others or all"}
	}
	return r, nil
}

// patience is how long a client may take for a part of a large answer.
const patience = 30 * time.Second

// patient gives each part of a large answer its own time.
type patient struct {
	w  io.Writer
	rc *http.ResponseController
}

func patientWriter(c *gin.Context) io.Writer {
	return patient{w: c.Writer, rc: http.NewResponseController(c.Writer)}
}

// maxPart is how much must go out within patience.
const maxPart = 256 << 10

// Flush sends what is written so far on its way.
func (p patient) Flush() { _ = p.rc.Flush() } // who is gone is told by the next Write

// Write implements io.Writer.
func (p patient) Write(b []byte) (n int, err error) {
	for {
		// A server that only has the handler has no deadline to move.
		_ = p.rc.SetWriteDeadline(time.Now().Add(patience))
		k, err := p.w.Write(b[:min(len(b), maxPart)])
		n, b = n+k, b[k:]
		if err != nil || len(b) == 0 {
			return n, err
		}
	}
}

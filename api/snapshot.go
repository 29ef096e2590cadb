package api

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// getSnapshot answers the picture of an event. It never changes once committed,
// so a browser may keep it for good.
func (s *Server) getSnapshot(c *gin.Context) {
	ev, ok := s.event(c)
	if !ok {
		return
	}
	i := slices.IndexFunc(ev.Evidence, func(ref events.EvidenceRef) bool { return ref.Type == snapshotType })
	if i < 0 {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this event has no snapshot"})
		return
	}
	s.serveEvidence(c, ev.Evidence[i], "snapshot.jpg")
}

// openEvidence opens the file that ref names below root, which the caller
// closes. root resolves every part of the path, links included, so nothing
// outside of it can be reached; a file whose size is not that of the reference
// is refused, since its checksum cannot be right either.
func openEvidence(root *os.Root, ref events.EvidenceRef) (*os.File, error) {
	if !fs.ValidPath(ref.Path) || !filepath.IsLocal(ref.Path) {
		return nil, fmt.Errorf("open evidence: path %q leaves the media folder", ref.Path)
	}
	name := filepath.FromSlash(ref.Path)
	info, err := root.Stat(name) // before opening: opening a named pipe would wait
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open evidence: %q is not a file", ref.Path)
	}
	if ref.Bytes > 0 && info.Size() != ref.Bytes {
		return nil, fmt.Errorf("open evidence: %q has %d bytes, %d were committed", ref.Path, info.Size(), ref.Bytes)
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	return f, nil
}

// problemWriter lets http.ServeContent answer, but replaces its plain-text
// refusals by problems.
type problemWriter struct {
	c       *gin.Context
	w       io.Writer // of the answer
	refused bool
}

// Header implements http.ResponseWriter.
func (w *problemWriter) Header() http.Header { return w.c.Writer.Header() }

// WriteHeader implements http.ResponseWriter.
func (w *problemWriter) WriteHeader(status int) {
	if status < http.StatusBadRequest {
		w.c.Writer.WriteHeader(status)
		return
	}
	w.refused = true
	p := problem{Status: status}
	if status == http.StatusRequestedRangeNotSatisfiable {
		p.Detail = "the Range header asks for bytes that the file does not have"
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Del("ETag")
	writeProblem(w.c, p)
}

// Write implements http.ResponseWriter.
func (w *problemWriter) Write(b []byte) (int, error) {
	if w.refused {
		return len(b), nil
	}
	return w.w.Write(b)
}

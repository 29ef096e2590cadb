package api

import (
	"io/fs"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// listSchemas answers the addresses of what describes deliveries.
func (s *Server) listSchemas(c *gin.Context) {
	items := []map[string]string{}
	if s.cfg.Schemas != nil {
		entries, err := fs.ReadDir(s.cfg.Schemas, ".")
		if err != nil {
			s.fail(c, err)
			return
		}
		for _, e := range entries {
			items = append(items, map[string]string{"name": e.Name(), "url": pathSchemas + "/" + e.Name()})
		}
	}
	s.writeJSON(c, http.StatusOK, map[string]any{"items": items})
}

// getSchema answers one of them.
func (s *Server) getSchema(c *gin.Context) {
	name := c.Param("name")
	if s.cfg.Schemas == nil || !fs.ValidPath(name) {
		s.fail(c, events.ErrNotFound)
		return
	}
	b, err := fs.ReadFile(s.cfg.Schemas, name)
	if err != nil {
		s.fail(c, events.ErrNotFound)
		return
	}
	write(c, http.StatusOK, "application/json", b)
}

package api

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// getHead answers the signed end of the chain of evidence.
func (s *Server) getHead(c *gin.Context) {
	if s.cfg.Head == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server seals no evidence"})
		return
	}
	head, err := s.cfg.Head(c.Request.Context())
	if errors.Is(err, events.ErrNotFound) {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "no evidence has been sealed yet"})
		return
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	c.Header("Content-Disposition", `attachment; filename="evidence-head.json"`)
	c.Data(http.StatusOK, "application/json", head)
}

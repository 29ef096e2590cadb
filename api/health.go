package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// readyTimeout bounds what /readyz may wait for, so that whoever watches it
// learns of a hanging store.
const readyTimeout = 2 * time.Second

// HealthStatus is how a part of the server is.
type HealthStatus string

// Health statuses from best to worst. Degraded parts work with a loss that an
// operator should know of; with a part that is down the server is not ready.
const (
	HealthOK       HealthStatus = "ok"
	HealthDegraded HealthStatus = "degraded"
	HealthDown     HealthStatus = "down"
)

// HealthPart is one line of /readyz.
type HealthPart struct {
	Name   string           `json:"name"` // "spool"
	Status HealthStatus     `json:"status"`
	Detail string           `json:"detail"` // a sentence without secrets, "" when there is nothing to say
	Values map[string]int64 `json:"values"` // figures behind the status, {"depth": 12}
}

// getHealth says that the process lives and serves, nothing more: what
// restarts a process must not restart it because the database is away.
func (s *Server) getHealth(c *gin.Context) {
	s.writeJSON(c, http.StatusOK, map[string]string{"status": string(HealthOK)})
}

// getReady answers 200 when the API can do its work, also when degraded, and
// 503 otherwise, with every part in either case.
func (s *Server) getReady(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	parts := []HealthPart{s.storePart(ctx), s.camerasPart(ctx)}
	if s.cfg.Health != nil {
		parts = append(parts, s.cfg.Health(ctx)...)
	}
	overall, status := HealthOK, http.StatusOK
	for i := range parts {
		if parts[i].Values == nil {
			parts[i].Values = map[string]int64{}
		}
		switch parts[i].Status {
		case HealthOK:
		case HealthDown:
			overall, status = HealthDown, http.StatusServiceUnavailable
		case HealthDegraded:
			if overall == HealthOK {
				overall = HealthDegraded
			}
		}
	}
	s.writeJSON(c, status, struct {
		Status HealthStatus `json:"status"`
		Parts  []HealthPart `json:"parts"`
	}{overall, parts})
}

func (s *Server) storePart(ctx context.Context) HealthPart {
	last, err := s.cfg.Events.LastSequence(ctx)
	if err != nil {
		return HealthPart{
			Name: "store", Status: HealthDown,
			Detail: "the event store cannot be reached; events are kept and delivered later, but cannot be read now",
		}
	}
	return HealthPart{Name: "store", Status: HealthOK, Values: map[string]int64{"sequence": last}}
}

func (s *Server) camerasPart(ctx context.Context) HealthPart {
	cameras, err := s.cfg.Cameras.Cameras(ctx)
	if err != nil {
		return HealthPart{Name: "cameras", Status: HealthDegraded, Detail: "the list of cameras cannot be read"}
	}
	part := HealthPart{Name: "cameras", Status: HealthOK, Values: map[string]int64{"total": int64(len(cameras)), "online": 0}}
	for i := range cameras {
		if cameras[i].Health.State == CameraOnline {
			part.Values["online"]++
		}
	}
	if away := part.Values["total"] - part.Values["online"]; away > 0 {
		part.Status = HealthDegraded
		part.Detail = fmt.Sprintf("%d of %d cameras send no pictures", away, len(cameras))
	}
	return part
}

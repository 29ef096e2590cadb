package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/tracklog"
)

// TracksConfig says for how long what the cameras saw is kept, so that rules can
// be tried on it. No pictures are: only boxes and classes.
type TracksConfig struct {
	Days int     `yaml:"days"`   // 0 keeps none
	GB   float64 `yaml:"max_gb"` // of all cameras together, 10⁹ bytes
}

// validate reports what is wrong.
func (c TracksConfig) validate(bad func(field, format string, args ...any)) {
	if c.Days < 0 || c.Days > 3660 {
		bad("tracks.days", "%d is not between 0 (keep no tracks) and 3660", c.Days)
	}
	if !(c.GB >= 0.01 && c.GB <= 100_000) {
		bad("tracks.max_gb", "%g is not between 0.01 and 100000", c.GB)
	}
}

// tracksDir returns the folder of stored tracks below a data folder.
func tracksDir(data string) string { return filepath.Join(data, "tracks") }

// newTracks returns the log of tracks, nil when none are kept.
func (s *server) newTracks() (*tracklog.Log, error) {
	c := s.cfg.Tracks
	if c.Days == 0 {
		return nil, nil
	}
	return tracklog.New(tracklog.Config{
		Dir: tracksDir(s.cfg.Data), MaxAge: time.Duration(c.Days) * 24 * time.Hour, MaxBytes: int64(c.GB * 1e9),
		Log: s.log, Registerer: s.registry,
	})
}

// newTape begins to keep what an analysis of the camera sees; nil when no tracks
// are kept. The caller closes it.
func (p *plan) newTape(log *tracklog.Log, at time.Time) *tracklog.Tape {
	if log == nil {
		return nil
	}
	return log.Tape(p.slug, tracklog.Run{
		Started: at, Model: p.model, FPS: p.fps, MinScore: p.file.Detect.MinScore, Needs: p.needs,
	})
}

// needsOf names what is worked out for a camera's rules besides tracks.
func needsOf(built *camera.Plan) []string {
	out := make([]string, 0, len(built.Needs))
	for n := range built.Needs {
		out = append(out, string(n))
	}
	return out
}

// snapping rounds scenes to what is kept of them, so that rules judge now what
// they would be shown again later.
type snapping struct{ tracklog.Snapper }

// Enrich implements pipeline.Enricher. It comes last.
func (n *snapping) Enrich(_ context.Context, _ *media.Frame, s *vision.Scene) error {
	n.Snap(s)
	return nil
}

// fileOf returns a camera's configuration as it runs, and its rules' versions.
// An unknown camera is events.ErrNotFound.
func (m *manager) fileOf(slug string) (camera.File, map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.running[slug]
	switch {
	case !ok:
		return camera.File{}, nil, fmt.Errorf("camera %s: %w", slug, events.ErrNotFound)
	case r.plan == nil:
		return camera.File{}, nil, &events.FieldError{Field: "camera", Reason: "its stored configuration cannot be used; see its health"}
	}
	return r.plan.file, r.plan.versions, nil
}

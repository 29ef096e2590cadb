package main

import (
	"context"
	"fmt"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
)

// Cameras implements api.CameraReader.
func (m *manager) Cameras(context.Context) ([]api.Camera, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]api.Camera, 0, len(m.order))
	for _, slug := range m.order {
		if r, ok := m.running[slug]; ok {
			out = append(out, r.camera())
		}
	}
	return out, nil
}

// Camera implements api.CameraReader.
func (m *manager) Camera(_ context.Context, slug string) (api.Camera, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.running[slug]
	if !ok {
		return api.Camera{}, fmt.Errorf("camera %s: %w", slug, events.ErrNotFound)
	}
	return r.camera(), nil
}

// camera tells how the camera is.
func (r *running) camera() api.Camera {
	out := api.Camera{Slug: r.stored.Slug, Name: r.stored.Slug, Health: api.CameraHealth{State: api.CameraOffline}}
	if r.plan != nil {
		out.Name, out.Hamlet = r.plan.source.Name, r.plan.source.Hamlet
		if l := r.plan.file.Location; l != nil {
			out.Location = &api.Location{Lat: l.Lat, Lon: l.Lon}
			if l.Bearing != nil {
				out.Location.Bearing = *l.Bearing
			}
			if l.FOV != nil {
				out.Location.FOV = *l.FOV
			}
		}
	}
	if r.err != nil {
		out.Health.LastError = "the stored configuration cannot be used: " + r.err.Error()
	}
	if r.runner != nil {
		out.Health = r.runner.health()
	}
	return out
}

func (r *runner) health() api.CameraHealth {
	counts := r.deps.metrics.Counts(r.plan.slug)
	now := r.deps.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := api.CameraHealth{
		State: api.CameraConnecting, Since: r.state.Since, LastFrame: r.last,
		FPSIn: r.units.perSecond(now), FPSAnalysed: r.looks.perSecond(now), Drops: counts.Dropped,
		WidthPx: r.format.Width, HeightPx: r.format.Height, Retries: r.state.Retries,
	}
	switch r.state.Phase {
	case rtsp.Online:
		h.State = api.CameraOnline
	case rtsp.Offline:
		h.State = api.CameraOffline
	case rtsp.Connecting:
	}
	switch r.format.Codec {
	case media.H264:
		h.Codec = "h264"
	case media.H265:
		h.Codec = "h265"
	}
	if r.plan.detector != nil {
		h.Model = r.plan.model
	}
	if r.state.Err != nil {
		h.LastError = r.state.Err.Error()
	} else if r.fault != nil {
		h.LastError = "no detection: " + r.fault.Error()
	}
	return h
}

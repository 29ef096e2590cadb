package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// CameraReader tells which cameras there are and how they are. Its methods
// return events.ErrNotFound for an unknown slug and events.ErrUnavailable while
// the configuration cannot be read. It must be safe for concurrent use.
type CameraReader interface {
	// Cameras returns every camera, in the order in which they are to be shown.
	Cameras(ctx context.Context) ([]Camera, error)
	Camera(ctx context.Context, slug string) (Camera, error)
}

// Camera is one camera as the API shows it. It has no addresses and no
// passwords.
type Camera struct {
	Slug     string
	Name     string
	Hamlet   string    // "" when not configured
	Location *Location // nil when not configured
	Health   CameraHealth
}

// Location is where a camera stands and where it looks.
type Location struct {
	Lat     float64 `json:"lat"`     // WGS 84 degrees
	Lon     float64 `json:"lon"`     // WGS 84 degrees
	Bearing float64 `json:"bearing"` // of the view's centre, degrees clockwise from north
	FOV     float64 `json:"fov"`     // horizontal field of view, degrees
}

// CameraState says whether pictures arrive.
type CameraState string

// Camera states. A camera is connecting until its first frame and offline from
// the loss of the stream until the next frame.
const (
	CameraConnecting CameraState = "connecting"
	CameraOnline     CameraState = "online"
	CameraOffline    CameraState = "offline"
)

// CameraHealth is how a camera and its pipeline are now.
type CameraHealth struct {
	State       CameraState
	Since       time.Time // of State; zero when unknown
	LastFrame   time.Time // arrival of the newest frame; zero before the first
	FPSIn       float64   // frames a second that arrive
	FPSAnalysed float64   // frames a second that the detector looks at
	Drops       uint64    // frames that were replaced by newer ones before the detector was free
	Codec       string    // "h264", "h265"; "" before the first frame
	WidthPx     int       // 0 before the first frame
	HeightPx    int
	LastError   string // a sentence without secrets; "" when there was none
	Model       string // model that looks at the frames; "" when none does
	Retries     int    // connections tried since the last frame
}

// cameraJSON is the wire form of a camera.
type cameraJSON struct {
	Slug     string           `json:"slug"`
	Name     string           `json:"name"`
	Hamlet   string           `json:"hamlet"`
	Location *Location        `json:"location"`
	Health   cameraHealthJSON `json:"health"`
}

type cameraHealthJSON struct {
	State       CameraState `json:"state"`
	Since       *string     `json:"since"`
	LastFrame   *string     `json:"last_frame_at"`
	FPSIn       float64     `json:"fps_in"`
	FPSAnalysed float64     `json:"fps_analysed"`
	Drops       uint64      `json:"drops"`
	Codec       string      `json:"codec"`
	Width       int         `json:"width"`
	Height      int         `json:"height"`
	LastError   *string     `json:"last_error"`
	Model       string      `json:"model"`
	Retries     int         `json:"retries"`
}

// listCameras answers every camera with its health.
func (s *Server) listCameras(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	found, err := s.cfg.Cameras.Cameras(ctx)
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		Items []cameraJSON `json:"items"`
	}{make([]cameraJSON, len(found))}
	for i := range found {
		out.Items[i] = s.cameraJSON(&found[i])
	}
	s.writeJSON(c, http.StatusOK, out)
}

// getCamera answers one camera with its health.
func (s *Server) getCamera(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	if !isName(c.Param("slug")) {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "there is no such camera"})
		return
	}
	cam, err := s.cfg.Cameras.Camera(ctx, c.Param("slug"))
	if err != nil {
		s.fail(c, err)
		return
	}
	s.writeJSON(c, http.StatusOK, s.cameraJSON(&cam))
}

func (s *Server) cameraJSON(cam *Camera) cameraJSON {
	h := &cam.Health
	out := cameraJSON{
		Slug: cam.Slug, Name: cam.Name, Hamlet: cam.Hamlet, Location: cam.Location,
		Health: cameraHealthJSON{
			State: h.State, Since: s.timeJSON(h.Since), LastFrame: s.timeJSON(h.LastFrame),
			FPSIn: h.FPSIn, FPSAnalysed: h.FPSAnalysed, Drops: h.Drops,
			Codec: h.Codec, Width: h.WidthPx, Height: h.HeightPx, Model: h.Model, Retries: h.Retries,
		},
	}
	if h.LastError != "" {
		sentence := redact(h.LastError)
		out.Health.LastError = &sentence
	}
	return out
}

// redact removes user and password from every address in a sentence. Writers
// of errors leave them out already; this is the second lock. Passwords may hold
// any character, so everything up to the last @ of a word goes.
func redact(sentence string) string {
	words := strings.Split(sentence, " ")
	for i, word := range words {
		start := strings.Index(word, "://")
		if at := strings.LastIndex(word, "@"); start >= 0 && at > start {
			words[i] = word[:start+3] + word[at+1:]
		}
	}
	return strings.Join(words, " ")
}

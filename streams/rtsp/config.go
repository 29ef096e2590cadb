package rtsp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/xacam/xacam/streams/media"
)

// Transport is how video travels.
type Transport string

// Transports.
const (
	TCP Transport = "tcp" // inside the RTSP connection; passes every firewall that lets RTSP pass
	UDP Transport = "udp" // in packets of its own; loses some on a bad network
)

// Handler takes what a camera sends. Its methods are never called at the same
// time, except OnState, which may run beside the other two. None is called
// after Run or Session has returned. They must return quickly: video waits for
// them. A panic ends the session with an Internal error.
type Handler interface {
	// OnFormat comes before the first access unit of a session and again
	// whenever the parameter sets change.
	OnFormat(f media.Format)
	// OnAccessUnit takes one access unit, in decoding order. The first of a
	// session is Key, and so is the first after a change of format. After one
	// with Gap, pictures may be damaged until the next Key.
	OnAccessUnit(au *media.AccessUnit)
	// OnState tells every change, and every further failure while offline.
	OnState(s State)
}

// Phase is whether video comes.
type Phase string

// Phases.
const (
	Connecting Phase = "connecting" // the first attempt is under way
	Online     Phase = "online"     // access units come
	Offline    Phase = "offline"    // the last session ended, or the last attempt failed
)

// State is what is known about the connection to a camera.
type State struct {
	Phase   Phase
	Since   time.Time // when this phase began
	Err     error     // why it is offline; an *Error
	Retries int       // failed attempts in a row
	Next    time.Time // next attempt when offline
}

// Config describes one camera's stream.
type Config struct {
	URL            string        // rtsp:// or rtsps://, see ParseURL; required
	Transport      Transport     // default TCP
	Camera         string        // name for logs and metrics
	ConnectTimeout time.Duration // from dialling to the answer to PLAY; default 8s
	StallTimeout   time.Duration // without an access unit the session ends; default 5s
	KeyTimeout     time.Duration // with access units but no key frame the session ends; default 60s
	Backoff        Backoff
	TLS            *tls.Config  // for rtsps; default: the system's authorities
	Metrics        *Metrics     // default none
	Log            *slog.Logger // default discards
	Handler        Handler      // required
}

func (c Config) withDefaults() (Config, *URL, error) {
	u, err := ParseURL(c.URL)
	if err != nil {
		return c, nil, fmt.Errorf("camera url: %w", err)
	}
	if c.Transport == "" {
		c.Transport = TCP
	}
	if c.Transport != TCP && c.Transport != UDP {
		return c, nil, fmt.Errorf("camera transport: %q is neither tcp nor udp", cut(string(c.Transport)))
	}
	if c.Handler == nil {
		return c, nil, errors.New("camera: no handler")
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 8 * time.Second
	}
	if c.StallTimeout <= 0 {
		c.StallTimeout = 5 * time.Second
	}
	if c.KeyTimeout <= 0 {
		c.KeyTimeout = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Camera != "" {
		c.Log = c.Log.With("camera", c.Camera)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	c.Backoff = c.Backoff.withDefaults()
	return c, u, nil
}

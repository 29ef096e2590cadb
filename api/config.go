package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// ChangeReader reads the log of changes, in the order in which they were
// committed. A sequence that is visible is final: no smaller one may become
// visible after it.
type ChangeReader interface {
	// ChangesSince returns at most limit events whose Sequence is greater than
	// sequence, smallest first. Fewer than limit means that there are no more.
	ChangesSince(ctx context.Context, sequence int64, limit int) ([]events.Event, error)
	// LastSequence returns the greatest visible sequence, 0 for an empty store.
	LastSequence(ctx context.Context) (int64, error)
}

// EventReader is what the event pages need from the store. Its methods return
// events.ErrNotFound for an unknown ID, events.ErrUnavailable while the store
// cannot be reached and a *events.FieldError for an argument it cannot use. It
// must be safe for concurrent use.
type EventReader interface {
	ChangeReader
	Event(ctx context.Context, id string) (events.Event, error)
	// Events returns one page, newest first.
	Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error)
}

// Config holds what the handlers use. Events, Cameras and Media are required.
type Config struct {
	Events  EventReader
	Cameras CameraReader
	Media   *os.Root // evidence files, in which EvidenceRef.Path is looked up; the caller closes it after Run
	// OpenMedia opens the media folder instead of Media, for each file anew; the
	// handler closes it. nil: Media does.
	OpenMedia func() (*os.Root, error)

	Counts CountReader // what was counted; nil where nothing is

	Workflow WorkflowStore // what people do to events; nil where they cannot
	Audit    AuditReader   // the record of it; nil where there is none
	Stats    StatsReader   // what came of it; nil where nobody sums up
	Feed     FeedStore     // for receivers that catch up; nil where there is none
	// Head returns the signed end of the chain of evidence as JSON, and
	// events.ErrNotFound while nothing is sealed; nil where nothing is ever.
	Head func(ctx context.Context) ([]byte, error)
	// EvidenceURL returns the address of a file in the feed, such as an absolute
	// one that carries a signature; nil gives those of the other answers. It must
	// be safe for concurrent use.
	EvidenceURL func(e *events.Event, ref events.EvidenceRef) string

	Listener net.Listener // where Run serves, a loopback address; may be nil when only Handler is used. Run closes it
	// Watch calls wake soon after commits until ctx ends, so that a stream need
	// not wait for the next poll. Several commits may be one call, and one may
	// be lost: polling guarantees. wake never blocks. nil: streams poll only.
	Watch func(ctx context.Context, wake func()) error
	// Health returns the parts that /readyz shows beside the store and the
	// cameras, for example the depth of the spool. It must return within the
	// context. nil: none.
	Health   func(ctx context.Context) []HealthPart
	Registry *prometheus.Registry // what /metrics shows and where the package's own metrics go; nil makes a private one
	Log      *slog.Logger         // nil discards

	Location *time.Location // of the times in events, and of the days of counts; nil is UTC
	// Now is the wall clock, which says what today is; nil is time.Now.
	Now   func() time.Time
	Kinds []events.Kind // kinds that the filter accepts; empty accepts every well-formed one
	// Hosts lists the host names, without port, that a request may be addressed
	// to. Any other Host header is refused: a page on another site whose name
	// was pointed at this machine must not read the API (DNS rebinding).
	// Default localhost, 127.0.0.1, ::1.
	Hosts []string

	// Endpoints and Deliveries show and change where events are sent; nil where
	// nothing is delivered.
	Endpoints  EndpointStore
	Deliveries DeliveryStore
	// TestEndpoint sends a marked test now and returns soon after ctx ends; nil
	// where nothing is delivered.
	TestEndpoint func(ctx context.Context, e outbox.Endpoint, id string) outbox.Result
	MediaLinks   MediaLinks // whose links are answered

	// Backtest tries rules on stored tracks; nil when none are stored.
	Backtest        Backtester
	MaxBacktests    int           // tried at once; default 1
	BacktestTimeout time.Duration // of one; default 50s

	// Schemas are the JSON Schemas and the AsyncAPI document of what endpoints get;
	// nil when there are none.
	Schemas fs.FS

	// Export makes packages of evidence; nil when none are sealed.
	Export        Exporter
	MaxExports    int           // made at once; default 2
	ExportTimeout time.Duration // of one, the sending included; default 10m

	MaxStreams     int           // event streams open at once; default 64
	MaxFeeds       int           // requests of the feed at once; default 64
	Tail           int           // latest changes kept in memory for all streams; default 1024
	Poll           time.Duration // how often streams look for changes without being woken; default 1s
	Heartbeat      time.Duration // silence on a stream after which a comment is sent; default 15s
	StreamWrite    time.Duration // a stream that does not take its data within this time is closed; default 10s
	RequestTimeout time.Duration // of what a request asks of the store; default 10s
	Grace          time.Duration // for requests in progress when Run ends; default 5s
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Events == nil:
		return c, errors.New("api: Config.Events is missing")
	case c.Cameras == nil:
		return c, errors.New("api: Config.Cameras is missing")
	case c.Media == nil:
		return c, errors.New("api: Config.Media is missing")
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if len(c.Hosts) == 0 {
		c.Hosts = []string{"localhost", "127.0.0.1", "::1"}
	}
	for _, n := range []struct {
		v   *int
		def int
	}{{&c.MaxStreams, 64}, {&c.MaxFeeds, 64}, {&c.Tail, 1024}, {&c.MaxBacktests, 1}, {&c.MaxExports, 2}} {
		if *n.v <= 0 {
			*n.v = n.def
		}
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.Poll, time.Second},
		{&c.Heartbeat, 15 * time.Second},
		{&c.StreamWrite, 10 * time.Second},
		{&c.RequestTimeout, 10 * time.Second},
		{&c.Grace, 5 * time.Second},
		{&c.BacktestTimeout, 50 * time.Second},
		{&c.ExportTimeout, 10 * time.Minute},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return c, nil
}

// Package api serves the HTTP API: events, their snapshots and a live stream,
// cameras with their health, and what monitoring needs. Handlers translate:
// they hold no rules of the domain and no SQL. The contract is openapi.yaml,
// which is served too. Errors are RFC 9457 problems.
package api

import (
	"context"
	_ "embed" // openapi.yaml
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/xacam/xacam/events"
)

// Addresses of the API, in the notation of the router.
const (
	pathIndex    = "/"
	pathEvents   = "/api/v1/events"
	pathStream   = "/api/v1/events/stream"
	pathEvent    = "/api/v1/events/:id"
	pathSnapshot = "/api/v1/events/:id/snapshot"
	pathEvidence = "/api/v1/events/:id/evidence"
	pathFile     = "/api/v1/events/:id/evidence/:name"
	pathPackage  = "/api/v1/events/:id/evidence.zip"
	pathHead     = "/api/v1/evidence/head"
	pathCameras  = "/api/v1/cameras"
	pathCamera   = "/api/v1/cameras/:slug"
	pathCounts   = "/api/v1/counts"
	pathHistory  = "/api/v1/events/:id/history"
	pathAudit    = "/api/v1/audit"
	pathStats    = "/api/v1/stats/rules"
	pathFeed     = "/api/v1/feed"
	pathFeedKeys = "/api/v1/feed/keys"
	pathFeedKey  = "/api/v1/feed/keys/:name"
	pathBacktest = "/api/v1/rules/backtest"
	pathMedia    = "/api/v1/media/:token"
	pathOpenAPI  = "/api/v1/openapi.yaml"
	pathSchemas  = "/api/v1/schemas"
	pathSchema   = "/api/v1/schemas/:name"
	pathHealth   = "/healthz"
	pathReady    = "/readyz"
	pathMetrics  = "/metrics"

	pathEndpoints          = "/api/v1/endpoints"
	pathEndpoint           = "/api/v1/endpoints/:name"
	pathEndpointSecrets    = "/api/v1/endpoints/:name/secrets"     //nolint:gosec // an address
	pathEndpointSecret     = "/api/v1/endpoints/:name/secrets/:id" //nolint:gosec // an address
	pathEndpointTest       = "/api/v1/endpoints/:name/test"
	pathEndpointEnable     = "/api/v1/endpoints/:name/enable"
	pathEndpointDeliveries = "/api/v1/endpoints/:name/deliveries"
	pathEndpointReplay     = "/api/v1/endpoints/:name/replay"
	pathAttempts           = "/api/v1/attempts"
	pathEventDeliveries    = "/api/v1/events/:id/deliveries"
)

// Limits of one connection. Streams replace the read and write timeouts by
// their own.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = time.Minute
	idleTimeout       = 90 * time.Second
	maxHeaderBytes    = 16 << 10
)

//go:embed openapi.yaml
var openAPI []byte

// Server is the HTTP API. It is safe for concurrent use.
type Server struct {
	cfg     Config
	metrics *metrics
	tail    *tail
	handler http.Handler
	engine  *gin.Engine
	started atomic.Bool

	backtests chan struct{} // one entry for each that runs
	exports   chan struct{} // likewise
	feeds     chan struct{} // one entry for each request of the feed
	bell      bell          // rung when changes were committed
	limiter   limiter       // of the feed
}

// New checks cfg and builds the routes. It starts nothing. A listener that is
// not on a loopback address is refused, see LoopbackOnly.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Listener != nil {
		if err := LoopbackOnly(cfg.Listener.Addr().String()); err != nil {
			return nil, err
		}
	}
	s := &Server{cfg: cfg, backtests: make(chan struct{}, cfg.MaxBacktests), feeds: make(chan struct{}, cfg.MaxFeeds), exports: make(chan struct{}, cfg.MaxExports)}
	routes := s.routes()
	paths := make([]string, 0, len(routes))
	for _, r := range routes {
		if !slices.Contains(paths, r.path) {
			paths = append(paths, r.path)
		}
	}
	s.metrics = newMetrics(cfg.Registry, paths)
	s.tail = newTail(&s.cfg, s.metrics, s.frame)

	gin.SetMode(gin.ReleaseMode)
	s.engine = gin.New()
	s.engine.HandleMethodNotAllowed = true
	s.engine.RedirectTrailingSlash = false
	s.engine.Use(s.measure, s.guard, s.secure, s.checkHost, s.checkOrigin)
	for _, r := range routes {
		s.engine.Handle(r.method, r.path, r.handle)
	}
	s.engine.NoRoute(func(c *gin.Context) {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "there is no such address; " + pathOpenAPI + " lists them"})
	})
	s.engine.NoMethod(func(c *gin.Context) { // the router has set the header
		s.fail(c, &refusal{Status: http.StatusMethodNotAllowed, Detail: "this address only answers to " + c.Writer.Header().Get("Allow")})
	})
	s.handler = outer(s.engine)
	return s, nil
}

// route is one method of one address.
type route struct {
	method, path string
	handle       gin.HandlerFunc
}

func (s *Server) routes() []route {
	out := []route{
		{http.MethodPost, pathBacktest, s.backtest},
		{http.MethodPost, pathEndpoints, s.createEndpoint},
		{http.MethodPut, pathEndpoint, s.putEndpoint},
		{http.MethodDelete, pathEndpoint, s.deleteEndpoint},
		{http.MethodPost, pathEndpointSecrets, s.rotateSecret},
		{http.MethodDelete, pathEndpointSecret, s.deleteSecret},
		{http.MethodPost, pathEndpointTest, s.testEndpoint},
		{http.MethodPost, pathEndpointEnable, s.enableEndpoint},
		{http.MethodPost, pathEndpointReplay, s.replay},
		{http.MethodPost, pathFeedKeys, s.createFeedKey},
		{http.MethodDelete, pathFeedKey, s.revokeFeedKey},
	}
	for _, a := range events.Actions() {
		out = append(out, route{http.MethodPost, actionPath(a), s.act(a)})
	}
	for path, h := range map[string]gin.HandlerFunc{
		pathIndex:    s.index,
		pathEvents:   s.listEvents,
		pathStream:   s.streamEvents,
		pathEvent:    s.getEvent,
		pathSnapshot: s.getSnapshot,
		pathEvidence: s.listEvidence,
		pathFile:     s.getEvidence,
		pathPackage:  s.exportEvidence,
		pathHead:     s.getHead,
		pathCameras:  s.listCameras,
		pathCamera:   s.getCamera,
		pathCounts:   s.listCounts,
		pathMedia:    s.getMedia,
		pathOpenAPI:  s.getOpenAPI,
		pathSchemas:  s.listSchemas,
		pathSchema:   s.getSchema,

		pathEndpoints:          s.listEndpoints,
		pathEndpoint:           s.getEndpoint,
		pathEndpointDeliveries: s.listDeliveries,
		pathAttempts:           s.listAttempts,
		pathEventDeliveries:    s.listEventDeliveries,
		pathHealth:             s.getHealth,
		pathReady:              s.getReady,
		pathHistory:            s.getHistory,
		pathAudit:              s.listAudit,
		pathStats:              s.listRuleStats,
		pathFeed:               s.getFeed,
		pathFeedKeys:           s.listFeedKeys,
		pathMetrics: gin.WrapH(promhttp.HandlerFor(s.cfg.Registry, promhttp.HandlerOpts{
			ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		})),
	} {
		out = append(out, route{http.MethodGet, path, h})
	}
	return out
}

// Handler returns the root handler. Event streams answer 503 unless Run is
// running.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves on Config.Listener until ctx ends, then ends the event streams,
// waits for the requests in progress for at most Config.Grace and returns nil.
// It may be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.cfg.Listener == nil {
		return errors.New("serve the API: Config.Listener is missing")
	}
	if s.started.Swap(true) {
		return errors.New("serve the API: Run was called twice")
	}
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	s.tail.open()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		s.tail.run(ctx)
		return nil
	})
	if s.cfg.Watch != nil {
		g.Go(func() error {
			if err := s.cfg.Watch(ctx, s.wake); err != nil && ctx.Err() == nil {
				s.cfg.Log.WarnContext(ctx, "event streams are not woken any more, polling", "err", err)
			}
			return nil
		})
	}
	g.Go(func() error {
		if err := srv.Serve(s.cfg.Listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the API: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Grace)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			s.cfg.Log.WarnContext(end, "requests cut off at shutdown", "grace", s.cfg.Grace, "err", err)
			_ = srv.Close() // it has no more to say than err
		}
		return nil
	})
	return g.Wait()
}

// wake tells everybody who waits for changes.
func (s *Server) wake() {
	s.tail.wake()
	s.bell.ring()
}

// index lists the addresses.
func (s *Server) index(c *gin.Context) {
	s.writeJSON(c, http.StatusOK, map[string]any{
		"name": "xacam",
		"addresses": map[string]string{
			"openapi": pathOpenAPI, "events": pathEvents, "stream": pathStream, "cameras": pathCameras, "counts": pathCounts,
			"endpoints": pathEndpoints, "attempts": pathAttempts, "feed": pathFeed, "audit": pathAudit, "stats": pathStats,
			"health": pathHealth, "ready": pathReady, "metrics": pathMetrics,
		},
	})
}

func (s *Server) getOpenAPI(c *gin.Context) {
	write(c, http.StatusOK, "application/yaml", openAPI)
}

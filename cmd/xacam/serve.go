package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"golang.org/x/sync/semaphore"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
	"github.com/xacam/xacam/events/format"
	"github.com/xacam/xacam/events/pgcluster"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/spool"
	"github.com/xacam/xacam/events/tally"
	"github.com/xacam/xacam/events/vault"
	"github.com/xacam/xacam/events/webhook"
	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/pipeline"
)

func newServeCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "serve -c xacam.yaml",
		Short: "Run the server",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			srv, err := newServer(cmd.Context(), cfg, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return srv.Run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "xacam.yaml", "configuration file")
	return cmd
}

// shutdownGrace is how long everything together may take to end.
const shutdownGrace = 30 * time.Second

// server is xacam serve, put together but not started.
type server struct {
	app       App
	cfg       *Config
	log       *slog.Logger
	listener  net.Listener
	registry  *prometheus.Registry
	cluster   *pgcluster.Cluster // nil with a given database
	store     *pgstore.Store
	db        *database
	spool     *spool.Spool
	tally     *tally.Writer
	manager   *manager
	alarms    *alarms
	keys      *vault.Vault
	deliverer *webhook.Deliverer
	backtests *backtester // nil when no tracks are kept
	detectors *detectors
	evidence  *capturer
	media     *os.Root
	lock      *os.File
	caughtUp  atomic.Bool           // see backlog
	onCommit  func([]events.Change) // for the benchmark; may be nil
}

// newServer checks everything that can be checked without starting anything
// and takes the port. The caller runs the server, or closes it.
func newServer(ctx context.Context, cfg *Config, stderr io.Writer) (_ *server, err error) {
	if err := api.LoopbackOnly(cfg.Listen); err != nil {
		return nil, usagef("listen: %w", err)
	}
	s := &server{cfg: cfg, log: cfg.Log.logger(stderr), registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := makeDataDir(cfg.Data); err != nil {
		return nil, err
	}
	lock, err := lockDataDir(cfg.Data)
	if err != nil {
		return nil, err
	}
	s.lock = lock
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	store, err := evidence.Open(mediaDir(cfg.Data))
	if err != nil {
		return nil, err
	}
	if err := store.Claim(markFile(cfg.Data)); err != nil && !errors.Is(err, evidence.ErrUnclaimed) { // see adopt
		s.log.WarnContext(ctx, noMark, "err", err)
	}
	s.listener, err = listen(ctx, cfg.Listen)
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx, store); err != nil {
		return nil, errors.Join(err, s.listener.Close())
	}
	return s, nil
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s, is another xacam running? choose another address with listen: %w", addr, err)
	}
	return l, nil
}

func (s *server) build(ctx context.Context, store *evidence.Store) error {
	avdec.QuietLog()
	if err := s.openDatabase(ctx); err != nil {
		return err
	}
	var err error
	s.spool, err = spool.New(spool.Config{
		Dir: filepath.Join(s.cfg.Data, "spool"), Store: s.db, Log: s.log, Registerer: s.registry,
		OnCommit: func(c []events.Change) {
			if s.onCommit != nil {
				s.onCommit(c)
			}
		},
	})
	if err != nil {
		return err
	}
	s.tally, err = tally.New(tally.Config{Dir: filepath.Join(s.cfg.Data, "spool"), Store: s.db, Log: s.log, Metrics: s.registry})
	if err != nil {
		return err
	}
	cat, err := models.Open(s.cfg.modelDir())
	if err != nil {
		return usagef("models: %w", err)
	}
	s.detectors = &detectors{
		catalogue: cat, library: s.cfg.Inference.Library, folders: []string{s.cfg.Data},
		registry: s.registry, workers: s.cfg.Inference.Workers,
	}
	workers := s.cfg.Inference.Workers
	if workers == 0 {
		workers = runtime.NumCPU()
	}
	tracks, err := s.newTracks()
	if err != nil {
		return err
	}
	d := &deps{
		scheduler: pipeline.NewScheduler(workers), decoding: semaphore.NewWeighted(int64(runtime.NumCPU())), metrics: pipeline.NewMetrics(s.registry), rtspMetrics: rtsp.NewMetrics(s.registry),
		record: newRecorder(store, s.spool.Submit, s.log), counted: s.tally.Add, tracks: tracks, now: time.Now, log: s.log,
		keep: s.cfg.Evidence.keep(),
	}
	s.evidence = newCapturer(store, s.cfg.Evidence, time.Now, s.log)
	s.evidence.manifest = cat.Lookup
	s.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "xacam_evidence_stills_cpu_seconds_total", Help: "CPU time that the pictures of evidence packages took.",
	}, func() float64 { return time.Duration(s.evidence.cpu.Load()).Seconds() }))
	d.record.evidence = s.evidence
	pl := &planner{
		commune: s.cfg.Commune.Code, model: s.cfg.Inference.Model, calendar: s.cfg.calendar(),
		detectors: s.detectors, faulty: make(map[string]time.Time), now: time.Now,
	}
	s.manager = newManager(s.db, pl, d, s.backlog, filepath.Join(s.cfg.Data, "cameras.json"))
	if tracks != nil {
		s.backtests = &backtester{manager: s.manager, log: tracks, events: s.db}
		s.app.Add("tracks", stageRecord, tracks.Run)
	}
	exporter, err := s.addSealing(store)
	if err != nil {
		return err
	}
	web, err := s.newAPI(store, exporter) //nolint:contextcheck // handlers get theirs from requests
	if err != nil {
		return err
	}
	s.app.Add("cameras", stageIngest, s.manager.Run)
	s.app.Add("inference", stageProcess, d.scheduler.Run)
	d.record.Queue()
	started := time.Now()
	// Before anything new is gathered, so that it is not taken for a leftover.
	if n, err := recoverDrafts(ctx, store); err != nil {
		s.log.ErrorContext(ctx, "evidence packages of an earlier run could not be finished", "err", err)
	} else if n > 0 {
		s.log.InfoContext(ctx, "finished evidence packages of an earlier run", "packages", n)
	}
	lost, err := lostEvents(ctx, store, filepath.Join(s.cfg.Data, "spool", "rejected"))
	if err != nil {
		s.log.ErrorContext(ctx, "some evidence packages of an earlier run cannot be looked at", "err", err)
	}
	s.spool.Submit(lost...) // most are stored; those that a crash has lost are not
	s.app.Add("clean-up", stageIngest, func(ctx context.Context) error { s.cleanUp(ctx, store, started); return nil })
	s.alarms = newAlarms(s.db, s.spool.Submit, func() int { return s.spool.Status().Disk }, events.Place{Commune: s.cfg.Commune.Code}, time.Now, s.log)
	keeper, err := s.newKeeper(store)
	if err != nil {
		return usagef("media: %w", err)
	}
	d.record.failed, s.evidence.failed = keeper.Wake, keeper.Wake
	s.app.Add("retention", stageRecord, keeper.Run)
	s.app.Add("alarms", stageRecord, s.alarms.Run)
	s.app.Add("evidence", stageRecord, s.evidence.Run)
	s.app.Add("stills", stageProcess, s.evidence.RunStills)
	s.app.Add("snapshots", stageRecord, d.record.Run)
	if err := s.addDelivery(s.deliverer); err != nil {
		return err
	}
	s.app.Add("events", stageDeliver, s.spool.Run)
	s.app.Add("counts", stageDeliver, s.tally.Run)
	s.app.Add("database schema", stageServe, s.db.Run)
	s.app.Add("configuration watch", stageServe, func(ctx context.Context) error {
		return s.db.Watch(ctx, pgstore.CameraChanges, s.manager.Wake)
	})
	s.app.Add("api", stageServe, web.Run)
	if s.cluster != nil {
		s.app.Add("private database", stageStore, s.cluster.Run)
	}
	return nil
}

// backlog is how many events of an earlier run are still to be stored: until
// everything has been stored once, those in memory are among them.
func (s *server) backlog() int {
	st := s.spool.Status()
	if n := st.Memory + st.Disk; n > 0 && !s.caughtUp.Load() {
		return n
	}
	s.caughtUp.Store(true)
	return st.Disk
}

func (s *server) openDatabase(ctx context.Context) error {
	dsn := s.cfg.Database.DSN.Reveal()
	wait := func(context.Context) error { return nil }
	if dsn == "" {
		var err error
		if s.cluster, err = newCluster(s.cfg, s.log); err != nil {
			return err
		}
		dsn, wait = s.cluster.DSN(), s.cluster.Ready
	}
	var err error
	if s.keys, err = openVault(s.cfg); err != nil {
		return err
	}
	s.store, err = pgstore.Open(ctx, dsn, pgstore.Config{Log: s.log, Sealer: s.keys, Signer: s.keys, Calendar: s.cfg.calendar()})
	if err != nil {
		return usagef("database.dsn: %w", err)
	}
	s.db = newDatabase(s.store, wait, time.Now, s.log)
	return nil
}

func (s *server) newAPI(store *evidence.Store, exporter *evidence.Exporter) (*api.Server, error) {
	root, err := os.OpenRoot(mediaDir(s.cfg.Data))
	if err != nil {
		return nil, fmt.Errorf("open the media folder: %w", err)
	}
	s.media = root
	cfg := api.Config{
		Events: s.db, Cameras: s.manager, Counts: s.db, Workflow: s.db, Audit: s.db, Stats: s.db, Feed: s.db, Media: root, Listener: s.listener,
		Watch:  func(ctx context.Context, wake func()) error { return s.db.Watch(ctx, pgstore.EventChanges, wake) },
		Health: s.health, Registry: s.registry, Log: s.log, Location: s.cfg.location,
		Kinds: append(behaviour.Kinds(), events.KindCameraOffline, events.KindDeliveryFailing, events.KindStorageLow),
	}
	if s.backtests != nil {
		cfg.Backtest = s.backtests
	}
	cfg.OpenMedia = func() (*os.Root, error) { return openMediaRoot(store, mediaDir(s.cfg.Data)) }
	cfg.Export, cfg.Head = exportAPI{exporter}, s.db.Head
	links, err := s.mediaLinks()
	if err != nil {
		return nil, err
	}
	if links.Base != "" {
		cfg.EvidenceURL = publicLink(&links)
	}
	cfg.Schemas = format.Schemas()
	s.deliverer = s.newDeliverer(&links)
	cfg.Endpoints, cfg.Deliveries, cfg.TestEndpoint, cfg.MediaLinks = s.db, s.db, s.deliverer.Test, links
	return api.New(cfg)
}

// Run runs the server until ctx is done, and frees what New took.
func (s *server) Run(ctx context.Context) error {
	s.log.InfoContext(ctx, "xacam starts", "version", version, "listen", s.listener.Addr().String(), "data", s.cfg.Data)
	err := s.app.Run(ctx, shutdownGrace)
	if errors.Is(err, errStuck) {
		return err // what hangs may still use the rest; the process ends
	}
	err = errors.Join(err, s.detectors.Close(), s.deliverer.Close())
	s.store.Close()
	s.media.Close()
	s.lock.Close()
	s.log.InfoContext(ctx, "xacam ended")
	return err
}

// health implements api.Config.Health.
func (s *server) health(context.Context) []api.HealthPart {
	st := s.spool.Status()
	part := api.HealthPart{Name: "spool", Status: api.HealthOK, Values: map[string]int64{
		"memory": int64(st.Memory), "disk": int64(st.Disk), "bytes": st.Bytes,
	}}
	if st.Away != nil {
		part.Status, part.Detail = api.HealthDegraded, "the database does not take events; they are kept on disk until it does"
	}
	return []api.HealthPart{part}
}

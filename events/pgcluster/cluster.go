// Package pgcluster runs a PostgreSQL server of its own: it creates the
// cluster in a folder, supervises the server process and stops it. Nothing of
// it is reachable from the network: the server listens on a Unix socket in a
// folder that only its own user may enter.
package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Name of the role and of the database in the cluster.
const (
	roleName     = "xacam"
	databaseName = "xacam"
)

// maxSocketPath is the longest path of a Unix socket on Linux, without the
// final NUL byte (unix(7), sun_path has 108 bytes).
const maxSocketPath = 107

// socketName is how PostgreSQL names the socket of port 5432.
const socketName = ".s.PGSQL.5432"

// Errors that end Run at once. Callers test with errors.Is; the message says
// what to do.
var (
	ErrLocked     = errors.New("the cluster is in use by another xacam")
	ErrVersion    = errors.New("the cluster belongs to another version of PostgreSQL")
	ErrNoBinaries = errors.New("PostgreSQL is not installed")
)

// Config tunes a Cluster. Only Dir is required.
type Config struct {
	Dir         string        // holds everything of the cluster; created with mode 0700
	BinDir      string        // folder of postgres and initdb; default: searched in the usual places
	User        string        // runs the server when started as root; default postgres, else nobody
	TempDir     string        // where the socket goes when Dir is too long for one; default os.TempDir()
	StopTimeout time.Duration // of a fast shutdown, until connections are cut off; default 30s
	Log         *slog.Logger  // default discards
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("database folder: Dir is empty")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return c, fmt.Errorf("database folder: %w", err)
	}
	c.Dir = dir
	if strings.ContainsAny(dir, "\n\r") {
		return c, fmt.Errorf("database folder %q: the path must not contain a line break", dir)
	}
	if c.TempDir == "" {
		c.TempDir = os.TempDir()
	}
	if c.StopTimeout <= 0 {
		c.StopTimeout = 30 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Cluster is one private PostgreSQL server. Its methods are safe for
// concurrent use; Run may be called once.
//
// Files in Dir: pgdata (the cluster), run (the socket), log, lock, and
// postgresql.local.conf, which may hold settings of the operator's own.
type Cluster struct {
	cfg       Config
	socketDir string

	mu      sync.Mutex
	ready   bool
	ended   bool          // Run has returned
	problem error         // why it is not ready, if known
	changed chan struct{} // closed and replaced when one of the above changes
}

// New checks the configuration. It starts nothing and touches no file.
func New(cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := socketDir(cfg)
	if err != nil {
		return nil, err
	}
	return &Cluster{cfg: cfg, socketDir: dir, changed: make(chan struct{})}, nil
}

// DSN returns the connection string of the database, valid whether the server
// runs or not. It contains no secret.
func (c *Cluster) DSN() string {
	return fmt.Sprintf("host=%s port=5432 user=%s dbname=%s sslmode=disable", quoteDSN(c.socketDir), roleName, databaseName)
}

// Ready waits until the server accepts connections. It returns the error of
// Run when that has ended, and otherwise ctx's error together with the latest
// reason why the server is not up.
func (c *Cluster) Ready(ctx context.Context) error {
	for {
		c.mu.Lock()
		ready, ended, problem, changed := c.ready, c.ended, c.problem, c.changed
		c.mu.Unlock()
		switch {
		case ready:
			return nil
		case ended && problem != nil:
			return problem
		case ended:
			return errors.New("database server: stopped")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if problem != nil {
				return fmt.Errorf("wait for the database server: %w: %w", ctx.Err(), problem)
			}
			return fmt.Errorf("wait for the database server: %w", ctx.Err())
		}
	}
}

// Run creates the cluster if there is none, starts the server, restarts it
// when it dies, and stops it cleanly when ctx ends; then it returns nil. It
// returns an error at once when trying again cannot help: no or wrong
// PostgreSQL, a folder in use or not accessible.
func (c *Cluster) Run(ctx context.Context) error {
	err := c.run(ctx)
	c.set(func() { c.ready, c.ended, c.problem = false, true, err })
	return err
}

func (c *Cluster) run(ctx context.Context) error {
	account, err := chooseAccount(c.cfg)
	if err != nil {
		return err
	}
	if err := prepareDir(c.cfg.Dir, account); err != nil {
		return err
	}
	unlock, err := lockDir(c.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	server := &server{
		dir: c.cfg.Dir, data: filepath.Join(c.cfg.Dir, "pgdata"), socket: c.socketDir,
		account: account, stopTimeout: c.cfg.StopTimeout, log: c.cfg.Log,
	}
	if server.bin, err = findBinaries(ctx, c.cfg.BinDir, server.data); err != nil {
		return err
	}
	if err := stopLeftovers(ctx, server.data, c.cfg.StopTimeout, c.cfg.Log); err != nil {
		return err
	}
	if err := server.create(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // the next start begins anew
		}
		return err
	}
	if c.socketDir != filepath.Join(c.cfg.Dir, "run") {
		defer func() { _ = os.Remove(c.socketDir) }() // best effort: it is empty after a clean stop
	}
	return c.supervise(ctx, server)
}

// supervise keeps the server running until ctx ends.
func (c *Cluster) supervise(ctx context.Context, s *server) error {
	delay := backoff{}
	for {
		started := time.Now()
		err := s.session(ctx, c.dsnOf(), func() { c.set(func() { c.ready, c.problem = true, nil }) })
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			err = errors.New("database server: it stopped by itself")
		}
		c.set(func() { c.ready, c.problem = false, err })
		wait := delay.next(time.Since(started))
		c.cfg.Log.ErrorContext(ctx, "database server ended, starting it again", "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		if err := stopLeftovers(ctx, s.data, c.cfg.StopTimeout, c.cfg.Log); err != nil {
			c.set(func() { c.problem = err })
			c.cfg.Log.ErrorContext(ctx, "database server left processes behind", "error", err)
		}
	}
}

func (c *Cluster) dsnOf() string { return c.DSN() + " connect_timeout=2" }

// set changes the state and wakes every Ready.
func (c *Cluster) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// quoteDSN quotes a value of a keyword/value connection string
// (PostgreSQL 15, 34.1.1.1).
func quoteDSN(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

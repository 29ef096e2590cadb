package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/xacam/xacam/events/pgcluster"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

// withConfigured is withStore for the configuration file at path.
func withConfigured(cmd *cobra.Command, path string, do func(context.Context, *Config, *pgstore.Store) error) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return err
	}
	return withStore(cmd.Context(), cfg, cmd.ErrOrStderr(), func(ctx context.Context, s *pgstore.Store) error { return do(ctx, cfg, s) })
}

// withConfiguredKeys is withKeys for the configuration file at path.
func withConfiguredKeys(cmd *cobra.Command, path string, do func(context.Context, *pgstore.Store, *vault.Vault) error) error {
	cfg, err := loadConfig(path)
	if err != nil {
		return err
	}
	return withKeys(cmd.Context(), cfg, cmd.ErrOrStderr(), do)
}

// withStore calls do with the migrated database: the configured one, the
// private one of a running server, or else the private one started for this.
func withStore(ctx context.Context, cfg *Config, stderr io.Writer, do func(context.Context, *pgstore.Store) error) error {
	return openStore(ctx, cfg, stderr, nil, do)
}

// withKeys is withStore for what is written into the audit chain: it needs the data
// folder of the server too.
func withKeys(ctx context.Context, cfg *Config, stderr io.Writer, do func(context.Context, *pgstore.Store, *vault.Vault) error) error {
	keys, err := openVault(cfg)
	if err != nil {
		return err
	}
	return openStore(ctx, cfg, stderr, keys, func(ctx context.Context, s *pgstore.Store) error {
		if err := tellTurn(ctx, s, keys); err != nil {
			fmt.Fprintf(stderr, "warning: %v\n", err) // what the command is for may be urgent
		}
		return do(ctx, s, keys)
	})
}

func openStore(
	ctx context.Context, cfg *Config, stderr io.Writer, keys *vault.Vault, do func(context.Context, *pgstore.Store) error,
) (err error) {
	log := LogConfig{Level: "warn", Format: "text"}.logger(stderr)
	dsn := cfg.Database.DSN.Reveal()
	if dsn == "" {
		cluster, cerr := newCluster(cfg, log)
		if cerr != nil {
			return cerr
		}
		dsn = cluster.DSN()
		if !answers(ctx, dsn) {
			if cerr := makeDataDir(cfg.Data); cerr != nil {
				return cerr
			}
			rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
			ended := make(chan error, 1)
			go func() { ended <- cluster.Run(rctx) }()
			defer func() {
				cancel()
				err = errors.Join(err, <-ended)
			}()
			if cerr := cluster.Ready(ctx); cerr != nil {
				return cerr
			}
		}
	}
	sc := pgstore.Config{Log: log, Calendar: cfg.calendar()}
	if keys != nil { // else the interfaces would not be nil
		sc.Sealer, sc.Signer = keys, keys
	}
	s, err := pgstore.Open(ctx, dsn, sc)
	if err != nil {
		return usagef("database.dsn: %w", err)
	}
	defer s.Close()
	if err := s.Migrate(ctx); err != nil {
		return err
	}
	if err := s.EnsurePartitions(ctx, time.Now()); err != nil {
		return err
	}
	return do(ctx, s)
}

// newCluster returns the private database of a data folder, not started.
func newCluster(cfg *Config, log *slog.Logger) (*pgcluster.Cluster, error) {
	return pgcluster.New(pgcluster.Config{
		Dir: filepath.Join(cfg.Data, "postgres"), BinDir: cfg.Database.Binaries, Log: log,
	})
}

// answers reports whether a database is there.
func answers(ctx context.Context, dsn string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := pgstore.Open(ctx, dsn, pgstore.Config{})
	if err != nil {
		return false
	}
	defer s.Close()
	return s.Ping(ctx) == nil
}

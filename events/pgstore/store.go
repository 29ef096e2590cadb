// Package pgstore keeps events, cameras and rules in PostgreSQL. All SQL of
// the server is in this package.
package pgstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
	"github.com/xacam/xacam/events/schedule"
)

// Config tunes a Store. The zero value is usable.
type Config struct {
	MaxConns       int           // of the pool; default 8
	ConnectTimeout time.Duration // of one attempt to connect; default 2s
	Poll           time.Duration // Watch calls back at least so often; default 2s
	// Calendar is the clock of the schedules in endpoints' filters.
	Calendar schedule.Calendar
	// Sealer keeps secrets of endpoints unreadable at rest; without one endpoints
	// can neither be stored nor read. *vault.Vault is one.
	Sealer Sealer
	Signer audit.Signer // of the audit chain; without it nothing can be added to that
	Log    *slog.Logger // default discards
}

// Sealer encrypts secrets; about binds one to its place.
type Sealer interface {
	Seal(secret []byte, about string) []byte
	Open(sealed []byte, about string) ([]byte, error)
}

func (c Config) withDefaults() Config {
	if c.MaxConns <= 0 {
		c.MaxConns = 8
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 2 * time.Second
	}
	if c.Poll <= 0 {
		c.Poll = 2 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store is the database. Its methods are safe for concurrent use. Every
// method's error wraps events.ErrUnavailable when the database could not be
// asked, as opposed to having refused. Times come back in UTC with microsecond
// precision.
type Store struct {
	pool *pgxpool.Pool
	cfg  Config

	unreadable sync.Map // why endpoints cannot be used, by name: what was logged

	mu       sync.Mutex
	matchers map[string]madeMatcher // of endpoints, by name
}

// Open prepares the pool. It does not connect, so the database may be down; it
// fails only for an address that cannot be understood. Close ends it.
func Open(ctx context.Context, dsn string, cfg Config) (*Store, error) {
	cfg = cfg.withDefaults()
	pc, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The parser's own words can hold parts of the password.
		return nil, errors.New("database address: cannot be read; " +
			"it must be postgres://user:password@host:port/name (with @ : / # % ? in a password percent-encoded) or host=… user=… dbname=…")
	}
	pc.MaxConns = int32(min(cfg.MaxConns, 1000)) //nolint:gosec // bounded
	pc.ConnConfig.ConnectTimeout = cfg.ConnectTimeout
	// Filters prune partitions only in plans made for their values.
	pc.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	pc.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "xacam"
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &Store{pool: pool, cfg: cfg, matchers: make(map[string]madeMatcher)}, nil
}

// Close gives all connections back and waits for the methods in progress.
func (s *Store) Close() { s.pool.Close() }

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	return classify("reach the database", s.pool.Ping(ctx))
}

// refusedError says that the data, not the database, is at fault.
type refusedError struct{ reason string }

// Error implements error.
func (e *refusedError) Error() string { return e.reason }

// classify wraps err with what was attempted and, unless the database looked
// at the data and refused it, with events.ErrUnavailable. Whatever is not
// certainly the data's fault counts as unavailable: a full disk, a missing
// table or a read-only server must not cost an event.
func classify(attempted string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, events.ErrNotFound), errors.Is(err, events.ErrConflict), errors.Is(err, errNoSigner), refused(err):
		return fmt.Errorf("%s: %w", attempted, err)
	default:
		return fmt.Errorf("%s: %w: %w", attempted, events.ErrUnavailable, err)
	}
}

// collided reports that a transaction lost against another one and may simply
// be run again.
func collided(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch pg.Code {
	case "40001", "40P01": // serialization failure, deadlock
		return true
	case "23503": // foreign key violation
		// An endpoint was deleted while a delivery to it was being queued.
		return pg.TableName == "delivery"
	case "23514": // check violation
		// A row waited for EnsurePartitions on its way into event_default, and
		// now has a partition. Checks of the schema's own have names.
		return pg.ConstraintName == ""
	default:
		return false
	}
}

// refused tells by the class of the SQLSTATE (PostgreSQL 15, appendix A).
func refused(err error) bool {
	if _, ok := errors.AsType[*refusedError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*events.FieldError](err); ok {
		return true
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(pg.Code) != 5 || collided(err) {
		return false
	}
	switch pg.Code[:2] {
	case "21", // cardinality violation
		"22", // data exception
		"23", // integrity constraint violation
		"54": // program limit exceeded, such as a value too long for an index
		return true
	default:
		return false
	}
}

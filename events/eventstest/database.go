// Package eventstest gives tests a real PostgreSQL: one server for each test
// binary, one database for each test. Only _test.go files import it.
package eventstest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/xacam/xacam/events/pgcluster"
)

// Env names of the test database.
const (
	// EnvURL is the address of a server to use instead of a private one; its
	// role must be allowed to create databases.
	EnvURL = "TEST_DATABASE_URL"
	// EnvRequire, when not empty, makes a missing database a failure.
	EnvRequire = "REQUIRE_DATABASE"
)

// M runs the tests of a package and then stops the server, if one was started.
// Use it in TestMain: goleak.VerifyTestMain(eventstest.M{M: m}).
type M struct{ *testing.M }

// Run implements goleak.TestingM.
func (m M) Run() int {
	code := m.M.Run()
	if err := shared().stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the test database:", err)
		return max(code, 1)
	}
	return code
}

// Database creates an empty database that is dropped when the test ends and
// returns its connection string. Without PostgreSQL the test is skipped, or
// fails where REQUIRE_DATABASE is set. The package's TestMain must use M.
func Database(tb testing.TB) string {
	tb.Helper()
	s := shared()
	admin, err := s.start()
	if err != nil {
		if errors.Is(err, pgcluster.ErrNoBinaries) && os.Getenv(EnvRequire) == "" {
			tb.Skipf("no database: %v", err)
		}
		tb.Fatalf("no database: %v", err)
	}
	name := fmt.Sprintf("t_%d_%d", os.Getpid(), s.seq.Add(1))
	s.exec(tb, admin, "CREATE DATABASE "+name)
	tb.Cleanup(func() { s.exec(tb, admin, "DROP DATABASE "+name+" WITH (FORCE)") })
	cfg, err := pgx.ParseConfig(admin)
	if err != nil {
		tb.Fatal(err)
	}
	dsn := fmt.Sprintf("host='%s' port=%d user='%s' dbname=%s sslmode=disable", cfg.Host, cfg.Port, cfg.User, name)
	if cfg.Password != "" {
		dsn += " password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(cfg.Password) + "'"
	}
	return dsn
}

// Cluster starts a private server of the test's own, for tests that stop or
// kill it. It ends with the test at the latest; stop ends it earlier.
func Cluster(tb testing.TB, cfg pgcluster.Config) (c *pgcluster.Cluster, stop func()) {
	tb.Helper()
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(OpenTempDir(tb), "pg")
	}
	c, err := pgcluster.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, pgcluster.ErrNoBinaries) {
			tb.Errorf("stop the test's server: %v", err)
		}
	})
	tb.Cleanup(stop)
	ready, cancelReady := context.WithTimeout(ctx, time.Minute)
	defer cancelReady()
	if err := c.Ready(ready); err != nil {
		if errors.Is(err, pgcluster.ErrNoBinaries) && os.Getenv(EnvRequire) == "" {
			tb.Skipf("no database: %v", err)
		}
		tb.Fatal(err)
	}
	return c, stop
}

// OpenTempDir returns a temporary folder whose parents any user may pass,
// unlike those of testing.T.TempDir, for servers that drop root.
func OpenTempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "xacam-test-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user must pass
		tb.Fatal(err)
	}
	return dir
}

// server is the one server of a test binary.
type server struct {
	once sync.Once
	seq  atomic.Int64
	dsn  string
	err  error
	end  func() error // nil when nothing was started
}

var shared = sync.OnceValue(func() *server { return &server{} }) //nolint:gochecknoglobals // one server for each test binary

func (s *server) start() (string, error) {
	s.once.Do(func() {
		if s.dsn = os.Getenv(EnvURL); s.dsn != "" {
			return
		}
		s.dsn, s.end, s.err = startCluster()
	})
	return s.dsn, s.err
}

func startCluster() (string, func() error, error) {
	dir, err := os.MkdirTemp("", "xacam-test-")
	if err != nil {
		return "", nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // the server's user must pass
		return "", nil, err
	}
	// Databases come and go by the dozen and none must survive the machine.
	pg := filepath.Join(dir, "pg")
	err = errors.Join(os.Mkdir(pg, 0o700),
		os.WriteFile(filepath.Join(pg, "postgresql.local.conf"), []byte("fsync = off\nfull_page_writes = off\nmax_connections = 200\n"), 0o644)) //nolint:gosec // the server's user must read it
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	c, err := pgcluster.New(pgcluster.Config{Dir: pg})
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	end := func() error {
		cancel()
		return errors.Join(<-done, os.RemoveAll(dir))
	}
	ready, cancelReady := context.WithTimeout(ctx, time.Minute)
	defer cancelReady()
	if err := c.Ready(ready); err != nil {
		_ = end() // the same error again
		return "", nil, err
	}
	return c.DSN(), end, nil
}

// stop ends the server, if this process started one.
func (s *server) stop() error {
	s.once.Do(func() { s.err = errors.New("the tests have ended") })
	if s.end == nil {
		return nil
	}
	return s.end()
}

// exec runs one statement on a connection of its own.
func (s *server) exec(tb testing.TB, dsn, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		tb.Errorf("test database: %v", err)
		return
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, sql); err != nil {
		tb.Errorf("test database: %v", err)
	}
}

package pgcluster_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgcluster"
)

// envChild makes the test binary run a cluster in the named folder until it is
// killed; see xacamKilled.
const envChild = "PGCLUSTER_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(envChild); dir != "" {
		runChild(dir)
		return
	}
	goleak.VerifyTestMain(eventstest.M{M: m})
}

func runChild(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgcluster.New(pgcluster.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	go func() {
		if err := c.Ready(ctx); err == nil {
			fmt.Println("ready") //nolint:forbidigo // read by the parent
		}
	}()
	if err := c.Run(ctx); err != nil {
		panic(err)
	}
}

// query runs one statement and returns its only value.
func query[T any](t *testing.T, dsn, sql string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	var v T
	require.NoError(t, conn.QueryRow(ctx, sql).Scan(&v))
	return v
}

// keep makes the table that must survive.
func keep(t *testing.T, dsn string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	_, err = conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 7 AS n")
	require.NoError(t, err)
}

func postmaster(t *testing.T, dir string) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "pgdata", "postmaster.pid"))
	require.NoError(t, err)
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(line)
	require.NoError(t, err)
	return pid
}

// TestLife takes one folder through everything that may happen to it; making a
// cluster is what costs time here.
func TestLife(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(eventstest.OpenTempDir(t), "deep", "pg data'1")
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	c, stop := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	assert.Equal(t, "UTF8 C.UTF-8", query[string](t, c.DSN(),
		"SELECT pg_encoding_to_char(encoding) || ' ' || datcollate FROM pg_database WHERE datname = current_database()"))
	assert.Empty(t, query[string](t, c.DSN(), "SELECT current_setting('listen_addresses')"), "no TCP")
	assert.Equal(t, "on on", query[string](t, c.DSN(), "SELECT current_setting('fsync') || ' ' || current_setting('data_checksums')"))
	for _, name := range []string{"", "pgdata", "run", "log"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if os.IsNotExist(err) && name == "run" {
			continue // the quote in the path moved the socket elsewhere
		}
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o700), info.Mode().Perm(), name)
		if os.Geteuid() == 0 {
			st, ok := info.Sys().(*syscall.Stat_t)
			require.True(t, ok)
			assert.NotZero(t, st.Uid, "%q belongs to root", name)
		}
	}
	pid := postmaster(t, dir)
	if os.Geteuid() == 0 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		require.NoError(t, err)
		assert.NotContains(t, string(status), "Uid:\t0", "the server runs as root")
	}
	keep(t, c.DSN())
	secondIsRefused(t, dir)
	serverKilled(t, c, dir)
	stop()
	assert.NoFileExists(t, filepath.Join(dir, "pgdata", "postmaster.pid"))
	require.Error(t, c.Ready(t.Context()))

	again, stop := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	assert.Equal(t, c.DSN(), again.DSN())
	assert.Equal(t, 7, query[int](t, again.DSN(), "SELECT n FROM kept"))
	stop()
	foreignPID(t, dir)
	failedStart(t, dir)
	xacamKilled(t, dir)
}

// serverKilled kills the server process, which must come back.
func serverKilled(t *testing.T, c *pgcluster.Cluster, dir string) {
	t.Helper()
	for range 2 {
		pid := postmaster(t, dir)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.Eventually(t, func() bool {
			b, err := os.ReadFile(filepath.Join(dir, "pgdata", "postmaster.pid"))
			return err == nil && !strings.HasPrefix(string(b), strconv.Itoa(pid)+"\n")
		}, 20*time.Second, 20*time.Millisecond, "restarted")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		require.NoError(t, c.Ready(ctx))
		cancel()
		assert.Equal(t, 7, query[int](t, c.DSN(), "SELECT n FROM kept"))
	}
}

// xacamKilled kills the supervising process, at random moments of its
// start too, and starts the cluster again on the same folder at once.
func xacamKilled(t *testing.T, dir string) {
	t.Helper()
	for _, after := range []time.Duration{0, 30 * time.Millisecond, 90 * time.Millisecond, 200 * time.Millisecond, -1} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envChild+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		if after < 0 {
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "ready\n", line)
		} else {
			time.Sleep(after)
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		c, stop := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
		assert.Equal(t, 7, query[int](t, c.DSN(), "SELECT n FROM kept"))
		stop()
	}
}

// TestCreationKilled kills xacam while initdb works.
func TestCreationKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(eventstest.OpenTempDir(t), "pg")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+dir)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		made, err := filepath.Glob(filepath.Join(dir, "pgdata.new-*", "PG_VERSION"))
		return err == nil && len(made) == 1
	}, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	c, stop := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	defer stop()
	assert.Equal(t, 1, query[int](t, c.DSN(), "SELECT 1"))
	left, err := filepath.Glob(filepath.Join(dir, "pgdata.new*"))
	require.NoError(t, err)
	assert.Empty(t, left, "unfinished clusters are swept")
}

// foreignPID gives the stale postmaster.pid the number of a living process
// that is none of ours, as happens after a power cut.
func foreignPID(t *testing.T, dir string) {
	t.Helper()
	other := exec.Command("sleep", "60")
	info, err := os.Stat(filepath.Join(dir, "pgdata"))
	require.NoError(t, err)
	if st, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: st.Uid, Gid: st.Gid}}
	}
	require.NoError(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	pidFile := filepath.Join(dir, "pgdata", "postmaster.pid")
	text := fmt.Sprintf("%d\n%s\n1700000000\n5432\n/nowhere\n\n         0         0\nready   \n", other.Process.Pid, filepath.Dir(pidFile))
	require.NoError(t, os.WriteFile(pidFile, []byte(text), 0o600))
	c, stop := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	defer stop()
	assert.Equal(t, 1, query[int](t, c.DSN(), "SELECT 1"))
	assert.NoError(t, other.Process.Signal(syscall.Signal(0)), "the other process was left alone")
}

func secondIsRefused(t *testing.T, dir string) {
	t.Helper()
	second, err := pgcluster.New(pgcluster.Config{Dir: dir})
	require.NoError(t, err)
	err = second.Run(t.Context())
	require.ErrorIs(t, err, pgcluster.ErrLocked)
	assert.Contains(t, err.Error(), strconv.Itoa(os.Getpid()), "who has it")
	require.ErrorIs(t, second.Ready(t.Context()), pgcluster.ErrLocked)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("other version", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(eventstest.OpenTempDir(t), "pg")
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "pgdata"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "pgdata", "PG_VERSION"), []byte("9\n"), 0o600))
		c, err := pgcluster.New(pgcluster.Config{Dir: dir})
		require.NoError(t, err)
		err = c.Run(t.Context())
		require.ErrorIs(t, err, pgcluster.ErrVersion)
		assert.Contains(t, err.Error(), "install postgresql-9 again")
	})
	t.Run("not a cluster", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(eventstest.OpenTempDir(t), "pg")
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "pgdata", "base"), 0o700))
		c, err := pgcluster.New(pgcluster.Config{Dir: dir})
		require.NoError(t, err)
		assert.ErrorContains(t, c.Run(t.Context()), "holds files but no PG_VERSION")
	})
	t.Run("no PostgreSQL", func(t *testing.T) {
		t.Parallel()
		c, err := pgcluster.New(pgcluster.Config{Dir: filepath.Join(eventstest.OpenTempDir(t), "pg"), BinDir: t.TempDir()})
		require.NoError(t, err)
		err = c.Run(t.Context())
		require.ErrorIs(t, err, pgcluster.ErrNoBinaries)
		assert.Contains(t, err.Error(), "apt-get install postgresql")
	})
	t.Run("closed parent", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root changes its user")
		}
		parent := filepath.Join(eventstest.OpenTempDir(t), "closed")
		require.NoError(t, os.Mkdir(parent, 0o700))
		c, err := pgcluster.New(pgcluster.Config{Dir: filepath.Join(parent, "pg")})
		require.NoError(t, err)
		assert.ErrorContains(t, c.Run(t.Context()), "chmod o+x "+parent)
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		_, err := pgcluster.New(pgcluster.Config{})
		assert.ErrorContains(t, err, "Dir is empty")
	})
}

func TestLongPath(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(eventstest.OpenTempDir(t), strings.Repeat("sâu/", 30), "pg")
	c, stop := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	assert.Equal(t, 1, query[int](t, c.DSN(), "SELECT 1"))
	socket := query[string](t, c.DSN(), "SELECT current_setting('unix_socket_directories')")
	info, err := os.Stat(socket)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	stop()
	assert.NoDirExists(t, socket)
}

// failedStart makes a mistake in the operator's own settings and repairs it
// while the server is tried again and again.
func failedStart(t *testing.T, dir string) {
	t.Helper()
	local := filepath.Join(dir, "postgresql.local.conf")
	require.NoError(t, os.WriteFile(local, []byte("no_such_setting = 1\n"), 0o644))
	log := &syncBuffer{}
	c, err := pgcluster.New(pgcluster.Config{Dir: dir, Log: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "no_such_setting") }, 20*time.Second, 20*time.Millisecond)
	short, cancelShort := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancelShort()
	require.ErrorContains(t, c.Ready(short), "no_such_setting", "the reason is in the error")
	require.NoError(t, os.WriteFile(local, []byte("work_mem = 9MB\n"), 0o644)) // repaired while it retries
	require.NoError(t, c.Ready(ctx))
	assert.Equal(t, "9MB", query[string](t, c.DSN(), "SELECT current_setting('work_mem')"))
	cancel()
	require.NoError(t, <-done)
}

// syncBuffer is a bytes.Buffer for concurrent use.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

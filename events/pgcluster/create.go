package pgcluster

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// settings is postgresql.conf, sized for a small machine that also decodes
// video. %s are the folders of socket and log and the operator's own file.
const settings = `# Written by xacam at every start. Own settings: postgresql.local.conf, one folder up.
listen_addresses = ''
port = 5432
unix_socket_directories = '%s'
unix_socket_permissions = 0700
cluster_name = 'xacam'
max_connections = 40
shared_buffers = 128MB
effective_cache_size = 512MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 512MB
wal_compression = on
random_page_cost = 1.1
jit = off
fsync = on
synchronous_commit = on
full_page_writes = on
idle_in_transaction_session_timeout = 60s
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
logging_collector = on
log_directory = '%s'
log_filename = 'postgresql-%%a.log'
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_line_prefix = '%%m [%%p] '
log_min_duration_statement = 5s
include_if_exists = '%s'
`

// access is pg_hba.conf. The folder of the socket has mode 0700, so whoever
// can connect is the server's user or root already.
const access = "# Written by xacam at every start.\nlocal all all trust\n"

// create makes the cluster unless there is one. It works in a folder of
// another name and renames at the end, so a cluster is there whole or not.
func (s *server) create(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(s.data, "PG_VERSION")); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for a cluster: %w", err)
	}
	if left, err := os.ReadDir(s.data); err == nil && len(left) > 0 {
		return fmt.Errorf("database folder %s holds files but no PG_VERSION: it is no cluster or a damaged one; restore a backup, or move it away to start empty", s.data)
	}
	s.log.InfoContext(ctx, "creating the database", "dir", s.data, "postgresql", s.bin.major)
	if err := s.sweep(ctx); err != nil {
		return err
	}
	half := halfPrefix(s.data) + rand.Text()
	initdb := s.command(ctx, "initdb", "-D", half, "-U", roleName, "-A", "trust",
		"-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions")
	if err := runTool(initdb); err != nil {
		return err
	}
	single := s.command(ctx, "postgres", "--single", "-D", half, "-c", "shared_buffers=16MB", "postgres")
	single.Stdin = strings.NewReader("CREATE DATABASE " + databaseName + "\n")
	if err := runTool(single); err != nil {
		return err
	}
	if err := os.Remove(s.data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create cluster: %w", err)
	}
	if err := os.Rename(half, s.data); err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	return syncDir(s.dir)
}

// halfPrefix begins the names of clusters in the making. The rest is random: a
// killed xacam may leave an initdb that works on for a moment.
func halfPrefix(data string) string { return data + ".new-" }

// sweep removes what earlier attempts left.
func (s *server) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("create cluster: %w", err)
	}
	for _, e := range entries {
		half := filepath.Join(s.dir, e.Name())
		if !strings.HasPrefix(half, halfPrefix(s.data)) {
			continue
		}
		if err := stopLeftovers(ctx, half, 0, s.log); err != nil {
			return err
		}
		if err := os.RemoveAll(half); err != nil {
			return fmt.Errorf("create cluster: remove an unfinished one: %w", err)
		}
	}
	return nil
}

// configure writes both configuration files anew and makes the socket's folder.
func (s *server) configure() error {
	if err := privateDir(s.socket, s.account); err != nil {
		return fmt.Errorf("create folder of the database socket: %w", err)
	}
	q := strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace
	conf := fmt.Sprintf(settings, q(s.socket), q(filepath.Join(s.dir, "log")), q(filepath.Join(s.dir, "postgresql.local.conf")))
	for name, text := range map[string]string{"postgresql.conf": conf, "pg_hba.conf": access} {
		if err := s.write(filepath.Join(s.data, name), text); err != nil {
			return fmt.Errorf("configure the database: %w", err)
		}
	}
	return nil
}

// write replaces a file of the cluster whole, unless it is the same already.
func (s *server) write(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chown(int(s.account.uid), int(s.account.gid)), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// command prepares a program of PostgreSQL as the server's user, in an
// environment of its own: no PGDATA or PGOPTIONS of the caller's gets in.
func (s *server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.bin.path(name), args...) //nolint:gosec // a program of the operator's choice
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account.credential(), Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// runTool runs a program to its end; the error shows what it said last.
func runTool(cmd *exec.Cmd) error {
	said := &tail{}
	cmd.Stdout, cmd.Stderr = io.Discard, said
	// The whole group must go: initdb starts postgres, which works on alone.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	runtime.LockOSThread() // the signal comes when this thread ends, see server.process
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("create cluster: %s: %w: %s", filepath.Base(cmd.Path), err, said)
	}
	return nil
}

// tail keeps the end of what a program writes. Not for concurrent use; os/exec
// writes from one goroutine and Wait ends it.
type tail struct{ b []byte }

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if over := len(t.b) - 2048; over > 0 {
		t.b = t.b[over:]
	}
	return len(p), nil
}

// String returns the last lines as one.
func (t *tail) String() string {
	lines := bytes.Split(bytes.TrimSpace(t.b), []byte("\n"))
	if len(lines) > 4 {
		lines = lines[len(lines)-4:]
	}
	return string(bytes.Join(lines, []byte("; ")))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

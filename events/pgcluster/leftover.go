package pgcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// stopLeftovers ends the server processes of an earlier xacam that was killed,
// and removes a postmaster.pid that names a process of somebody else. The
// caller holds the lock of the folder, so no living xacam owns them. A server
// that got the parent-death signal is on its way out already and is waited for.
func stopLeftovers(ctx context.Context, data string, timeout time.Duration, log *slog.Logger) error {
	for _, step := range stopSteps(timeout) {
		pids, err := serverProcesses(data)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return removeStalePID(data)
		}
		log.WarnContext(ctx, "stopping a database server left over from a killed xacam", "signal", step.signal.String(), "pids", pids)
		targets := pids
		if pid := postmasterPID(data); step.signal != syscall.SIGKILL && slices.Contains(pids, pid) {
			targets = []int{pid} // it stops its children in the right order
		}
		for _, pid := range targets {
			if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop left-over database process %d: %w", pid, err)
			}
		}
		if gone, err := waitGone(ctx, data, step.wait); err != nil || gone {
			return errors.Join(err, removeStalePID(data))
		}
	}
	return fmt.Errorf("database processes of %s do not end, even by SIGKILL: restart the machine", data)
}

// stopStep is one way to end a server, and how long to wait for its effect.
type stopStep struct {
	signal syscall.Signal
	wait   time.Duration
}

// stopSteps lists the ways from polite to certain. Without a timeout for the
// polite one only the last remains, for processes with nothing to lose.
func stopSteps(timeout time.Duration) []stopStep {
	const soon = 5 * time.Second
	steps := []stopStep{
		{syscall.SIGINT, timeout}, // fast shutdown: transactions roll back, checkpoint
		{syscall.SIGQUIT, soon},   // immediate: recovery at the next start
		{syscall.SIGKILL, soon},
	}
	if timeout == 0 {
		return steps[2:]
	}
	return steps
}

// waitGone waits until no process of the cluster is left.
func waitGone(ctx context.Context, data string, limit time.Duration) (bool, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		pids, err := serverProcesses(data)
		if err != nil || len(pids) == 0 {
			return err == nil, err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("wait for a left-over database server: %w", ctx.Err())
		}
	}
}

// serverProcesses finds the processes of the cluster: PostgreSQL makes the
// data folder its working directory and every child inherits it. Process IDs
// in files may have been given to others since.
func serverProcesses(data string) ([]int, error) {
	want, err := os.Stat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for left-over database processes: %w", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for left-over database processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		got, err := os.Stat(filepath.Join("/proc", e.Name(), "cwd"))
		if err != nil || !os.SameFile(want, got) {
			continue // ended meanwhile, or somebody else's
		}
		exe, err := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if err == nil && !bytes.Contains([]byte(filepath.Base(exe)), []byte("postgres")) {
			continue // a shell that stands in the folder
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// postmasterPID reads the process ID in postmaster.pid; 0 if there is none.
func postmasterPID(data string) int {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(line)))
	if err != nil {
		return 0
	}
	return pid
}

// removeStalePID removes postmaster.pid when no process of the cluster lives.
// PostgreSQL would do so itself, except when the number has been given to
// another process of the same user since, as happens after a power cut.
func removeStalePID(data string) error {
	err := os.Remove(filepath.Join(data, "postmaster.pid"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale postmaster.pid: %w", err)
	}
	return nil
}

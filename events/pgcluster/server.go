package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// server starts and stops one server process after the other.
type server struct {
	dir, data, socket string
	bin               binaries
	account           account
	stopTimeout       time.Duration
	log               *slog.Logger
}

// session runs the server once: until ctx ends, when it is stopped and the
// result is nil, or until it dies, which is an error. ready is called when it
// accepts connections.
func (s *server) session(ctx context.Context, dsn string, ready func()) error {
	if err := s.configure(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	pid := make(chan int, 1)
	//nolint:contextcheck,gosec // stopped by signals in the right order, not by a context's SIGKILL
	go s.process(pid, exited) // ends with the server; this function waits for it
	p, ok := <-pid
	if !ok {
		return <-exited
	}
	up, cancel := context.WithCancel(ctx)
	defer cancel()
	answering := make(chan struct{})
	go func() { // ends when the server answers or with this function
		defer close(answering)
		if awaitConnections(up, dsn) {
			s.log.InfoContext(ctx, "database server is ready", "pid", p, "socket", s.socket)
			ready()
		}
	}()
	select {
	case err := <-exited:
		cancel()
		<-answering
		return err
	case <-ctx.Done():
		<-answering
		return s.stop(p, exited)
	}
}

// process starts the server and reports its process ID, then its end. Linux
// ties the parent-death signal to the thread that started the child
// (prctl(2), PR_SET_PDEATHSIG), so this goroutine keeps its thread: when xacam
// is killed the server shuts down fast, by itself.
func (s *server) process(pid chan<- int, exited chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := s.command(context.Background(), "postgres", "-D", s.data)
	cmd.SysProcAttr.Pdeathsig = syscall.SIGINT
	cmd.WaitDelay = time.Second // children of a killed server may hold its stderr for a moment
	said := &tail{}
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		close(pid)
		exited <- fmt.Errorf("start database server: %w", err)
		return
	}
	pid <- cmd.Process.Pid
	switch err := cmd.Wait(); {
	case err == nil:
		exited <- nil
	case len(said.b) > 0:
		exited <- fmt.Errorf("database server: %w: %s", err, said)
	default:
		exited <- fmt.Errorf("database server: %w: see the newest file in %s/log", err, s.dir)
	}
}

// stop asks for a fast shutdown, and less politely when that takes too long.
func (s *server) stop(pid int, exited <-chan error) error {
	for _, step := range stopSteps(s.stopTimeout) {
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop database server: %w", err)
		}
		select {
		case err := <-exited:
			if step.signal != syscall.SIGINT {
				return fmt.Errorf("stop database server: it needed %s: %w", step.signal, err)
			}
			return err
		case <-time.After(step.wait):
		}
	}
	return fmt.Errorf("stop database server: process %d does not end", pid)
}

// awaitConnections returns true once the server accepts a connection, false
// when ctx ends first.
func awaitConnections(ctx context.Context, dsn string) bool {
	for {
		conn, err := pgconn.Connect(ctx, dsn)
		if err == nil {
			closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = conn.Close(closeCtx) // the server sees the socket close in any case
			return true
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

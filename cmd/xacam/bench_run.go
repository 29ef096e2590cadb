package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/vision/camera"
)

type bench struct {
	opts benchOptions
	log  io.Writer
}

// startSim serves the clip from a process of its own, so that its cost is not
// ours, and returns its address.
func (b *bench) startSim(ctx context.Context, dir string) (url string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	clips := filepath.Join(dir, "clips")
	if err := os.Mkdir(clips, 0o750); err != nil {
		return "", nil, err
	}
	for i, clip := range b.opts.clips {
		abs, err := filepath.Abs(clip)
		if err != nil {
			return "", nil, err
		}
		if err := os.Symlink(abs, filepath.Join(clips, benchClip(i)+filepath.Ext(abs))); err != nil {
			return "", nil, err
		}
	}
	child := exec.CommandContext(ctx, self, "sim", "--listen", "127.0.0.1:0", clips) //nolint:gosec // ourselves
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	child.Stderr = b.log
	out, err := child.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := child.Start(); err != nil {
		return "", nil, fmt.Errorf("start the simulator: %w", err)
	}
	stop = func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("start the simulator: %w", err)
	}
	// Its first line is the first clip's address.
	return strings.TrimSuffix(strings.TrimSpace(line), benchClip(0)), stop, nil
}

func benchClip(i int) string { return fmt.Sprintf("clip-%02d", i) }

// latencies collects the times from capture to commit of raised events.
type latencies struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *latencies) add(changes []events.Change) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range changes {
		if c.Event.State == events.StateRaised && c.Event.Source.Type == "camera" {
			l.all = append(l.all, now.Sub(c.Event.OccurredAt))
		}
	}
}

// take returns what came in since the last take, in ascending order.
func (l *latencies) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.all
	l.all = nil
	slices.Sort(out)
	return out
}

func (b *bench) run(ctx context.Context, res *benchResult, n int) (run benchRun, err error) {
	dir, err := os.MkdirTemp("", "xacam-bench-")
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // the private database runs as another user
		return run, err
	}
	url, stopSim, err := b.startSim(ctx, dir)
	if err != nil {
		return run, err
	}
	defer stopSim()
	cfg := defaultConfig()
	cfg.Listen, cfg.Data, cfg.Log.Level, cfg.models = "127.0.0.1:0", filepath.Join(dir, "data"), "error", modelDir(b.opts.data)
	cfg.Inference.Model = b.opts.model
	if err := cfg.validate(); err != nil {
		return run, err
	}
	srv, err := newServer(ctx, cfg, b.log)
	if err != nil {
		return run, err
	}
	var lat latencies
	srv.onCommit = lat.add
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- srv.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
	}()
	if err := b.addCameras(ctx, srv, url, n); err != nil {
		return run, err
	}
	if err := b.warmUp(ctx, srv, n); err != nil {
		return run, err
	}
	select {
	case <-ctx.Done():
		return run, ctx.Err()
	case <-time.After(time.Duration(b.opts.warm) * time.Second):
	}
	return b.measure(ctx, srv, res, &lat, n)
}

func benchCamera(i int) string { return fmt.Sprintf("camera-%02d", i+1) }

func (b *bench) addCameras(ctx context.Context, srv *server, url string, n int) error {
	select {
	case <-srv.db.Ready():
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("the private database did not start within a minute")
	}
	inputs := make([]pgstore.CameraInput, n)
	for i := range inputs {
		files, err := camera.Parse(fmt.Appendf(nil, `
camera: %s
detect: {fps: %g}
zones: {all: {area: [[0.02,0.02],[0.98,0.02],[0.98,0.98],[0.02,0.98]]}}
lines: {middle: {from: [0.5,0], to: [0.5,1]}, across: {from: [0,0.6], to: [1,0.6]}}
rules:
  - {name: middle, kind: line_crossing, line: middle, direction: any}
  - {name: across, kind: line_crossing, line: across, direction: any}
  - {name: inside, kind: intrusion, zone: all}
`, benchCamera(i), b.opts.fps))
		if err != nil {
			return err
		}
		files[0].URL = camera.NewSecret(url + benchClip(i%len(b.opts.clips)))
		if inputs[i], err = cameraInput(files[0]); err != nil {
			return err
		}
	}
	_, err := srv.store.PutCameras(ctx, inputs)
	return err
}

// warmUp waits until every camera is being looked at.
func (b *bench) warmUp(ctx context.Context, srv *server, n int) error {
	deadline := time.Now().Add(time.Minute)
	for {
		ready := 0
		for i := range n {
			if srv.manager.deps.metrics.Counts(benchCamera(i)).Looked > 5 {
				ready++
			}
		}
		if ready == n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d cameras are being looked at after a minute", ready, n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (b *bench) measure(ctx context.Context, srv *server, res *benchResult, lat *latencies, n int) (run benchRun, err error) {
	before, cpu, stills, start := srv.totals(n), processCPU(), srv.evidence.cpu.Load(), time.Now()
	lat.take()
	select {
	case <-ctx.Done():
		return run, ctx.Err()
	case <-time.After(time.Duration(b.opts.seconds) * time.Second):
	}
	wall := time.Since(start).Seconds()
	after := srv.totals(n)
	all := lat.take()
	run = benchRun{
		Cameras: n, Seconds: wall, CPUSeconds: (processCPU() - cpu).Seconds(),
		StillsCPU: time.Duration(srv.evidence.cpu.Load() - stills).Seconds(),
		Decoded:   after.Decoded - before.Decoded, Inferences: after.Looked - before.Looked,
		Held: after.Held - before.Held, Dozed: after.Dozed - before.Dozed, Dropped: after.Dropped - before.Dropped, Commits: len(all),
	}
	run.CoresPerCam = run.CPUSeconds / wall / float64(n)
	wanted := min(b.opts.fps, res.ClipFPS)
	// A picture that was not decoded for want of motion counts as analysed.
	run.Analysed = (float64(run.Inferences+run.Held) + float64(run.Dozed)*wanted/res.ClipFPS) / wall / float64(n)
	if len(all) > 0 {
		run.P50Ms = all[len(all)/2].Seconds() * 1e3
		run.P99Ms = all[min(len(all)-1, len(all)*99/100)].Seconds() * 1e3
	}
	run.InTime = run.Analysed >= .97*wanted && float64(run.Dropped) <= .01*float64(run.Decoded)
	return run, nil
}

// totals adds up what the benchmark's cameras have done.
func (s *server) totals(n int) (sum struct{ Decoded, Looked, Held, Dozed, Dropped uint64 }) {
	for i := range n {
		c := s.manager.deps.metrics.Counts(benchCamera(i))
		sum.Decoded += c.Decoded
		sum.Looked += c.Looked
		sum.Held += c.Held
		sum.Dozed += c.Dozed
		sum.Dropped += c.Dropped
	}
	return sum
}

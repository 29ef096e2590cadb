//go:build cgo && chaos

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/jpeg"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
)

// kills is how often the server is killed.
const kills = 20

// process is xacam serve as a process of its own.
type process struct {
	cmd *exec.Cmd
	log *lockedBuffer
}

func startProcess(t *testing.T, binary, config string) *process {
	t.Helper()
	p := &process{exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", "-c", config), new(lockedBuffer)}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	require.NoError(t, p.cmd.Start())
	return p
}

// end sends a signal and waits for the end.
func (p *process) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(sig))
	err := p.cmd.Wait()
	if sig == syscall.SIGTERM {
		require.NoError(t, err, p.log.String())
	}
	secretFree(t, p.log.String())
}

// buildBinary compiles the program as it is shipped.
func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xacam")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// TestChaosKill kills the server 20 times at random moments under load, every
// fourth time its PostgreSQL with it, and checks after each start and at the
// end that nothing that was shown as committed is lost or doubled.
func TestChaosKill(t *testing.T) { //nolint:paralleltest // it needs the machine
	dir, listenOn := eventstest.OpenTempDir(t), freePort(t)
	cfg := defaultConfig()
	cfg.Data = filepath.Join(dir, "data")
	require.NoError(t, makeDataDir(cfg.Data))
	cluster, err := newCluster(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	dsn := cluster.DSN()
	db := testDatabase{dsn: dsn, data: cfg.Data, config: writeFile(t, "xacam.yaml", fmt.Sprintf("listen: %s\ndata: %s\n", listenOn, cfg.Data))}
	_, file, still := chaosCameras(t, cfg.Data)
	binary := buildBinary(t)
	w := &witness{base: "http://" + listenOn}
	watch, stopWatch := context.WithCancel(t.Context())
	var background sync.WaitGroup
	defer background.Wait()
	defer stopWatch()
	background.Go(func() { w.follow(watch) })

	k := &killer{t: t, witness: w, db: db, binary: binary, serving: &serving{base: w.base}}
	k.start()
	apply(t, db, still)
	k.settleStill()
	apply(t, db, file)
	for i := range kills {
		k.round(i)
	}
	require.Positive(t, k.shown)
	apply(t, db, still, "--prune") // clears what the other cameras left open
	k.finish(stopWatch, &background)
}

// killer is a run of kills.
type killer struct {
	*serving
	t       *testing.T
	witness *witness
	db      testDatabase
	binary  string
	process *process

	stillOpen         []string // events of the camera whose picture stands still
	shown             int      // changes that were seen before a kill, the newest kill's
	open              int      // events open at a kill, all kills together
	recoveries, swept int
	slowest           time.Duration // from a start to its first answer
}

func (k *killer) start() {
	k.t.Helper()
	begin := time.Now()
	k.process = startProcess(k.t, k.binary, k.db.config)
	within(k.t, time.Minute, "ready", func() bool {
		s := readiness(k.t, k.base)
		return s == "ok" || s == "degraded"
	})
	k.slowest = max(k.slowest, time.Since(begin))
	if strings.Contains(k.process.log.String(), "half-written") {
		k.swept++
	}
}

// openStill returns the open events of the camera whose picture stands still.
func (k *killer) openStill() []string {
	var ids []string
	for _, ev := range k.events(k.t, "camera=frozen&kind=intrusion&state=raised") {
		ids = append(ids, ev.ID)
	}
	slices.Sort(ids)
	return ids
}

// settleStill waits until everything in the picture that stands still has its
// event.
func (k *killer) settleStill() {
	k.t.Helper()
	time.Sleep(8 * time.Second)
	k.stillOpen = k.openStill()
	require.NotEmpty(k.t, k.stillOpen)
}

// round kills the server after a random while and starts it again.
func (k *killer) round(i int) {
	t := k.t
	t.Helper()
	time.Sleep(time.Second + rand.N(5*time.Second))
	listed := k.events(t, "")
	open := k.events(t, "state=raised")
	k.process.end(t, syscall.SIGKILL)
	if i%4 == 3 {
		k.killDatabase()
	}
	seen := k.witness.all()
	k.shown, k.open = len(seen), k.open+len(open)
	k.start()
	for _, ev := range listed[:min(len(listed), 40)] {
		var now struct {
			ID    string
			State events.State
		}
		k.getJSON(t, "/api/v1/events/"+ev.ID, &now)
		require.Equal(t, ev.ID, now.ID, "kill %d: listed before it", i+1)
		require.True(t, now.State == ev.State || now.State == events.StateCleared)
	}
	rows := ledger(t, k.db.dsn)
	require.GreaterOrEqual(t, len(rows), len(seen), "kill %d: shown before it", i+1)
	for j, ev := range seen {
		require.Equal(t, changeRow{Sequence: ev.Sequence, ID: ev.ID, State: string(ev.State)}, rows[j].same(), "kill %d", i+1)
	}
	t.Logf("kill %d: %d changes shown before it, %d open, %d stored", i+1, len(seen), len(open), len(rows))
}

// killDatabase kills PostgreSQL, as a loss of power does, unless it has ended.
func (k *killer) killDatabase() {
	b, err := os.ReadFile(filepath.Join(k.db.data, "postgres", "pgdata", "postmaster.pid"))
	if err != nil {
		return
	}
	first, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(k.t, err)
	if syscall.Kill(pid, syscall.SIGKILL) == nil {
		k.recoveries++
	}
}

// finish ends the server as an operator does and checks everything it left.
func (k *killer) finish(stopWatch func(), background *sync.WaitGroup) {
	t := k.t
	t.Helper()
	within(t, 15*time.Second, "only the still picture's events are open", func() bool {
		for _, ev := range k.events(t, "state=raised") {
			if ev.Source.ID != "frozen" {
				return false
			}
		}
		return true
	})
	time.Sleep(5 * time.Second) // what was not recognised would be cleared by now
	assert.Equal(t, k.stillOpen, k.openStill(), "nothing that stood still was raised again or cleared")
	assert.Len(t, k.events(t, "camera=frozen&kind=intrusion"), len(k.stillOpen))
	rows := ledger(t, k.db.dsn)
	within(t, 15*time.Second, "the witness has seen everything", func() bool { return len(k.witness.all()) >= len(rows) })
	stopWatch()
	background.Wait()
	rows = ledger(t, k.db.dsn)
	k.witness.check(t, rows)
	files, orphans := k.checkMedia()
	k.process.end(t, syscall.SIGTERM)
	left, err := filepath.Glob(filepath.Join(k.db.data, "spool", "rejected", "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing was put aside")
	fmt.Fprintf(os.Stdout, "chaos: kill -9 of the server %d times, of PostgreSQL too %d times: %d changes shown before the last kill, %d stored; lost 0, doubled 0; "+
		"%d events were open at kills, %d of a still picture went on through all of them, none stayed behind; "+
		"%d pictures whole, %d without an event, %d starts swept half-written ones; slowest start %.1f s; the stream gave all in order over %d connections\n",
		kills, k.recoveries, k.shown, len(rows), k.open, len(k.stillOpen), files, orphans, k.swept, k.slowest.Seconds(), k.witness.connects)
}

// checkMedia checks every picture: those of events have the sum that the event
// says, all of them decode, and none is half-written.
func (k *killer) checkMedia() (files, orphans int) {
	t := k.t
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, k.db.dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(ctx) }()
	q, err := conn.Query(ctx, "SELECT DISTINCT path, sha256 FROM evidence")
	require.NoError(t, err)
	type ref struct{ Path, Sum string }
	refs, err := pgx.CollectRows(q, pgx.RowToStructByPos[ref])
	require.NoError(t, err)
	sums := make(map[string]string)
	for _, r := range refs {
		sums[r.Path] = r.Sum
	}
	media := os.DirFS(filepath.Join(k.db.data, "media"))
	require.NoError(t, fs.WalkDir(media, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".part") { // a clip that was being written
			return err
		}
		files++
		b, err := fs.ReadFile(media, path)
		require.NoError(t, err)
		if strings.HasSuffix(path, ".jpg") {
			_, err = jpeg.Decode(bytes.NewReader(b))
			require.NoError(t, err, "%s is a whole picture", path)
		}
		sum, known := sums[path]
		if !known {
			orphans++ // written, but killed before the event was committed
			return nil
		}
		got := sha256.Sum256(b)
		require.Equal(t, sum, hex.EncodeToString(got[:]), path)
		delete(sums, path)
		return nil
	}))
	require.Empty(t, sums, "every event's picture is there")
	return files, orphans
}

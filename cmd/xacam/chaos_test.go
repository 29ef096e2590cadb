//go:build cgo && chaos

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgcluster"
	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/streams/avdec"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

// Tests of what must survive faults, as `make chaos` runs them: minutes long,
// on real processes, bounded in time, nothing outside this machine.

// witness follows the event stream over every interruption, as a screen does,
// and keeps what it was shown as committed.
type witness struct {
	base   string
	sealed atomic.Int64 // messages about packages

	mu       sync.Mutex
	seen     []wire.Event
	problems []string
	connects int
}

// follow reconnects until ctx ends, each time after the last change it saw.
func (w *witness) follow(ctx context.Context) {
	for ctx.Err() == nil {
		w.session(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *witness) session(ctx context.Context) {
	last := w.last()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"/api/v1/events/stream?names=step", http.NoBody)
	if err != nil {
		w.problem("%v", err)
		return
	}
	req.Close = true
	req.Header.Set("Last-Event-ID", strconv.FormatInt(last, 10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // not there now
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		if resp.StatusCode < http.StatusInternalServerError {
			w.problem("the stream after change %d answers %s", last, resp.Status)
		}
		return
	}
	w.mu.Lock()
	w.connects++
	w.mu.Unlock()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == "event: "+string(events.StepEvidence) {
			w.sealed.Add(1)
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		var ev wire.Event
		if ok && json.Unmarshal([]byte(data), &ev) == nil {
			w.note(ev)
		}
	}
}

func (w *witness) note(ev wire.Event) {
	if last := w.last(); ev.Sequence != last+1 {
		w.problem("change %d came after change %d", ev.Sequence, last)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, ev)
}

func (w *witness) last() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.seen) == 0 {
		return 0
	}
	return w.seen[len(w.seen)-1].Sequence
}

func (w *witness) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// all returns what was seen so far.
func (w *witness) all() []wire.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// check compares what was seen with what the database has.
func (w *witness) check(t *testing.T, rows []changeRow) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Empty(t, w.problems, "the stream gives every change once and in order")
	require.LessOrEqual(t, len(w.seen), len(rows))
	for i, r := range rows {
		if i >= len(w.seen) { // packages are sealed after everything else has ended
			require.Equal(t, events.StepEvidence, r.step, "the stream gave everything that is stored")
			continue
		}
		require.Equal(t, r.same(), changeRow{Sequence: w.seen[i].Sequence, ID: w.seen[i].ID, State: string(w.seen[i].State)})
	}
}

// changeRow is a step in the life of an event as the database has it.
type changeRow struct {
	Sequence int64
	ID       string
	State    string
	step     events.Step // of the database's
}

// same drops what only the database says.
func (r changeRow) same() changeRow { return changeRow{Sequence: r.Sequence, ID: r.ID, State: r.State} }

// ledger reads every change from the database and checks that it is sound: the
// numbers have no gap, no event was raised or cleared twice, none was cleared
// first, and each event is in the state of its last change.
func ledger(t *testing.T, dsn string) []changeRow {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer func() { _ = conn.Close(ctx) }()
	read := func(sql string) []changeRow {
		q, err := conn.Query(ctx, sql)
		require.NoError(t, err)
		rows, err := pgx.CollectRows(q, func(row pgx.CollectableRow) (r changeRow, err error) {
			return r, row.Scan(&r.Sequence, &r.ID, &r.State, &r.step)
		})
		require.NoError(t, err)
		return rows
	}
	rows := read("SELECT sequence, event_id::text, state, step FROM event_change ORDER BY sequence")
	state := make(map[string]string)
	for i, r := range rows {
		require.Equal(t, int64(i+1), r.Sequence)
		switch r.step {
		case events.StepRaised:
			require.NotContains(t, state, r.ID, "raised twice")
		case events.StepCleared:
			require.Equal(t, "raised", state[r.ID], "cleared once, after it was raised")
		default:
			require.Equal(t, state[r.ID], r.State, "a %s changes no state", r.step)
		}
		state[r.ID] = r.State
	}
	all := read("SELECT sequence, id::text, state, '' FROM event")
	require.Len(t, all, len(state), "each event once")
	for _, ev := range all {
		require.Equal(t, state[ev.ID], ev.State)
	}
	return rows
}

// chaosCamera is a camera whose rules fire often.
func chaosCamera(slug, url, model string) string {
	return fmt.Sprintf(`---
camera: %s
url: %s
detect: {fps: 12, model: %s}
zones: {all: {area: [[0.02,0.02],[0.98,0.02],[0.98,0.98],[0.02,0.98]]}}
lines: {middle: {from: [0.5,0], to: [0.5,1]}, across: {from: [0,0.6], to: [1,0.6]}}
rules:
  - {name: inside, kind: intrusion, zone: all, after: 0.2}
  - {name: middle, kind: line_crossing, line: middle, direction: any}
  - {name: across, kind: line_crossing, line: across, direction: any}
`, slug, url, model)
}

// chaosCameras serves the cameras of a run and returns their file: four of a
// drawn clip with the toy model, one of them still from the start, and one with
// the real model on a real clip where they are. The file still has only the
// camera whose picture stands still.
func chaosCameras(t *testing.T, data string) (cams *sim.Server, file, still string) {
	t.Helper()
	names := []string{"c1", "c2", "c3", "frozen"}
	clips := make(map[string]string)
	for _, name := range names {
		clips[name] = streamtest.H264
	}
	streams := streamtest.Streams(t, clips)
	addToy(t, data, "toy", "toy.onnx", "")
	t.Run("real model", func(t *testing.T) {
		path := filepath.Join(realModel(t, data), "clips", "vn_bridge.mp4")
		streams["real"] = func() (sim.Source, error) { return avdec.Open(path) }
	})
	cams = streamtest.Serve(t, sim.Config{Streams: streams})
	var b strings.Builder
	for _, name := range names {
		b.WriteString(chaosCamera(name, cams.URL(name), "toy"))
	}
	if streams["real"] != nil {
		b.WriteString(chaosCamera("real", cams.URL("real"), "yolox-nano"))
	} else {
		t.Log("no real model and clips here: the toy model on drawn clips only")
	}
	cams.Stream("frozen").Freeze(true)
	return cams, b.String(), chaosCamera("frozen", cams.URL("frozen"), "toy")
}

// truth is everything that pipelines handed over to be stored.
type truth struct {
	mu      sync.Mutex
	changes []changeRow
}

// watch makes the server's recorder tell what it hands over.
func (tr *truth) watch(s *server) {
	record := s.manager.deps.record
	submit := record.submit
	record.submit = func(changes ...events.Change) {
		tr.mu.Lock()
		for _, c := range changes {
			tr.changes = append(tr.changes, changeRow{ID: c.Event.ID, State: string(c.Event.State)})
		}
		tr.mu.Unlock()
		submit(changes...)
	}
}

func (tr *truth) all() []changeRow {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return slices.Clone(tr.changes)
}

// synthetic hands over n events a second, raised and at once cleared, beside
// those of the cameras.
func synthetic(ctx context.Context, record *recorder, n int) {
	tick := time.NewTicker(time.Second / time.Duration(n))
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		at := time.Now().UTC().Truncate(time.Microsecond)
		key := events.Key{Source: "synthetic", Kind: "intrusion", Object: strconv.Itoa(i)}
		ev := events.Event{
			ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityLow, Object: key.Object,
			Source: events.Source{Type: "camera", ID: key.Source, Name: key.Source}, OccurredAt: at, Workflow: events.Workflow{State: "new"},
		}
		record.Submit([]events.Change{{Event: ev}})
		ev.State, ev.ClearedAt = events.StateCleared, at
		record.Submit([]events.Change{{Event: ev}})
	}
}

// startDatabase runs PostgreSQL in dir until stop is called or the test ends.
func startDatabase(t *testing.T, dir string) (dsn string, stop func()) {
	t.Helper()
	c, err := pgcluster.New(pgcluster.Config{Dir: dir})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	ready, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	require.NoError(t, c.Ready(ready))
	return c.DSN(), stop
}

// TestChaosOutage stops PostgreSQL for 60 s under load: everything that was
// handed over before, during and after it is stored, once.
func TestChaosOutage(t *testing.T) { //nolint:paralleltest // it needs the machine
	const away = 60 * time.Second
	useRuntime(t)
	dir, data := filepath.Join(eventstest.OpenTempDir(t), "pg"), t.TempDir()
	dsn, stopDatabase := startDatabase(t, dir)
	db := testDatabase{dsn: dsn, data: data, config: writeFile(t, "xacam.yaml",
		fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\ndatabase: {dsn: %q}\nlog: {level: error}\n", data, dsn))}
	_, file, still := chaosCameras(t, data)
	var handed truth
	s := serve(t, db, nil, handed.watch)
	<-s.db.Ready()
	w := &witness{base: s.base}
	load, stopLoad := context.WithCancel(t.Context())
	watch, stopWatch := context.WithCancel(t.Context())
	var background sync.WaitGroup
	defer background.Wait()
	defer stopLoad()
	defer stopWatch()
	background.Go(func() { w.follow(watch) })
	background.Go(func() { synthetic(load, s.manager.deps.record, 50) })
	apply(t, db, file)
	time.Sleep(10 * time.Second)

	before := len(handed.all())
	stopDatabase()
	time.Sleep(away)
	during, spooled := len(handed.all())-before, s.spool.Status()
	assert.Positive(t, spooled.Disk, "changes wait on disk")
	assert.Equal(t, "down", readiness(t, s.base), "and the server says so")
	startDatabase(t, dir)
	back := time.Now()
	within(t, time.Minute, "the spool is empty again", func() bool { return s.spool.Status().Disk == 0 })
	drained := time.Since(back)
	time.Sleep(5 * time.Second)
	stopLoad()
	apply(t, db, still, "--prune")
	within(t, 15*time.Second, "everything is stored and shown", func() bool {
		return s.spool.Depth() == 0 && len(w.all()) >= len(handed.all())+int(w.sealed.Load())
	})
	s.stop()
	stopWatch()
	background.Wait()

	want, rows := handed.all(), ledger(t, dsn)
	w.check(t, rows)
	stored := make(map[changeRow]bool)
	for _, r := range rows {
		stored[changeRow{ID: r.ID, State: r.State}] = true
	}
	for _, c := range want {
		require.True(t, stored[c], "lost: %s %s", c.State, c.ID)
	}
	require.Len(t, slices.DeleteFunc(slices.Clone(rows), func(r changeRow) bool { return r.step == events.StepEvidence }), len(want),
		"nothing is there that was not handed over")
	fmt.Fprintf(os.Stdout, "chaos: PostgreSQL away for %s: %d changes handed over before, %d meanwhile (%d on disk, %d kB), %d in all; lost 0, doubled 0; "+
		"the spool was empty %.1f s after the return; the stream gave all of them in order over %d connections\n",
		away, before, during, spooled.Disk, spooled.Bytes/1000, len(rows), drained.Seconds(), w.connects)
}

//go:build cgo && chaos

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/outbox"
)

var deliveryKills = flag.Int("chaos.kills", 100, "how often something is killed while events are delivered") //nolint:gochecknoglobals // a flag

// chain is a server under load, its database and a receiver.
type chain struct {
	t        *testing.T
	binary   string
	config   string
	data     string
	base     string
	received string // file of the receiver
	listen   string // address of the receiver
	secret   string
	dsn      string
	server   *process
	receiver *process
}

func (c *chain) start(args ...string) *process {
	c.t.Helper()
	p := &process{exec.CommandContext(context.WithoutCancel(c.t.Context()), c.binary, args...), new(lockedBuffer)}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	require.NoError(c.t, p.cmd.Start())
	return p
}

func (c *chain) startReceiver() {
	c.t.Helper()
	c.receiver = c.start("webhook", "listen", "--listen", c.listen, "--secret", c.secret, "--store", c.received)
}

func (c *chain) startServer(args ...string) {
	c.t.Helper()
	c.server = c.start(append(args, "-c", c.config)...)
}

func (c *chain) ready() {
	c.t.Helper()
	within(c.t, 2*time.Minute, "ready", func() bool { return readiness(c.t, c.base) == "ok" })
}

// killPostgres kills the private database; the server starts it again.
func (c *chain) killPostgres() bool {
	b, err := os.ReadFile(filepath.Join(c.data, "postgres", "pgdata", "postmaster.pid"))
	if err != nil {
		return false // it is being started
	}
	pid, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(string(b), "\n", 2)[0]))
	return err == nil && pid > 1 && syscall.Kill(pid, syscall.SIGKILL) == nil
}

// TestChaosDelivery kills the server, its database and the receiver at random
// moments, 100 times, under 50 events a second. At the end every committed
// change has arrived, in order within its lane, doubles have the same id, and
// the chains of packages and of what people did are whole.
func TestChaosDelivery(t *testing.T) { //nolint:paralleltest // it needs the machine
	dir := eventstest.OpenTempDir(t)
	cfg := defaultConfig()
	cfg.Data = filepath.Join(dir, "data")
	require.NoError(t, makeDataDir(cfg.Data))
	cluster, err := newCluster(cfg, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	address := freePort(t)
	c := &chain{
		t: t, binary: buildBinary(t), data: cfg.Data, base: "http://" + address, listen: freePort(t), dsn: cluster.DSN(),
		received: filepath.Join(dir, "received.jsonl"),
	}
	c.config = writeFile(t, "xacam.yaml", fmt.Sprintf("listen: %s\ndata: %s\n", address, cfg.Data))
	c.startServer("serve")
	c.ready()
	out := apply(t, testDatabase{config: c.config}, "endpoint: tinh\nurl: http://"+c.listen+"/\nallow_cidrs: [127.0.0.0/8]\nrate: 500\n")
	_, secret, ok := strings.Cut(out, "not shown again: ")
	require.True(t, ok, out)
	c.secret = strings.TrimSpace(secret)
	c.server.end(t, syscall.SIGTERM)
	c.startReceiver()
	c.startServer("bench", "load", "--rate", "50")
	c.ready()

	killed := map[string]int{}
	for range *deliveryKills {
		time.Sleep(time.Duration(1000+rand.IntN(6000)) * time.Millisecond)
		switch rand.IntN(3) {
		case 0:
			killed["server"]++
			c.server.end(t, syscall.SIGKILL)
			if killed["server"]%3 == 0 {
				c.killPostgres()
			}
			c.startServer("bench", "load", "--rate", "50")
		case 1:
			if c.killPostgres() {
				killed["database"]++
			}
		case 2:
			killed["receiver"]++
			c.receiver.end(t, syscall.SIGKILL)
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
			c.startReceiver()
		}
	}
	c.ready()
	c.server.end(t, syscall.SIGTERM)
	c.startServer("serve")
	c.ready()
	c.check(killed)
}

// check waits until everything is through, and compares.
func (c *chain) check(killed map[string]int) {
	t := c.t
	ctx := t.Context()
	count := func(sql string) (n int64) {
		conn, err := pgx.Connect(ctx, c.dsn)
		require.NoError(t, err)
		defer conn.Close(ctx)
		require.NoError(t, conn.QueryRow(ctx, sql).Scan(&n))
		return n
	}
	within(t, 10*time.Minute, "every delivery", func() bool {
		return count("SELECT count(*) FROM delivery WHERE state IN ('pending', 'parked')") == 0
	})
	drafts := filepath.Join(c.data, "evidence-drafts")
	within(t, 10*time.Minute, "every package", func() bool {
		left, err := filepath.Glob(filepath.Join(drafts, "*.json"))
		require.NoError(t, err)
		return len(left) == 0
	})
	require.Zero(t, count("SELECT count(*) FROM delivery WHERE state = 'dead'"))
	require.Equal(t, count("SELECT max(sequence) FROM event_change"), count("SELECT count(*) FROM event_change"), "no gap")

	conn, err := pgx.Connect(ctx, c.dsn)
	require.NoError(t, err)
	rows, err := conn.Query(ctx, "SELECT event_id::text, step, sequence FROM event_change WHERE step IN ('raised', 'cleared')")
	require.NoError(t, err)
	want := map[string]int64{}
	var id, step string
	var sequence int64
	_, err = pgx.ForEachRow(rows, []any{&id, &step, &sequence}, func() error {
		want[outbox.MessageID(id, events.Step(step), sequence)] = sequence
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, conn.Close(ctx))

	got, doubles := c.arrived(want)
	missing := 0
	for id := range want {
		if !got[id] {
			missing++
		}
	}
	assert.Zero(t, missing, "committed, but never delivered")
	packages := count("SELECT count(*) FROM manifest")
	c.server.end(t, syscall.SIGTERM)
	c.receiver.end(t, syscall.SIGTERM)
	for _, args := range [][]string{{"audit", "verify"}, {"evidence", "verify", "--all"}, {"fsck", "--hash"}} {
		r := xacam(t, append(args, "-c", c.config)...)
		assert.Equal(t, exitOK, r.code, "%v: %s%s", args, r.stdout, r.stderr)
	}
	t.Logf("killed %v; %d changes committed, %d arrived, %d of them more than once, %d missing; %d packages sealed",
		killed, len(want), len(got), doubles, missing, packages)
}

// arrived reads what the receiver stored: each message once, since it drops what
// it has seen before, and in order within its lane.
func (c *chain) arrived(want map[string]int64) (got map[string]bool, doubles int64) {
	t := c.t
	f, err := os.Open(c.received)
	require.NoError(t, err)
	defer f.Close()
	got = make(map[string]bool)
	last := map[bool]int64{}
	wrong := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			ID   string `json:"webhook_id"`
			Body struct {
				Data struct {
					Sequence int64  `json:"sequence"`
					Severity string `json:"severity"`
				} `json:"data"`
			} `json:"body"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &m))
		number, known := want[m.ID]
		if !known {
			continue // a heartbeat
		}
		require.Equal(t, number, m.Body.Data.Sequence, m.ID)
		require.False(t, got[m.ID], "%s was stored twice", m.ID)
		got[m.ID] = true
		urgent := m.Body.Data.Severity == "critical"
		if number < last[urgent] {
			wrong++
		}
		last[urgent] = number
	}
	require.NoError(t, lines.Err())
	assert.Zero(t, wrong, "arrived after a later one of the same lane")
	conn, err := pgx.Connect(t.Context(), c.dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM (
		SELECT message_id FROM attempt WHERE outcome = 'delivered' AND kind = 'delivery' GROUP BY message_id HAVING count(*) > 1) AS d`).Scan(&doubles))
	return got, doubles
}

package rtsp_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/ring"
	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

var idle = flag.Int("idle.cameras", 0, "measure what so many idle cameras cost; 0 skips") //nolint:gochecknoglobals // a flag

// idleServer, in the environment, makes the test binary serve cameras: the
// cost of the server must not count.
const idleServer = "XACAM_TEST_IDLE_SERVER"

// heavy is a clip of 1080p at 12.5 frames a second and 2 Mbit/s as far as
// ingest can tell: real parameter sets, slices of the right sizes.
func heavy(f media.Format) *streamtest.Clip {
	var units []*media.AccessUnit
	for i := range 50 { // 4 s, a key frame every 2 s
		size, head := 15_000, byte(0x41)
		if i%25 == 0 {
			size, head = 140_000, 0x65
		}
		n := bytes.Repeat([]byte{0x5a}, size)
		n[0], n[1] = head, 0x88
		units = append(units, &media.AccessUnit{PTS: time.Duration(i) * 80 * time.Millisecond, Key: i%25 == 0, NALUs: [][]byte{n}})
	}
	f.FPS = 12.5
	return streamtest.NewClip(f, units)
}

// keeper is what an idle camera does with its stream.
type keeper struct{ *ring.Ring }

func (keeper) OnFormat(media.Format)               {}
func (keeper) OnState(rtsp.State)                  {}
func (k keeper) OnAccessUnit(au *media.AccessUnit) { k.Add(au) }

// TestIdleCost measures ingest and ring: `go test -run IdleCost -idle.cameras 10 -v`.
// Budgets: 0.2 % of a core and 25 MB a camera.
func TestIdleCost(t *testing.T) { //nolint:paralleltest // it measures
	if os.Getenv(idleServer) != "" {
		srv := streamtest.Serve(t, sim.Config{Streams: map[string]func() (sim.Source, error){
			"a": func() (sim.Source, error) { return heavy(streamtest.Open(t, streamtest.H264).Format()), nil },
		}})
		fmt.Fprintln(os.Stdout, "addr", srv.Addr())
		time.Sleep(2 * time.Minute)
		return
	}
	if *idle == 0 {
		t.Skip("set -idle.cameras")
	}
	for _, transport := range []rtsp.Transport{rtsp.TCP, rtsp.UDP} { //nolint:paralleltest // it measures
		t.Run(string(transport), func(t *testing.T) { measureIdle(t, transport) })
	}
}

func measureIdle(t *testing.T, transport rtsp.Transport) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=TestIdleCost")
	cmd.Env = append(os.Environ(), idleServer+"=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	buf := make([]byte, 100)
	n, err := out.Read(buf)
	require.NoError(t, err)
	addr, _, _ := strings.Cut(strings.TrimPrefix(string(buf[:n]), "addr "), "\n")

	before := resident(t)
	var rings []*ring.Ring
	var clients []*rtsp.Client
	for range *idle {
		r := ring.New(ring.Config{})
		c, _ := start(t, rtsp.Config{URL: "rtsp://" + addr + "/a", Transport: transport, Handler: keeper{r}})
		rings, clients = append(rings, r), append(clients, c)
	}
	time.Sleep(15 * time.Second) // rings are full
	cpu, began := used(t), time.Now()
	time.Sleep(15 * time.Second)
	share := (used(t) - cpu).Seconds() / time.Since(began).Seconds() / float64(*idle)
	require.NotZero(t, clients[0].Stats().AccessUnits)
	grown := resident(t) - before
	runtime.GC()
	debug.FreeOSMemory()
	t.Logf("%s, %d cameras: %.3f %% of a core and %.1f MB resident each (%.1f MB in the ring); lost %d",
		transport, *idle, 100*share, float64(grown)/float64(*idle)/1e6, float64(rings[0].Stats().Bytes)/1e6, clients[0].Stats().Lost)
}

func used(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident returns the resident memory in bytes (proc(5)).
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

package rtsp_test

import (
	"bufio"
	"context"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/rtsp"
	"github.com/xacam/xacam/streams/sim"
	"github.com/xacam/xacam/streams/streamtest"
)

var interop = flag.Duration("interop.duration", 3*time.Second, "how long each foreign server is read") //nolint:gochecknoglobals // a flag

// gstServer serves /h264 and /h265 with GStreamer's RTSP server.
const gstServer = `
import sys, gi
gi.require_version('Gst', '1.0')
gi.require_version('GstRtspServer', '1.0')
from gi.repository import Gst, GstRtspServer, GLib
Gst.init(None)
s = GstRtspServer.RTSPServer()
s.set_address('127.0.0.1')
s.set_service(sys.argv[1])
src = '( videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! '
for name, enc in (
    ('h264', 'x264enc tune=zerolatency key-int-max=25 speed-preset=ultrafast bitrate=500 threads=1 ! rtph264pay name=pay0 pt=96 )'),
    ('h265', 'x265enc tune=zerolatency key-int-max=25 speed-preset=ultrafast bitrate=500 option-string=pools=1:frame-threads=1 ! rtph265pay name=pay0 pt=96 )')):
    f = GstRtspServer.RTSPMediaFactory()
    f.set_launch(src + enc)
    f.set_shared(True)
    s.get_mount_points().add_factory('/' + name, f)
if s.attach(None) == 0:
    sys.exit('cannot listen')
print('ready', flush=True)
GLib.MainLoop().run()
`

// freePort returns a port that was free a moment ago.
func freePort(tb testing.TB) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	require.NoError(tb, err)
	return port
}

// python prefers the interpreter of the system, which is the one that sees its
// packages.
func python() string {
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		return "/usr/bin/python3"
	}
	return "python3"
}

// gstreamer runs the server until the returned function kills it.
func gstreamer(tb testing.TB, port string) (kill func()) {
	tb.Helper()
	script := filepath.Join(tb.TempDir(), "server.py")
	require.NoError(tb, os.WriteFile(script, []byte(gstServer), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, python(), script, port)
	out, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		cancel()
		tb.Skip("python3 is not installed: ", err)
	}
	kill = func() {
		cancel()
		_ = cmd.Wait()
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		kill()
		tb.Skip("GStreamer's RTSP server is not installed (python3-gi, gir1.2-gst-rtsp-server-1.0): ", stderr.String())
	}
	return kill
}

// report checks a stream of n seconds and logs what was measured.
func report(tb testing.TB, what string, c *rtsp.Client, units []streamtest.Received, fps float64) {
	tb.Helper()
	require.NotEmpty(tb, units, what)
	var worst time.Duration
	keys := 0
	for i, u := range units {
		if u.Key {
			keys++
		}
		if i == 0 {
			continue
		}
		worst = max(worst, u.At.Sub(units[i-1].At))
		require.False(tb, u.Gap, "%s: gap before unit %d", what, i)
		require.Greater(tb, u.PTS, units[i-1].PTS, "%s: PTS of unit %d", what, i)
	}
	last := units[len(units)-1]
	span := (last.PTS - units[0].PTS).Seconds()
	st := c.Stats()
	assert.InDelta(tb, span*fps+1, len(units), 2+span*fps/500, "%s: units for its PTS", what)
	assert.Zero(tb, st.Jumps, what)
	tb.Logf("%s: %d access units, %d keys in %.2f s of PTS, %.1f s of arrival; longest pause %s; lost %d; sender reports %t, clock offset %s",
		what, len(units), keys, span, last.At.Sub(units[0].At).Seconds(), worst.Round(time.Millisecond), st.Lost, st.Reports,
		st.ClockOffset.Round(time.Millisecond))
}

// TestInteropGStreamer reads a foreign server, H.264 and H.265, TCP and UDP.
func TestInteropGStreamer(t *testing.T) { //nolint:paralleltest // its timings are the point
	port := freePort(t)
	t.Cleanup(gstreamer(t, port))
	type camera struct {
		name string
		c    *rtsp.Client
		rec  *recorder
	}
	var cams []camera
	for _, codec := range []string{"h264", "h265"} {
		for _, transport := range []rtsp.Transport{rtsp.TCP, rtsp.UDP} {
			name := codec + "/" + string(transport)
			c, rec := start(t, rtsp.Config{URL: "rtsp://127.0.0.1:" + port + "/" + codec, Transport: transport})
			// On a busy machine GStreamer sometimes forgets a client that joins while
			// its pipeline starts.
			for range 2 {
				for end := time.Now().Add(12 * time.Second); len(rec.Units()) == 0 && time.Now().Before(end); {
					time.Sleep(50 * time.Millisecond)
				}
				if len(rec.Units()) > 0 {
					break
				}
				t.Logf("%s: nothing comes, joining again", name)
				c, rec = start(t, rtsp.Config{URL: "rtsp://127.0.0.1:" + port + "/" + codec, Transport: transport})
			}
			cams = append(cams, camera{name, c, rec})
		}
	}
	for _, cam := range cams {
		end := time.Now().Add(*interop)
		cam.rec.Wait(t, *interop+30*time.Second, cam.name, func(u []streamtest.Received) bool {
			return len(u) > 0 && u[len(u)-1].PTS >= *interop+3*time.Second || time.Now().After(end.Add(20*time.Second))
		})
		units := cam.rec.Units()
		// While clients join, GStreamer stops its shared pipeline and loses
		// packets, and x265enc starts slowly and then hands out what it held
		// back: judged from the first key frame after 2 s.
		first := 0
		for first < len(units)-1 && (units[first].PTS < 2*time.Second || !units[first].Key) {
			first++
		}
		// An encoder short of processor time lags by seconds; its sender reports
		// still tell when the pictures were due.
		checkUnits(t, cam.rec.Formats()[0].Codec, units[first:], 15*time.Second)
		report(t, cam.name, cam.c, units[first:], 25)
	}
}

// TestInteropOutage kills a foreign camera and brings it back, while another
// camera goes on.
func TestInteropOutage(t *testing.T) { //nolint:paralleltest // its timings are the point
	port := freePort(t)
	kill := gstreamer(t, port)
	other := streamtest.Serve(t, sim.Config{Streams: streamtest.Streams(t, map[string]string{"a": streamtest.H264})})
	calm, calmRec := start(t, rtsp.Config{URL: other.URL("a")})
	_, rec := start(t, rtsp.Config{URL: "rtsp://127.0.0.1:" + port + "/h264"})
	rec.Wait(t, 10*time.Second, "video", streamtest.AtLeast(25))
	calmRec.Wait(t, 10*time.Second, "video", streamtest.AtLeast(25))

	killed := time.Now()
	kill()
	rec.until(t, rtsp.Online, time.Second)
	rec.until(t, rtsp.Offline, 10*time.Second)
	noticed := time.Since(killed)
	for range 2 {
		rec.until(t, rtsp.Offline, 10*time.Second)
	}
	n := len(rec.Units())
	t.Cleanup(gstreamer(t, port))
	back := time.Now()
	rec.Wait(t, 5*time.Second, "video within 5 s of its return", streamtest.AtLeast(n+1))
	t.Logf("offline after %s; video again %s after its return", noticed.Round(time.Millisecond), time.Since(back).Round(time.Millisecond))
	report(t, "the other camera", calm, calmRec.Units(), 25)
}

// TestInteropPerl reads RTSP::Server (Debian package rtsp-server-perl), into
// which ffmpeg publishes.
func TestInteropPerl(t *testing.T) { //nolint:paralleltest // its timings are the point
	server, err := exec.LookPath("rtsp-server-perl")
	if err != nil {
		t.Skip("rtsp-server-perl is not installed")
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	client, source := freePort(t), freePort(t)
	background(t, server, "--clientport", client, "--serverport", source, "--rtp_start_port", strconv.Itoa(20000+os.Getpid()%10000*2))
	dialable(t, "127.0.0.1:"+source)
	background(t, "ffmpeg", "-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "25", "-threads", "1", "-f", "rtsp", "-rtsp_transport", "udp", "rtsp://127.0.0.1:"+source+"/cam")
	c, rec := start(t, rtsp.Config{URL: "rtsp://127.0.0.1:" + client + "/cam", Transport: rtsp.UDP})
	rec.Wait(t, *interop+20*time.Second, "video", func(u []streamtest.Received) bool {
		return len(u) > 0 && u[len(u)-1].PTS >= *interop
	})
	report(t, "perl", c, rec.Units(), 25)
}

// background runs a program until the test ends.
func background(tb testing.TB, name string, args ...string) {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = os.Stderr
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
}

func dialable(tb testing.TB, addr string) {
	tb.Helper()
	require.Eventually(tb, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 10*time.Second, 50*time.Millisecond, addr)
}

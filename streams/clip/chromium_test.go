package clip_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/clip"
	"github.com/xacam/xacam/streams/streamtest"
)

// page plays a clip: first at the event, then to its end.
const page = `<!doctype html><video id=v muted src=/clip.mp4></video><script>
const v = document.getElementById('v'), tell = o => fetch('/result', {method: 'POST', body: JSON.stringify(o)});
v.onerror = () => tell({error: v.error.message || 'code ' + v.error.code});
v.onloadedmetadata = () => { v.currentTime = 2.345; };
v.onseeked = () => {
  const c = document.createElement('canvas'); c.width = v.videoWidth; c.height = v.videoHeight;
  const g = c.getContext('2d'); g.drawImage(v, 0, 0);
  let light = 0; for (const x of g.getImageData(0, 0, c.width, c.height).data) light += x;
  window.seen = {at: v.currentTime, light: light / (c.width * c.height * 4)};
  v.onseeked = null; v.playbackRate = 2; v.play();
};
v.onended = () => tell({duration: v.duration, width: v.videoWidth, height: v.videoHeight, end: v.currentTime,
  frames: v.getVideoPlaybackQuality().totalVideoFrames, ...window.seen});
</script>`

// played is what the page tells.
type played struct {
	Error             string
	Duration, End, At float64
	Light             float64
	Width, Height     int
	Frames            int
}

// play shows a clip in Chromium.
func play(t *testing.T, path string) played {
	t.Helper()
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	result := make(chan played, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte(page))
		case "/clip.mp4":
			http.ServeFile(w, r, path)
		case "/result":
			var p played
			if json.NewDecoder(r.Body).Decode(&p) == nil {
				select {
				case result <- p:
				default:
				}
			}
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
		"--remote-debugging-port=0", "--user-data-dir="+t.TempDir(), srv.URL)
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // its helpers too
	require.NoError(t, cmd.Start())
	defer func() {
		cancel()
		_ = cmd.Wait()
		// Helpers that outlive it for a moment still write into the profile.
		for end := time.Now().Add(5 * time.Second); syscall.Kill(-cmd.Process.Pid, 0) == nil && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
	}()
	select {
	case p := <-result:
		return p
	case <-ctx.Done():
		require.Fail(t, "chromium did not play the clip within a minute")
		return played{}
	}
}

// A browser shows the clip, its length, and the picture at the event.
//
//nolint:paralleltest // one browser at a time
func TestChromiumPlays(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	for _, name := range []string{streamtest.H264, streamtest.H264B, streamtest.H265} {
		t.Run(name, func(t *testing.T) {
			format, aus := units(t, name)
			path := filepath.Join(t.TempDir(), "clip.mp4")
			write(t, path, clip.Config{Format: format, Event: began.Add(2345 * time.Millisecond)}, aus)
			p := play(t, path)
			if name == streamtest.H265 && p.Error != "" {
				t.Skipf("this Chromium has no H.265: %s", p.Error)
			}
			require.Empty(t, p.Error)
			assert.InDelta(t, 4, p.Duration, .1)
			assert.InDelta(t, 4, p.End, .1)
			assert.InDelta(t, 2.345, p.At, .01)
			assert.Equal(t, []int{320, 240}, []int{p.Width, p.Height})
			assert.Greater(t, p.Light, 20.0)
			t.Logf("%+v", p)
		})
	}
}

// Package probe connects to a camera as the server would and tells, in plain
// words, what it sends and what to change on it.
package probe

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/streams/rtsp"
)

// Config describes one probe.
type Config struct {
	URL       string
	Transport rtsp.Transport // default TCP
	Duration  time.Duration  // of watching after the first access unit; default 10s
	// Decode, if not nil, gets the format and the access units from the first
	// key unit on, at least one and at most a group, to make a snapshot.
	Decode func(f media.Format, units []*media.AccessUnit) error
	Detect float64 // frames a second that detection looks at; default 5
}

// Report is what was seen. Its JSON is stable; durations are in seconds.
type Report struct {
	URL           string   `json:"url"` // password masked
	Transport     string   `json:"transport"`
	Codec         string   `json:"codec"`
	Profile       string   `json:"profile"`
	Width         int      `json:"width"`
	Height        int      `json:"height"`
	FPS           float64  `json:"fps"`             // measured
	DeclaredFPS   float64  `json:"declared_fps"`    // in the parameter sets; 0 when absent
	KeyInterval   float64  `json:"key_interval_s"`  // longest; 0 when only one key frame came
	KeyAtLeast    float64  `json:"key_at_least_s"`  // no second key frame for so long; 0 when one came
	BitRate       float64  `json:"bit_rate_bps"`    // of the video
	Jitter        float64  `json:"jitter_s"`        // standard deviation of arrival against the timestamps
	LongestPause  float64  `json:"longest_pause_s"` // between two arrivals
	FirstFrame    float64  `json:"first_frame_s"`   // from dialling to the first key frame
	BFrames       bool     `json:"b_frames"`        // timestamps go back
	SenderReports bool     `json:"sender_reports"`  // the camera tells its clock
	ClockOffset   float64  `json:"clock_offset_s"`  // the camera's clock − ours
	AccessUnits   int      `json:"access_units"`    //
	Lost          uint64   `json:"packets_lost"`    //
	Gaps          uint64   `json:"gaps"`            //
	Jumps         uint64   `json:"timestamp_jumps"` //
	SnapshotError string   `json:"snapshot_error"`  // empty when it worked or was not asked
	Advice        []string `json:"advice"`          // most important first; never null
}

func (c Config) withDefaults() Config {
	if c.Duration <= 0 {
		c.Duration = 10 * time.Second
	}
	if c.Detect <= 0 {
		c.Detect = 5
	}
	if c.Transport == "" {
		c.Transport = rtsp.TCP
	}
	return c
}

// sample is one access unit without its payload.
type sample struct {
	at   time.Duration // since the probe began
	pts  time.Duration
	size int
	key  bool
}

// maxSamples bounds what a probe keeps; 1 h at 100 frames a second.
const maxSamples = 360_000

// watcher is the handler of the session.
type watcher struct {
	begin time.Time
	limit time.Duration
	done  context.CancelFunc

	mu      sync.Mutex
	format  media.Format
	samples []sample
	group   []*media.AccessUnit // the first one, for the snapshot
	closed  bool                // the group is complete
}

// OnFormat implements rtsp.Handler.
func (w *watcher) OnFormat(f media.Format) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) == 0 {
		w.format = f
	}
}

// OnState implements rtsp.Handler.
func (*watcher) OnState(rtsp.State) {}

// OnAccessUnit implements rtsp.Handler.
func (w *watcher) OnAccessUnit(au *media.AccessUnit) {
	at := time.Since(w.begin)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) < maxSamples {
		w.samples = append(w.samples, sample{at: at, pts: au.PTS, size: au.Size(), key: au.Key})
	}
	w.closed = w.closed || au.Key && len(w.group) > 0
	if !w.closed && len(w.group) < 300 {
		w.group = append(w.group, au)
	}
	if at-w.samples[0].at >= w.limit {
		w.done()
	}
}

// Run watches the camera for Duration. The error is that of the session, an
// *rtsp.Error, if no video came at all; a session that breaks later is part
// of the report's advice.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &watcher{begin: time.Now(), limit: cfg.Duration, done: cancel}
	c, err := rtsp.New(rtsp.Config{URL: cfg.URL, Transport: cfg.Transport, Handler: w})
	if err != nil {
		return Report{}, err
	}
	err = c.Session(ctx, nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.samples) == 0 {
		if err == nil {
			err = fmt.Errorf("probe %s: stopped before the first key frame", c.URL())
		}
		return Report{}, err
	}
	r := measure(w.format, w.samples)
	st := c.Stats()
	r.URL, r.Transport = c.URL().String(), string(cfg.Transport)
	r.SenderReports, r.ClockOffset = st.Reports, st.ClockOffset.Seconds()
	r.Lost, r.Gaps, r.Jumps = st.Lost, st.Gaps, st.Jumps
	if cfg.Decode != nil {
		if err := cfg.Decode(w.format, w.group); err != nil {
			r.SnapshotError = err.Error()
		}
	}
	r.Advice = advise(r, cfg.Detect)
	if err != nil {
		r.Advice = slices.Insert(r.Advice, 0, "The session broke: "+err.Error()+".")
	}
	return r, nil
}

// measure computes what the samples show. There is at least one.
func measure(f media.Format, s []sample) Report {
	r := Report{
		Codec: f.Codec.String(), Profile: profile(f), Width: f.Width, Height: f.Height, DeclaredFPS: f.FPS,
		FirstFrame: s[0].at.Seconds(), AccessUnits: len(s), Advice: []string{},
	}
	var maxPTS, pause time.Duration
	bytes, lastKey, keys := 0, time.Duration(0), 0
	for i, x := range s {
		bytes += x.size
		if x.key {
			keys++
			if keys > 1 {
				r.KeyInterval = max(r.KeyInterval, (x.pts - lastKey).Seconds())
			}
			lastKey = x.pts
		}
		if i > 0 {
			pause = max(pause, x.at-s[i-1].at)
			r.BFrames = r.BFrames || x.pts < s[i-1].pts
		}
		maxPTS = max(maxPTS, x.pts)
	}
	if keys == 1 {
		r.KeyAtLeast = maxPTS.Seconds()
	}
	r.LongestPause = pause.Seconds()
	if span := maxPTS.Seconds(); span > 0 {
		r.FPS = float64(len(s)-1) / span
		r.BitRate = float64(bytes-s[len(s)-1].size) * 8 / span
	}
	r.Jitter = jitter(s)
	return r
}

// jitter is the standard deviation of arrival − timestamp, after the first
// second, in which servers send what they had stored. Timestamps are taken in
// order, so that B-frames do not count.
func jitter(s []sample) float64 {
	pts := make([]time.Duration, len(s))
	for i, x := range s {
		pts[i] = x.pts
	}
	slices.Sort(pts)
	var n, mean, m2 float64
	for i, x := range s {
		if pts[i] < time.Second && len(s) > 50 {
			continue
		}
		d := (x.at - pts[i]).Seconds()
		n++
		delta := d - mean
		mean += delta / n
		m2 += delta * (d - mean)
	}
	if n < 2 {
		return 0
	}
	return math.Sqrt(m2 / n)
}

package backtest_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/backtest"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/tracklog"
)

// BenchmarkDay tries two rules on a day of an ordinary camera at 5 fps: a fifth
// of the time somebody is in their zone, and two cars are parked. Nine tenths of
// the time go to the rules and the lifecycle, as live, one tenth to reading.
func BenchmarkDay(b *testing.B) {
	f, err := camera.DecodeJSON([]byte(market))
	require.NoError(b, err)
	start := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	dir := b.TempDir()
	log, err := tracklog.New(tracklog.Config{Dir: dir, Queue: 10_000})
	require.NoError(b, err)
	tape := log.Tape("cho", tracklog.Run{Started: start, FPS: 5})
	const scenes = 24 * 3600 * 5
	v := visits{interval: time.Minute, stay: 12 * time.Second, from: start}
	car := geom.Box{Min: geom.Point{X: 0.1, Y: 0.1}, Max: geom.Point{X: 0.2, Y: 0.2}}
	for i := range scenes {
		at := start.Add(time.Duration(i) * 200 * time.Millisecond)
		s := v.scene(at)
		for j := range s.Tracks {
			t := &s.Tracks[j]
			t.ID += 10
			d := float64(i%60)/400 + float64(i%7)/3000
			t.Prev = t.Box
			t.Box.Min.X, t.Box.Max.X, t.StillFor = t.Box.Min.X+d, t.Box.Max.X+d, 0
		}
		for id := range uint64(2) {
			s.Tracks = append([]vision.Track{{ID: id + 1, Label: "car", Score: 0.9, Box: car, Prev: car, First: start, Seen: at, StillFor: at.Sub(start)}}, s.Tracks...)
		}
		tape.Add(s)
	}
	tape.Close()
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	require.NoError(b, log.Run(ctx))
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		got, err := backtest.Run(b.Context(), dir, backtest.Request{File: f, From: start, To: start.AddDate(0, 0, 1), Calendar: hanoi()})
		require.NoError(b, err)
		require.Equal(b, uint64(scenes), got.Scenes)
		require.Greater(b, got.Rules[0].Events, 1000)
	}
	b.ReportMetric(float64(scenes)*float64(b.N)/b.Elapsed().Seconds(), "scenes/s")
	b.ReportMetric(7*b.Elapsed().Seconds()/float64(b.N), "s/week")
	b.ReportMetric(7*(cpu(b)-before).Seconds()/float64(b.N), "cpu-s/week")
}

// cpu returns the CPU time of this process so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

//go:build cgo

package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgcluster"
	"github.com/xacam/xacam/streams/media"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/geom"
)

// swinging is a Detector that sees one car drive to and fro.
type swinging struct{}

// Detector implements planner.detectors.
func (swinging) Detector(string) (vision.Detector, error) { return swinging{}, nil }

// Detect implements vision.Detector.
func (swinging) Detect(_ context.Context, f *media.Frame) ([]vision.Detection, error) {
	const period = 4 // seconds, to and fro
	u := math.Mod(float64(f.Captured.UnixMilli())/1000, period) / period
	x := .25 + .5*(1-math.Abs(2*u-1))
	return []vision.Detection{{Label: "car", Score: .8, Box: geom.Box{Min: geom.Point{X: x - .1, Y: .3}, Max: geom.Point{X: x + .1, Y: .7}}}}, nil
}

// counted returns what the server's metric says.
func (s *serving) counted(t *testing.T) (n int) {
	t.Helper()
	families, err := s.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "xacam_traffic_counted_total" {
			for _, m := range f.GetMetric() {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}

// stored returns what the API says, by direction.
func (s *serving) stored(t *testing.T) map[string]int {
	t.Helper()
	var list struct {
		Items []struct {
			Line, Class, Direction string
			Count                  int
		}
	}
	s.getJSON(t, "/api/v1/counts?camera=a&bucket=minute&from="+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), &list)
	out := make(map[string]int)
	for _, i := range list.Items {
		assert.Equal(t, "vach", i.Line)
		assert.Equal(t, "car", i.Class)
		out[i.Direction] += i.Count
	}
	return out
}

// TestServeCounts: every car that was counted is in the database in the end,
// once, though that went away, and the server was stopped meanwhile.
func TestServeCounts(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	dir := filepath.Join(eventstest.OpenTempDir(t), "pg")
	cluster, stopDatabase := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	db := testDatabase{data: t.TempDir()}
	db.config = writeFile(t, "xacam.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\ndatabase: {dsn: %q}\n", db.data, cluster.DSN()))
	s := serve(t, db, swinging{})
	<-s.db.Ready()
	apply(t, db, fmt.Sprintf(`
camera: a
url: %s
detect: {fps: 10, model: any}
lines: {vach: {from: [0.5,0.05], to: [0.5,0.95]}}
rules: [{name: dem, kind: traffic_count, line: vach, classes: [car]}]
`, address("a")))
	within(t, 20*time.Second, "both directions are stored", func() bool { return len(s.stored(t)) == 2 })

	stopDatabase()
	before := s.counted(t)
	within(t, 20*time.Second, "counting goes on", func() bool { return s.counted(t) >= before+2 && s.tally.Waiting() > 0 })
	s.stop()
	total := s.counted(t)
	assert.FileExists(t, filepath.Join(db.data, "spool", "counts.jsonl"))

	eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	s = serve(t, db, swinging{})
	<-s.db.Ready()
	within(t, 20*time.Second, "the new run counts too", func() bool { return s.counted(t) > 0 })
	within(t, 20*time.Second, "everything is stored", func() bool {
		got := s.stored(t)
		now := total + s.counted(t)
		return got["a_to_b"]+got["b_to_a"] == now && s.tally.Waiting() == 0
	})
	assert.InDelta(t, s.stored(t)["a_to_b"], s.stored(t)["b_to_a"], 2)
}

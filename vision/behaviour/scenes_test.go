package behaviour_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/visiontest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestScenes replays every recorded scene of every registered kind. A kind with
// fewer than three scenes that raise something and three that do not fails:
// adding a kind means adding its evidence.
func TestScenes(t *testing.T) {
	t.Parallel()
	for _, kind := range behaviour.Kinds() {
		paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", "scenes", string(kind), "*.jsonl"))
		require.NoError(t, err)
		raising := 0
		for _, path := range paths {
			golden, _ := os.ReadFile(goldenOf(path))
			if bytes.Contains(golden, []byte(" raised ")) || bytes.Contains(golden, []byte("\ncounted ")) {
				raising++
			}
			t.Run(string(kind)+"/"+strings.TrimSuffix(filepath.Base(path), ".jsonl"), func(t *testing.T) {
				t.Parallel()
				got := play(t, path)
				assert.Equal(t, got, play(t, path), "not the same twice")
				if *update {
					require.NoError(t, os.WriteFile(goldenOf(path), []byte(got), 0o600))
				}
				want, err := os.ReadFile(goldenOf(path))
				require.NoError(t, err)
				assert.Equal(t, string(want), got)
			})
		}
		if !*update {
			assert.GreaterOrEqual(t, raising, 3, "scenes of %s that raise an event", kind)
			assert.GreaterOrEqual(t, len(paths)-raising, 3, "scenes of %s that raise none", kind)
		}
	}
}

func goldenOf(path string) string { return strings.TrimSuffix(path, ".jsonl") + ".golden" }

// play runs the scene through the camera's behaviours and the lifecycle and
// describes every change in one line.
func play(t *testing.T, path string) string {
	t.Helper()
	h, scenes := visiontest.ReadScenes(t, path)
	f, err := camera.DecodeJSON(h.Camera)
	require.NoError(t, err)
	plan, err := f.Build(camera.Options{Calendar: schedule.Calendar{Location: time.FixedZone("", 7*3600)}})
	require.NoError(t, err)
	engine, err := lifecycle.NewEngine(lifecycle.Config{Source: f.Source(), Rules: plan.Delays})
	require.NoError(t, err)

	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n", h.Doc)
	counts := map[string]int{}
	for _, s := range scenes {
		var signals []events.Signal
		for _, b := range plan.Behaviours {
			signals = append(signals, b.Observe(s)...)
			if c, ok := b.(behaviour.Counter); ok {
				for _, n := range c.TakeCounts() {
					counts[fmt.Sprintf("%s %s %s %s %s", n.Minute.Sub(h.Start), n.Rule, n.Line, n.Class, n.Direction)] = n.N
				}
			}
		}
		for _, c := range engine.Step(s.At, signals) {
			describe(t, &out, h.Start, &c.Event)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&out, "counted %s: %d\n", what, counts[what])
	}
	return out.String()
}

func describe(t *testing.T, out *strings.Builder, start time.Time, e *events.Event) {
	t.Helper()
	if e.State == events.StateCleared {
		fmt.Fprintf(out, "cleared %s %s %s: held until %s\n", e.Rule.Name, e.Zone, e.Object, e.ClearedAt.Sub(start))
		return
	}
	attributes, err := json.Marshal(e.Attributes)
	require.NoError(t, err)
	fmt.Fprintf(out, "%s raised %s %s %s %s %s\n  %s\n  %s\n", e.OccurredAt.Sub(start), e.Rule.Name, e.Zone, e.Object, e.Severity, attributes, e.Why.VI, e.Why.EN)
}

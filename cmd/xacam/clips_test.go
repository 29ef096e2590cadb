//go:build cgo

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// watched is a recording with what a person saw in it.
type watched struct {
	name, file, camera string
	check              func(t *testing.T, raised []wire.Event)
}

// wholePicture is a zone.
const wholePicture = "zones: {z: {area: [[0,0],[1,0],[1,1],[0,1]]}}\n"

// trafficRules are the rules about vehicles that a quiet road must not fire.
const trafficRules = `
  - {name: dung, kind: stopped_vehicle, zone: z, dwell: 2}
  - {name: un-tac, kind: congestion, zone: z, count: 3, hold: 1}
`

// watchedClips are recordings that were looked at frame by frame, once a second and
// around every change. What the default model cannot find is said where it
// matters; the numbers of people and cars are what is there, not what is found.
func watchedClips() []watched {
	return []watched{
		{
			// Six people come in one at a time, stand at the table and go, between
			// (s) 6–19, 23–44, 50–69, 74–86, 92–119 and 123–136.
			name: "loitering", file: "one-by-one-person-detection.mp4",
			camera: wholePicture + `detect: {fps: 3}
rules:
  - {name: o-lai, kind: loitering, zone: z, dwell: 6}
  - {name: o-rat-lau, kind: loitering, zone: z, dwell: 17}
  - {name: dong, kind: crowd, zone: z, count: 2, hold: 0.5}` + trafficRules,
			check: func(t *testing.T, raised []wire.Event) {
				t.Helper()
				assertTimes(t, raised, "o-lai", 12.5, 29.5, 56.5, 80.5, 98.5, 129.5)
				assertTimes(t, raised, "o-rat-lau", 40.5, 67.5, 109.5) // the three that stay for longer
				assert.Len(t, raised, 9, "nothing else")
			},
		},
		{
			// Below the upper quarter, where people are large enough for the default
			// model, 21, 24, 19 and 15 or 16 people are in the picture after 2, 5, 8
			// and 11 s. Some 20 more, about 60 px tall, are in the upper quarter.
			name: "crowd from above", file: "crowd_walking.mp4",
			camera: `zones: {z: {area: [[0,0.28],[1,0.28],[1,1],[0,1]]}}
rules:
  - {name: dong, kind: crowd, zone: z, count: 15, hold: 3}
  - {name: rat-dong, kind: crowd, zone: z, count: 28, hold: 1}
`,
			check: func(t *testing.T, raised []wire.Event) {
				t.Helper()
				require.Len(t, raised, 1)
				assertCount(t, raised[0], 22) // at 4 s
			},
		},
		{
			// Eight or nine people in a shop, some of them half hidden by shelves.
			name: "crowd in a shop, H.265", file: "retail_hevc_1080p.mp4",
			camera: wholePicture + `rules:
  - {name: dong, kind: crowd, zone: z, count: 5, hold: 2}
  - {name: rat-dong, kind: crowd, zone: z, count: 12, hold: 1}` + trafficRules,
			check: func(t *testing.T, raised []wire.Event) {
				t.Helper()
				require.Len(t, raised, 1)
				assert.Equal(t, "dong", raised[0].Rule.Name)
				assertCount(t, raised[0], 9)
			},
		},
		{
			// Eleven cars come towards the camera in the near carriageway, far
			// enough for their direction to be seen; four drive to the right in the
			// far one, of which the last two side by side. None stops. The calibration
			// takes the dashes of the lane markings to be 12 m apart, as they are on
			// motorways of that country; the times between three of them give 115, 127
			// and 100 km/h for the three cars that come next to each other after 7 s.
			name: "highway", file: "highway_27260.mp4",
			camera: `calibration: {image: [[0.5195,0.1819],[0.5773,0.1819],[0.668,0.5611],[0.5133,0.5611]], metres: [[0,36],[4,36],[4,0],[0,0]]}
zones:
  z: {area: [[0,1],[0,0.85],[0.36,0.15],[0.6,0.15],[0.98,0.97],[0.98,1]]}
  xa: {area: [[0.63,0.08],[0.75,0.08],[1,0.3],[1,0.55]]}
rules:
  - {name: dung-chieu, kind: wrong_way, zone: z, direction: [0, 1]}
  - {name: nguoc-chieu, kind: wrong_way, zone: z, direction: [0, -1]}
  - {name: xa-dung-chieu, kind: wrong_way, zone: xa, direction: [1, 0.5]}
  - {name: xa-nguoc-chieu, kind: wrong_way, zone: xa, direction: [-1, -0.5]}
  - {name: tren-50, kind: speeding, zone: z, limit: 50, over: 0}
  - {name: tren-140, kind: speeding, zone: z, limit: 140, over: 0}` + trafficRules,
			check: func(t *testing.T, raised []wire.Event) {
				t.Helper()
				by := byRule(raised)
				assert.Len(t, by["nguoc-chieu"], 11)
				assert.InDelta(t, 4, len(by["xa-nguoc-chieu"]), 1, "two of them are side by side")
				assert.Len(t, by["tren-50"], 11)
				assert.Len(t, raised, 22+len(by["xa-nguoc-chieu"]), "nothing else")
				assertSpeeds(t, by["tren-50"], 115, 127, 100)
			},
		},
		{
			// Hands put bottles on a table and take them away: nobody stays, and no
			// vehicle is there.
			name: "quiet", file: "bottle-detection.mp4",
			camera: wholePicture + `detect: {fps: 3}
rules:
  - {name: o-lai, kind: loitering, zone: z, dwell: 5}
  - {name: dong, kind: crowd, zone: z, count: 3, hold: 1}
  - {name: nguoc-chieu, kind: wrong_way, zone: z, direction: [0, -1]}` + trafficRules,
			check: func(t *testing.T, raised []wire.Event) {
				t.Helper()
				assert.Empty(t, raised)
			},
		},
	}
}

// TestClips runs the whole pipeline, with the default model, on real recordings
// and compares the events with what a person saw. It is skipped where the
// recordings or the model are not there.
func TestClips(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs the detector on two minutes of video")
	}
	data := t.TempDir()
	assets := realModel(t, data)
	useRuntime(t)
	for _, c := range watchedClips() { //nolint:paralleltest // one runtime
		t.Run(c.name, func(t *testing.T) {
			video := filepath.Join(assets, "clips", c.file)
			if _, err := os.Stat(video); err != nil {
				t.Skipf("no recording %s", c.file)
			}
			cam := filepath.Join(t.TempDir(), "cam.yaml")
			require.NoError(t, os.WriteFile(cam, []byte("camera: thu\n"+c.camera), 0o600))
			began := processCPU()
			got := xacam(t, "replay", "--data", data, "--camera", cam, video)
			require.Equal(t, exitOK, got.code, got.stderr)
			c.check(t, raisedIn(t, got.stdout))
			t.Logf("%.1f CPU s; %s", (processCPU() - began).Seconds(), got.stderr)
		})
	}
}

// raisedIn returns the events that were raised, in order.
func raisedIn(t *testing.T, lines string) (out []wire.Event) {
	t.Helper()
	for _, e := range eventsIn(t, lines) {
		if e.State == events.StateRaised {
			out = append(out, e)
		}
	}
	return out
}

// clearedIn returns how many events of each rule have ended.
func clearedIn(t *testing.T, lines string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, e := range eventsIn(t, lines) {
		if e.State == events.StateCleared {
			out[e.Rule.Name]++
		}
	}
	return out
}

func eventsIn(t *testing.T, lines string) (out []wire.Event) {
	t.Helper()
	for scan := bufio.NewScanner(strings.NewReader(lines)); scan.Scan(); {
		var e wire.Event
		require.NoError(t, json.Unmarshal(scan.Bytes(), &e))
		out = append(out, e)
	}
	return out
}

func byRule(raised []wire.Event) map[string][]wire.Event {
	out := map[string][]wire.Event{}
	for _, e := range raised {
		out[e.Rule.Name] = append(out[e.Rule.Name], e)
	}
	return out
}

// assertTimes: the rule has raised one event at each of the times, in seconds
// since the beginning and within 2 s.
func assertTimes(t *testing.T, raised []wire.Event, rule string, want ...float64) {
	t.Helper()
	start, err := time.Parse(time.RFC3339, replayStart)
	require.NoError(t, err)
	got := byRule(raised)[rule]
	require.Len(t, got, len(want), "events of %s", rule)
	for i, e := range got {
		at, err := time.Parse(time.RFC3339, e.OccurredAt)
		require.NoError(t, err)
		assert.InDelta(t, want[i], at.Sub(start).Seconds(), 2, "event %d of %s", i+1, rule)
	}
}

// assertSpeeds: those raised between 7.4 and 7.9 s say these speeds, in km/h,
// within their uncertainty.
func assertSpeeds(t *testing.T, raised []wire.Event, want ...float64) {
	t.Helper()
	var of []wire.Event
	for _, e := range raised {
		if e.OccurredAt > "2026-01-01T00:00:07.4" && e.OccurredAt < "2026-01-01T00:00:07.9" {
			of = append(of, e)
		}
	}
	require.Len(t, of, len(want))
	for i, e := range of {
		speed, ok := e.Attributes["speed_kmh"].(float64)
		require.True(t, ok)
		off, ok := e.Attributes["uncertainty_kmh"].(float64)
		require.True(t, ok)
		assert.InDelta(t, want[i], speed, off)
		assert.LessOrEqual(t, off, 12.0)
	}
}

// assertCount: the event says that there are so many, within 10 %.
func assertCount(t *testing.T, e wire.Event, people float64) {
	t.Helper()
	count, ok := e.Attributes["count"].(float64)
	require.True(t, ok)
	assert.InEpsilon(t, people, count, .1)
	peak, ok := e.Attributes["peak"].(float64)
	require.True(t, ok)
	assert.GreaterOrEqual(t, peak, count)
}

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const evalLabels = `start: 2026-01-01T00:00:00+07:00
from: 0:00
to: 10:00
events:
  - {kind: dumping, zone: bai, from: 4.5, to: 0:20, note: a black bag}
  - {kind: loitering, from: 1:10, to: 2:05, due: 1:40}
  - {kind: loitering, from: 2026-01-01T00:03:00+07:00, to: 3:20, box: [0.1, 0.3, 0.2, 0.7]}
  - {kind: crowd, from: 0:05:00.5, optional: true}
unsure:
  - {from: 4:00, to: 4:10}
`

// evalEvent is a line as replay writes it.
func evalEvent(id, kind, state, at, cleared, more string) string {
	if cleared = `"` + cleared + `"`; cleared == `""` {
		cleared = "null"
	}
	return `{"id":"` + id + `","kind":"` + kind + `","state":"` + state + `","source":{"id":"cam"},"occurred_at":"2026-01-01T00:` + at +
		`+07:00","cleared_at":` + strings.Replace(cleared, `"0`, `"2026-01-01T00:0`, 1) + `,"why":{"vi":"Có túi rác","en":"There is a bag"}` + more + "}\n"
}

// evalEvents returns what replay might have written.
func evalEvents() string {
	return evalEvent("a", "dumping", "raised", "00:06.000", "", `,"zone":"bai","rule":{"name":"r"}`) +
		evalEvent("b", "loitering", "raised", "01:42.000", "", `,"rule":{"name":"q"}`) +
		evalEvent("a", "dumping", "cleared", "00:06.000", "00:30.000+07:00", `,"zone":"bai","rule":{"name":"r"}`) +
		evalEvent("c", "dumping", "raised", "00:10.000", "", `,"zone":"bai","rule":{"name":"r"}`) +
		evalEvent("d", "intrusion", "raised", "02:00.000", "02:01.500+07:00", `,"subject":{"track":3,"class":"person","score":0.5,"box":[0,0,1,1]}`) +
		evalEvent("e", "crowd", "raised", "05:01.000", "", "") +
		evalEvent("f", "crowd", "raised", "04:05.000", "", "") +
		evalEvent("g", "crowd", "raised", "11:05.000", "", "")
}

const evalEventsTable = `kind       rule  labels  events  right  missed  false  twice  precision  recall     F1  delay p50    max
dumping               1       2      1       0      1      1      0.500   1.000  0.667      1.5 s  1.5 s
intrusion             0       1      0       0      1      0      0.000   1.000  0.000          -      -
loitering             2       1      1       1      0      0      1.000   0.500  0.667      2.0 s  2.0 s
all                   3       4      2       1      2      1      0.500   0.667  0.571      1.5 s  2.0 s

missed:
  3:00.0 – 3:20.0  (2026-01-01 00:03:00.0)  loitering

false:
  0:10.0 –  (2026-01-01 00:00:10.0)  dumping  camera cam  rule r  zone bai  id c  (told twice)
    Có túi rác
  2:00.0 – 2:01.5  (2026-01-01 00:02:00.0)  intrusion  camera cam  class person  id d
    Có túi rác
`

func TestEvalEvents(t *testing.T) {
	t.Parallel()
	truth, told := writeFile(t, "labels.yaml", evalLabels), writeFile(t, "events.jsonl", evalEvents())
	r := xacam(t, "eval", "events", "--truth", truth, "--lang", "vi", told)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Equal(t, evalEventsTable, r.stdout)

	r = xacam(t, "eval", "events", "--truth", truth, "--json", "--min-recall", "0.6", "--max-delay", "2", told)
	require.Equal(t, exitOK, r.code, r.stderr)
	var got eventsJSON
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	assert.Equal(t, "2026-01-01T00:03:00.000+07:00", got.Missed[0].From)
	assert.Equal(t, []string{"c", "d"}, []string{got.False[0].Event, got.False[1].Event})
	assert.InDelta(t, 2.0/3, got.All.Recall, 1e-9)
	assert.InDelta(t, 1.5, got.Right[0].Delay, 1e-9)

	// The same labels as JSON lines.
	lines := writeFile(t, "labels.jsonl", `{"kind":"dumping","from":4.5,"to":"0:20"}`+"\n\n"+`{"kind":"loitering","from":"1:10","to":125}`+"\n")
	r = xacam(t, "eval", "events", "--truth", lines, told)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "all                   2       7      2       0      5")
}

// TestEvalLimits: what was asked for and is not reached ends with exit code 1,
// after the result was written.
func TestEvalLimits(t *testing.T) {
	t.Parallel()
	truth, told := writeFile(t, "labels.yaml", evalLabels), writeFile(t, "events.jsonl", evalEvents())
	for flag, says := range map[string]string{
		"--min-recall=0.7":    "recall is 0.6667, less than the 0.7 of --min-recall",
		"--min-precision=0.6": "precision is 0.5, less than the 0.6 of --min-precision",
		"--min-f1=0.6":        "f1 is 0.5714, less than the 0.6 of --min-f1",
		"--max-delay=1.9":     "delay is 2, more than the 1.9 of --max-delay",
		"--max-false=1":       "false is 2, more than the 1 of --max-false",
		"--max-false=0":       "false is 2, more than the 0 of --max-false",
	} {
		r := xacam(t, "eval", "events", "--truth", truth, "--lang", "vi", flag, told)
		wellSaid(t, r, exitFailed, 1)
		assert.Contains(t, r.stderr, says)
		assert.Equal(t, evalEventsTable, r.stdout, flag)
	}
}

func TestEvalBadInput(t *testing.T) {
	t.Parallel()
	truth, told := writeFile(t, "labels.yaml", evalLabels), writeFile(t, "events.jsonl", evalEvents())
	label := func(text string) []string {
		return []string{"eval", "events", "--truth", writeFile(t, "l.yaml", text), told}
	}
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no truth":          {[]string{"eval", "events", told}, exitUsage, `"truth" not set`},
		"share":             {[]string{"eval", "events", "--truth", truth, "--min-recall", "90", told}, exitUsage, "--min-recall 90: give a share from 0 to 1"},
		"NaN":               {[]string{"eval", "events", "--truth", truth, "--max-delay", "NaN", told}, exitUsage, "not negative"},
		"language":          {[]string{"eval", "events", "--truth", truth, "--lang", "fr", told}, exitUsage, "give vi or en"},
		"tolerance":         {[]string{"eval", "events", "--truth", truth, "--tolerance", "0s", told}, exitUsage, "tolerance above 0s"},
		"missing labels":    {[]string{"eval", "events", "--truth", truth + "x", told}, exitFailed, "read the labels"},
		"missing events":    {[]string{"eval", "events", "--truth", truth, told + "x"}, exitFailed, "read the events"},
		"not an event":      {[]string{"eval", "events", "--truth", truth, writeFile(t, "x.jsonl", "{}\n")}, exitFailed, "line 1"},
		"half an event":     {[]string{"eval", "events", "--truth", truth, writeFile(t, "x.jsonl", evalEvents()[:300])}, exitFailed, "line 2"},
		"empty labels":      {label(""), exitUsage, "nothing in it"},
		"unknown field":     {label("events: [{kind: a, from: 1, colour: red}]"), exitUsage, "colour"},
		"no kind":           {label("events: [{from: 1}]"), exitUsage, "events[0].kind: is required"},
		"no time":           {label("events: [{kind: a}]"), exitUsage, "events[0].from: is required"},
		"bad time":          {label("events: [{kind: a, from: 1:75}]"), exitUsage, `events[0].from: "1:75": give a time`},
		"backwards":         {label("events: [{kind: a, from: 5, to: 4}]"), exitUsage, "events[0].to: is before from"},
		"box":               {label("events: [{kind: a, from: 5, box: [0.5, 0, 0.4, 1]}]"), exitUsage, "events[0].box: give x0"},
		"unsure backwards":  {label("events: []\nunsure: [{from: 5, to: 5}]"), exitUsage, "unsure[0].to: is not after from"},
		"bad start":         {label("start: yesterday\nevents: []"), exitUsage, `start: "yesterday"`},
		"lines":             {[]string{"eval", "events", "--truth", writeFile(t, "l.jsonl", `{"kind":"a","from":true}`), told}, exitUsage, "line 1: a time must be"},
		"protocol":          {[]string{"eval", "detections", "--truth", truth, "--protocol", "x", told}, exitUsage, "coco or voc"},
		"class":             {[]string{"eval", "detections", "--truth", truth, "--class", "x", told}, exitUsage, "FOUND=ANNOTATED"},
		"not annotations":   {[]string{"eval", "detections", "--truth", truth, told}, exitFailed, "read annotations"},
		"every":             {[]string{"eval", "tracks", "--gt", truth, "--every", "0", told}, exitUsage, "--every 0"},
		"not tracks":        {[]string{"eval", "tracks", "--gt", truth, told}, exitFailed, "read tracks: line 1"},
		"no sequence":       {[]string{"eval", "tracks", "--gt", t.TempDir(), told}, exitFailed, "no sequence with a gt/gt.txt"},
		"too many results":  {[]string{"eval", "tracks", "--gt", truth, told, told}, exitUsage, "1 sequences and 2 results"},
		"preprocessing":     {[]string{"eval", "tracks", "--gt", evalTracks(t), "--preprocess", "x", evalTracks(t)}, exitFailed, `"x" is not one of`},
		"missing tracks":    {[]string{"eval", "tracks", "--gt", evalTracks(t), "nowhere.txt"}, exitFailed, "there is no nowhere.txt"},
		"unknown command":   {[]string{"eval", "all"}, exitUsage, "all"},
		"missing truth":     {[]string{"eval", "tracks", "--gt", "nowhere", told}, exitFailed, "read the truth"},
		"missing annotated": {[]string{"eval", "detections", "--truth", "nowhere", told}, exitFailed, "read the annotations"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := xacam(t, c.args...)
			wellSaid(t, r, c.code, 1)
			assert.Contains(t, r.stderr, c.says)
			assert.Empty(t, r.stdout)
		})
	}
}

// evalTracks is a file with one object in three frames, which changes its
// identity in the third.
func evalTracks(t *testing.T) string {
	t.Helper()
	return writeFile(t, "res.txt", "1,5,0,0,10,10,1,-1,-1,-1\n2,5,0,0,10,10,1,-1,-1,-1\n3,6,0,0,10,10,1,-1,-1,-1\n")
}

func TestEvalTracks(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put := func(text string, path ...string) {
		full := filepath.Join(append([]string{root}, path...)...)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o750))
		require.NoError(t, os.WriteFile(full, []byte(text), 0o600))
	}
	const truth = "1,1,0,0,10,10,1,-1,-1,-1\n2,1,0,0,10,10,1,-1,-1,-1\n3,1,0,0,10,10,1,-1,-1,-1\n"
	put(truth, "gt", "one", "gt", "gt.txt")
	put("[Sequence]\nname=one\nframeRate=5\nseqLength=4\nimWidth=100\nimHeight=100\n", "gt", "one", "seqinfo.ini")
	put(truth, "gt", "two", "gt", "gt.txt")
	put(strings.ReplaceAll(truth, ",1,0,0", ",9,0,0"), "res", "one.txt")
	b, err := os.ReadFile(evalTracks(t))
	require.NoError(t, err)
	put(string(b), "res", "two.txt")

	r := xacam(t, "eval", "tracks", "--gt", filepath.Join(root, "gt"), filepath.Join(root, "res"))
	require.Equal(t, exitOK, r.code, r.stderr)
	// Two: association is (2·⅔+⅓)/3 = 5/9; all: (3·1+2·⅔+⅓)/6 = 7/9.
	assert.Equal(t, `sequence    HOTA    DetA    AssA    LocA    IDF1     IDP     IDR    MOTA    MOTP  IDSW  Frag  MT  PT  ML  FP  FN
one       100.00  100.00  100.00  100.00  100.00  100.00  100.00  100.00  100.00     0     0   1   0   0   0   0
two        74.54  100.00   55.56  100.00   66.67   66.67   66.67   66.67  100.00     1     0   1   0   0   0   0
all        88.19  100.00   77.78  100.00   83.33   83.33   83.33   83.33  100.00     1     0   2   0   0   0   0
`, r.stdout)

	one := filepath.Join(root, "gt", "two")
	r = xacam(t, "eval", "tracks", "--gt", one, "--json", "--min-hota", "0.8", "--max-idsw", "0", filepath.Join(root, "res", "two.txt"))
	wellSaid(t, r, exitFailed, 2)
	var got trackResult
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	assert.Equal(t, "two", got.Sequences[0].Name)
	assert.Equal(t, got.Combined.HOTA, got.Sequences[0].HOTA) //nolint:testifylint // the same computation

	r = xacam(t, "eval", "tracks", "--gt", one, "--every", "3", "--json", filepath.Join(root, "res", "two.txt"))
	require.Equal(t, exitOK, r.code, r.stderr)
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	assert.Zero(t, got.Combined.IDSW, "of the frames 1 and 4 only the first has an object")
}

func TestEvalDetections(t *testing.T) {
	t.Parallel()
	truth := writeFile(t, "truth.json", `{"images":[{"id":7,"file_name":"a.jpg"}],"categories":[{"id":1,"name":"vehicle"},{"id":2,"name":"person"}],
		"annotations":[{"image_id":7,"category_id":1,"bbox":[0,0,100,100]},{"image_id":7,"category_id":1,"bbox":[200,0,100,100]}]}`)
	found := writeFile(t, "found.json", `[{"file_name":"x/a.jpg","category":"truck","bbox":[0,0,100,100],"score":0.9},
		{"file_name":"x/a.jpg","category":"dog","bbox":[0,0,100,100],"score":0.9}]`)
	r := xacam(t, "eval", "detections", "--truth", truth, "--class", "truck=vehicle,car=vehicle", found)
	require.Equal(t, exitOK, r.code, r.stderr)
	// Half the objects at full precision: 51 of 101 points.
	assert.Equal(t, `class    objects  found   AP50   AP75  AP50:95  AR100
vehicle        2      1  0.505  0.505    0.505  0.500
all            2      2  0.505  0.505    0.505  0.500

         small  medium  large  1 a picture     10    100
AP50:95      -       -  0.505                      0.505
AR           -       -  0.500        0.500  0.500  0.500
`, r.stdout)

	r = xacam(t, "eval", "detections", "--truth", truth, "--class", "truck=vehicle", "--protocol", "voc", "--json", "--min-ap50", "0.51", found)
	wellSaid(t, r, exitFailed, 1)
	assert.Contains(t, r.stderr, "ap50 is 0.5, less than")
	var got detectionResult
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	assert.InDelta(t, 0.5, *got.AP50, 1e-12)
	assert.Nil(t, got.AP)

	r = xacam(t, "eval", "detections", "--truth", truth, "--json", "--min-ap", "0", found)
	require.Equal(t, exitOK, r.code, r.stderr)
	got = detectionResult{}
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	assert.Nil(t, got.APSmall, "nothing is small")
}

func TestClockTime(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0:00.0", 4500 * time.Millisecond: "0:04.5", 59960 * time.Millisecond: "1:00.0", 3723400 * time.Millisecond: "1:02:03.4",
	} {
		assert.Equal(t, want, clockTime(d))
	}
}

func FuzzParseLabels(f *testing.F) {
	f.Add([]byte(evalLabels), false)
	f.Add([]byte(`{"kind":"dumping","from":4.5,"to":"0:20","box":[0,0,1,1]}`), true)
	start, err := time.Parse(time.RFC3339, replayStart)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte, lines bool) {
		l, err := parseLabels(b, lines, start)
		if err != nil {
			return
		}
		for _, e := range l.events {
			if e.Kind == "" || e.To.Before(e.From) {
				t.Fatalf("%+v", e)
			}
		}
	})
}

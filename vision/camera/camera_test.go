package camera_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/lifecycle"
	"github.com/xacam/xacam/events/schedule"
	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/behaviour"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/geom"
)

// design is the example of the design document.
const design = `
camera: cong-cho                 # slug, unique
name: Cổng chợ An Thạnh
hamlet: an-thuong
location: {lat: 9.69, lon: 106.16, bearing: 120, fov: 70}
url: rtsp://user:hunter2@host/path
detect_url: rtsp://user:hunter2@host/sub
detect: {fps: 5, model: yolox-nano, min_score: 0.35}
zones: {san-cho: {area: [[0.1,0.5],[0.9,0.5],[0.9,1],[0.1,1]]}}
lines: {vach-1: {from: [0.1,0.6], to: [0.9,0.6]}}
masks: [[[0,0],[0.3,0],[0.3,0.1],[0,0.1]]]
calibration: {image: [[0.4,0.3],[0.6,0.3],[0.9,0.9],[0.1,0.9]], metres: [[0,20],[6,20],[6,0],[0,0]]}
rules:
  - {name: dem-xe, kind: line_crossing, line: vach-1, direction: a_to_b, classes: [car, motorcycle]}
  - {name: cam-vao-dem, kind: intrusion, zone: san-cho, classes: [person], schedule: "22:00-05:00", severity: high, after: 2.5}
`

func parseOne(t *testing.T, text string) camera.File {
	t.Helper()
	files, err := camera.Parse([]byte(text))
	require.NoError(t, err)
	require.Len(t, files, 1)
	return files[0]
}

func TestDesignExample(t *testing.T) {
	t.Parallel()
	f := parseOne(t, design)
	require.NoError(t, f.Validate())
	assert.Equal(t, "rtsp://user:hunter2@host/sub", f.StreamForDetection().Reveal())
	assert.Equal(t, map[string]any{"after": 2.5}, f.Rules[1].Params)
	assert.Equal(t, events.Source{Type: "camera", ID: "cong-cho", Name: "Cổng chợ An Thạnh", Hamlet: "an-thuong"}, f.Source())
	assert.InDelta(t, 9.69, *f.Place("31615").Lat, 0)

	p, err := f.Build(camera.Options{
		Versions: map[string]int{"cam-vao-dem": 3},
		Calendar: schedule.Calendar{Location: time.FixedZone("", 7*3600)},
	})
	require.NoError(t, err)
	assert.Len(t, p.Behaviours, 2)
	assert.Len(t, p.Masks, 1)
	assert.False(t, p.Ground.IsZero())
	assert.Equal(t, 2500*time.Millisecond, p.Delays[lifecycle.RuleKey{Kind: "intrusion", Name: "cam-vao-dem"}].Hold)
	assert.Zero(t, p.Delays[lifecycle.RuleKey{Kind: "line_crossing", Name: "dem-xe"}])
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	f := parseOne(t, "camera: a\nurl: rtsp://h\n")
	require.NoError(t, f.Validate())
	assert.Equal(t, "a", f.Name)
	assert.Equal(t, camera.Detect{FPS: 5, MinScore: .35}, f.Detect)
	assert.Equal(t, camera.TransportTCP, f.Transport)
	assert.Equal(t, "rtsp://h", f.StreamForDetection().Reveal())
}

func TestParseSeveral(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"documents": "camera: a\nurl: rtsp://a\n---\n---\ncamera: b\nurl: rtsp://b\n",
		"list":      "cameras:\n  - {camera: a, url: rtsp://a}\n  - {camera: b, url: rtsp://b}\n",
		"both":      "cameras: [{camera: a, url: rtsp://a}]\n---\ncamera: b\nurl: rtsp://b\n",
	} {
		files, err := camera.Parse([]byte(text))
		require.NoError(t, err, name)
		require.Len(t, files, 2, name)
		assert.Equal(t, "b", files[1].Camera)
		require.NoError(t, camera.ValidateAll(files))
	}
}

func TestParseErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "no camera"},
		{"only comments", "# nothing\n", "no camera"},
		{"unknown field", "camera: a\nurls: rtsp://u:hunter2@h\n", `line 2: unknown field "urls"`},
		{"unknown nested", "camera: a\ndetect: {fsp: 3}\n", `line 2: unknown field "fsp"`},
		{"wrong type", "camera: a\ndetect: {fps: fast}\n", "line 2: unexpected str `fast`"},
		{"three coordinates", "camera: a\nlines: {x: {from: [0,0,0], to: [1,null]}}\n", "camera file: a point must be two numbers, [x, y]\ncamera file: a point"},
		{"URL as a key", "camera: a\nrtsp://u:hunter2@h: x\n", "unknown field"},
		{"URL as a list", "camera: a\nurl: [rtsp://u:hunter2@h]\n", "a URL must be a text"},
		{"URL as a number", "camera: a\ndetect: {fps: 'rtsp://u:hunter2@h'}\n", "unexpected str"},
		{"same key twice", "camera: a\ncamera: b\n", "already defined"},
		{"not YAML", "camera: [\n", "line"},
		{"text", "hello\n", "unexpected str"},
		{"list and camera", "camera: a\ncameras: []\n", "either"},
		{"too long", strings.Repeat("#", camera.MaxBytes+1), "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := camera.Parse([]byte(tt.text))
			require.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// TestValidateReportsEverything has one problem per line.
func TestValidateReportsEverything(t *testing.T) {
	t.Parallel()
	f := parseOne(t, `
camera: Cổng
hamlet: An Thượng
location: {lat: 95, lon: .nan, bearing: 400, fov: 0.5}
url: http://u:hunter2@h/x
detect_url: rtsp://u:hunter2@
transport: quic
detect: {fps: 100, model: "../x", min_score: 1.5}
zones:
  hai-diem: {area: [[0,0],[1,1]]}
  nan: {area: [[0,0],[1,.nan],[1,1]]}
  no-on: {area: [[0,0],[1,1],[1,0],[0,0.8]]}
  Sân: {area: [[0,0],[1,0],[1,1]]}
lines:
  diem: {from: [0.5,0.5], to: [0.5,0.5]}
masks: [[[0,0],[5,0],[0,1]]]
calibration: {image: [[0,0],[1,1],[1,0],[0,1]], metres: [[0,20],[6,20],[6,0],[0,0]]}
rules:
  - {name: a, kind: nope, zone: hai-diem}
  - {name: a, kind: intrusion}
  - {name: B, kind: intrusion, zone: khong-co, severity: urgent, min_score: 2, schedule: "25:00", classes: [""]}
  - {name: c, kind: intrusion, zone: no-on, line: diem, mode: sideways, after: -1, direction: any}
  - {name: d, kind: line_crossing, line: khong-co, direction: up, margin: wide}
  - {name: e, kind: line_crossing}
  - {name: f, kind: intrusion, zone: no-on, since: 2026-01-01}
  - {name: g, kind: intrusion, zone: no-on, min_size: 0.5, max_size: 0.2, max_per_minute: -2, clear: 0, hold: 3}
  - {name: h, kind: intrusion, zone: no-on, min_size: -1, max_size: 2, max_per_minute: 20000, mode: enter, clear: 3}
  - {name: i, kind: line_crossing, line: diem, clear: 3}
`)
	err := f.Validate()
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "hunter2")
	want := []string{
		"camera: must be 1 to 63 of a-z",
		"hamlet: must be 1 to 63 of a-z",
		"location.lat: 95 must be from -90 to 90",
		"location.lon: NaN must be from -180 to 180",
		"location.bearing: 400 must be from 0 to 360",
		"location.fov: 0.5 must be",
		"url: must begin with rtsp:// or rtsps://",
		"detect_url: has no host name",
		`transport: "quic" is not one of [tcp udp]`,
		"detect.fps: 100 must be from 0.5 to 30",
		"detect.min_score: 1.5 must be",
		`detect.model: "../x" is not the name of a model`,
		`zones."Sân": the name must be`,
		"zones.hai-diem.area: encloses no area: 2 points, needs at least 3",
		"zones.nan.area: point 2 is outside of the picture (0 to 1)",
		"zones.no-on.area: edges cross or touch each other: edges 1 and 3",
		"lines.diem: from and to are the same point",
		"masks[0]: point 2 is outside of the picture (0 to 1)",
		"calibration: points determine no mapping",
		fmt.Sprintf(`rules[0].kind: "nope" is not one of %v`, behaviour.Kinds()),
		`rules[1].name: "a" is used twice`,
		"rules[1].zone: is required",
		"rules[2].name: must be",
		`rules[2].severity: "urgent" is not one of [info low medium high critical]`,
		"rules[2].min_score: 2 must be from 0 to 1",
		"rules[2].classes[0]: must be the name of a class",
		`rules[2].schedule: "25:00" is not a range of hours`,
		`rules[2].zone: "khong-co" is not one of the camera's zones`,
		"rules[3].line: a rule of kind intrusion has no line",
		"rules[3].after: must be a number (s) from 0 to 86400",
		"rules[3].direction: is not a parameter of this kind; it has after, clear, mode",
		`rules[3].mode: "sideways" is not one of [inside enter exit]`,
		`rules[4].line: "khong-co" is not one of the camera's lines`,
		`rules[4].direction: "up" is not one of [a_to_b b_to_a any]`,
		"rules[4].margin: must be a number from 0 to 2",
		"rules[5].line: is required",
		`rules[6]: parameter "since" must be made of`,
		"rules[7].max_size: 0.2 is less than min_size 0.5",
		"rules[7].max_per_minute: -2 must be from 1 to 10000, 0 for the default or -1 for no limit",
		"rules[7].clear: must be a number (s) from 1 to 86400",
		"rules[7].hold: is not a parameter of this kind; it has after, clear, mode",
		"rules[8].min_size: -1 must be from 0 to 1",
		"rules[8].max_size: 2 must be from 0 to 1",
		"rules[8].max_per_minute: 20000 must be",
		"rules[8].clear: is not for events of one moment",
		"rules[9].clear: is not a parameter of this kind; it has direction, margin",
	}
	got := strings.Split(err.Error(), "\n")
	for i := range min(len(want), len(got)) {
		assert.Contains(t, got[i], want[i])
	}
	assert.Len(t, got, len(want), "%v", got)

	err = camera.ValidateAll([]camera.File{f, f})
	require.ErrorContains(t, err, "cameras[1].rules[0].kind:")
	require.ErrorContains(t, err, "cameras[1].camera: \"Cổng\" is used by cameras[0] too")
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"rtsp://host":                            "",
		"RTSP://host:554/Streaming/Channels/101": "",
		"rtsps://[2001:db8::1]:322/x":            "",
		"rtsp://u:p@ss:w%rd#1@192.168.1.10:554/cam/realmonitor?channel=1&subtype=0": "",
		"rtsp://admin:a/b?c@10.0.0.1/live":                                          "",
		"rtsp://user:pass@máy-chủ/x":                                                "",
		"rtsp://u:p@h/path@2x":                                                      "",
		"rtsp://":                                                                   "no host",
		"rtsp:///path":                                                              "no host",
		"rtsp://u:p@":                                                               "no host",
		"rtsp://u:p@/x":                                                             "no host",
		"rtsp:/host":                                                                "must begin with",
		"http://host":                                                               "must begin with",
		"host":                                                                      "must begin with",
		"rtsp://ho st/":                                                             "without spaces",
		"rtsp://h/\n":                                                               "printable",
		"rtsp://h/" + strings.Repeat("x", 2001):                                     "at most 2000",
		camera.Redacted:                                                             "placeholder",
	} {
		f := camera.File{Camera: "a", URL: camera.NewSecret(url)}.WithDefaults()
		err := f.Validate()
		if want == "" {
			require.NoError(t, err, url)
			continue
		}
		require.ErrorContains(t, err, want, url)
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	f := parseOne(t, design)
	f.Rules[0].Params["margin"] = 0.25
	g := parseOne(t, "camera: b\nname: '123'\nurl: 'rtsp://u:p@ss: #1@h/x'\nrules: []\n")
	for _, files := range [][]camera.File{{f}, {f, g}} {
		text, err := camera.EncodeYAML(files, true)
		require.NoError(t, err)
		back, err := camera.Parse(text)
		require.NoError(t, err, "%s", text)
		if len(g.Rules) == 0 {
			g.Rules = nil
		}
		files[len(files)-1].Rules = nilIfEmpty(files[len(files)-1].Rules)
		assert.Equal(t, files, back, "%s", text)
		again, err := camera.EncodeYAML(back, true)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(again))
	}
	text, err := camera.EncodeJSON(f, true)
	require.NoError(t, err)
	assert.Contains(t, string(text), "hunter2")
	assert.Contains(t, string(text), `"area":[[0.1,0.5],[0.9,0.5]`)
	back, err := camera.DecodeJSON(text)
	require.NoError(t, err)
	assert.Equal(t, f, back)

	shown, err := camera.EncodeJSON(f, false)
	require.NoError(t, err)
	assert.NotContains(t, string(shown), "hunter2")
	back, err = camera.DecodeJSON(shown)
	require.NoError(t, err)
	require.ErrorContains(t, back.Validate(), "placeholder")
	assert.Equal(t, f, back.KeepSecrets(f))
}

func nilIfEmpty(r []camera.Rule) []camera.Rule {
	if len(r) == 0 {
		return nil
	}
	return r
}

func TestDecodeJSONErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"camera":"a","urls":"rtsp://u:hunter2@h"}`:                `unknown field "urls"`,
		`{"camera":"a","lines":{"x":{"from":[0],"to":[1,1]}}}`:      "a point must be two numbers",
		`{"camera":"a","lines":{"x":{"from":[0,null],"to":[1,1]}}}`: "a point must be two numbers",
		`{"camera":1}`:     "camera: unexpected number",
		`{"camera":"a"} 1`: "more than one",
		`[`:                "camera:",
		``:                 "camera:",
	} {
		_, err := camera.DecodeJSON([]byte(text))
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	f := parseOne(t, design)
	nested := struct{ f camera.File }{f} // fmt cannot call methods on unexported fields
	j, err := json.Marshal(f)
	require.NoError(t, err)
	y, err := yaml.Marshal(f)
	require.NoError(t, err)
	n, err := camera.EncodeYAML([]camera.File{f}, false)
	require.NoError(t, err)
	var logs bytes.Buffer
	slog.New(slog.NewTextHandler(&logs, nil)).Info("camera", "file", f, "url", f.URL)
	slog.New(slog.NewJSONHandler(&logs, nil)).Info("camera", "file", f, "url", f.URL)
	dumps := []string{string(j), string(y), string(n), logs.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		dumps = append(dumps, fmt.Sprintf(verb, f.URL), fmt.Sprintf(verb, f), fmt.Sprintf(verb, &f), fmt.Sprintf(verb, nested))
	}
	for _, d := range dumps {
		assert.NotContains(t, d, "hunter2")
		assert.NotContains(t, d, fmt.Sprintf("%x", "hunter2"))
	}
	assert.Contains(t, string(j), `"url":"\u003credacted\u003e"`)
	assert.True(t, f.URL.Equal(camera.NewSecret("rtsp://user:hunter2@host/path")))
	assert.Empty(t, camera.Secret{}.String())
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(design))
	f.Add([]byte("cameras: [{camera: a, url: rtsp://h, rules: [{name: a, kind: intrusion, zone: z, x: {y: [1, 2.5, null]}}]}]"))
	f.Add([]byte("camera: a\nurl: rtsp://h\nzones: {z: {area: [[0,0],[1,0],[1,1]]}}\nrules: [{name: x, kind: intrusion, zone: z}]\n---\n{}\n"))
	f.Add([]byte("camera: a\nurl: rtsp://h\nlines: {z: {from: [0,0], to: [1,0]}}\nrules: [{name: x, kind: line_crossing, line: z, direction: b_to_a, margin: 1}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		files, err := camera.Parse(text)
		if err != nil {
			return
		}
		_ = camera.ValidateAll(files)
		for _, c := range files {
			if c.Validate() != nil {
				continue
			}
			if _, err := c.Build(camera.Options{Calendar: schedule.Calendar{Location: time.UTC}}); err != nil {
				t.Fatalf("accepted but not built: %v", err)
			}
			checkRoundTrip(t, c)
		}
	})
}

// checkRoundTrip writes a valid file in both formats and compares what comes
// back, by the text it is written as again: nil and empty are one.
func checkRoundTrip(t *testing.T, c camera.File) {
	t.Helper()
	y, err := camera.EncodeYAML([]camera.File{c}, true)
	if err != nil {
		t.Fatal(err)
	}
	back, err := camera.Parse(y)
	if err != nil {
		t.Fatalf("%v\n%s", err, y)
	}
	j, err := camera.EncodeJSON(back[0], true)
	if err != nil {
		t.Fatal(err)
	}
	f, err := camera.DecodeJSON(j)
	if err != nil {
		t.Fatalf("%v\n%s", err, j)
	}
	if err := f.Validate(); err != nil {
		t.Fatalf("%v\n%s", err, j)
	}
	y2, err := camera.EncodeYAML([]camera.File{f}, true)
	if err != nil || !bytes.Equal(y, y2) {
		t.Fatalf("%v\n%s\nbecame\n%s", err, y, y2)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"camera":"a","url":"rtsp://h","zones":{"z":{"area":[[0,0],[1,0],[1,1]]}},"rules":[{"name":"x","kind":"intrusion","zone":"z","after":1e0}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := camera.DecodeJSON(text)
		if err != nil || c.Validate() != nil {
			return
		}
		checkRoundTrip(t, c)
	})
}

// TestLimits: what all rules have in common reaches the rule and comes back
// from both formats.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := parseOne(t, `
camera: a
url: rtsp://h
zones: {z: {area: [[0,0],[1,0],[1,1],[0,1]]}}
rules: [{name: x, kind: intrusion, zone: z, after: 0, min_size: 0.1, max_size: 0.4, max_per_minute: 3, clear: 20}]
`)
	checkRoundTrip(t, f)
	p, err := f.Build(camera.Options{})
	require.NoError(t, err)
	delays := p.Delays[lifecycle.RuleKey{Kind: "intrusion", Name: "x"}]
	assert.Equal(t, 20*time.Second, delays.Clear)
	assert.Zero(t, delays.Hold)
	assert.Equal(t, 3, delays.MaxPerMinute)

	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	look := func(height float64, seen time.Time) int {
		at = at.Add(200 * time.Millisecond)
		if seen.IsZero() {
			seen = at
		}
		return len(p.Behaviours[0].Observe(&vision.Scene{At: at, Tracks: []vision.Track{{
			ID: 1, Label: "person", Score: .8, Seen: seen,
			Box: geom.Box{Min: geom.Point{X: .5, Y: .5 - height}, Max: geom.Point{X: .6, Y: .5}},
		}}}))
	}
	assert.Zero(t, look(.09, time.Time{}), "too small")
	assert.Equal(t, 1, look(.101, time.Time{}))
	assert.Equal(t, 1, look(.092, time.Time{}), "it fitted, and is not clearly smaller")
	assert.Equal(t, 1, look(.05, at), "a predicted box says nothing")
	assert.Equal(t, 1, look(.43, time.Time{}))
	p.Behaviours[0].Observe(&vision.Scene{At: at.Add(time.Minute)})
	assert.Zero(t, look(.5, time.Time{}), "too large")
}

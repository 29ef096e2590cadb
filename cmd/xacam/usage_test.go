package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBadUsage: what cannot be meant is exit code 2 and one sentence.
func TestBadUsage(t *testing.T) {
	t.Parallel()
	cfg := configFile(t, "")
	cam := writeFile(t, "cam.yaml", "camera: a\n")
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"unknown command":        {[]string{"servee"}, `unknown command "servee"`},
		"unknown sub-command":    {[]string{"models", "rm"}, `unknown command "rm"`},
		"unknown flag":           {[]string{"serve", "--fast"}, "unknown flag: --fast; see xacam serve --help"},
		"unknown short flag":     {[]string{"serve", "-x"}, "unknown shorthand flag"},
		"flag without value":     {[]string{"serve", "-c"}, "needs an argument"},
		"unknown argument":       {[]string{"serve", "fast"}, "fast"},
		"missing argument":       {[]string{"probe"}, "accepts 1 arg(s), received 0; usage: xacam probe URL"},
		"too many arguments":     {[]string{"replay", "--camera", cam, "a.mp4", "b.mp4"}, "accepts 1 arg(s), received 2"},
		"missing flag":           {[]string{"apply"}, `required flag(s) "file" not set`},
		"missing flags":          {[]string{"track"}, `required flag(s) "det", "fps", "size" not set`},
		"flag of another type":   {[]string{"track", "--fps", "x"}, "--fps"},
		"bad size":               {[]string{"track", "--det", "x", "--fps", "25", "--size", "big"}, "such as 1920x1080"},
		"bad fps":                {[]string{"track", "--det", "x", "--fps", "0", "--size", "1x1"}, "above 0"},
		"no picture":             {[]string{"detect"}, "at least one picture"},
		"no list of pictures":    {[]string{"detect", "--files-from", "/nonexistent"}, "read the list of pictures"},
		"bad score":              {[]string{"detect", "--min-score", "NaN", "x.jpg"}, "--min-score"},
		"bad start":              {[]string{"replay", "--camera", cam, "--start", "yesterday", "x.mp4"}, "give a time such as"},
		"bad time zone":          {[]string{"replay", "--camera", cam, "--time-zone", "Mars/Base", "x.mp4"}, "--time-zone"},
		"missing camera file":    {[]string{"replay", "--camera", cam + "x", "x.mp4"}, "read the camera file"},
		"missing configuration":  {[]string{"serve", "-c", cfg + "x"}, "read the configuration"},
		"garbage configuration":  {[]string{"serve", "-c", writeFile(t, "x.yaml", "%%%")}, "not a configuration"},
		"several configurations": {[]string{"serve", "-c", writeFile(t, "x.yaml", "data: /a\n---\ndata: /b\n")}, "more than one document"},
		"folder as config":       {[]string{"check-config", "-c", t.TempDir()}, "read the configuration"},
		"listen on every host":   {[]string{"serve", "-c", writeFile(t, "x.yaml", "listen: 0.0.0.0:0\ndata: "+t.TempDir())}, "must be on 127.0.0.1"},
		"listen on empty host":   {[]string{"serve", "-c", writeFile(t, "x.yaml", "listen: ':8080'\ndata: "+t.TempDir())}, "must be on 127.0.0.1"},
		"demo for everybody":     {[]string{"demo", "--data", t.TempDir(), "--listen", "0.0.0.0:0"}, "must be on 127.0.0.1"},
		"bad database address":   {[]string{"serve", "-c", configFile(t, "database: {dsn: 'postgres://u:"+password+"@h:port/d'}")}, "database.dsn"},
		"bad duration":           {[]string{"probe", "--duration", "1h", "rtsp://h/"}, "1s to 10m"},
		"bad transport":          {[]string{"probe", "--transport", "quic", "rtsp://h/"}, "tcp or udp"},
		"address of a page":      {[]string{"probe", "http://u:" + password + "@h/"}, "rtsp://"},
		"unknown model":          {[]string{"models", "pull", "--data", t.TempDir(), "yolo99"}, "yolo99"},
		"unknown model, detect":  {[]string{"detect", "--data", t.TempDir(), "--model", "yolo99", "x.jpg"}, "yolox-nano"},
		"unknown model, verify":  {[]string{"models", "verify", "--data", t.TempDir(), "yolo99"}, "yolo99"},
		"bench with no camera":   {[]string{"bench", "pipeline", "--clip", "x", "--cameras", "0"}, "at least one camera"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := xacam(t, c.args...)
			wellSaid(t, r, exitUsage, 1)
			assert.Contains(t, r.stderr, c.says)
			assert.Empty(t, r.stdout)
		})
	}
}

// TestFailures: what was meant but cannot be done is exit code 1 and one
// sentence that says what to do.
func TestFailures(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { taken.Close() })
	inTheWay := writeFile(t, "file", "not a folder")
	damaged := t.TempDir()
	addToy(t, damaged, "toy", "toy.onnx", "00"+"c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b"[:62])
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"port in use": {
			[]string{"serve", "-c", writeFile(t, "x.yaml", "listen: "+taken.Addr().String()+"\ndata: "+t.TempDir())},
			"is another xacam running? choose another address",
		},
		"data folder not writable": {
			[]string{"serve", "-c", writeFile(t, "x.yaml", "listen: 127.0.0.1:0\ndata: "+filepath.Join(inTheWay, "data"))}, "cannot be written",
		},
		"data folder is a file": {
			[]string{"serve", "-c", writeFile(t, "x.yaml", "listen: 127.0.0.1:0\ndata: "+inTheWay)}, "cannot be written",
		},
		"database away": {
			[]string{"migrate", "-c", configFile(t, "database: {dsn: 'postgres://u:secret@127.0.0.1:1/d?sslmode=disable'}")}, "connection refused",
		},
		"no clips":         {[]string{"sim", t.TempDir()}, "no clip of H.264 or H.265"},
		"no folder":        {[]string{"sim", filepath.Join(t.TempDir(), "x")}, "read the folder of clips"},
		"no model file":    {[]string{"models", "verify", "--data", t.TempDir()}, "xacam models pull"},
		"wrong checksum":   {[]string{"models", "verify", "--data", damaged, "toy"}, "sha256"},
		"no detections":    {[]string{"track", "--det", inTheWay + "x", "--fps", "25", "--size", "1x1"}, "read the detections"},
		"not detections":   {[]string{"track", "--det", inTheWay, "--fps", "25", "--size", "1x1"}, inTheWay},
		"detect, checksum": {[]string{"detect", "--data", damaged, "--model", "toy", "x.jpg"}, "sha256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := xacam(t, c.args...)
			wellSaid(t, r, exitFailed, 1)
			assert.Contains(t, r.stderr, c.says)
		})
	}
}

func TestProbeOfBadCameras(t *testing.T) {
	t.Parallel()
	for name, c := range badCameras(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := xacam(t, "probe", "--duration", "1s", c.url)
			wellSaid(t, r, exitFailed, 1)
			assert.Contains(t, r.stderr, c.says)
		})
	}
}

const badCameraFile = `
camera: Chợ
name: A
url: rtsp://u:` + password + `@127.0.0.1/a
zones: {two: {area: [[0,0],[1,1]]}, nan: {area: [[0,0],[1,.nan],[1,1]]}, outside: {area: [[0,0],[2,0],[1,1]]}}
lines: {point: {from: [0.5,0.5], to: [0.5,0.5]}}
rules:
  - {name: a, kind: telepathy, zone: two}
  - {name: b, kind: intrusion, zone: nowhere}
  - {name: b, kind: line_crossing, line: point, direction: up}
---
camera: b
url: http://u:` + password + `@127.0.0.1/a
detect: {fps: 500, model: "../../etc", min_score: 2}
`

// TestApplyListsEveryProblem: all of them with their paths, and nothing is
// stored, not even the camera that is all right.
func TestApplyListsEveryProblem(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	good := "camera: good\nurl: rtsp://u:" + "pw" + "@127.0.0.1/a\n"
	r := xacam(t, "apply", "-c", db.config, "-f", writeFile(t, "cams.yaml", good))
	require.Equal(t, exitOK, r.code, r.stderr)
	before := xacam(t, "export", "-c", db.config)
	require.Equal(t, exitOK, before.code, before.stderr)

	bad := writeFile(t, "cams.yaml", good+"name: changed\n---"+badCameraFile)
	for _, args := range [][]string{
		{"apply", "-c", db.config, "-f", bad},
		{"apply", "-c", db.config, "-f", bad, "--prune"},
		{"check-config", "-f", bad},
		{"apply", "-c", db.config, "-f", bad, "--dry-run"},
	} {
		r = xacam(t, args...)
		for _, says := range []string{
			"cameras[1].camera: ", "cameras[1].zones.two.area: ", "cameras[1].zones.nan.area", "cameras[1].zones.outside.area",
			"cameras[1].lines.point: ", `cameras[1].rules[0].kind: "telepathy" is not one of [`, "cameras[1].rules[1].zone: ",
			"cameras[1].rules[2].name: ", "cameras[1].rules[2].direction: ", "cameras[2].url: ", "cameras[2].detect.fps: ",
			"cameras[2].detect.model: ", "cameras[2].detect.min_score: ",
		} {
			assert.Contains(t, r.stderr, says)
		}
		wellSaid(t, r, exitUsage, 13)
	}
	after := xacam(t, "export", "-c", db.config)
	assert.Equal(t, before.stdout, after.stdout, "the database is as it was")
}

func TestApplyRefusesWhatIsNoCameraFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"empty":         {"", "no camera"},
		"unknown field": {"camera: a\nurll: rtsp://u:" + password + "@h/\n", "urll"},
		"garbage":       {"\xff\xfe\x00", "camera file: "},
		"a list":        {"- 1\n- 2\n", "line 1"},
		"a bomb":        {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\ncamera: *c\n", ""},
		"twice":         {"camera: a\nurl: rtsp://h/\n---\ncamera: a\nurl: rtsp://h/\n", `"a" is used by cameras[0] too`},
		"three numbers": {"camera: a\nurl: rtsp://h/\nlines: {l: {from: [0,0,0], to: [1,1]}}\n", "two numbers"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := xacamStdin(t, c.text, "apply", "-c", configFile(t, ""), "-f", "-")
			assert.Equal(t, exitUsage, r.code)
			assert.Contains(t, r.stderr, c.says)
			secretFree(t, r.stderr)
		})
	}
}

// TestApplyRoundTrip: what export writes, apply takes as unchanged.
func TestApplyRoundTrip(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	file := writeFile(t, "cams.yaml", `
camera: cong-cho
name: Cổng chợ An Thạnh
hamlet: an-thuong
location: {lat: 9.69, lon: 106.16, bearing: 120, fov: 70}
url: rtsp://admin:`+password+`@127.0.0.1:1/main?x=1
detect_url: rtsp://admin:`+password+`@127.0.0.1:1/sub
transport: udp
detect: {fps: 12.5, model: yolox-nano, min_score: 0.4}
zones: {san-cho: {area: [[0.1,0.5],[0.9,0.5],[0.9,1],[0.1,1]]}}
lines: {vach-1: {from: [0.1,0.6], to: [0.9,0.6]}}
masks: [[[0,0],[0.3,0],[0.3,0.1],[0,0.1]]]
calibration: {image: [[0,0.5],[1,0.5],[1,1],[0,1]], metres: [[0,20],[6,20],[6,0],[0,0]]}
rules:
  - {name: dem-xe, kind: line_crossing, line: vach-1, direction: a_to_b, classes: [car, motorcycle]}
  - {name: cam-vao-dem, kind: intrusion, zone: san-cho, classes: [person], schedule: "22:00-05:00", severity: high, after: 1.5}
---
camera: b
url: rtsp://127.0.0.1:1/b
`)
	r := xacam(t, "apply", "-c", db.config, "-f", file)
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Equal(t, "cong-cho: added, version 1\nb: added, version 1\n", r.stdout)

	out := filepath.Join(t.TempDir(), "out.yaml")
	r = xacam(t, "export", "-c", db.config, "-o", out)
	require.Equal(t, exitOK, r.code, r.stderr)
	info, err := os.Stat(out)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "it has passwords in it")

	r = xacam(t, "apply", "-c", db.config, "-f", out, "--prune")
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Equal(t, "b: unchanged, version 1\ncong-cho: unchanged, version 1\n", r.stdout)
	r = xacam(t, "apply", "-c", db.config, "-f", file)
	assert.Equal(t, "cong-cho: unchanged, version 1\nb: unchanged, version 1\n", r.stdout)

	text, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Contains(t, string(text), password)
	r = xacam(t, "export", "-c", db.config, "--redact", "cong-cho")
	require.Equal(t, exitOK, r.code, r.stderr)
	secretFree(t, r.stdout)
	assert.Contains(t, r.stdout, "cam-vao-dem")
	assert.NotContains(t, r.stdout, "camera: b\n")
	r = xacam(t, "export", "-c", db.config, "gone")
	wellSaid(t, r, exitFailed, 1)
	r = xacam(t, "apply", "-c", db.config, "-f", writeFile(t, "cams.yaml", "camera: b\nurl: rtsp://127.0.0.1:1/c\n"), "--prune")
	assert.Equal(t, "b: changed, version 2\ncong-cho: deleted\n", r.stdout)
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/vision"
	"github.com/xacam/xacam/vision/backtest"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/tracklog"
)

const marketCamera = `
camera: cho
name: Chợ An Thạnh
zones: {san: {area: [[0.3,0.3],[0.7,0.3],[0.7,0.9],[0.3,0.9]]}}
rules:
  - {name: ban-dem, kind: intrusion, zone: san, classes: [person], after: 2, schedule: "22:00-05:00", severity: high}
  - {name: xa-rac, kind: dumping, zone: san}
`

// recorded returns a data folder in which a camera has seen somebody for a
// minute each hour from 20:00 to 02:00 local time, except from 23:30 to 00:15.
func recorded(t *testing.T) (data string, from time.Time) {
	t.Helper()
	data = t.TempDir()
	from = time.Date(2026, 11, 20, 20, 0, 0, 0, time.FixedZone("", 7*3600))
	log, err := tracklog.New(tracklog.Config{Dir: tracksDir(data), Queue: 10_000})
	require.NoError(t, err)
	tape := log.Tape("cho", tracklog.Run{Started: from, FPS: 2})
	box := geom.Box{Min: geom.Point{X: 0.45, Y: 0.4}, Max: geom.Point{X: 0.5, Y: 0.6}}
	for i := range 6 * 3600 * 2 {
		at := from.Add(time.Duration(i) * 500 * time.Millisecond)
		if in := at.Sub(from); in >= 3*time.Hour+30*time.Minute && in < 4*time.Hour+15*time.Minute {
			continue
		}
		s := &vision.Scene{At: at}
		switch n, in := i/7200, i%7200; {
		case in < 120:
			s.Tracks = []vision.Track{{
				ID: uint64(n) + 1, Label: "person", Score: 0.8, Box: box, Prev: box,
				First: at.Add(-time.Duration(in) * 500 * time.Millisecond), Seen: at,
			}}
		case in == 120:
			s.Ended = []uint64{uint64(n) + 1}
		}
		tape.Add(s)
	}
	tape.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, log.Run(ctx))
	return data, from
}

const backtestVI = `Camera cho: quy tắc sẽ báo những gì từ 20:00:00 20/11/2026 đến 02:00:00 21/11/2026
Đã ghi được 5,2 trên 6,0 giờ. Có 1 khoảng trống, trong đó không thể có sự kiện:
  23:29:59 20/11/2026 – 00:15:00 21/11/2026 (45 phút 01 giây)

Quy tắc «ban-dem» (intrusion)
  %s
  3 sự kiện, tổng cộng 2 phút 53 giây
  Mức độ: cao 3
  Theo ngày:
    Ngày           Sự kiện     Đã ghi
    20/11/2026           2      3,5 h
    21/11/2026           1      1,8 h
  Theo giờ trong ngày: 1h: 1, 22h: 1, 23h: 1
  Không so sánh được với sự kiện thực tế (cần -c xacam.yaml và cơ sở dữ liệu).
  Ví dụ:
    22:00:02 20/11/2026 (kéo dài 58 giây)  Một người ở trong vùng «san» ít nhất 2 giây lúc 22:00, ngoài giờ cho phép.
    01:00:02 21/11/2026 (kéo dài 58 giây)  Một người ở trong vùng «san» ít nhất 2 giây lúc 01:00, ngoài giờ cho phép.
`

func TestBacktestTable(t *testing.T) {
	t.Parallel()
	data, from := recorded(t)
	file := writeFile(t, "cam.yaml", marketCamera)
	base := []string{
		"backtest", "--data", data, "--camera", file, "--from", from.Format(time.RFC3339), "--to", from.Add(6 * time.Hour).Format(time.RFC3339),
		"--examples", "2",
	}
	r := xacam(t, append(base, "--rule", "ban-dem")...)
	require.Equal(t, exitOK, r.code, r.stderr)
	lines := strings.Split(r.stdout, "\n")
	require.Greater(t, len(lines), 5)
	assert.Equal(t, fmt.Sprintf(backtestVI, strings.TrimSpace(lines[5])), r.stdout)

	r = xacam(t, append(base, "--lang", "en")...)
	require.Equal(t, exitOK, r.code, r.stderr)
	for _, want := range []string{
		"Recorded 5.2 of 6.0 h. 1 gaps, in which nothing could be raised:", "Rule “ban-dem” (intrusion)", "3 events, 2 min 53 s together",
		"Severity: high 3", "2026-11-21", "Rule “xa-rac” (dumping)", "Note: for 5.2 h the camera's still things were not looked at", "No event.",
	} {
		assert.Contains(t, r.stdout, want)
	}

	rules := writeFile(t, "rules.yaml", `
zones: {goc: {area: [[0,0],[0.2,0],[0.2,0.2],[0,0.2]]}}
rules: [{name: goc, kind: intrusion, zone: goc}, {name: ca-ngay, kind: intrusion, zone: san, after: 50}]
`)
	r = xacam(t, append(base, "--rules", rules, "--json")...)
	require.Equal(t, exitOK, r.code, r.stderr)
	var got backtest.Result
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &got))
	require.Len(t, got.Rules, 2)
	assert.Zero(t, got.Rules[0].Events)
	assert.Equal(t, 5, got.Rules[1].Events)
}

func TestBacktestOfTheServersCameras(t *testing.T) {
	t.Parallel()
	data, from := recorded(t)
	spec := `{"camera":"cho","url":"rtsp://u:` + password + `@h/","zones":{"san":{"area":[[0.3,0.3],[0.7,0.3],[0.7,0.9],[0.3,0.9]]}},
		"detect":{"fps":2,"min_score":0.35},"rules":[{"name":"ban-dem","kind":"intrusion","zone":"san"}]}`
	stored, err := json.Marshal([]storedCamera{{Slug: "cho", Spec: json.RawMessage(spec), Version: 1, Enabled: true, Versions: map[string]int{"ban-dem": 4}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(data, "cameras.json"), stored, 0o600))
	r := xacam(t, "backtest", "--data", data, "--camera", "cho", "--from", from.Format(time.RFC3339), "--to", from.Add(time.Hour).Format(time.RFC3339), "--json")
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, `"name": "ban-dem"`)
	secretFree(t, r.stdout)
}

func TestBacktestMistakes(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	file := writeFile(t, "cam.yaml", marketCamera)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no camera":       {nil, "camera"},
		"no such camera":  {[]string{"--camera", "cau"}, "is no file"},
		"no such rule":    {[]string{"--camera", file, "--rule", "x"}, "rule: \"x\""},
		"no such file":    {[]string{"--camera", file, "--rules", "x.yaml"}, "x.yaml"},
		"rules without":   {[]string{"--camera", file, "--rules", writeFile(t, "r.yaml", "zones: {}\n")}, "list of rules"},
		"a bad parameter": {[]string{"--camera", file, "--rules", writeFile(t, "r.yaml", "rules: [{name: a, kind: intrusion, zone: san, aftr: 3}]\n")}, "rules[0].aftr"},
		"no days":         {[]string{"--camera", file, "--days", "0"}, "range"},
		"many days":       {[]string{"--camera", file, "--days", "1000"}, "at most 92 days"},
		"a bad time":      {[]string{"--camera", file, "--from", "yesterday"}, "--from"},
		"both":            {[]string{"--camera", file, "--from", "2026-11-20T00:00:00Z", "--days", "3"}, "days"},
		"a language":      {[]string{"--camera", file, "--lang", "fr"}, "vi or en"},
		"examples":        {[]string{"--camera", file, "--examples", "0"}, "--examples"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := xacam(t, append([]string{"backtest", "--data", data}, c.args...)...)
			assert.Contains(t, r.stderr, c.want)
			wellSaid(t, r, exitUsage, 1)
		})
	}
}

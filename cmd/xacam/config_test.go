package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "comment": "# nothing\n", "part": "commune: {name: Xã khác}\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := parseConfig([]byte(text))
			require.NoError(t, err)
			assert.Equal(t, "127.0.0.1:8080", c.Listen)
			assert.Equal(t, "/var/lib/xacam", c.Data)
			assert.Empty(t, c.Database.DSN.Reveal())
			assert.Equal(t, "31615", c.Commune.Code, "kept beside another field of its group")
			assert.Equal(t, "Asia/Ho_Chi_Minh", c.location.String())
			assert.Zero(t, c.Inference.Workers)
			assert.Equal(t, "yolox-nano", c.Inference.Model)
			assert.Equal(t, LogConfig{Level: "info", Format: "text"}, c.Log)
		})
	}
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	path := writeFile(t, "xacam.yaml", `
listen: "[::1]:9000"
data: here
database: {dsn: "postgres://xacam:`+password+`@db/xacam", binaries: /opt/pg/bin}
commune: {code: "00001", name: X, time_zone: UTC, holidays: [12-24, 2027-04-16, 2027-02-05..2027-02-09]}
inference: {workers: 2, library: /opt/ort.so, model: other}
log: {level: debug, format: json}
`)
	c, err := loadConfig(path)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(filepath.Dir(path), "here"), c.Data, "relative to the file")
	assert.Equal(t, "postgres://xacam:"+password+"@db/xacam", c.Database.DSN.Reveal())
	assert.Equal(t, time.UTC, c.location)
	assert.Len(t, c.holidays, 7)
	assert.True(t, c.holidays["2027-02-09"])
	assert.True(t, c.holidays["12-24"])
	assert.Equal(t, InferenceConfig{Workers: 2, Library: "/opt/ort.so", Model: "other"}, c.Inference)
}

func TestConfigListsEveryProblem(t *testing.T) {
	t.Parallel()
	r := xacam(t, "check-config", "-c", writeFile(t, "xacam.yaml", `
listen: "8080"
data: ""
database: {dsn: "mysql://u:`+password+`@h/d"}
commune: {code: "3161", time_zone: Hanoi, holidays: [09-02, 31-12, mùng một]}
inference: {workers: 999, model: ""}
log: {level: loud, format: xml}
`))
	wellSaid(t, r, exitUsage, 10)
	for _, field := range []string{
		"listen", "data", "database.dsn", "commune.code", "commune.time_zone", "commune.holidays", "inference.workers", "inference.model", "log.level", "log.format",
	} {
		assert.Contains(t, r.stderr, field+": ")
	}
}

func TestConfigIsStrict(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":     {"lisden: 127.0.0.1:1\n", "lisden"},
		"unknown in group":  {"log: {colour: red}\n", "colour"},
		"wrong type":        {"inference: {workers: many}\n", "workers"},
		"not a mapping":     {"- a\n- b\n", "not a configuration"},
		"several documents": {"listen: 127.0.0.1:1\n---\ndata: /x\n", "more than one document"},
		"garbage":           {"\x00\x01\x02\xff{{{", "not a configuration"},
		"tabs":              {"log:\n\tlevel: info\n", "not a configuration"},
		"cut off":           {"log: {level: info", "not a configuration"},
		"twice":             {"listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "already defined"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseConfig([]byte(c.text))
			if c.want == "workers" {
				require.Error(t, err) // YAML names the line, not the field
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

// A password in the configuration is not shown by any way of printing it.
func TestSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	c := defaultConfig()
	c.Database.DSN = Secret("postgres://xacam:" + password + "@db/xacam")
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("config", "config", c, "value", *c, "database", c.Database, "dsn", c.Database.DSN)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{c, *c, c.Database, c.Database.DSN, &c.Database.DSN, []Secret{c.Database.DSN}, fmt.Errorf("x: %v", c.Database)} {
			fmt.Fprintf(&out, format+"\n", v)
		}
	}
	for _, v := range []any{c, c.Database, map[string]any{"dsn": c.Database.DSN}} {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		y, err := yaml.Marshal(v)
		require.NoError(t, err)
		out.Write(append(b, y...))
	}
	shown := out.String()
	assert.Greater(t, strings.Count(shown, "redacted"), 30)
	assert.NotContains(t, shown, "Thanh#1")
	assert.NotContains(t, shown, "Thanh%231")
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("listen: 127.0.0.1:1\nlog: {level: debug}\n"))
	f.Add([]byte("database: {dsn: x=y}\n---\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b)
		if err == nil && c.location == nil {
			t.Error("a configuration that was accepted has no time zone")
		}
	})
}

func TestOthersMayPassThroughXacamsOwnFoldersOnly(t *testing.T) {
	t.Parallel()
	mode := func(fresh bool) os.FileMode {
		dir := filepath.Join(t.TempDir(), "data")
		require.NoError(t, os.Mkdir(dir, 0o700)) // as under umask 077
		require.NoError(t, letPass(dir, fresh))
		info, err := os.Stat(dir)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	assert.Equal(t, os.FileMode(0o711), mode(true))
	assert.Equal(t, os.FileMode(0o700), mode(false), "what was there before is its owner's business")
}

package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/xacam/xacam"

// imports says which of our packages each package may import outside its tests.
// The folders below "cmd" follow its line; every other package needs its own,
// so that a new package, or a new arrow, is a decision.
var imports = map[string][]string{
	// Level 0: words and types.
	"events":        {},
	"streams/media": {},
	"vision/geom":   {},
	"models":        {},

	// Level 1: contracts and pure logic on them.
	"events/lifecycle": {"events"},
	"events/schedule":  {},
	"events/spool":     {"events"},
	"events/tally":     {"events"},
	"events/wire":      {"events"},
	"events/evidence":  {"events", "events/vault", "events/wire"},
	"events/outbox":    {"events", "events/schedule"},
	"events/audit":     {"events"},
	"events/vault":     {},
	"vision":           {"streams/media", "vision/geom"},

	// Level 2: one concern each.
	"events/format":    {"events", "events/outbox", "events/wire"},
	"events/webhook":   {"events/format", "events/outbox"},
	"streams/avdec":    {"streams/media"},
	"streams/clip":     {"streams/media"},
	"streams/probe":    {"streams/media", "streams/rtsp"},
	"streams/ring":     {"streams/media"},
	"streams/rtsp":     {"streams/media"},
	"streams/sim":      {"streams/media"},
	"vision/behaviour": {"events", "events/lifecycle", "events/schedule", "vision", "vision/geom"},
	"vision/camera":    {"events", "events/lifecycle", "events/schedule", "models", "vision/behaviour", "vision/geom"},
	"vision/family":    {"models", "vision", "vision/geom"},
	"vision/mot":       {"vision", "vision/geom"},
	"vision/motion":    {"streams/media", "vision", "vision/geom"},
	"vision/tamper":    {"streams/media", "vision", "vision/geom"},
	"vision/ort":       {"streams/media", "vision"},
	"vision/prep":      {"models", "streams/media", "vision", "vision/geom"},
	"vision/ration":    {},
	"vision/reid":      {"streams/media", "vision", "vision/geom", "vision/ration"},
	"vision/riders":    {"streams/media", "vision", "vision/geom"},
	"vision/score":     {"models", "vision", "vision/geom", "vision/mot", "vision/track"},
	"vision/still":     {"streams/media", "vision", "vision/geom"},
	"vision/track":     {"vision", "vision/geom"},
	"vision/tracklog":  {"vision", "vision/geom"},

	// Level 3: where things meet.
	"api":              {"events", "events/audit", "events/outbox", "events/wire"},
	"events/pgcluster": {},
	"events/pgstore":   {"events", "events/audit", "events/evidence", "events/outbox", "events/schedule"},
	"vision/backtest": {
		"events", "events/lifecycle", "events/schedule", "vision", "vision/behaviour", "vision/camera", "vision/tracklog",
	},
	"vision/detect": {
		"models", "streams/media", "vision", "vision/family", "vision/geom", "vision/ort", "vision/prep",
	},
	"vision/second": {"models", "streams/media", "vision", "vision/geom", "vision/ort", "vision/prep", "vision/ration"},
	"vision/pipeline": {
		"events", "events/lifecycle", "streams/media", "vision", "vision/behaviour", "vision/geom", "vision/motion",
		"vision/track",
	},

	// For tests only.
	"events/outbox/outboxtest": {"events", "events/outbox"},
	"events/eventstest":        {"events", "events/pgcluster", "events/pgstore"},
	"streams/streamtest":       {"streams/media", "streams/sim"},
	"vision/ort/orttest":       {"vision", "vision/ort"},
	"vision/visiontest":        {"streams/media", "vision", "vision/geom"},

	// An example for others to copy.
	"deploy/receivers/go": {},

	// Level 4: the binary.
	"cmd": {"*"},
}

// heavy names the only packages that may import these modules outside their
// tests; packages of test helpers may import any of them.
var heavy = map[string][]string{
	"C":                                                       {"streams/avdec", "vision/ort", "vision/prep"},
	"github.com/asticode/go-astiav":                           {"streams/avdec"},
	"github.com/cloudevents/sdk-go":                           {},
	"github.com/standard-webhooks":                            {},
	"github.com/santhosh-tekuri":                              {},
	"github.com/bluenviron/gortsplib":                         {"streams/probe", "streams/rtsp", "streams/sim"},
	"github.com/getkin/kin-openapi":                           {},
	"github.com/gin-gonic/gin":                                {"api"},
	"github.com/jackc/pgx/v5":                                 {"events/pgcluster", "events/pgstore"},
	"github.com/pressly/goose/v3":                             {"events/pgstore"},
	"github.com/spf13/cobra":                                  {"cmd/xacam"},
	"github.com/stretchr/testify":                             {},
	"github.com/yalue/onnxruntime_go":                         {"vision/ort"},
	"go.uber.org/goleak":                                      {},
	"go.yaml.in/yaml/v3":                                      {"cmd/xacam", "models", "vision/behaviour", "vision/camera"},
	"gocv.io/x/gocv":                                          {"vision/prep"},
	"github.com/prometheus/client_golang/prometheus/testutil": {},
}

// goPackage is what `go list -json` says of one package.
type goPackage struct {
	ImportPath string
	Imports    []string
}

// TestImports holds the package plan: with and without cgo, no package imports
// one of ours, or a heavy module, that its line above does not name.
func TestImports(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"cgo": "CGO_ENABLED=1", "no cgo": "CGO_ENABLED=0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := map[string]bool{}
			for _, p := range listPackages(t, env) {
				pkg := strings.TrimPrefix(p.ImportPath, module+"/")
				seen[line(pkg)] = true
				assert.Contains(t, imports, line(pkg), "%s has no line in imports", pkg)
				for _, imp := range p.Imports {
					checkImport(t, pkg, imp)
				}
			}
			for pkg := range imports {
				assert.True(t, seen[pkg], "imports has a line for %s, which does not exist", pkg)
			}
		})
	}
}

// checkImport fails for an import that pkg must not have.
func checkImport(t *testing.T, pkg, imp string) {
	t.Helper()
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		allowed := imports[line(pkg)]
		assert.True(t, slices.Contains(allowed, own) || slices.Contains(allowed, "*"), "%s must not import %s", pkg, own)
		assert.True(t, !isTestHelper(own) || isTestHelper(pkg), "%s must not import %s: it is for tests only", pkg, own)
		return
	}
	for mod, users := range heavy {
		if imp != mod && !strings.HasPrefix(imp, mod+"/") || isTestHelper(pkg) && mod != "C" {
			continue
		}
		assert.Contains(t, users, pkg, "%s must not import %s: only %v may", pkg, imp, users)
	}
}

// line returns the key in imports that pkg follows.
func line(pkg string) string {
	if strings.HasPrefix(pkg, "cmd/") {
		return "cmd"
	}
	return pkg
}

// isTestHelper reports whether pkg exists for tests alone, such as events/eventstest.
func isTestHelper(pkg string) bool {
	return strings.HasSuffix(pkg, "test") && pkg != "vision/backtest" // which tests rules, for users
}

// listPackages returns all packages of the module as seen under one more
// environment variable.
func listPackages(t *testing.T, env string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...")
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		require.NoError(t, err, "go list: %s", exit.Stderr)
	}
	require.NoError(t, err, "go list")

	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err, "decode go list")
		all = append(all, p)
	}
}

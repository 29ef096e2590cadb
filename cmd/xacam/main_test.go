package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/vision/ort"
	"github.com/xacam/xacam/vision/ort/orttest"
)

func TestMain(m *testing.M) {
	// The commands look for ONNX Runtime from the checkout's root, tests run below it.
	lib, err := filepath.Abs("../../.cache/ort/libonnxruntime.so")
	if _, serr := os.Stat(lib); err == nil && serr == nil && os.Getenv(ort.LibraryEnv) == "" {
		os.Setenv(ort.LibraryEnv, lib)
	}
	// Most of these tests wait for cameras most of the time.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(eventstest.M{M: m})
}

// result is what one command line did.
type result struct {
	code           int
	stdout, stderr string
}

// xacam runs a command line in this process.
func xacam(t *testing.T, args ...string) result {
	t.Helper()
	return xacamStdin(t, "", args...)
}

func xacamStdin(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr lockedBuffer
	code := execute(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// password is in every address of these tests and must never be shown.
const password = "xa@An:Thanh#1%"

// wellSaid checks the messages of a command that failed: each problem is one
// readable line, without a stack and without the password.
func wellSaid(t *testing.T, r result, code, problems int) {
	t.Helper()
	assert.Equal(t, code, r.code, "exit code; stderr: %s", r.stderr)
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	assert.Len(t, lines, problems, "one line a problem: %s", r.stderr)
	for _, line := range lines {
		assert.True(t, strings.HasPrefix(line, "xacam: "), "%q", line)
		assert.Greater(t, len(strings.Fields(line)), 4, "%q is a sentence", line)
		assert.Less(t, len(line), 500, "%q is short", line)
	}
	secretFree(t, r.stderr+r.stdout)
}

// secretFree checks that a text has neither a password nor a stack trace.
func secretFree(t *testing.T, text string) {
	t.Helper()
	for _, bad := range []string{"An:Thanh", "An%3AThanh", "goroutine ", "panic", "runtime error", ".go:", "%!"} {
		assert.NotContains(t, text, bad)
	}
}

// writeFile writes a file into the test's folder and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// toyManifest describes testdata/models/toy.onnx, which finds pure colours.
const toyManifest = `name: %s
family: yolox
description: finds blobs of pure colour
file: %s
sha256: %s
licence: Apache-2.0
source: made by the tests
input: {width: 64, height: 64, pad: 114}
labels: [blue, green, red]
`

// addToy puts a model named name into a data folder: the file of
// testdata/models, its manifest, and the given sum or, if it is "", the right one.
func addToy(t *testing.T, data, name, file, sum string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(orttest.Root(t), "testdata", "models", file))
	require.NoError(t, err)
	if sum == "" {
		h := sha256.Sum256(b)
		sum = hex.EncodeToString(h[:])
	}
	dir := modelDir(data)
	require.NoError(t, os.MkdirAll(dir, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".onnx"), b, 0o600))
	manifest := fmt.Sprintf(toyManifest, name, name+".onnx", sum)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(manifest), 0o600))
}

// oneRuntime is held by whoever uses ONNX Runtime: a process has one at a time.
var oneRuntime = make(chan struct{}, 1) //nolint:gochecknoglobals // see above

// useRuntime waits until the test may use ONNX Runtime, or skips it where
// there is none.
func useRuntime(t *testing.T) {
	t.Helper()
	_, err := ort.FindLibrary("")
	if err == nil && !nativeCode {
		err = ort.ErrUnavailable
	}
	if err != nil {
		if os.Getenv("REQUIRE_ORT") == "1" && nativeCode {
			require.NoError(t, err)
		}
		t.Skip(err)
	}
	oneRuntime <- struct{}{}
	t.Cleanup(func() { <-oneRuntime })
}

// configFile writes a configuration with a database and data folder of the
// test's own and returns its path.
func configFile(t *testing.T, more string) string {
	t.Helper()
	return writeFile(t, "xacam.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\n%s", t.TempDir(), more))
}

func TestShutdownEndsWell(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dsn := eventstest.Database(t)
	cfg := configFile(t, fmt.Sprintf("database: {dsn: %q}", dsn))
	var stderr lockedBuffer
	assert.Equal(t, exitOK, execute(ctx, []string{"serve", "-c", cfg}, strings.NewReader(""), &stderr, &stderr), stderr.String())
	assert.Contains(t, stderr.String(), "xacam ended")
}

// testDatabase is a database of the test's own and a configuration for it.
type testDatabase struct {
	dsn    string
	data   string // data folder
	config string // path of the configuration
}

func newTestDatabase(t *testing.T) testDatabase {
	t.Helper()
	db := testDatabase{dsn: eventstest.Database(t), data: t.TempDir()}
	db.config = writeFile(t, "xacam.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\ndatabase: {dsn: %q}\n", db.data, db.dsn))
	return db
}

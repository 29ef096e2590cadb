package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
	"github.com/xacam/xacam/vision/ort/orttest"
)

// tinyModel is a file of testdata/models.
func tinyModel(t *testing.T, file string) string {
	t.Helper()
	return filepath.Join(orttest.Root(t), "testdata", "models", file)
}

// modelsAdd runs "models add" and returns its exit code and what it wrote.
func modelsAdd(t *testing.T, data string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = execute(t.Context(), append([]string{"models", "add", "--data", data}, args...), strings.NewReader(""), &out, &err)
	return code, out.String(), err.String()
}

func TestModelsAddRefuses(t *testing.T) {
	t.Parallel()
	useRuntime(t)
	data := t.TempDir()
	addToy(t, data, "taken", "toy.onnx", "")
	two := writeFile(t, "two.txt", "helmet\nno helmet\n")
	gap := writeFile(t, "gap.txt", "helmet\n\nno helmet\n")
	manifest := writeFile(t, "m.yaml", strings.ReplaceAll(strings.Replace(toyManifest, "%s", strings.Repeat("0", 64), 3), "name: "+strings.Repeat("0", 64), "name: x"))
	toy, fp16, dfine := tinyModel(t, "toy.onnx"), tinyModel(t, "yolov8_fp16.onnx"), tinyModel(t, "dfine.onnx")
	for name, c := range map[string]struct { //nolint:paralleltest // a process has one runtime: one case after the other
		args []string
		code int
		want []string
	}{
		"no such file":      {[]string{"nowhere.onnx"}, exitFailed, []string{"nowhere.onnx", "no such file"}},
		"truncated":         {[]string{tinyModel(t, "toy_corrupt.onnx")}, exitFailed, []string{"not a usable model"}},
		"not ONNX":          {[]string{writeFile(t, "page.onnx", "<html>Not Found</html>")}, exitFailed, []string{"not a usable model"}},
		"empty":             {[]string{writeFile(t, "empty.onnx", "")}, exitFailed, []string{"0 bytes"}},
		"not a number":      {[]string{tinyModel(t, "toy_nan.onnx")}, exitFailed, []string{"output[1 84 8]", "no family"}},
		"class count":       {[]string{fp16, "--labels", two}, exitFailed, []string{"2 names", "output0[1 7 84] has 3 classes", "output0[1 6 84]"}},
		"class count, coco": {[]string{toy, "--labels", "coco"}, exitFailed, []string{"coco has 80 names", "output[1 84 8] has 3 classes", "output[1 84 85]"}},
		"gap in the labels": {[]string{fp16, "--labels", gap}, exitUsage, []string{"line 2 of", "gap.txt"}},
		"no labels file":    {[]string{fp16, "--labels", "nowhere.txt"}, exitUsage, []string{"nowhere.txt"}},
		"no labels at all":  {[]string{dfine}, exitUsage, []string{"--labels"}},
		"wrong family":      {[]string{fp16, "--family", "yolox"}, exitFailed, []string{"output0[1 7 84]", "family yolox"}},
		"unknown family":    {[]string{fp16, "--family", "yolo99"}, exitUsage, []string{"yolo99", "nanodet-plus"}},
		"open size":         {[]string{tinyModel(t, "toy_dynamic.onnx")}, exitUsage, []string{"images[1 3 -1 -1]", "--size 640"}},
		"size that differs": {[]string{toy, "--size", "128"}, exitUsage, []string{"images[1 3 64 64]", "--size 128"}},
		"size in words":     {[]string{toy, "--size", "big"}, exitUsage, []string{"--size big"}},
		"name in use":       {[]string{toy, "--name", "taken"}, exitUsage, []string{"the name is taken", "--name"}},
		"name of ours":      {[]string{toy, "--name", "yolox-nano"}, exitUsage, []string{"the name is taken"}},
		"bad name":          {[]string{toy, "--name", "A B"}, exitUsage, []string{"name:"}},
		"colour order":      {[]string{toy, "--channels", "gbr"}, exitUsage, []string{"[bgr rgb]"}},
		"no licence":        {[]string{fp16, "--write"}, exitUsage, []string{"was not added", "--licence"}},
		"no names":          {[]string{toy, "--write", "--licence", "MIT"}, exitUsage, []string{"was not added", "--labels"}},
		"another manifest":  {[]string{toy, "--manifest", manifest}, exitUsage, []string{"is for another file"}},
		"broken manifest":   {[]string{toy, "--manifest", two}, exitUsage, []string{"two.txt", "manifest"}},
		"two files":         {[]string{toy, fp16}, exitUsage, []string{"accepts 1 arg"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := modelsAdd(t, data, c.args...)
			assert.Equal(t, c.code, code, stderr)
			for _, w := range c.want {
				assert.Contains(t, stderr, w)
			}
		})
	}
	files, err := os.ReadDir(modelDir(data))
	require.NoError(t, err)
	require.Len(t, files, 2, "nothing was added")
}

// TestModelsAdd goes the whole way: a proposal, the same corrected by hand, and
// a model that list, verify and detect know.
func TestModelsAdd(t *testing.T) {
	t.Parallel()
	useRuntime(t)
	data := t.TempDir()
	code, out, stderr := modelsAdd(t, data, tinyModel(t, "yolov8_fp16.onnx"), "--name", "mine", "--letterbox", "stretch")
	require.Equal(t, exitOK, code, stderr)
	m, err := models.Parse([]byte(out))
	require.NoError(t, err)
	assert.Equal(t, "yolov8", m.Family)
	assert.Equal(t, models.Labels{"red", "gr'een", "blue"}, m.Labels, "of the file's metadata")
	assert.Equal(t, "stretch", m.Input.Letterbox)
	for _, w := range []string{"check: The names of the classes", "check: No ONNX file says", "missing: the licence", "Nothing was added"} {
		assert.Contains(t, stderr, w)
	}
	require.NoDirExists(t, modelDir(data))

	manifest := writeFile(t, "mine.yaml", strings.Replace(out, "licence: unknown", "licence: MIT", 1))
	code, _, stderr = modelsAdd(t, data, tinyModel(t, "yolov8_fp16.onnx"), "--manifest", manifest, "--write")
	require.Equal(t, exitOK, code, stderr)
	code, _, stderr = modelsAdd(t, data, tinyModel(t, "dfine.onnx"), "--licence", "Apache-2.0", "--write",
		"--labels", writeFile(t, "l.txt", "red\ngreen\nblue\n"))
	require.Equal(t, exitOK, code, stderr)
	code, _, stderr = modelsAdd(t, data, tinyModel(t, "rtdetr_logits.onnx"), "--size", "64", "--licence", "Apache-2.0", "--write",
		"--labels", writeFile(t, "l.txt", "red\ngreen\nblue\n"))
	require.Equal(t, exitOK, code, stderr)

	var list bytes.Buffer
	require.Equal(t, exitOK, execute(t.Context(), []string{"models", "list", "--data", data}, strings.NewReader(""), &list, &list))
	assert.Regexp(t, `mine +yolov8 +64x64 +MIT +ready`, list.String())
	assert.Regexp(t, `dfine +rtdetr +64x64 +Apache-2.0 +ready`, list.String())
	list.Reset()
	require.Equal(t, exitOK, execute(t.Context(), []string{"models", "verify", "--data", data}, strings.NewReader(""), &list, &list))
	assert.Equal(t, "dfine: ok\nmine: ok\nrtdetr_logits: ok\n", list.String())
	list.Reset()
	require.Equal(t, exitOK, execute(t.Context(), []string{"models", "pull", "--data", data, "mine"}, strings.NewReader(""), &list, &list))
	assert.Contains(t, list.String(), "mine: ready at")
}

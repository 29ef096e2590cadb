package models_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
)

const minimal = `
name: mine
family: yolox
file: mine.onnx
sha256: c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d
licence: MIT
input: {width: 320, height: 256, pad: 114}
labels: [helmet, no helmet]
`

func TestParseDefaults(t *testing.T) {
	t.Parallel()
	m, err := models.Parse([]byte(minimal))
	require.NoError(t, err)
	assert.Equal(t, "bgr", m.Input.Channels)
	assert.Equal(t, "nchw", m.Input.Layout)
	assert.Equal(t, "top_left", m.Input.Letterbox)
	assert.InDelta(t, 1, m.Input.Scale, 0)
	assert.InDelta(t, 0.45, m.NMS, 0)
	assert.InDelta(t, 0.35, m.MinScore, 0)
	assert.Equal(t, models.Labels{"helmet", "no helmet"}, m.Labels)
}

func TestParseRejects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, repl, want string }{
		"empty file":       {minimal, "", "empty"},
		"unknown field":    {"licence:", "license:", "license"},
		"two documents":    {"\nfamily:", "\n---\nfamily:", "document"},
		"path as file":     {"mine.onnx", "../mine.onnx", "plain file name"},
		"hidden file":      {"mine.onnx", ".mine.onnx", "plain file name"},
		"upper-case name":  {"name: mine", "name: Mine", "lower-case"},
		"short sum":        {"c789161e", "c789", "sha256"},
		"no licence":       {"licence: MIT", "licence: ''", "licence"},
		"plain http":       {"licence:", "url: http://example.org/x\nlicence:", "https"},
		"unknown labels":   {"[helmet, no helmet]", "voc", "voc"},
		"no labels":        {"[helmet, no helmet]", "[]", "labels"},
		"tiny input":       {"width: 320", "width: 3", "input.width"},
		"infinite scale":   {"pad: 114", "pad: 114, scale: .inf", "input.scale"},
		"NaN mean":         {"pad: 114", "pad: 114, mean: [.nan, 0, 0]", "input.mean[0]"},
		"zero std":         {"pad: 114", "pad: 114, std: [1, 0, 1]", "input.std[1]"},
		"two means":        {"pad: 114", "pad: 114, mean: [1, 0]", "input.mean"},
		"channels":         {"pad: 114", "pad: 114, channels: gbr", "input.channels"},
		"layout":           {"pad: 114", "pad: 114, layout: chw", "input.layout"},
		"letterbox":        {"pad: 114", "pad: 114, letterbox: crop", "[top_left center stretch]"},
		"extra, empty":     {"pad: 114", "pad: 114, extra: {s: []}", `input.extra["s"]: needs 1 to 64`},
		"extra, sizes":     {"pad: 114", "pad: 114, multiple_of: 32, extra: {s: [1]}", "input.multiple_of"},
		"extra, NaN":       {"pad: 114", "pad: 114, extra: {s: [.nan]}", `input.extra["s"]`},
		"strides":          {"licence:", "params: {strides: [8, 8]}\nlicence:", "params.strides[1]"},
		"anchors alone":    {"licence:", "params: {anchors: [[1, 2]]}\nlicence:", "1 lists for 0 strides"},
		"anchors, odd":     {"licence:", "params: {strides: [8], anchors: [[1, 2, 3]]}\nlicence:", "params.anchors[0]: 3 numbers"},
		"anchors, uneven":  {"licence:", "params: {strides: [8, 16], anchors: [[1, 2], [1, 2, 3, 4]]}\nlicence:", "params.anchors[1]"},
		"anchors, zero":    {"licence:", "params: {strides: [8], anchors: [[1, 0]]}\nlicence:", "params.anchors[0][1]"},
		"reg_max":          {"licence:", "params: {reg_max: -1}\nlicence:", "params.reg_max"},
		"activation":       {"licence:", "params: {activation: relu}\nlicence:", "params.activation"},
		"box order":        {"licence:", "params: {boxes: xywh}\nlicence:", "params.boxes"},
		"units":            {"licence:", "params: {units: metres}\nlicence:", "params.units"},
		"first class":      {"licence:", "params: {first_class: -1}\nlicence:", "params.first_class"},
		"unknown role":     {"licence:", "params: {outputs: {masks: m}}\nlicence:", `"masks" is not one of`},
		"one output twice": {"licence:", "params: {outputs: {boxes: m, scores: m}}\nlicence:", "both boxes and scores"},
		"quant":            {"licence:", "params: {quant: {o: {scale: 0}}}\nlicence:", `params.quant["o"].scale`},
		"unknown param":    {"licence:", "params: {ancors: []}\nlicence:", "ancors"},
		"pad out of range": {"pad: 114", "pad: 256", "input.pad"},
		"NaN nms":          {"licence:", "nms: .nan\nlicence:", "nms"},
		"huge file":        {"licence:", "bytes: 99999999999\nlicence:", "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := strings.Replace(minimal, c.old, c.repl, 1)
			require.NotEqual(t, minimal, in)
			_, err := models.Parse([]byte(in))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestParseListsEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := models.Parse([]byte("name: x y\nfile: a/b\n"))
	for _, want := range []string{"name:", "family:", "file:", "sha256:", "licence:", "labels:", "input.width:"} {
		require.ErrorContains(t, err, want)
	}
}

// TestYAMLRoundTrip: what is written is read back as the same manifest.
func TestYAMLRoundTrip(t *testing.T) {
	t.Parallel()
	zero := 0
	full, err := models.Parse([]byte(minimal))
	require.NoError(t, err)
	small := full
	full.Labels = models.COCO()
	full.Input.Mean, full.Input.Std = []float64{103.53, 116.28, 123.675}, []float64{57.375, 57.12, 58.395}
	full.Input.Extra = map[string][]float64{"orig_target_sizes": {640, 640}}
	full.Params = models.Params{
		Strides: []int{8, 16}, Anchors: [][]float64{{1, 2}, {3, 4.5}}, RegMax: 7, Activation: "sigmoid", Boxes: "yxyx",
		Units: "relative", FirstClass: &zero, Outputs: map[string]string{"boxes": "b"},
		Quant: map[string]models.Quant{"b": {Scale: 0.5, Zero: -128}},
	}
	for name, m := range map[string]models.Manifest{"small": small, "full": full} {
		text, err := m.YAML()
		require.NoError(t, err)
		back, err := models.Parse(text)
		require.NoError(t, err, "%s", text)
		require.Equal(t, m, back, "%s: %s", name, text)
		require.Equal(t, name == "full", strings.Contains(string(text), "labels: coco"), "%s", text)
		require.Equal(t, name == "full", strings.Contains(string(text), "params:"), "%s", text)
	}
}

// TestCatalogueLicences: what we recommend may be used by everybody.
func TestCatalogueLicences(t *testing.T) {
	t.Parallel()
	c, err := models.Builtin("")
	require.NoError(t, err)
	for _, n := range c.Names() {
		m, err := c.Lookup(n)
		require.NoError(t, err)
		assert.Contains(t, []string{"Apache-2.0", "MIT", "BSD-3-Clause", "BSD-2-Clause"}, m.Licence, n)
	}
}

func TestBuiltinCatalogue(t *testing.T) {
	t.Parallel()
	c, err := models.Builtin("")
	require.NoError(t, err)
	require.Equal(t, []string{"yolox-nano", "yolox-s", "yolox-tiny"}, c.Names())
	for _, n := range c.Names() {
		m, err := c.Lookup(n)
		require.NoError(t, err)
		assert.Len(t, m.Labels, 80)
		assert.Equal(t, "person", m.Labels[0])
		assert.Equal(t, "toothbrush", m.Labels[79])
		assert.NotZero(t, m.Bytes)
		assert.NotEmpty(t, m.URL)
	}
	_, err = c.Lookup("yolo99")
	require.ErrorIs(t, err, models.ErrUnknown)
	require.ErrorContains(t, err, "yolox-nano, yolox-s, yolox-tiny")
	_, err = c.Lookup(models.Default)
	require.NoError(t, err)
}

func TestOpenAddsTheUsersModels(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("mine.yaml", minimal)
	write("taken.yaml", strings.Replace(minimal, "name: mine", "name: yolox-nano", 1))
	write("broken.yaml", "name: [")
	c, err := models.Open(dir)
	require.ErrorContains(t, err, "taken.yaml")
	require.ErrorContains(t, err, "broken.yaml")
	require.Equal(t, []string{"mine", "yolox-nano", "yolox-s", "yolox-tiny"}, c.Names(), "the good ones are usable")

	list := c.List()
	require.True(t, list[0].User)
	require.Equal(t, models.Missing, list[0].State)
	write("mine.onnx", "not it")
	require.Equal(t, models.Damaged, c.List()[0].State)
	require.ErrorIs(t, c.Verify("mine"), models.ErrDamaged)
	require.ErrorIs(t, c.Verify("yolox-s"), models.ErrMissing)
	require.ErrorContains(t, c.Verify("yolox-s"), "xacam models pull yolox-s")

	c, err = models.Open(filepath.Join(dir, "nowhere"))
	require.NoError(t, err)
	require.Len(t, c.Names(), 3)
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("labels: coco"))
	f.Add([]byte("labels: {a: b}\nparams: {x: [1, {y: .nan}]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := models.Parse(data)
		if err != nil {
			return
		}
		if m.File != filepath.Base(m.File) || len(m.Labels) == 0 || m.Input.Width < 32 || !(m.NMS > 0) {
			t.Fatalf("accepted %+v", m)
		}
	})
}

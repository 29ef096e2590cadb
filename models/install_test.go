package models_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/models"
)

func TestParseNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]models.Labels{
		`{0: 'person', 1: 'bicycle'}`:         {"person", "bicycle"},
		`{1: "driver's cab", 0: 'xe \'ôm\''}`: {"xe 'ôm'", "driver's cab"},
		`{"0": "a", "1": "b"}`:                {"a", "b"},
		` ['a', "b",]`:                        {"a", "b"},
	} {
		got, err := models.ParseNames(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got)
	}
	for text, want := range map[string]string{
		"":                      "neither",
		"person, car":           "neither",
		"{}":                    "empty",
		"{0: 'a', 2: 'b'}":      "class 1 of 2",
		"{0: 'a', 0: 'b'}":      "twice",
		"{a: 'b'}":              "no number",
		"{-1: 'b'}":             "no number",
		"{0: b}":                "not quoted",
		"{0: 'b":                "no end",
		"{0: 'b' 1: 'c'}":       "comma",
		"{0: ''}":               "empty",
		"{0: 'a'} and more":     "ends in something else",
		"{99999999999999: 'a'}": "no number",
	} {
		_, err := models.ParseNames(text)
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParseNames(f *testing.F) {
	f.Add(`{0: 'person', 1: "b"}`)
	f.Add(`['a', 'b']`)
	f.Add(`{0: 'a\\'}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, err := models.ParseNames(s)
		if err == nil && (len(got) == 0 || len(got) > len(s)) {
			t.Fatalf("%q: %q", s, got)
		}
	})
}

func TestReadLabels(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "labels.txt")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	got, err := models.ReadLabels(file("\ufeffmũ bảo hiểm\r\nđầu trần\r\n\r\n"))
	require.NoError(t, err)
	require.Equal(t, models.Labels{"mũ bảo hiểm", "đầu trần"}, got)
	got, err = models.ReadLabels("coco")
	require.NoError(t, err)
	require.Len(t, got, 80)
	for text, want := range map[string]string{
		"": "line 1", "a\n\nb": "line 2", strings.Repeat("x", 65): "line 1", "a\xff": "not a text",
	} {
		_, err := models.ReadLabels(file(text))
		require.ErrorContains(t, err, want)
	}
	_, err = models.ReadLabels(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAdd(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "models")
	src := filepath.Join(t.TempDir(), "x.onnx")
	body := payload(2000)
	require.NoError(t, os.WriteFile(src, body, 0o600))
	m, err := models.Parse([]byte(minimal))
	require.NoError(t, err)
	cat, err := models.Open(dir)
	require.NoError(t, err)

	require.ErrorIs(t, cat.Add(m, src), models.ErrDamaged, "another file than the manifest's")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing stays behind")

	h := sha256.Sum256(body)
	m.SHA256 = hex.EncodeToString(h[:])
	require.NoError(t, cat.Add(m, src))
	require.ErrorIs(t, cat.Add(m, src), models.ErrTaken)
	cat, err = models.Open(dir)
	require.NoError(t, err)
	require.NoError(t, cat.Verify("mine"))
	got, err := cat.Lookup("mine")
	require.NoError(t, err)
	require.Equal(t, m, got)
	require.ErrorIs(t, cat.Add(m, src), models.ErrTaken)

	other := m
	other.Name = "other"
	require.ErrorContains(t, cat.Free(other), "that of mine")
	other.Name, other.File = "yolox-s", "free.onnx"
	require.ErrorIs(t, cat.Free(other), models.ErrTaken)
	other.Name, other.SHA256 = "other", ""
	require.ErrorContains(t, cat.Add(other, src), "sha256")
	require.ErrorIs(t, cat.Add(m, filepath.Join(dir, "none")), models.ErrTaken)

	require.NoError(t, os.Remove(filepath.Join(dir, "mine.yaml")))
	cat, err = models.Open(dir)
	require.NoError(t, err)
	require.NoError(t, cat.Add(m, cat.Path(m)), "the file is there already")
	cat, err = models.Open(dir)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cat.Path(m), body[:9], 0o600))
	require.ErrorContains(t, cat.Verify("mine"), "put the right file there")
}

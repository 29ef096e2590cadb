package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSweepTemporary(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(data, "evidence-drafts"), 0o750))
	for _, name := range []string{"xacam-copy-1.mp4", "evidence-drafts/1.part", "evidence-drafts/1.json", "other.mp4"} {
		require.NoError(t, os.WriteFile(filepath.Join(data, name), nil, 0o600))
	}
	sweepTemporary(data)
	assert.NoFileExists(t, filepath.Join(data, "xacam-copy-1.mp4"))
	assert.NoFileExists(t, filepath.Join(data, "evidence-drafts", "1.part"))
	assert.FileExists(t, filepath.Join(data, "evidence-drafts", "1.json"))
	assert.FileExists(t, filepath.Join(data, "other.mp4"))
}

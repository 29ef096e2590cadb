package main

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWriteOutKeepsDevices: started by root, --out /dev/null must not make a
// file of it. A pipe stands for it here.
func TestWriteOutKeepsDevices(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	f, err := os.OpenFile(pipe, os.O_RDWR, 0) // so that nobody waits for the other end
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, writeOut(pipe, io.Discard, func(w io.Writer) error {
		_, err := w.Write([]byte("text"))
		return err
	}))
	fi, err := os.Lstat(pipe)
	require.NoError(t, err)
	assert.Equal(t, os.ModeNamedPipe, fi.Mode().Type())
	got := make([]byte, 4)
	_, err = io.ReadFull(f, got)
	require.NoError(t, err)
	assert.Equal(t, "text", string(got))
}

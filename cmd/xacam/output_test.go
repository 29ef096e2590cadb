package main

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestResultsKeepDevices: a pipe that a result is written to is still a pipe
// afterwards, and so is /dev/null for whoever runs xacam as root.
func TestResultsKeepDevices(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	write := map[string]func() error{
		"whole": func() error {
			return writeOut(pipe, nil, func(w io.Writer) error {
				_, err := w.Write([]byte("result"))
				return err
			})
		},
		"lines": func() error {
			var w *bufio.Writer
			done, err := openLines(&w, pipe, nil)
			if err != nil {
				return err
			}
			_, err = w.WriteString("result")
			require.NoError(t, err)
			return done(true)
		},
	}
	for name, f := range write {
		got := make(chan string, 1)
		go func() {
			b, _ := os.ReadFile(pipe)
			got <- string(b)
		}()
		require.NoError(t, f(), name)
		assert.Equal(t, "result", <-got, name)
		info, err := os.Stat(pipe)
		require.NoError(t, err)
		assert.Equal(t, os.ModeNamedPipe, info.Mode().Type(), name)
		assert.NoFileExists(t, pipe+".part")
	}
}

package pgcluster

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// socketDir returns the folder of the socket: "run" in the cluster's folder,
// or, when that path is too long for a socket, a folder of a fixed name under
// TempDir or /tmp.
func socketDir(cfg Config) (string, error) {
	sum := sha256.Sum256([]byte(cfg.Dir))
	short := "xacam-" + strconv.Itoa(os.Geteuid()) + "-" + hex.EncodeToString(sum[:8])
	candidates := []string{
		filepath.Join(cfg.Dir, "run"),
		filepath.Join(cfg.TempDir, short),
		filepath.Join("/tmp", short),
	}
	for _, dir := range candidates {
		// A comma or a quote would need quoting in two more languages.
		if len(dir)+1+len(socketName) <= maxSocketPath && !strings.ContainsAny(dir, `,"'@\`) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("database folder %s: no folder for a socket, every candidate is longer than %d bytes or has one of , \" ' @ \\ in it",
		cfg.Dir, maxSocketPath)
}

// lockDir makes sure that one xacam uses the folder. The lock belongs to the
// open file, so the kernel gives it back even after kill -9.
func lockDir(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock database folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock database folder: %w", err)
		}
		who := "another process"
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			who = "process " + strings.TrimSpace(string(b))
		}
		return nil, fmt.Errorf("database folder %s: %w (%s): stop that one, or give this one a data folder of its own", dir, ErrLocked, who)
	}
	// The number only serves the message above.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return func() { _ = f.Close() }, nil
}

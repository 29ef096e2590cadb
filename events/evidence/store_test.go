package evidence_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

func TestPutAndOpen(t *testing.T) {
	t.Parallel()
	s, err := evidence.Open(filepath.Join(t.TempDir(), "media"))
	require.NoError(t, err)
	at := time.Date(2026, 11, 23, 22, 14, 5, 0, time.FixedZone("+07", 7*3600))
	ref, err := s.Put("snapshot", "gate-1.jpg", at, []byte("picture"))
	require.NoError(t, err)
	require.Equal(t, events.EvidenceRef{
		Type: "snapshot", Path: "2026/11/23/gate-1.jpg", Bytes: 7,
		SHA256: "2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97",
	}, ref)
	f, err := s.Open(ref)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "picture", string(b))
}

func TestPathsStayInside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600))
	s, err := evidence.Open(filepath.Join(dir, "media"))
	require.NoError(t, err)
	for _, name := range []string{"", "../x.jpg", "a/b.jpg", "A.jpg", "x\x00.jpg", ".hidden", "x.part"} {
		_, err := s.Put("snapshot", name, time.Unix(0, 0), nil)
		require.Error(t, err, "name %q", name)
	}
	require.NoError(t, os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "media", "link")))
	for _, p := range []string{"../secret", "/etc/passwd", "2026/../../secret", "link", "missing.jpg"} {
		_, err := s.Open(events.EvidenceRef{Path: p})
		require.ErrorIs(t, err, events.ErrNotFound, "path %q", p)
	}
}

// Only what is not there is not found: a disk that fails, or a process without
// files left, says nothing about it.
func TestOnlyAbsentIsNotFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := evidence.Open(filepath.Join(dir, "media"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "media", "loop"))) // cannot be opened, by root neither
	_, err = s.Open(events.EvidenceRef{Path: "loop/x"})
	require.Error(t, err)
	require.NotErrorIs(t, err, events.ErrNotFound)
	_, err = s.Open(events.EvidenceRef{Path: strings.Repeat("x", 300)})
	require.Error(t, err)
	require.NotErrorIs(t, err, events.ErrNotFound)
}

func TestSweepRemovesOnlyLeftovers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := evidence.Open(dir)
	require.NoError(t, err)
	ref, err := s.Put("snapshot", "a.jpg", time.Unix(0, 0), []byte("a"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "1970", "01", "01", "123.part"), []byte("half"), 0o600))
	now := time.Now()
	writing := filepath.Join(dir, "1970", "01", "01", "124.part")
	require.NoError(t, os.WriteFile(writing, []byte("being written"), 0o600))
	require.NoError(t, os.Chtimes(writing, now.Add(time.Minute), now.Add(time.Minute)))
	n, err := s.Sweep(t.Context(), now.Add(time.Second))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.FileExists(t, writing)
	f, err := s.Open(ref)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func TestFolderNotWritable(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := evidence.Open(filepath.Join(file, "media"))
	require.ErrorContains(t, err, "media folder")
}

func TestRootLeavesFilesToTheirOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := filepath.Join(t.TempDir(), "media")
	s, err := evidence.Open(dir)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, 4321, 4322))
	ref, err := s.Put("snapshot", "a.jpg", time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC), []byte("x"))
	require.NoError(t, err)
	for p := s.Full(ref.Path); p != dir; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		require.NoError(t, err)
		st, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		require.Equal(t, [2]uint32{4321, 4322}, [2]uint32{st.Uid, st.Gid}, p)
	}
}

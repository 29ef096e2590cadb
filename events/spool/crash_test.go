package spool_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/spool"
)

// firsts drops repetitions, which are harmless: the store skips them.
func firsts(objects []string) []string {
	var out []string
	seen := make(map[string]bool)
	for _, o := range objects {
		if !seen[o] {
			seen[o] = true
			out = append(out, o)
		}
	}
	return out
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	require.NoError(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// TestCrashAtEveryStep copies the folder before and after each commit of a
// drain, as a crash would leave it, and goes on from each copy.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		type snapshot struct {
			dir       string
			committed []events.Change
		}
		var states []snapshot
		store, dir := &memoryStore{fail: away}, t.TempDir()
		cfg := spool.Config{Dir: dir, Store: store, Batch: 3, SegmentBytes: 1200}
		look := func() {
			store.mu.Lock()
			defer store.mu.Unlock()
			states = append(states, snapshot{copyDir(t, dir), append([]events.Change(nil), store.taken...)})
		}
		cfg.OnCommit = func([]events.Change) { look() } // committed, files not removed yet
		s, stop := start(t, cfg)
		for i := range 20 {
			s.Submit(change("a", i))
		}
		time.Sleep(time.Second)
		store.set(func(context.Context, []events.Change) error { look(); return nil })
		time.Sleep(10 * time.Second)
		require.NoError(t, stop())
		require.Greater(t, len(states), 12)
		for _, st := range states {
			after := &memoryStore{taken: st.committed}
			s, stop := start(t, spool.Config{Dir: st.dir, Store: after})
			s.Submit(change("a", 20))
			synctest.Wait()
			require.NoError(t, stop())
			assert.Equal(t, numbers(0, 21), firsts(after.objects()))
		}
	})
}

// TestTornTail cuts a file at every byte: the whole records before the cut are
// there, the next start works, and what is cut off is kept.
func TestTornTail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, stop := start(t, spool.Config{Dir: dir, Store: &memoryStore{fail: away}})
	s.Submit(change("a", 1), change("a", 2), change("a", 3)) // of one length
	require.NoError(t, stop())
	files := segments(t, dir)
	require.Len(t, files, 1)
	whole, err := os.ReadFile(files[0])
	require.NoError(t, err)
	one := len(whole) / 3
	for cut := 0; cut < len(whole); cut += 1 + rand.IntN(20) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), whole[:cut], 0o600))
		again, err := spool.New(spool.Config{Dir: dir, Store: &memoryStore{}})
		require.NoError(t, err)
		require.Equal(t, cut/one, again.Depth(), "cut at %d", cut)
		aside, err := filepath.Glob(filepath.Join(dir, "rejected", "*.damaged"))
		require.NoError(t, err)
		require.Equal(t, cut%one != 0, len(aside) == 1, "cut at %d", cut)
	}
}

// TestDamage flips a byte in the middle of the oldest file, before the start
// and while the spool runs: later files are not lost.
func TestDamage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, early := range []bool{true, false} {
			store, dir := &memoryStore{fail: away}, t.TempDir()
			cfg := spool.Config{Dir: dir, Store: store, SegmentBytes: 1}
			s, stop := start(t, cfg)
			s.Submit(change("a", 0), change("a", 1), change("a", 2))
			time.Sleep(time.Second)
			s.Submit(change("a", 3), change("a", 4))
			time.Sleep(time.Second)
			if early {
				require.NoError(t, stop())
			}
			b, err := os.ReadFile(segments(t, dir)[0])
			require.NoError(t, err)
			b[len(b)/2] ^= 1 // in the second of three
			require.NoError(t, os.WriteFile(segments(t, dir)[0], b, 0o600))
			store.set(nil)
			if early {
				s, stop = start(t, cfg)
			}
			time.Sleep(10 * time.Second)
			assert.Equal(t, []string{"0", "3", "4"}, store.objects())
			assert.Zero(t, s.Depth())
			aside, err := filepath.Glob(filepath.Join(dir, "rejected", "*.damaged"))
			require.NoError(t, err)
			assert.Len(t, aside, 1)
			require.NoError(t, stop())
		}
	})
}

// envChild makes the test binary a process that submits and is killed; its
// value is the folder.
const envChild = "SPOOL_TEST_CHILD"

// fileStore appends what it takes to a file, and is away half of the time.
type fileStore struct {
	f     *os.File
	moody bool
}

func (s *fileStore) Commit(_ context.Context, changes []events.Change) error {
	if s.moody && rand.IntN(2) == 0 {
		return events.ErrUnavailable
	}
	var b strings.Builder
	for _, c := range changes {
		b.WriteString(c.Event.Object + "\n")
	}
	_, err := s.f.WriteString(b.String()) // one write: all or nothing, as a transaction
	return err
}

// runChild submits numbers from the one given on, and says which of them are
// safe, until it is killed.
func runChild() {
	dir := os.Getenv(envChild)
	from, err := strconv.Atoi(os.Getenv("SPOOL_TEST_FROM"))
	if err != nil {
		panic(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "committed"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	s, err := spool.New(spool.Config{
		Dir: filepath.Join(dir, "spool"), Store: &fileStore{f, true}, Batch: 4, SegmentBytes: 2000,
		MinWait: time.Millisecond, MaxWait: 3 * time.Millisecond,
	})
	if err != nil {
		panic(err)
	}
	go func() { _ = s.Run(context.Background()) }()
	for i := from; ; i++ {
		s.Submit(change("a", i))
		if i%3 == 0 {
			for s.Status().Memory > 0 {
				time.Sleep(100 * time.Microsecond)
			}
			fmt.Println(i) //nolint:forbidigo // read by the parent: all up to this one is safe
		}
	}
}

func TestProcessKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	safe := -1
	for range 15 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envChild+"="+dir, "SPOOL_TEST_FROM="+strconv.Itoa(safe+1))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		time.AfterFunc(20*time.Millisecond+rand.N(230*time.Millisecond), func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			safe, err = strconv.Atoi(lines.Text())
			require.NoError(t, err)
		}
		_ = cmd.Wait()
	}
	require.Positive(t, safe, "no round got anywhere")
	f, err := os.OpenFile(filepath.Join(dir, "committed"), os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer f.Close()
	s, stop := start(t, spool.Config{Dir: filepath.Join(dir, "spool"), Store: &fileStore{f, false}})
	require.Eventually(t, func() bool { return s.Depth() == 0 }, 20*time.Second, time.Millisecond)
	require.NoError(t, stop())
	b, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	got := firsts(strings.Fields(string(b)))
	// The last rounds may have saved some more than they had time to tell.
	require.GreaterOrEqual(t, len(got), safe+1)
	require.Equal(t, numbers(0, safe+1), got[:safe+1], "nothing lost, and in order")
	t.Logf("%d changes over 15 kills", len(got))
}

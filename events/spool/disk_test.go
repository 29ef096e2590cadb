package spool_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/spool"
)

func TestDiskDoesNotWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, dir := &memoryStore{fail: away}, filepath.Join(t.TempDir(), "spool")
		s, stop := start(t, spool.Config{Dir: dir, Store: store, SegmentBytes: 1000})
		s.Submit(change("a", 0))
		time.Sleep(10 * time.Second)
		assert.Equal(t, 1, s.Status().Disk)
		require.NoError(t, os.Rename(dir, dir+".gone"))
		for i := 1; i < 30; i++ {
			s.Submit(change("a", i))
		}
		time.Sleep(10 * time.Second)
		assert.Equal(t, 30, s.Depth(), "memory keeps what the disk does not take")
		require.NoError(t, os.Rename(dir+".gone", dir))
		time.Sleep(10 * time.Second)
		assert.Equal(t, spool.Status{Disk: 30, Bytes: s.Status().Bytes, Away: s.Status().Away}, s.Status())
		store.set(nil)
		time.Sleep(10 * time.Second)
		assert.Equal(t, numbers(0, 30), store.objects())

		store.set(away)
		require.NoError(t, os.Rename(dir, dir+".gone"))
		s.Submit(change("a", 30))
		time.Sleep(10 * time.Second)
		assert.Equal(t, 1, s.Status().Memory)
		store.set(nil)
		time.Sleep(10 * time.Second)
		assert.Equal(t, numbers(0, 31), store.objects(), "the store alone is enough")
		store.set(away)
		s.Submit(change("a", 31))
		require.ErrorContains(t, stop(), "save 1 changes")
		require.NoError(t, os.Rename(dir+".gone", dir))
	})
}

func TestNaN(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, dir := &memoryStore{fail: away}, t.TempDir()
		s, stop := start(t, spool.Config{Dir: dir, Store: store})
		bad := change("a", 1)
		bad.Event.Subject = &events.Subject{Score: math.NaN()}
		s.Submit(change("a", 0), bad, change("a", 2))
		time.Sleep(10 * time.Second)
		store.set(nil)
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"0", "2"}, store.objects())
		aside, err := filepath.Glob(filepath.Join(dir, "rejected", "*.txt"))
		require.NoError(t, err)
		assert.Len(t, aside, 1)
		require.NoError(t, stop())
	})
}

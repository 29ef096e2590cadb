package media_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/streams/media"
)

type picture struct{ released atomic.Int32 }

func (*picture) Size() (int, int)            { return 1, 1 }
func (*picture) BGR([]byte, int, int) error  { return nil }
func (*picture) Gray([]byte, int, int) error { return nil }
func (p *picture) Release()                  { p.released.Add(1) }

func TestLatestKeepsTheNewest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var l media.Latest
		pics := make([]*picture, 10)
		for i := range pics {
			pics[i] = &picture{}
		}
		go func() {
			for i := range pics {
				l.Put(&media.Frame{Seq: uint64(i + 1), Picture: pics[i]})
				time.Sleep(40 * time.Millisecond)
			}
		}()
		var got []uint64
		for len(got) < 3 {
			synctest.Wait()
			f := l.Take()
			require.NotNil(t, f)
			got = append(got, f.Seq)
			f.Release()
			time.Sleep(130 * time.Millisecond) // slower than the producer
		}
		require.Equal(t, []uint64{1, 4, 7}, got)
		time.Sleep(time.Second)
		require.Equal(t, uint64(10), l.Take().Seq)
		require.Nil(t, l.Take())
		require.Equal(t, uint64(6), l.Dropped(), "10 put, 4 taken")
		for i, p := range pics[:9] {
			require.EqualValues(t, 1, p.released.Load(), "frame %d", i+1)
		}
	})
}

func BenchmarkLatestPut(b *testing.B) {
	var l media.Latest
	f := &media.Frame{}
	b.ReportAllocs()
	for b.Loop() {
		l.Put(f)
	}
}

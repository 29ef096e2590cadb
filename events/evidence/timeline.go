package evidence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// timeline ties the time of a clip, since its first picture, to the time of
// capture, which may be set while the clip is being written. It is sorted.
type timeline []stretch

// stretch is a part of a clip.
type stretch struct {
	at, end  time.Duration // in the clip
	captured time.Time     // of the picture at at
	next     time.Time     // capture time that end would have, by what comes then
	sure     bool          // both clocks went alike
}

const (
	clipTicks    = 90000                  // of clips, a second; see streams/clip
	clockSlack   = 100 * time.Millisecond // between the two clocks in a fragment, that is no step
	maxFragments = 1 << 14                // of a clip that is read
	maxFragment  = 1 << 20                // bytes of the description of one
	ntpEpoch     = 2208988800             // seconds from 1900 to 1970
)

var errNoTimeline = errors.New("the clip does not tell when its pictures were taken")

// readTimeline reads the boxes "prft" of a clip (ISO/IEC 14496-12, 8.16.5), which
// its writer puts before each fragment. last is when the last picture, in decoding
// order, was taken: nothing else tells whether the clock was set in the last
// fragment.
func readTimeline(r io.ReaderAt, size int64, last time.Time) (timeline, error) {
	var line timeline
	var first int64
	var moof []byte
	for at := int64(0); at < size; {
		var head [32]byte
		n, err := r.ReadAt(head[:], at)
		if n < 8 {
			return nil, fmt.Errorf("read the times of a clip: %w", err)
		}
		long, typ := int64(binary.BigEndian.Uint32(head[:])), string(head[4:8])
		switch {
		case long < 8 || at+long > size || len(line) > maxFragments:
			return nil, errNoTimeline
		case typ == "prft":
			if long != 32 || n < 32 || head[8] != 1 {
				return nil, errNoTimeline
			}
			place := int64(binary.BigEndian.Uint64(head[24:])) //nolint:gosec // a wild one is refused below
			if len(line) == 0 {
				first = place
			}
			line = append(line, stretch{at: clipTime(place - first), captured: fromNTP(binary.BigEndian.Uint64(head[16:]))})
		case typ == "moof":
			if long > maxFragment {
				return nil, errNoTimeline
			}
			moof = make([]byte, long)
			if _, err := r.ReadAt(moof, at); err != nil {
				return nil, fmt.Errorf("read the times of a clip: %w", err)
			}
		}
		at += long
	}
	if len(line) == 0 || moof == nil {
		return nil, errNoTimeline
	}
	end, shown, ok := parseFragment(moof)
	if !ok {
		return nil, errNoTimeline
	}
	return line.settle(clipTime(end), clipTime(shown-first), last), nil // the first picture is shown when it is decoded, but for the delay
}

// settle works out how the clocks went between the fragments. The last ends at
// end, and its last picture in decoding order is shown at shown.
func (l timeline) settle(end, shown time.Duration, last time.Time) timeline {
	n := len(l) - 1
	for i := range l {
		s := &l[i]
		if i < n {
			s.end, s.next = l[i+1].at, l[i+1].captured
		} else {
			s.end, s.next = max(end, shown), last.Add(max(end, shown)-shown)
		}
		s.sure = s.end >= s.at && (s.next.Sub(s.captured)-(s.end-s.at)).Abs() <= clockSlack
	}
	return l
}

// end is how long the clip is.
func (l timeline) end() time.Duration {
	if len(l) == 0 {
		return 0
	}
	return l[len(l)-1].end
}

// sure reports whether it is known when the picture at at was taken.
func (l timeline) sure(at time.Duration) bool {
	for i := range l {
		if at < l[i].end || i == len(l)-1 {
			return l[i].sure
		}
	}
	return false
}

// places returns where in the clip, or shortly before or after it, something may
// be that was seen at a time of capture: several places where the clock was set
// back, none where it was set forward.
func (l timeline) places(captured time.Time) (at []time.Duration, sure bool) {
	sure = true
	add := func(place, from, to time.Duration, isSure bool) {
		if place < from-clockSlack || place > to+clockSlack {
			return
		}
		sure = sure && isSure
		for _, other := range at {
			if (other - place).Abs() <= 2*clockSlack {
				return // two fragments meet here
			}
		}
		at = append(at, place)
	}
	for i := range l {
		s := &l[i]
		from, to := s.at, s.end
		if i == 0 {
			from -= veilLinger
		}
		if i == len(l)-1 {
			to += veilLinger
		}
		add(s.at+captured.Sub(s.captured), from, to, s.sure)
		if !s.sure { // the clock was set somewhere in it
			add(s.end+captured.Sub(s.next), from, to, false)
		}
	}
	return at, sure && len(at) == 1
}

// parseFragment reads the times of a fragment, in ticks: where it ends, and when
// the last of its pictures in decoding order is shown.
func parseFragment(moof []byte) (end, shown int64, ok bool) {
	tfdt, found := inBox(moof, "traf", "tfdt")
	trun, found2 := inBox(moof, "traf", "trun")
	if !found || !found2 || len(tfdt) != 12 || tfdt[0] != 1 || len(trun) < 12 || binary.BigEndian.Uint32(trun) != 0x01000f01 {
		return 0, 0, false
	}
	end = int64(binary.BigEndian.Uint64(tfdt[4:])) //nolint:gosec // a wild one fits nothing
	samples := trun[12:]
	if n := binary.BigEndian.Uint32(trun[4:]); n == 0 || int64(n)*16 != int64(len(samples)) {
		return 0, 0, false
	}
	for ; len(samples) > 0; samples = samples[16:] {
		shown = end + int64(int32(binary.BigEndian.Uint32(samples[12:]))) //nolint:gosec // signed in version 1
		end += int64(binary.BigEndian.Uint32(samples))
	}
	return end, shown, true
}

// inBox returns what is in the box that the path leads to, below the given one.
func inBox(box []byte, path ...string) ([]byte, bool) {
	for _, want := range path {
		rest := box[8:]
		box = nil
		for len(rest) >= 8 && box == nil {
			n := binary.BigEndian.Uint32(rest)
			if n < 8 || int64(n) > int64(len(rest)) {
				return nil, false
			}
			if string(rest[4:8]) == want {
				box = rest[:n]
			}
			rest = rest[n:]
		}
		if box == nil {
			return nil, false
		}
	}
	return box[8:], true
}

func clipTime(ticks int64) time.Duration {
	return time.Duration(float64(ticks) * float64(time.Second) / clipTicks)
}

func fromNTP(v uint64) time.Time {
	sec := int64(v >> 32)
	if sec < 1<<31 { // the era that begins in 2036
		sec += 1 << 32
	}
	return time.Unix(sec-ntpEpoch, int64((v&0xffffffff)*uint64(time.Second)>>32)).UTC()
}

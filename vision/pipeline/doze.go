package pipeline

import (
	"math"
	"time"

	"github.com/xacam/xacam/streams/media"
)

// Mood is what a Camera says of its picture, for its Feed.
type Mood int32

// Moods.
const (
	MoodAwake Mood = iota // not known, or neither of the others
	MoodBusy              // something moves
	MoodCalm              // nothing has moved for CalmAfter, and no track
)

// CalmAfter is how long nothing may have moved before a camera is calm.
const CalmAfter = 5 * time.Second

const (
	longestGOP    = 2200 * time.Millisecond // a calm camera is looked at this often, with some jitter
	dozeAgain     = 3 * time.Second         // after a waking, for the motion gate to find what woke it
	learned       = 50                      // sizes of calm pictures before they are trusted
	learnedBusy   = 25
	forget1In     = 128 // pictures
	shortMean     = 3   // pictures whose mean size wakes
	mostKept      = 200 // units, whatever their times say
	freshlyAwoken = 5   // of the pictures decoded at a waking, the newest that are looked at
)

// dozer decides which access units of one camera are decoded. While nothing
// moves, a camera's pictures between key pictures say "as before" in a few
// bytes; decoding them is most of what a quiet camera costs. So a calm camera
// dozes: only its key pictures are decoded and looked at, and the others are
// kept, still coded, until the next one. When they grow they are decoded after
// all, so that nothing is missed of what began.
//
// It dozes only where this is safe: key pictures come at least every two
// seconds, pictures are not reordered, and the camera's own motion has shown
// before that it makes pictures grow — a camera that sends every picture with
// the same number of bytes never dozes.
type dozer struct {
	calm, busy sizes
	recent     [shortMean]float64
	count      int // pictures since a key picture or a waking

	key      time.Duration // PTS of the newest key picture
	interval time.Duration // between the last two; 0 when unknown
	keys     int
	until    time.Duration // not before

	codec     media.Codec
	asleep    bool
	kept      []*media.AccessUnit // since the newest key picture, while asleep
	reordered bool
	skipped   int // units of kept that were never decoded, since taken
}

// sizes are an exponentially forgetting mean and mean deviation, bytes.
type sizes struct {
	mean, dev float64
	n         int
}

func (s *sizes) add(v float64) {
	s.n = min(s.n+1, forget1In)
	s.dev += (math.Abs(v-s.mean) - s.dev) / float64(s.n)
	s.mean += (v - s.mean) / float64(s.n)
	if s.n == 1 {
		s.dev = v / 4
	}
}

// limit is the mean size of pictures that are no longer calm.
func (d *dozer) limit() float64 {
	return d.calm.mean + max(4*d.calm.dev, d.calm.mean/4, 64)
}

// telling reports whether sizes have been seen to tell motion from calm.
func (d *dozer) telling() bool {
	return d.calm.n >= learned && d.busy.n >= learnedBusy && d.busy.mean > 1.25*d.limit()
}

// next takes the next access unit and returns those to decode now, in order.
// The result is valid until the next call.
func (d *dozer) next(au *media.AccessUnit, mood Mood) []*media.AccessUnit {
	if au.Key {
		return d.nextKey(au, mood)
	}
	size := float64(au.Size())
	d.recent[d.count%shortMean] = size
	d.count++
	grown := d.count >= shortMean && d.short() > d.limit()
	switch {
	case mood == MoodBusy:
		d.busy.add(size)
	case mood == MoodCalm && !grown:
		d.calm.add(size)
	}
	if !d.asleep {
		return []*media.AccessUnit{au}
	}
	d.kept = append(d.kept, au)
	if mood == MoodCalm && !grown && !au.Gap && au.PTS-d.key < longestGOP && len(d.kept) < mostKept {
		return nil
	}
	d.asleep = false
	d.until = au.PTS + dozeAgain
	out := d.kept
	d.kept = nil
	return out
}

func (d *dozer) nextKey(au *media.AccessUnit, mood Mood) []*media.AccessUnit {
	d.skipped += len(d.kept)
	d.kept = d.kept[:0]
	d.interval = au.PTS - d.key
	d.keys++
	d.key, d.count = au.PTS, 0
	regular := d.keys > 2 && d.interval > 0 && d.interval < longestGOP && standsAlone(d.codec, au)
	d.asleep = mood == MoodCalm && regular && !d.reordered && d.telling() && au.PTS >= d.until
	return []*media.AccessUnit{au}
}

// standsAlone reports whether the unit holds an IDR picture, or an IRAP picture
// of H.265 (nal_unit_type 5, ITU-T H.264 table 7-1; 16 to 21, H.265 table 7-1):
// after it, what was left out before does not matter. A recovery point of H.264
// goes on with the numbering of pictures, and skipping some looks like a loss.
func standsAlone(codec media.Codec, au *media.AccessUnit) bool {
	for _, unit := range au.NALUs {
		if len(unit) == 0 {
			continue
		}
		switch t := unit[0] & 0x1f; {
		case codec == media.H264 && t == 5:
			return true
		case codec == media.H265 && unit[0]>>1&0x3f >= 16 && unit[0]>>1&0x3f <= 21:
			return true
		}
	}
	return false
}

func (d *dozer) short() float64 {
	sum := 0.0
	for _, v := range d.recent {
		sum += v
	}
	return sum / shortMean
}

// decoded notes what came out for a unit: a camera whose pictures are reordered
// does not doze, as its key pictures would come out late.
func (d *dozer) decoded(au *media.AccessUnit, frames []*media.Frame) {
	own := len(frames) == 1 && frames[0].PTS == au.PTS
	switch {
	case au.Key:
		d.reordered = !own
		d.asleep = d.asleep && own // nothing was seen: not the time to close both eyes
	case len(frames) > 0 && !own:
		d.reordered = true
	}
}

// takeSkipped returns how many units were never decoded, since it was last
// called.
func (d *dozer) takeSkipped() int {
	n := d.skipped
	d.skipped = 0
	return n
}

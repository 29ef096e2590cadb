package behaviour

import (
	"time"

	"github.com/xacam/xacam/vision"
)

// looks is what matching remembers of a track.
type looks struct {
	best float64 // score
	fits bool    // the limits of size
	seen bool
}

// sizeMargin is by how much the height of a track that fitted may go beyond a
// limit before it no longer does, as a share of the limit.
const sizeMargin = 0.1

// limited reports whether the rule has limits of size.
func (r *Rule) limited() bool { return r.MinSize > 0 || r.MaxSize > 0 }

// look notes score and size of a track. The size of a predicted box says
// nothing, and a track that fitted does so until it is clearly outside.
func (r *Rule) look(l looks, t *vision.Track, at time.Time) looks {
	if !l.seen || !t.Coasting(at) {
		margin := 0.0
		if l.fits {
			margin = sizeMargin
		}
		h := t.Box.Height()
		l.fits = h >= r.MinSize*(1-margin) && (r.MaxSize <= 0 || h <= r.MaxSize*(1+margin))
	}
	l.best, l.seen = max(l.best, t.Score), true
	return l
}

package rtsp

import (
	"context"
	"log/slog"
	"time"
)

// summaryEvery is how often an outage that goes on is told again.
const summaryEvery = time.Minute

// outageLog says the same error once, counts it, and sums up each minute. It
// is pure but for the logger: times are inputs.
type outageLog struct {
	log      *slog.Logger
	last     string    // text of the error said last
	said     time.Time // when something was said last
	repeated int       // times it came again since
}

// failed notes a failure.
func (o *outageLog) failed(ctx context.Context, err error, s State, now time.Time) {
	text := err.Error()
	switch {
	case text != o.last:
		o.log.WarnContext(ctx, "camera offline", "reason", string(ReasonOf(err)), "error", text, "unsaid", o.repeated)
	case now.Sub(o.said) >= summaryEvery:
		o.log.WarnContext(ctx, "camera still offline", "reason", string(ReasonOf(err)), "error", text,
			"attempts", o.repeated+1, "since", s.Since)
	default:
		o.repeated++
		return
	}
	o.last, o.said, o.repeated = text, now, 0
}

// online notes that video comes. A camera that comes and goes within a minute
// is told once in that minute.
func (o *outageLog) online(before State, now time.Time) {
	if before.Phase == Offline && now.Sub(o.said) < summaryEvery && o.repeated > 0 {
		return
	}
	o.log.Info("camera online", "offline_for", offlineFor(before, now))
}

func offlineFor(s State, now time.Time) time.Duration {
	if s.Phase != Offline {
		return 0
	}
	return now.Sub(s.Since).Round(time.Millisecond)
}

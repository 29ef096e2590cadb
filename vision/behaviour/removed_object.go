package behaviour

import (
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
)

// KindRemovedObject is the kind of "a thing that was there is gone".
const KindRemovedObject events.Kind = "removed_object"

func init() {
	defaults := leftParams{Dwell: 10, OwnerRadius: 0, MinArea: 0.0004}
	register(Definition{
		Kind: KindRemovedObject,
		Doc: events.Text{
			VI: "Một vật vẫn ở trong vùng từ lâu nay không còn nữa.",
			EN: "A thing that had been in the zone for long is gone.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   stillDelays(),
		Needs:    []Need{NeedStills},
	}, defaults, newLeft(KindRemovedObject, vision.StillRemoved, removedWords))
}

func removedWords(r *Rule, zone string, s *vision.Still, gone time.Duration) (vi, en string) {
	byVI, byEN := r.actorWords(s, "lấy đi", "taken")
	return fmt.Sprintf("một vật trong vùng «%s» đã biến mất được %.0f giây%s; phát hiện", zone, gone.Seconds(), byVI),
		fmt.Sprintf("a thing had been missing from zone “%s” for %.0f s%s; noticed", zone, gone.Seconds(), byEN)
}

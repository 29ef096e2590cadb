package behaviour

import (
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision"
)

// KindAbandonedObject is the kind of "a thing lies there without its owner".
const KindAbandonedObject events.Kind = "abandoned_object"

func init() {
	defaults := leftParams{Dwell: 30, OwnerRadius: 1.5, MinArea: 0.0004}
	register(Definition{
		Kind: KindAbandonedObject,
		Doc: events.Text{
			VI: "Có vật bị bỏ lại trong vùng mà chủ không ở gần.",
			EN: "A thing has been left in the zone and its owner is not nearby.",
		},
		Where:    WhereZone,
		Severity: events.SeverityMedium,
		Delays:   stillDelays(),
		Needs:    []Need{NeedStills},
	}, defaults, newLeft(KindAbandonedObject, vision.StillAdded, abandonedWords))
}

func abandonedWords(r *Rule, zone string, s *vision.Still, alone time.Duration) (vi, en string) {
	byVI, byEN := r.actorWords(s, "để lại", "left")
	return fmt.Sprintf("%s nằm trong vùng «%s» đã %.0f giây không có chủ ở gần%s; phát hiện", thingVI(s), zone, alone.Seconds(), byVI),
		fmt.Sprintf("%s had been in zone “%s” for %.0f s without its owner%s; noticed", thingEN(s), zone, alone.Seconds(), byEN)
}

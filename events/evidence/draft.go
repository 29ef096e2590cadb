package evidence

import (
	"encoding/json"
	"time"

	"github.com/xacam/xacam/events"
)

// Draft is an evidence package in the making. It lies as one JSON file beside
// the media from the moment an event is raised until its package is sealed, so
// that neither a crash nor a database that is away leaves an event unsealed.
type Draft struct {
	Event   events.Event         // as raised
	Record  json.RawMessage      // rule, zone, model and calibration as they were, and the clock; a JSON object
	Files   []events.EvidenceRef // in the media folder, durable; the snapshot is among them
	Flaws   []string             // what is missing and why, for whoever reads the package
	Clip    string               // path in the media folder of a clip that is being written; "" for none
	Started time.Time
	Ready   bool // nothing more will come: it can be sealed
	Refused bool // the store refused the event: it cannot be sealed until somebody has seen to that
}

package format

import "github.com/xacam/xacam/events/wire"

// TypePrefix begins the CloudEvents types: vn.xacam.event.raised,
// vn.xacam.event.cleared, vn.xacam.event.evidence, vn.xacam.event.workflow,
// vn.xacam.heartbeat, vn.xacam.test.
const TypePrefix = "vn.xacam."

// cloudEvent is CloudEvents 1.0 in structured JSON.
type cloudEvent struct {
	SpecVersion     string `json:"specversion"`
	ID              string `json:"id"` // the webhook-id
	Source          string `json:"source"`
	Type            string `json:"type"`
	Subject         string `json:"subject"`
	Time            string `json:"time"`
	DataContentType string `json:"datacontenttype"`
	DataSchema      string `json:"dataschema"`
	Sequence        string `json:"sequence,omitempty"` // extension; sorts as text
	Data            any    `json:"data"`
}

func (f *Formatter) cloudEvents(n *note) (Body, error) {
	c := cloudEvent{
		SpecVersion: "1.0", ID: n.id, Source: f.cfg.Source, Type: TypePrefix + n.kind, Subject: shorten(n.subject, 300),
		Time: f.time(n.at), DataContentType: "application/json", DataSchema: f.cfg.SchemaURL + "/event.json", Data: &n.wire,
	}
	if n.beat != nil {
		c.Data, c.DataSchema = n.beat, f.cfg.SchemaURL+"/heartbeat.json"
	} else if n.wire.Sequence > 0 {
		c.Sequence = sequenceText(&n.wire)
	}
	b, err := appendJSON(c)
	return Body{ContentType: "application/cloudevents+json; charset=utf-8", Bytes: b}, err
}

// sequenceText has 19 digits, so that texts sort as numbers do (CloudEvents
// extension "sequence").
func sequenceText(w *wire.Event) string {
	const digits = 19
	b := make([]byte, digits)
	for i, v := digits-1, w.Sequence; i >= 0; i, v = i-1, v/10 {
		b[i] = byte('0' + v%10)
	}
	return string(b)
}

package format

// standardBody is the payload that Standard Webhooks 1.0 recommends.
type standardBody struct {
	Type      string `json:"type"` // "event.raised", "heartbeat", "test"
	Timestamp string `json:"timestamp"`
	Data      any    `json:"data"`
}

func (f *Formatter) standard(n *note) (Body, error) {
	s := standardBody{Type: n.kind, Timestamp: f.time(n.at), Data: &n.wire}
	if n.beat != nil {
		s.Data = n.beat
	}
	b, err := appendJSON(s)
	return Body{ContentType: "application/json; charset=utf-8", Bytes: b}, err
}

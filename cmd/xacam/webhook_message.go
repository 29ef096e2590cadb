package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/xacam/xacam/events/wire"
)

// received is a message as it is stored and shown.
type received struct {
	ID          string          `json:"webhook_id"`
	At          time.Time       `json:"received_at"`
	Type        string          `json:"type"`
	ContentType string          `json:"content_type"`
	Event       *wire.Event     `json:"-"`
	Body        json.RawMessage `json:"body,omitempty"`
	Text        string          `json:"text,omitempty"` // a body that is not JSON
}

// readReceived finds type and event in any of the formats.
func readReceived(id, contentType string, at time.Time, body []byte) received {
	m := received{ID: id, At: at, ContentType: contentType, Type: "?"}
	if !json.Valid(body) {
		m.Text = strings.ToValidUTF8(string(body), "�")
		var alert struct {
			MsgType string `xml:"msgType"`
			Status  string `xml:"status"`
		}
		if xml.Unmarshal(body, &alert) == nil && alert.MsgType != "" {
			m.Type = "cap." + alert.MsgType + "." + alert.Status
		}
		return m
	}
	m.Body = body
	var b struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(body, &b) != nil || b.Type == "" {
		return m
	}
	m.Type = strings.TrimPrefix(b.Type, "vn.xacam.")
	data := b.Data
	if b.Type == "Alert" { // NGSI-LD
		var alert struct {
			Value struct {
				Step  string          `json:"step"`
				Event json.RawMessage `json:"event"`
			} `json:"value"`
		}
		if json.Unmarshal(b.Data, &alert) != nil {
			return m
		}
		m.Type, data = "ngsi."+alert.Value.Step, alert.Value.Event
	}
	var e wire.Event
	if json.Unmarshal(data, &e) == nil && e.ID != "" {
		m.Event = &e
	}
	return m
}

// line is one readable line. What comes from the message cannot move the cursor.
func (m *received) line(lang string) string {
	at := m.At.Format("15:04:05")
	if m.Event == nil {
		return printable(fmt.Sprintf("%s  %-16s %s", at, m.Type, m.ID))
	}
	e := m.Event
	why := e.Why.VI
	if lang == "en" {
		why = e.Why.EN
	}
	name := e.Source.Name
	if name == "" {
		name = e.Source.ID
	}
	return printable(fmt.Sprintf("%s  %-16s %-8s #%d %s · %s · %s", at, m.Type, e.Severity, e.Sequence, e.Kind, name, why))
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

package format

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/wire"
)

// capExpires is how long a CAP alert holds unless it is updated.
const capExpires = 24 * time.Hour

// capAlert is OASIS CAP 1.2, 3.2.
type capAlert struct {
	XMLName    xml.Name  `xml:"urn:oasis:names:tc:emergency:cap:1.2 alert"`
	Identifier string    `xml:"identifier"`
	Sender     string    `xml:"sender"`
	Sent       string    `xml:"sent"`
	Status     string    `xml:"status"`
	MsgType    string    `xml:"msgType"`
	Source     string    `xml:"source,omitempty"`
	Scope      string    `xml:"scope"`
	Restricted string    `xml:"restriction,omitempty"`
	Note       string    `xml:"note,omitempty"`
	References string    `xml:"references,omitempty"`
	Info       []capInfo `xml:"info"`
}

type capInfo struct {
	Language    string        `xml:"language"`
	Category    string        `xml:"category"`
	Event       string        `xml:"event"`
	Response    string        `xml:"responseType,omitempty"`
	Urgency     string        `xml:"urgency"`
	Severity    string        `xml:"severity"`
	Certainty   string        `xml:"certainty"`
	EventCode   []capValue    `xml:"eventCode"`
	Onset       string        `xml:"onset,omitempty"`
	Expires     string        `xml:"expires"`
	SenderName  string        `xml:"senderName"`
	Headline    string        `xml:"headline"`
	Description string        `xml:"description"`
	Parameter   []capValue    `xml:"parameter"`
	Resource    []capResource `xml:"resource"`
	Area        capArea       `xml:"area"`
}

type capValue struct {
	Name  string `xml:"valueName"`
	Value string `xml:"value"`
}

type capResource struct {
	Desc string `xml:"resourceDesc"`
	Mime string `xml:"mimeType"`
	URI  string `xml:"uri"`
}

type capArea struct {
	Desc    string     `xml:"areaDesc"`
	Circle  string     `xml:"circle,omitempty"`
	Geocode []capValue `xml:"geocode"`
}

// cap writes an alert for what was raised, an update for what followed and a
// cancellation where a person found that it was a false alarm.
func (f *Formatter) cap(n *note) (Body, error) {
	a := capAlert{
		Identifier: capToken(n.id), Sender: capToken(f.cfg.Sender), Sent: f.capTime(n.at), Status: "Actual", MsgType: "Alert",
		Source: f.cfg.Source, Scope: "Restricted", Restricted: "Cơ quan nhận tin / Receiving agency",
	}
	if n.beat != nil {
		a.Status, a.Info = "System", f.capBeat(n)
	} else {
		if n.test {
			a.Status, a.Note = "Test", n.wire.Why.VI
		}
		f.capType(&a, n)
		for _, vi := range []bool{true, false} {
			a.Info = append(a.Info, f.capInfo(n, vi))
		}
	}
	b, err := xml.MarshalIndent(a, "", " ")
	return Body{ContentType: "application/cap+xml; charset=utf-8", Bytes: append([]byte(xml.Header), b...)}, err
}

// capType sets the type of message and what it refers to.
func (f *Formatter) capType(a *capAlert, n *note) {
	if n.step == events.StepRaised {
		return
	}
	a.MsgType = "Update"
	if v := n.wire.Workflow.Verdict; n.step == events.StepWorkflow && v != nil && *v == "false_alarm" {
		a.MsgType = "Cancel"
	}
	a.References = fmt.Sprintf("%s,%s,%s", a.Sender,
		capToken(outbox.MessageID(n.event.ID, events.StepRaised, 0)), f.capTime(stepTime(n.event, events.StepRaised)))
}

func (f *Formatter) capInfo(n *note, vi bool) capInfo {
	w, e := &n.wire, n.event
	kind := aboutKind(w.Kind)
	i := capInfo{
		Language: "vi-VN", Category: kind.cap, Event: kind.vi, Response: "Assess", Urgency: "Immediate",
		Severity: capSeverity(w.Severity), Certainty: "Likely", Onset: f.capTime(e.OccurredAt),
		Expires: f.capTime(n.at.Add(capExpires)), SenderName: shorten(f.cfg.SenderName, 200),
		EventCode: []capValue{{"xacam:kind", string(w.Kind)}}, Headline: shorten(kind.vi+" – "+w.Source.Name, 160),
		Description: w.Why.VI,
		Parameter: []capValue{
			{"xacam:event", w.ID}, {"xacam:step", string(n.step)}, {"xacam:sequence", strconv.FormatInt(w.Sequence, 10)},
			{"xacam:source", w.Source.Type + "/" + w.Source.ID}, {"xacam:workflow", w.Workflow.State},
		},
		Area: f.capArea(w),
	}
	if !vi {
		i.Language, i.Event, i.Description = "en-US", kind.en, w.Why.EN
		i.Headline = shorten(kind.en+" – "+w.Source.Name, 160)
	}
	if e.State == events.StateCleared {
		i.Urgency, i.Response = "Past", "AllClear"
	}
	if v := w.Workflow.Verdict; v != nil && *v == "confirmed" {
		i.Certainty = "Observed"
	} else if v != nil && *v == "false_alarm" {
		i.Certainty = "Unlikely"
	}
	for _, ev := range w.Evidence {
		i.Resource = append(i.Resource, capResource{Desc: ev.Type + " sha256:" + ev.SHA256, Mime: mimeOf(ev.Type), URI: ev.URL})
	}
	return i
}

func (f *Formatter) capArea(w *wire.Event) capArea {
	var parts []string
	for _, s := range []string{w.Source.Name, w.Source.Hamlet, w.Place.Commune} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 {
		parts = []string{f.cfg.SenderName}
	}
	a := capArea{Desc: shorten(strings.Join(parts, ", "), 300)}
	if w.Place.Lat != nil && w.Place.Lon != nil {
		a.Circle = fmt.Sprintf("%.5f,%.5f 0.1", *w.Place.Lat, *w.Place.Lon) // km
	}
	if w.Place.Commune != "" {
		a.Geocode = []capValue{{"GSO", w.Place.Commune}}
	}
	return a
}

func (f *Formatter) capBeat(n *note) []capInfo {
	var list []capInfo
	for _, t := range [][3]string{
		{"vi-VN", "Tín hiệu hoạt động", "Hệ thống đang hoạt động."}, {"en-US", "Heartbeat", "The system is running."},
	} {
		list = append(list, capInfo{
			Language: t[0], Category: "Infra", Event: t[1], Response: "None", Urgency: "Unknown", Severity: "Unknown",
			Certainty: "Unknown", Expires: f.capTime(n.at.Add(15 * time.Minute)), SenderName: shorten(f.cfg.SenderName, 200),
			EventCode: []capValue{{"xacam:kind", "heartbeat"}}, Headline: t[1], Description: t[2],
			Parameter: []capValue{
				{"xacam:sequence", strconv.FormatInt(n.beat.Sequence, 10)}, {"xacam:backlog", strconv.FormatInt(n.beat.Backlog, 10)},
				{"xacam:cameras", strconv.Itoa(n.beat.Cameras)}, {"xacam:cameras_offline", strconv.Itoa(n.beat.Offline)},
			},
			Area: capArea{Desc: shorten(f.cfg.SenderName, 200)},
		})
	}
	return list
}

// capTime is CAP 1.2, 3.3.2: seconds, and an offset that is never Z.
func (f *Formatter) capTime(t time.Time) string {
	return t.In(f.cfg.Location).Format("2006-01-02T15:04:05-07:00")
}

// capToken leaves out what identifiers and senders must not have.
func capToken(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == ',' || r == '<' || r == '&' {
			return '-'
		}
		return r
	}, shorten(s, 300))
}

func capSeverity(s events.Severity) string {
	switch s {
	case events.SeverityCritical:
		return "Extreme"
	case events.SeverityHigh:
		return "Severe"
	case events.SeverityMedium:
		return "Moderate"
	case events.SeverityLow, events.SeverityInfo:
		return "Minor"
	}
	return "Unknown"
}

func mimeOf(evidence string) string {
	switch evidence {
	case "clip":
		return "video/mp4"
	case "track", "record", "manifest":
		return "application/json"
	}
	return "image/jpeg"
}

// Package format turns messages into the bodies that receivers understand:
// CloudEvents, Standard Webhooks, CAP and NGSI-LD, one file each.
package format

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/wire"
)

// MaxBody is what no body exceeds, Standard Webhooks 1.0: 20 kB.
const MaxBody = 20_000

// Config says who speaks. The zero value is usable.
type Config struct {
	// Source is the URI of this server, CloudEvents "source"; default
	// "urn:xacam:server". It tells the servers of a province apart.
	Source string
	// Sender is the CAP sender, without spaces and commas; default "xacam".
	Sender string
	// SenderName is shown to people, "Công an xã An Thạnh"; default Sender.
	SenderName string
	// SchemaURL is where the JSON Schemas are, without the last slash; default
	// "urn:xacam:schema".
	SchemaURL string
	// Location of the times; default +07:00.
	Location *time.Location
	// Evidence returns the address of a file for the receiver, which should
	// expire; nil leaves files out.
	Evidence func(e *events.Event, ref events.EvidenceRef) string
}

// Formatter makes bodies. It never changes; safe for concurrent use.
type Formatter struct{ cfg Config }

// Body is what is posted. The same message always gives the same bytes, but for
// the links to evidence.
type Body struct {
	ContentType string
	Bytes       []byte
}

// New returns a Formatter.
func New(cfg Config) *Formatter {
	cfg.Source = cmp.Or(cfg.Source, "urn:xacam:server")
	cfg.Sender = cmp.Or(cfg.Sender, "xacam")
	cfg.SenderName = cmp.Or(cfg.SenderName, cfg.Sender)
	cfg.SchemaURL = cmp.Or(cfg.SchemaURL, "urn:xacam:schema")
	if cfg.Location == nil {
		cfg.Location = time.FixedZone("", 7*3600)
	}
	return &Formatter{cfg: cfg}
}

// note is what is said, in no format yet.
type note struct {
	id      string
	kind    string // "event.raised", "heartbeat", "test"
	at      time.Time
	subject string
	test    bool
	step    events.Step
	event   *events.Event // nil for heartbeats
	wire    wire.Event
	beat    *beat
}

// beat is a heartbeat as JSON.
type beat struct {
	At       string `json:"at"`
	Sequence int64  `json:"sequence"` // of the newest event: who has less should read the feed
	Backlog  int64  `json:"backlog"`
	Cameras  int    `json:"cameras"`
	Offline  int    `json:"cameras_offline"`
}

// Message returns the body of a message.
func (f *Formatter) Message(format outbox.Format, m outbox.Message) (Body, error) {
	n := &note{
		id: m.ID, kind: "event." + string(m.Step), subject: m.Event.Source.Type + "/" + m.Event.Source.ID + "/" + m.Event.ID,
		step: m.Step, event: &m.Event, at: stepTime(&m.Event, m.Step),
	}
	return f.body(format, n)
}

// stepTime is when a step was taken, as far as the event tells.
func stepTime(e *events.Event, step events.Step) time.Time {
	if step == events.StepCleared && !e.ClearedAt.IsZero() {
		return e.ClearedAt
	}
	return e.OccurredAt
}

// Heartbeat returns the body of a heartbeat.
func (f *Formatter) Heartbeat(format outbox.Format, id string, h outbox.Heartbeat) (Body, error) {
	return f.body(format, &note{id: id, kind: "heartbeat", at: h.At, subject: "heartbeat", beat: &beat{
		At: f.time(h.At), Sequence: h.Sequence, Backlog: h.Backlog, Cameras: h.Cameras, Offline: h.Offline,
	}})
}

// Test returns the body of a made-up event that says so in every place that a
// person or a program could look at.
func (f *Formatter) Test(format outbox.Format, id string, at time.Time) (Body, error) {
	e := &events.Event{
		ID: events.NewID(events.Key{Source: "test", Kind: "test", Object: id}, at), Kind: "test", State: events.StateRaised,
		Severity: events.SeverityInfo, OccurredAt: at, ReceivedAt: at,
		Source: events.Source{Type: "system", ID: "test", Name: "Tin thử / Test"},
		Why: events.Text{
			VI: "Đây là tin thử đường truyền, không có sự việc nào xảy ra.",
			EN: "This is a test of the connection; nothing has happened.",
		},
		Attributes: map[string]any{"test": true}, Workflow: events.Workflow{State: "new"},
	}
	return f.body(format, &note{id: id, kind: "test", at: at, subject: "test", test: true, event: e, step: events.StepRaised})
}

// body writes a note in a format, shortened until it fits.
func (f *Formatter) body(format outbox.Format, n *note) (Body, error) {
	write := map[outbox.Format]func(*note) (Body, error){
		outbox.FormatCloudEvents: f.cloudEvents, outbox.FormatStandard: f.standard,
		outbox.FormatCAP: f.cap, outbox.FormatNGSILD: f.ngsiLD,
	}[cmp.Or(format, outbox.FormatCloudEvents)]
	if write == nil {
		return Body{}, fmt.Errorf("no format is called %q", format)
	}
	if n.event != nil {
		n.wire = f.wire(n.event)
	}
	for _, cut := range cuts() {
		if n.event != nil {
			cut(&n.wire)
		}
		b, err := write(n)
		if err != nil {
			return Body{}, fmt.Errorf("message %s as %s: %w", n.id, format, err)
		}
		if len(b.Bytes) < MaxBody {
			return b, nil
		}
	}
	return Body{}, fmt.Errorf("message %s as %s is longer than %d bytes, however short", n.id, format, MaxBody)
}

func (f *Formatter) wire(e *events.Event) wire.Event {
	o := wire.Options{Location: f.cfg.Location, EvidenceURL: f.cfg.Evidence}
	here := *e
	here.Evidence = nil
	for _, ref := range e.Evidence {
		if f.cfg.Evidence != nil && ref.Gone.IsZero() {
			here.Evidence = append(here.Evidence, ref)
		}
	}
	return wire.FromEvent(&here, o)
}

func (f *Formatter) time(t time.Time) string { return t.In(f.cfg.Location).Format(wire.TimeLayout) }

// appendJSON writes v without HTML escapes.
func appendJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

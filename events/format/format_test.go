package format_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/format"
	"github.com/xacam/xacam/events/outbox"
)

func formatter() *format.Formatter {
	return format.New(format.Config{
		Source: "urn:xacam:31615:box-1", Sender: "xacam@31615", SenderName: "Công an xã An Thạnh", SchemaURL: "https://box.example/api/v1/schemas",
		Evidence: func(e *events.Event, ref events.EvidenceRef) string {
			return "https://box.example/e/" + e.ID + "/" + ref.Type + "?expires=1&sig=a<b"
		},
	})
}

func sample(step events.Step) outbox.Message {
	at := time.Date(2026, 11, 23, 15, 14, 5, 120_000_000, time.UTC)
	key := events.Key{Source: "cong-cho", Kind: "intrusion", Rule: "cam-vao-dem", Zone: "san-cho", Object: "412"}
	lat, lon := 9.69, 106.16
	e := events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh,
		Source: events.Source{Type: "camera", ID: key.Source, Name: "Cổng chợ <An Thạnh> & 1", Hamlet: "an-thuong"},
		Place:  events.Place{Commune: "31615", Lat: &lat, Lon: &lon}, Zone: key.Zone, Rule: events.RuleRef{Name: key.Rule, Version: 3},
		OccurredAt: at, ReceivedAt: at.Add(180 * time.Millisecond), Sequence: 18234,
		Subject: &events.Subject{Track: 412, Class: "person", Score: .81, Box: [4]float64{.41, .52, .47, .79}},
		Why:     events.Text{VI: "Một người ở trong vùng «san-cho» lúc 22:14.", EN: "A person was in zone “san-cho” at 22:14."},
		Evidence: []events.EvidenceRef{
			{Type: "snapshot", Path: "a.jpg", SHA256: strings.Repeat("ab", 32)},
			{Type: "clip", Path: "a.mp4", SHA256: strings.Repeat("cd", 32)},
			{Type: "still", Path: "b.jpg", SHA256: strings.Repeat("ef", 32), Gone: at},
		},
		Attributes: map[string]any{"line": "vach-1"}, Workflow: events.Workflow{State: "new"},
	}
	if step != events.StepRaised {
		e.State, e.ClearedAt = events.StateCleared, at.Add(95*time.Second)
	}
	if step == events.StepWorkflow {
		verdict, who := "false_alarm", "anh Ba"
		e.Workflow = events.Workflow{State: "closed", Assignee: &who, Verdict: &verdict}
	}
	return outbox.Message{ID: outbox.MessageID(e.ID, step, 18234), Sequence: e.Sequence, Step: step, Event: e}
}

// giant is an event in which everything that can be long is long.
func giant() outbox.Message {
	m := sample(events.StepWorkflow)
	long := strings.Repeat("nghi vấn <&> ", 5000)
	m.Event.Why = events.Text{VI: long, EN: long}
	m.Event.Source.Name, m.Event.Source.Hamlet, m.Event.Source.ID, m.Event.Zone, m.Event.Rule.Name = long, long, long, long, long
	m.Event.Subject.Class, m.Event.Workflow.Assignee = long, &long
	m.Event.Attributes = map[string]any{"text": long}
	for i := range 500 {
		m.Event.Attributes[fmt.Sprintf("a%d", i)] = map[string]any{"x": strings.Repeat("y", 100)}
		m.Event.Evidence = append(m.Event.Evidence, events.EvidenceRef{Type: "still", Path: "x", SHA256: strings.Repeat("00", 32)})
	}
	return m
}

// bodies returns everything that is ever said in a format, by name.
func bodies(t *testing.T, f outbox.Format) map[string]format.Body {
	t.Helper()
	out := map[string]format.Body{}
	at := time.Date(2026, 11, 23, 15, 20, 0, 0, time.UTC)
	var err error
	for _, step := range events.Steps() {
		out[string(step)], err = formatter().Message(f, sample(step))
		require.NoError(t, err)
	}
	out["giant"], err = formatter().Message(f, giant())
	require.NoError(t, err)
	out["heartbeat"], err = formatter().Heartbeat(f, "heartbeat-ioc-1", outbox.Heartbeat{At: at, Sequence: 18234, Backlog: 3, Cameras: 12, Offline: 1})
	require.NoError(t, err)
	out["test"], err = formatter().Test(f, "test-1", at)
	require.NoError(t, err)
	return out
}

func schemas(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	names, err := fs.Glob(format.Schemas(), "*.json")
	require.NoError(t, err)
	require.Len(t, names, 6)
	for _, name := range names {
		b, err := fs.ReadFile(format.Schemas(), name)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		require.NoError(t, err)
		require.NoError(t, c.AddResource("https://box.example/"+name, doc))
	}
	return c
}

// TestSchemas: what is sent is what was published, and the schemas would notice.
func TestSchemas(t *testing.T) {
	t.Parallel()
	for f, name := range map[outbox.Format]string{
		outbox.FormatCloudEvents: "cloudevent", outbox.FormatStandard: "standard", outbox.FormatNGSILD: "ngsi-alert",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := schemas(t).Compile("https://box.example/" + name + ".json")
			require.NoError(t, err)
			for what, b := range bodies(t, f) {
				doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.Bytes))
				require.NoError(t, err)
				require.NoError(t, s.Validate(doc), "%s: %s", what, b.Bytes)
				broken := bytes.Replace(b.Bytes, []byte(`"severity"`), []byte(`"severitx"`), 1)
				broken = bytes.Replace(broken, []byte(`"cameras":`), []byte(`"camera":`), 1)
				broken = bytes.Replace(broken, []byte(`"dateIssued"`), []byte(`"issued"`), 1)
				doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(broken))
				require.NoError(t, err)
				require.Error(t, s.Validate(doc), "%s: %s", what, broken)
			}
		})
	}
}

// TestAsyncAPI: every reference in the document leads somewhere, and it names
// the headers that are sent.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	b, err := fs.ReadFile(format.Schemas(), "asyncapi.json")
	require.NoError(t, err)
	var doc map[string]any
	require.NoError(t, json.Unmarshal(b, &doc))
	assert.Equal(t, "3.0.0", doc["asyncapi"])
	var refs []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if r, ok := v["$ref"].(string); ok {
				refs = append(refs, r)
			}
			for _, c := range v {
				walk(c)
			}
		case []any:
			for _, c := range v {
				walk(c)
			}
		}
	}
	walk(doc)
	require.NotEmpty(t, refs)
	for _, r := range refs {
		path, ok := strings.CutPrefix(r, "#/")
		if !ok {
			_, err := fs.Stat(format.Schemas(), r)
			require.NoError(t, err, r)
			continue
		}
		var at any = doc
		for part := range strings.SplitSeq(path, "/") {
			m, ok := at.(map[string]any)
			require.True(t, ok, r)
			require.Contains(t, m, part, r)
			at = m[part]
		}
	}
}

// TestCloudEventsSDK: the official Go library reads and accepts what is sent.
func TestCloudEventsSDK(t *testing.T) {
	t.Parallel()
	for what, b := range bodies(t, outbox.FormatCloudEvents) {
		var e cloudevents.Event
		require.NoError(t, json.Unmarshal(b.Bytes, &e), what)
		require.NoError(t, e.Validate(), what)
		assert.Equal(t, "1.0", e.SpecVersion())
		assert.Equal(t, "urn:xacam:31615:box-1", e.Source())
		var data map[string]any
		require.NoError(t, e.DataAs(&data))
		if what == "raised" {
			assert.Equal(t, sample(events.StepRaised).ID, e.ID())
			assert.Equal(t, "vn.xacam.event.raised", e.Type())
			assert.Equal(t, "0000000000000018234", e.Extensions()["sequence"])
			assert.Len(t, data["evidence"], 2, "what is gone is not linked")
			assert.True(t, e.Time().Equal(sample(events.StepRaised).Event.OccurredAt))
		}
	}
}

// TestSize: nothing exceeds 20 kB; what was left out is marked.
func TestSize(t *testing.T) {
	t.Parallel()
	for _, f := range outbox.Formats() {
		for what, b := range bodies(t, f) {
			assert.Less(t, len(b.Bytes), format.MaxBody, "%s %s", f, what)
			if what == "giant" && f != outbox.FormatCAP {
				assert.Contains(t, string(b.Bytes), `"truncated":true`)
			}
		}
	}
	m := sample(events.StepRaised)
	m.Event.Attributes = map[string]any{"path": strings.Repeat("x", 30_000), "short": "stays"}
	b, err := formatter().Message(outbox.FormatStandard, m)
	require.NoError(t, err)
	assert.Contains(t, string(b.Bytes), `"short":"stays"`)
	assert.Contains(t, string(b.Bytes), `"truncated":true`)
	assert.Contains(t, string(b.Bytes), `/snapshot?`)
	assert.Equal(t, 30_000, len(m.Event.Attributes["path"].(string)), "the event itself is left alone")
}

// TestSame: the same message gives the same bytes in every attempt.
func TestSame(t *testing.T) {
	t.Parallel()
	for _, f := range outbox.Formats() {
		for _, m := range []outbox.Message{sample(events.StepCleared), giant()} {
			a, err := formatter().Message(f, m)
			require.NoError(t, err)
			b, err := formatter().Message(f, m)
			require.NoError(t, err)
			assert.Equal(t, string(a.Bytes), string(b.Bytes))
		}
	}
}

// TestCAP: xmllint accepts every alert against the schema; an update refers to
// the alert it updates.
func TestCAP(t *testing.T) {
	t.Parallel()
	all := bodies(t, outbox.FormatCAP)
	dir := t.TempDir()
	var files []string
	for what, b := range all {
		p := filepath.Join(dir, what+".xml")
		require.NoError(t, os.WriteFile(p, b.Bytes, 0o600))
		files = append(files, p)
	}
	lint := func(files ...string) error {
		schema := os.Getenv("CAP_XSD") // the schema of the standard itself, where it is at hand
		if schema == "" {
			schema = "testdata/cap12.xsd"
		}
		cmd := exec.CommandContext(t.Context(), "xmllint", append([]string{"--nonet", "--noout", "--schema", schema}, files...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if _, err := exec.LookPath("xmllint"); err != nil {
		t.Skip("xmllint is not installed; deploy/setup.sh test installs it")
	}
	require.NoError(t, lint(files...))
	for _, broken := range [][2]string{{"<urgency>Immediate", "<urgency>Soon"}, {"+07:00</sent>", "Z</sent>"}, {"<scope>Restricted</scope>", ""}} {
		p := filepath.Join(dir, "broken.xml")
		require.NoError(t, os.WriteFile(p, bytes.Replace(all["raised"].Bytes, []byte(broken[0]), []byte(broken[1]), 1), 0o600))
		require.Error(t, lint(p), broken[0])
	}

	type alert struct {
		Identifier string   `xml:"identifier"`
		Sender     string   `xml:"sender"`
		Sent       string   `xml:"sent"`
		Status     string   `xml:"status"`
		MsgType    string   `xml:"msgType"`
		References string   `xml:"references"`
		Languages  []string `xml:"info>language"`
		Events     []string `xml:"info>event"`
		Urgency    []string `xml:"info>urgency"`
	}
	got := map[string]alert{}
	for what, b := range all {
		var a alert
		require.NoError(t, xml.Unmarshal(b.Bytes, &a))
		assert.Equal(t, []string{"vi-VN", "en-US"}, a.Languages)
		got[what] = a
	}
	raised := got["raised"]
	assert.Equal(t, []string{"Xâm nhập vùng cấm", "Intrusion"}, raised.Events)
	assert.Equal(t, "Alert", raised.MsgType)
	assert.Equal(t, "Update", got["cleared"].MsgType)
	assert.Equal(t, []string{"Past", "Past"}, got["cleared"].Urgency)
	assert.Equal(t, "Cancel", got["workflow"].MsgType)
	for _, what := range []string{"cleared", "evidence", "workflow"} {
		assert.Equal(t, raised.Sender+","+raised.Identifier+","+raised.Sent, got[what].References)
	}
	assert.Equal(t, "Test", got["test"].Status)
	assert.Equal(t, "System", got["heartbeat"].Status)
}

// TestUnwritable: what cannot be said is an error, not a panic.
func TestUnwritable(t *testing.T) {
	t.Parallel()
	m := sample(events.StepRaised)
	m.Event.Attributes = map[string]any{"f": func() {}}
	_, err := formatter().Message(outbox.FormatCloudEvents, m)
	require.Error(t, err)
	_, err = formatter().Message("pdf", sample(events.StepRaised))
	require.Error(t, err)
	assert.NotEmpty(t, slices.Collect(maps.Keys(bodies(t, ""))), "the default format")
}

package wire_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

var update = flag.Bool("update", false, "rewrite golden files")

func sample() events.Event {
	at := time.Date(2026, 11, 23, 15, 14, 5, 120_000_000, time.UTC)
	key := events.Key{Source: "cong-cho", Kind: "intrusion", Rule: "cam-vao-dem", Zone: "san-cho", Object: "412"}
	lat, lon := 9.69, 106.16
	return events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh,
		Source: events.Source{Type: "camera", ID: key.Source, Name: "Cổng chợ An Thạnh", Hamlet: "an-thuong"},
		Place:  events.Place{Commune: "31615", Lat: &lat, Lon: &lon},
		Zone:   key.Zone, Rule: events.RuleRef{Name: key.Rule, Version: 3}, Object: key.Object,
		OccurredAt: at, Subject: &events.Subject{
			Track: 412, Class: "person", Score: .81234567, Box: [4]float64{.41, .52, .47000000000000003, .79},
		},
		Why: events.Text{
			VI: "Một người ở trong vùng «san-cho» lúc 22:14, ngoài giờ cho phép.",
			EN: "A person was in zone “san-cho” at 22:14, outside permitted hours.",
		},
		Workflow: events.Workflow{State: "new"},
	}
}

func full() events.Event {
	e := sample()
	e.State, e.ClearedAt = events.StateCleared, e.OccurredAt.Add(95*time.Second+999*time.Microsecond)
	e.ReceivedAt, e.Sequence = e.OccurredAt.Add(180*time.Millisecond), 18234
	e.Attributes = map[string]any{"line": "vach-1", "direction": "a_to_b", "note": "<b>&"}
	e.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "2026/a.jpg", SHA256: "ab12", Bytes: 5}}
	who := "anh-ba"
	e.Workflow.Assignee = &who
	return e
}

func TestGolden(t *testing.T) {
	t.Parallel()
	vn := wire.Options{Location: time.FixedZone("", 7*3600), EvidenceURL: func(e *events.Event, ref events.EvidenceRef) string {
		return "/api/v1/events/" + e.ID + "/" + ref.Type
	}}
	for name, tt := range map[string]struct {
		e events.Event
		o wire.Options
	}{
		"raised":  {sample(), wire.Options{}},
		"cleared": {full(), vn},
		"empty":   {events.Event{}, wire.Options{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := wire.FromEvent(&tt.e, tt.o)
			got, err := w.AppendJSON(nil)
			require.NoError(t, err)
			got = append(got, '\n')
			path := filepath.Join("testdata", name+".json")
			if *update {
				require.NoError(t, os.WriteFile(path, got, 0o600))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
		})
	}
}

// TestFieldsOfTheDesign compares the names with the documented example.
func TestFieldsOfTheDesign(t *testing.T) {
	t.Parallel()
	const doc = `{"id":1,"kind":1,"state":1,"severity":1,"source":{"type":1,"id":1,"name":1,"hamlet":1},
		"place":{"commune":1,"lat":1,"lon":1},"zone":1,"rule":{"name":1,"version":1},
		"occurred_at":1,"cleared_at":1,"received_at":1,"sequence":1,
		"subject":{"track":1,"class":1,"score":1,"box":1},"why":{"vi":1,"en":1},
		"attributes":{},"evidence":1,"workflow":{"state":1,"assignee":1,"verdict":1}}`
	e := sample()
	w := wire.FromEvent(&e, wire.Options{})
	b, err := w.AppendJSON(nil)
	require.NoError(t, err)
	assert.Equal(t, names(t, []byte(doc)), names(t, b))
}

// names replaces every value but objects by 1.
func names(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	var walk func(m map[string]any)
	walk = func(m map[string]any) {
		for k, v := range m {
			if sub, ok := v.(map[string]any); ok {
				walk(sub)
				continue
			}
			m[k] = 1
		}
	}
	walk(m)
	return m
}

func TestBack(t *testing.T) {
	t.Parallel()
	for _, e := range []events.Event{sample(), full(), {}} {
		w := wire.FromEvent(&e, wire.Options{Location: time.FixedZone("", 7*3600)})
		b, err := w.AppendJSON([]byte("x"))
		require.NoError(t, err)
		require.Equal(t, "x{", string(b[:2]))
		var in wire.Event
		require.NoError(t, json.Unmarshal(b[1:], &in))
		back, err := in.Event()
		require.NoError(t, err)
		again := wire.FromEvent(&back, wire.Options{Location: time.FixedZone("", 7*3600)})
		b2, err := again.AppendJSON(nil)
		require.NoError(t, err)
		assert.Equal(t, string(b[1:]), string(b2))
	}
	w := wire.Event{OccurredAt: "yesterday"}
	_, err := w.Event()
	require.Error(t, err)
	w = wire.Event{Attributes: map[string]any{"f": func() {}}}
	_, err = w.AppendJSON(nil)
	require.Error(t, err)
}

func BenchmarkAppendJSON(b *testing.B) {
	e := full()
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		w := wire.FromEvent(&e, wire.Options{})
		buf, _ = w.AppendJSON(buf[:0])
	}
}

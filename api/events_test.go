package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

type eventPage struct {
	Items []struct {
		ID         string `json:"id"`
		OccurredAt string `json:"occurred_at"`
	} `json:"items"`
	Next *string `json:"next"`
}

func (p *peer) page(path string) eventPage {
	p.tb.Helper()
	resp, body := p.get(path)
	require.Equal(p.tb, http.StatusOK, resp.StatusCode, body)
	var out eventPage
	require.NoError(p.tb, json.Unmarshal([]byte(body), &out))
	return out
}

func TestListEventsPages(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	var want []string
	for n := range 25 {
		want = append(want, log.commit(testEvent(n)).ID)
	}
	slices.Reverse(want)
	p := serve(t, testConfig(t, log))
	for _, limit := range []int{1, 5, 7, 24, 25, 26, 200} {
		var got []string
		query := fmt.Sprintf("?limit=%d", limit)
		for pages := 0; ; pages++ {
			require.Less(t, pages, 26)
			page := p.page("/api/v1/events" + query)
			require.NotEmpty(t, page.Items, "limit %d: an empty page after a next", limit)
			for _, ev := range page.Items {
				got = append(got, ev.ID)
			}
			if page.Next == nil {
				break
			}
			query = fmt.Sprintf("?limit=%d&before=%s", limit, *page.Next)
		}
		assert.Equal(t, want, got, "limit %d", limit)
	}
	assert.Equal(t, "2026-11-23T22:00:24.120+07:00", p.page("/api/v1/events?limit=1").Items[0].OccurredAt)
}

func TestListEventsEmpty(t *testing.T) {
	t.Parallel()
	p := serve(t, testConfig(t, newMemLog()))
	_, body := p.get("/api/v1/events")
	assert.JSONEq(t, `{"items":[],"next":null}`, body)
}

func TestListEventsFilters(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	var all []events.Event
	for n := range 60 {
		ev := testEvent(n)
		if n%3 == 0 {
			ev.State, ev.ClearedAt = events.StateCleared, ev.OccurredAt.Add(time.Minute)
		}
		all = append(all, log.commit(ev))
	}
	p := serve(t, testConfig(t, log))
	for _, tt := range []struct {
		name, query string
		want        func(events.Event) bool
	}{
		{"kind", "kind=intrusion", func(e events.Event) bool { return e.Kind == "intrusion" }},
		{"two kinds", "kind=intrusion&kind=line_crossing", func(e events.Event) bool { return e.Kind != events.KindCameraOffline }},
		{"camera", "camera=cam-1", func(e events.Event) bool { return e.Source.ID == "cam-1" }},
		{"unknown camera", "camera=gone", func(events.Event) bool { return false }},
		{"zone", "zone=zone-1", func(e events.Event) bool { return e.Zone == "zone-1" }},
		{"severity", "severity=high&severity=critical", func(e events.Event) bool { return e.Severity == "high" || e.Severity == "critical" }},
		{"state", "state=cleared", func(e events.Event) bool { return e.State == events.StateCleared }},
		{"from", "from=2026-11-23T22:00:10.120%2B07:00", func(e events.Event) bool { return e.OccurredAt.Unix() >= all[10].OccurredAt.Unix() }},
		{"to with a plain plus", "to=2026-11-23T22:00:10.120+07:00", func(e events.Event) bool { return e.OccurredAt.Before(all[10].OccurredAt) }},
		{"together", "kind=intrusion&camera=cam-0&state=cleared&from=2026-11-23T15:00:03Z&to=2026-11-23T15:00:40Z", func(e events.Event) bool {
			s := e.OccurredAt.Second()
			return e.Kind == "intrusion" && e.Source.ID == "cam-0" && e.State == events.StateCleared && s >= 3 && s < 40
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var want, got []string
			for _, ev := range slices.Backward(all) {
				if tt.want(ev) {
					want = append(want, ev.ID)
				}
			}
			for _, ev := range p.page("/api/v1/events?limit=200&" + tt.query).Items {
				got = append(got, ev.ID)
			}
			assert.Equal(t, want, got)
		})
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t, newMemLog())
	cfg.Kinds = []events.Kind{"intrusion", "line_crossing"}
	p := serve(t, cfg)
	for _, tt := range []struct{ name, path, field, detail string }{
		{"unknown parameter", "events?sevrity=high", "sevrity", "allowed are from, to, kind"},
		{"unknown with odd characters", "events?%00%ff<b>=1", "??<b>", "allowed are"},
		{"severity", "events?severity=urgent", "severity", "one of info, low, medium, high, critical"},
		{"second severity", "events?severity=high&severity=", "severity", "one of"},
		{"state", "events?state=open", "state", "one of raised, cleared"},
		{"kind", "events?kind=nope", "kind", "one of intrusion, line_crossing"},
		{"camera empty", "events?camera=", "camera", "1 to 100 printable"},
		{"camera long", "events?camera=" + strings.Repeat("x", 101), "camera", "1 to 100 printable"},
		{"zone with NUL", "events?zone=a%00b", "zone", "printable"},
		{"zone not UTF-8", "events?zone=%ff%fe", "zone", "printable"},
		{"too many", "events?" + strings.Repeat("zone=a&", 51), "zone", "at most 50 times"},
		{"from", "events?from=yesterday", "from", "RFC 3339"},
		{"from a date", "events?from=2026-11-23", "from", "RFC 3339"},
		{"from twice", "events?from=2026-11-23T00:00:00Z&from=2026-11-23T00:00:00Z", "from", "once"},
		{"from year 0", "events?from=0000-01-01T00:00:00Z", "from", "RFC 3339"},
		{"to before from", "events?from=2026-11-23T00:00:00Z&to=2026-11-22T00:00:00Z", "to", "later than from"},
		{"limit 0", "events?limit=0", "limit", "from 1 to 200"},
		{"limit 201", "events?limit=201", "limit", "from 1 to 200"},
		{"limit text", "events?limit=many", "limit", "from 1 to 200"},
		{"before", "events?before=17", "before", "next"},
		{"broken escape", "events?camera=%zz", "query", "%XX"},
		{"semicolon", "events?a=1;b=2", "query", "joined by &"},
		{"too long", "events?zone=" + strings.Repeat("x", maxQuery), "query", "at most 8192 bytes"},
		{"event id", "events/42", "id", "UUID"},
		{"event id with a path", "events/..%2f..%2fetc", "", "no such address"},
		{"snapshot of no id", "events/42/snapshot", "id", "UUID"},
		{"stream after", "events/stream?after=-1", "after", "sequence"},
		{"stream after text", "events/stream?after=x", "after", "sequence"},
		{"stream after too far", "events/stream?after=5", "after", "past the newest sequence 0"},
		{"stream from", "events/stream?from=2026-11-23T00:00:00Z", "from", "not a parameter here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := p.get("/api/v1/" + tt.path)
			var got problem
			require.NoError(t, json.Unmarshal([]byte(body), &got))
			if tt.field != "" {
				assert.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
			}
			assert.Equal(t, resp.StatusCode, got.Status)
			assert.Equal(t, tt.field, got.Field)
			assert.Contains(t, got.Detail, tt.detail)
		})
	}
}

func TestGetEvent(t *testing.T) {
	t.Parallel()
	known := testEvent(4)
	for _, tt := range []struct {
		name string
		id   string
		err  error
		want int
	}{
		{"found", known.ID, nil, 200},
		{"upper case", strings.ToUpper(known.ID), nil, 200},
		{"unknown", testEvent(5).ID, nil, 404},
		{"refused by the store", known.ID, &events.FieldError{Field: "id", Reason: "is too old"}, 422},
		{"conflict", known.ID, fmt.Errorf("read: %w", events.ErrConflict), 409},
		{"store away", known.ID, fmt.Errorf("read: %w", events.ErrUnavailable), 503},
		{"broken store", known.ID, errors.New("password=hunter2 rejected"), 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := newMemLog()
			log.commit(known)
			log.err = tt.err
			p := serve(t, testConfig(t, log))
			for _, suffix := range []string{"", "/snapshot"} {
				resp, body := p.get("/api/v1/events/" + tt.id + suffix)
				want := tt.want
				if suffix != "" && want == 200 {
					want = 404 // the event has none
				}
				assert.Equal(t, want, resp.StatusCode, body)
				assert.NotContains(t, body, "hunter2")
				assert.Equal(t, want == 503, resp.Header.Get("Retry-After") != "")
			}
		})
	}
}

func TestEventJSON(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	ev := testEvent(0)
	ev.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "2026/a.jpg", SHA256: strings.Repeat("ab", 32), Bytes: 10}}
	ev = log.commit(ev)
	p := serve(t, testConfig(t, log))
	_, body := p.get("/api/v1/events/" + ev.ID)
	assert.JSONEq(t, `{"id":"`+ev.ID+`","kind":"intrusion","state":"raised","severity":"info",
		"source":{"type":"camera","id":"cam-0","name":"Cổng chợ An Thạnh","hamlet":"an-thuong"},
		"place":{"commune":"31615","lat":9.69,"lon":106.16},"zone":"zone-0","rule":{"name":"cam-vao-dem","version":3},
		"occurred_at":"2026-11-23T22:00:00.120+07:00","cleared_at":null,"received_at":"2026-11-23T22:00:00.200+07:00","sequence":1,
		"subject":{"track":412,"class":"person","score":0.81,"box":[0.41,0.52,0.47,0.79]},
		"why":{"vi":"Một người ở trong vùng «san-cho» <lúc 22:14>.","en":"A person\nin the zone."},
		"attributes":{"count":3},
		"evidence":[{"type":"snapshot","url":"/api/v1/events/`+ev.ID+`/snapshot","sha256":"`+strings.Repeat("ab", 32)+`"}],
		"workflow":{"state":"new","assignee":null,"verdict":null}}`, body)
	assert.NotContains(t, body, "2026/a.jpg", "paths are the server's own")
}

func TestStoreTooSlow(t *testing.T) {
	t.Parallel()
	log := newMemLog()
	log.sleep = time.Hour
	cfg := testConfig(t, log)
	cfg.RequestTimeout = 20 * time.Millisecond
	p := serve(t, cfg)
	resp, body := p.get("/api/v1/events")
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.Contains(t, body, "did not answer in time")
}

func FuzzParseEventQuery(f *testing.F) {
	for _, seed := range []string{
		"", "kind=intrusion&kind=a", "from=2026-11-23T22:14:05.120+07:00&to=2027-01-01T00:00:00Z", "limit=200", "severity=high&state=raised",
		"before=01999999-9999-7999-8999-999999999999", "after=18234", "camera=%00", "zone=%ff", "a;b", "%zz", "=&=", "from=9999-12-31T23:59:59-23:59",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, allowed := range [][]string{listParams(), streamParams()} {
			q, err := parseEventQuery(raw, allowed, nil)
			if err != nil {
				field, ok := errors.AsType[*events.FieldError](err)
				require.True(t, ok, "%v", err)
				require.NotEmpty(t, field.Reason)
				_, err := json.Marshal(problem{Field: field.Field, Detail: field.Reason})
				require.NoError(t, err)
				require.LessOrEqual(t, len([]rune(field.Field)), 41)
				continue
			}
			require.GreaterOrEqual(t, q.Page.Limit, 1)
			require.LessOrEqual(t, q.Page.Limit, maxLimit)
			require.GreaterOrEqual(t, q.After, int64(-1))
			for _, name := range slices.Concat(q.Filter.Sources, q.Filter.Zones) {
				require.True(t, isName(name))
			}
			for _, at := range []time.Time{q.Filter.From, q.Filter.To} {
				_, err := at.MarshalJSON()
				require.NoError(t, err)
			}
			if q.Page.Before != "" {
				id, reason := parseID(q.Page.Before)
				require.Empty(t, reason)
				require.Equal(t, id, q.Page.Before)
			}
			// What was understood can be written and read again.
			v := url.Values{}
			for _, z := range q.Filter.Zones {
				v.Add("zone", z)
			}
			again, err := parseEventQuery(v.Encode(), allowed, nil)
			require.NoError(t, err)
			require.Equal(t, len(q.Filter.Zones), len(again.Filter.Zones))
		}
	})
}

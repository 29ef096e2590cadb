package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
	"github.com/xacam/xacam/events/wire"
)

var (
	_ WorkflowStore = (*pgstore.Store)(nil)
	_ AuditReader   = (*pgstore.Store)(nil)
	_ StatsReader   = (*pgstore.Store)(nil)
	_ FeedStore     = (*pgstore.Store)(nil)
)

// realPeer serves a real database.
func realPeer(t *testing.T, edit ...func(*Config)) (*peer, *pgstore.Store) {
	t.Helper()
	v, err := vault.Open(t.TempDir())
	require.NoError(t, err)
	store, err := pgstore.Open(t.Context(), eventstest.Database(t), pgstore.Config{Signer: v})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	require.NoError(t, store.Migrate(t.Context()))
	require.NoError(t, store.EnsurePartitions(t.Context(), testEvent(0).OccurredAt))
	return serve(t, realConfig(t, store, edit...)), store
}

func realConfig(t *testing.T, store *pgstore.Store, edit ...func(*Config)) Config {
	t.Helper()
	cfg := testConfig(t, newMemLog())
	cfg.Events, cfg.Workflow, cfg.Audit, cfg.Stats, cfg.Feed = store, store, store, store, store
	cfg.Watch = nil
	for _, f := range edit {
		f(&cfg)
	}
	return cfg
}

func TestActions(t *testing.T) {
	t.Parallel()
	p, store := realPeer(t)
	ev := testEvent(1)
	base := "/api/v1/events/" + ev.ID
	post := func(action, body string, headers ...string) (int, string) {
		var text string
		a := p.send("POST", base+"/"+action, body, &text, headers...)
		return a.StatusCode, text
	}
	status, text := post("acknowledge", `{"by":"lan"}`)
	assert.Equal(t, http.StatusNotFound, status)
	assert.Contains(t, text, "while the database was away")
	require.NoError(t, store.Commit(t.Context(), []events.Change{{Event: ev}}))

	var got wire.Event
	a := p.send("POST", base+"/acknowledge", `{"by":"lan","note":null}`, &got, "Idempotency-Key", "k1")
	require.Equal(t, http.StatusOK, a.StatusCode)
	assert.Equal(t, "acknowledged", got.Workflow.State)
	assert.Equal(t, int64(2), got.Sequence)
	status, text = post("acknowledge", `{"by":"minh"}`)
	assert.Equal(t, http.StatusConflict, status)
	assert.Contains(t, text, "event.acknowledge by lan at 20")
	status, first := post("acknowledge", `{"by":"lan"}`, "Idempotency-Key", "k1")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, first, `"sequence":2`)
	status, text = post("acknowledge", `{"by":"minh"}`, "Idempotency-Key", "k1")
	assert.Equal(t, http.StatusUnprocessableEntity, status)
	assert.Contains(t, text, `"field":"Idempotency-Key"`)
	for action, body := range map[string]string{
		"assign": `{"by":"lan","to":"minh"}`, "note": `{"by":"lan","note":"Đã gọi\nđội"}`, "hold": `{"by":"lan","case":"7/2026","note":"công văn"}`,
	} {
		status, text = post(action, body)
		require.Equal(t, http.StatusOK, status, text)
	}
	assert.Len(t, p.page("/api/v1/events?workflow=assigned&assignee=minh").Items, 1)
	assert.Empty(t, p.page("/api/v1/events?workflow=new&workflow=closed").Items)
	status, text = post("close", `{"by":"minh","verdict":"false_alarm","note":"con chó"}`)
	require.Equal(t, http.StatusOK, status, text)
	status, text = post("release", `{"by":"lan","case":"7/2026","note":"xong"}`)
	require.Equal(t, http.StatusOK, status, text)
	assert.Contains(t, text, `"verdict":"false_alarm"`)
	_, again := post("acknowledge", `{"by":"lan"}`, "Idempotency-Key", "k1")
	assert.Equal(t, first, again, "as the first time, though it is closed now")

	var history struct {
		Items []struct {
			Step, By, Action *string
			Sequence, Number *int64
			Detail           map[string]any
		}
	}
	require.Equal(t, 200, p.send("GET", base+"/history", "", &history).StatusCode)
	require.Len(t, history.Items, 7)
	assert.Nil(t, history.Items[0].By)
	assert.Equal(t, "event.close", *history.Items[5].Action)
	assert.Equal(t, int64(6), *history.Items[5].Sequence)
	assert.Equal(t, map[string]any{"verdict": "false_alarm", "note": "con chó"}, history.Items[5].Detail["request"])

	var chain struct {
		Items []struct {
			Number         int64
			Previous, Hash string
		}
		Next *int64
	}
	require.Equal(t, 200, p.send("GET", "/api/v1/audit?limit=4&event="+ev.ID, "", &chain).StatusCode)
	require.Len(t, chain.Items, 4)
	assert.Equal(t, int64(6), chain.Items[0].Number)
	assert.Equal(t, chain.Items[1].Hash, chain.Items[0].Previous)
	require.NotNil(t, chain.Next)
	require.Equal(t, 200, p.send("GET", fmt.Sprint("/api/v1/audit?limit=4&before=", *chain.Next), "", &chain).StatusCode)
	assert.Len(t, chain.Items, 2)
	require.Equal(t, 200, p.send("GET", "/api/v1/audit?actor=minh&action=event.close&subject=event:"+ev.ID, "", &chain).StatusCode)
	assert.Len(t, chain.Items, 1)

	_, stats := p.get("/api/v1/stats/rules?from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z")
	assert.Contains(t, stats, `"camera":"cam-1","rule":"cam-vao-dem","kind":"line_crossing","events":1,"acknowledged":1`)
	assert.Contains(t, stats, `"false_alarm_rate":{"value":1,"low":0.2065`)
	_, metrics := p.get("/metrics")
	assert.Contains(t, metrics, `xacam_event_verdicts_total{camera="cam-1",rule="cam-vao-dem",verdict="false_alarm"} 1`)
	assert.Contains(t, metrics, `xacam_event_verdicts_total{camera="cam-1",rule="cam-vao-dem",verdict="confirmed"} 0`)
	assert.Contains(t, metrics, "xacam_event_acknowledge_seconds_count 1")

	// Streams say what each change was about, to those who ask.
	for query, want := range map[string][]string{
		"?after=0": {"change", "change", "change"}, "?after=0&names=step": {"raised", "workflow", "workflow"},
	} {
		s := p.stream(query)
		for _, name := range want {
			m, err := s.next()
			require.NoError(t, err)
			assert.Equal(t, name, m.Event, query)
		}
		s.body.Close()
	}
}

func TestActionsRefused(t *testing.T) {
	t.Parallel()
	p, _ := realPeer(t)
	base := "/api/v1/events/" + testEvent(1).ID
	for _, tt := range []struct {
		path, body string
		status     int
		contains   []string
	}{
		{base + "/acknowledge", `{}`, 422, []string{`"field":"by"`}},
		{base + "/assign", `{"by":1,"to":"","x":1,"verdict":"other"}`, 422, []string{
			`"problems":[`, `{"field":"by","detail":"must not be a number"}`, `"field":"to"`, `{"field":"x","detail":"is not a field here; allowed are by, note, to"}`, `"field":"verdict"`,
		}},
		{base + "/close", `{"by":"a","verdict":"maybe"}`, 422, []string{"confirmed, false_alarm, other"}},
		{base + "/note", `{"by":"a","note":"` + strings.Repeat("x", 4001) + `"}`, 422, []string{"4000"}},
		{base + "/note", `{"by":"a","note":"\u0000"}`, 422, []string{"control"}},
		{base + "/note", `[]`, 400, []string{"not a JSON object"}},
		{base + "/note", `null`, 400, []string{"not a JSON object"}},
		{base + "/note", `{"by":"a","note":"b"}x`, 400, []string{"not a JSON object"}},
		{base + "/note", `{"by":"a","note":"` + strings.Repeat("x", 70000) + `"}`, 413, []string{"65536"}},
		{"/api/v1/events/x/note", `{"by":"a","note":"b"}`, 422, []string{"UUID"}},
		{"/api/v1/feed/keys", `{"name":"A b","filter":{"steps":["gone"],"severity":"x"},"per_minute":-1,"expires_at":"2001-01-01T00:00:00Z"}`, 422, []string{
			`"field":"by"`, `"field":"name"`, `"field":"filter.steps"`, `"field":"per_minute"`, `"field":"expires_at"`,
		}},
		{"/api/v1/feed/keys", `{"name":"a","by":"b","filter":{"cameras":["x"]}}`, 422, []string{"has no field cameras"}},
		{"/api/v1/feed/keys", `{"name":"a","by":"b","filter":{"schedule":"sometimes"}}`, 422, []string{"filter.schedule"}},
	} {
		var text string
		a := p.send("POST", tt.path, tt.body, &text)
		assert.Equal(t, tt.status, a.StatusCode, "%s %.80s: %s", tt.path, tt.body, text)
		for _, want := range tt.contains {
			assert.Contains(t, text, want)
		}
	}
	resp, _ := p.do("POST", base+"/acknowledge", "Content-Type", "text/plain")
	assert.Equal(t, http.StatusUnsupportedMediaType, resp.StatusCode, "what a page of another site may send")
	for path, want := range map[string]string{
		"/api/v1/audit?before=0": "before", "/api/v1/audit?limit=201": "limit", "/api/v1/audit?event=x": "event", "/api/v1/audit?actor=%00": "actor",
		"/api/v1/audit?x=1": `"field":"x"`, "/api/v1/audit?actor=a&actor=b": "once", "/api/v1/events?workflow=open": "workflow", "/api/v1/events?assignee=": "assignee",
		"/api/v1/stats/rules?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z": `"field":"to"`, "/api/v1/stats/rules?from=2020-01-01T00:00:00Z": "366",
		"/api/v1/events/x/history": "UUID", "/api/v1/events/stream?names=all": "change or step",
	} {
		resp, text := p.get(path)
		assert.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode, path)
		assert.Contains(t, text, want, path)
	}
	resp, _ = p.get("/api/v1/events/" + testEvent(9).ID + "/history")
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)

	bare := serve(t, testConfig(t, newMemLog()))
	for _, path := range []string{"/api/v1/audit", "/api/v1/stats/rules", "/api/v1/feed", "/api/v1/feed/keys", base + "/history"} {
		resp, _ := bare.get(path)
		assert.Equal(t, http.StatusNotFound, resp.StatusCode, path)
	}
	assert.Equal(t, 404, bare.send("POST", base+"/note", `{"by":"a","note":"b"}`, nil).StatusCode)
}

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/vault"
)

var (
	_ EndpointStore = (*pgstore.Store)(nil)
	_ DeliveryStore = (*pgstore.Store)(nil)
)

// sendText is send for an answer that is looked at as text.
func (p *peer) sendText(method, path, body string, headers ...string) (a answer, text string) {
	p.tb.Helper()
	a = p.send(method, path, body, &text, headers...)
	return a, text
}

// ok is send, for requests that must succeed; it decodes the answer.
func (p *peer) ok(method, path, body string, headers ...string) map[string]any {
	p.tb.Helper()
	a, got := p.sendText(method, path, body, headers...)
	require.Less(p.tb, a.StatusCode, 300, "%s %s: %s", method, path, got)
	out := map[string]any{}
	if got != "" {
		require.NoError(p.tb, json.Unmarshal([]byte(got), &out))
	}
	return out
}

// serveDeliveries serves a real store.
func serveDeliveries(t *testing.T, cfg func(*Config)) (*peer, *pgstore.Store) {
	t.Helper()
	ctx := context.Background()
	v, err := vault.Open(t.TempDir())
	require.NoError(t, err)
	store, err := pgstore.Open(ctx, eventstest.Database(t), pgstore.Config{Sealer: v, Signer: v})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	require.NoError(t, store.Migrate(ctx))
	require.NoError(t, store.EnsurePartitions(ctx, testEvent(0).OccurredAt))
	c := testConfig(t, newMemLog())
	c.Events, c.Endpoints, c.Deliveries, c.Watch = store, store, store, nil
	if cfg != nil {
		cfg(&c)
	}
	return serve(t, c), store
}

const endpointsPath = "/api/v1/endpoints"

func TestEndpoints(t *testing.T) {
	t.Parallel()
	p, _ := serveDeliveries(t, nil)
	create := `{"by":"Lan","name":"ioc","url":"https://ioc.example/hook","signing":["v1","v1a"],"headers":{"Authorization":"Bearer s3cret"},
		"filter":{"kinds":["intrusion"],"severity":"medium","cameras":["cong-cho"],"schedule":"daily 06:00-18:00"},"heartbeat":"off","timeout":"10s"}`
	made := p.ok("POST", endpointsPath, create, "Idempotency-Key", "one")
	issued, ok := made["issued"].([]any)
	require.True(t, ok)
	require.Len(t, issued, 2)
	var texts []string
	for _, k := range issued {
		text, ok := k.(map[string]any)["secret"].(string)
		require.True(t, ok)
		texts = append(texts, text)
	}
	assert.Equal(t, "off", made["heartbeat"])
	assert.Equal(t, map[string]any{"Authorization": "<redacted>"}, made["headers"])

	// A retry gets the same, but no secret; another request under the key is told.
	again := p.ok("POST", endpointsPath, create, "Idempotency-Key", "one")
	assert.NotContains(t, again["issued"].([]any)[0], "secret") //nolint:forcetypeassert // the contract says so
	a, body := p.sendText("POST", endpointsPath, strings.Replace(create, "10s", "11s", 1), "Idempotency-Key", "one")
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
	assert.Contains(t, body, "Idempotency-Key")
	a, body = p.sendText("POST", endpointsPath, create)
	assert.Equal(t, http.StatusConflict, a.StatusCode)
	assert.Contains(t, body, "there is an endpoint ioc already")

	a, body = p.sendText("GET", endpointsPath+"/ioc", "")
	assert.Equal(t, `"1"`, a.Header.Get("ETag"))
	assert.Contains(t, body, `"state":"idle"`)
	_, list := p.sendText("GET", endpointsPath, "")
	for _, secret := range append(texts[:1:1], "s3cret") {
		assert.NotContains(t, body, secret)
		assert.NotContains(t, list, secret)
	}

	// What was shown may be sent back.
	update := `{"by":"Lan","url":"https://ioc.example/hook2","signing":["v1","v1a"],"headers":{"Authorization":"<redacted>"}}`
	a, body = p.sendText("PUT", endpointsPath+"/ioc", update, "If-Match", `"7"`)
	assert.Equal(t, http.StatusPreconditionFailed, a.StatusCode, body)
	changed := p.ok("PUT", endpointsPath+"/ioc", update, "If-Match", `"1"`)
	assert.InDelta(t, 2, changed["version"], 0)
	assert.Equal(t, "5m0s", changed["heartbeat"])
	a, body = p.sendText("PUT", endpointsPath+"/ioc", `{"by":"Lan","url":"https://x.example/","headers":{"X-New":"<redacted>"}}`)
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
	assert.Contains(t, body, "headers.X-New")

	rotated := p.ok("POST", endpointsPath+"/ioc/secrets", `{"by":"Lan","overlap":"1h"}`, "Idempotency-Key", "r1")
	fresh := rotated["issued"].([]any)[0].(map[string]any) //nolint:forcetypeassert // the contract says so
	assert.NotEqual(t, texts[0], fresh["secret"])
	assert.Len(t, rotated["secrets"], 3)
	a, body = p.sendText("DELETE", endpointsPath+"/ioc/secrets/"+fresh["id"].(string)+"?by=Lan", "") //nolint:forcetypeassert // the contract says so
	assert.Equal(t, http.StatusConflict, a.StatusCode, body)
	old := issued[0].(map[string]any)                                              //nolint:forcetypeassert // the contract says so
	p.ok("DELETE", endpointsPath+"/ioc/secrets/"+old["id"].(string)+"?by=Lan", "") //nolint:forcetypeassert // the contract says so

	off := p.ok("PUT", endpointsPath+"/ioc", `{"by":"Lan","enabled":false,"url":"https://ioc.example/hook2"}`)
	assert.Equal(t, "admin", off["disabled_why"])
	on := p.ok("POST", endpointsPath+"/ioc/enable", `{"by":"Lan"}`)
	assert.Equal(t, true, on["enabled"])
	a, _ = p.sendText("DELETE", endpointsPath+"/ioc", "")
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, "who?")
	p.ok("DELETE", endpointsPath+"/ioc?by=Lan", "")
	a, _ = p.sendText("GET", endpointsPath+"/ioc", "")
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
}

// TestQueryOfAnEndpointIsSecret: whoever holds the key in it may post there.
func TestQueryOfAnEndpointIsSecret(t *testing.T) {
	t.Parallel()
	p, store := serveDeliveries(t, nil)
	made := p.ok("POST", endpointsPath, `{"by":"Lan","name":"ioc","url":"https://ioc.example/hook?token=s3cret"}`)
	assert.Equal(t, "https://ioc.example/hook?<redacted>", made["url"])
	for _, path := range []string{endpointsPath, endpointsPath + "/ioc"} {
		_, body := p.sendText("GET", path, "")
		assert.Contains(t, body, "https://ioc.example/hook?<redacted>")
		assert.NotContains(t, body, "s3cret")
	}
	changed := p.ok("PUT", endpointsPath+"/ioc", `{"by":"Lan","url":"https://ioc.example/hook?<redacted>","rate":3}`)
	assert.Equal(t, "https://ioc.example/hook?<redacted>", changed["url"])
	kept, err := store.Endpoint(t.Context(), "ioc")
	require.NoError(t, err)
	assert.Equal(t, "https://ioc.example/hook?token=s3cret", kept.URL)
	a, body := p.sendText("PUT", endpointsPath+"/ioc", `{"by":"Lan","url":"https://evil.example/hook?<redacted>"}`)
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, "it goes nowhere else")
	assert.Contains(t, body, `"field":"url"`)
	a, _ = p.sendText("POST", endpointsPath, `{"by":"Lan","name":"two","url":"https://ioc.example/hook?<redacted>"}`)
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
}

func TestEndpointProblemsAreAllTold(t *testing.T) {
	t.Parallel()
	p, _ := serveDeliveries(t, nil)
	a, body := p.sendText("POST", endpointsPath, `{"by":"","name":"NO","url":"https://user:geheim@x.example/","timeout":"soon","allow_cidrs":["10.0.0.1"],
		"filter":{"severity":"huge","schedule":"never"},"secret":"whsec_geheim"}`)
	require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
	var got struct {
		Problems []struct{ Field, Detail string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &got))
	var fields []string
	for _, e := range got.Problems {
		fields = append(fields, e.Field)
	}
	assert.Subset(t, fields, []string{"by", "name", "url", "timeout", "allow_cidrs[0]", "secret"})
	assert.NotContains(t, body, "geheim")
	for name, c := range map[string]struct{ body, header, value string }{
		"a form":        {"by=Lan", "Content-Type", "application/x-www-form-urlencoded"},
		"no type":       {`{"by":"Lan"}`, "Content-Type", "text/plain"},
		"another site":  {`{"by":"Lan"}`, "Origin", "https://evil.example"},
		"no origin":     {`{"by":"Lan"}`, "Origin", "null"},
		"cross-site":    {`{"by":"Lan"}`, "Sec-Fetch-Site", "cross-site"},
		"not If-Match":  {`{"by":"Lan"}`, "If-Match", "seven"},
		"unknown field": {`{"by":"Lan","colour":"red"}`, "", ""},
	} {
		headers := []string{}
		if c.header != "" {
			headers = []string{c.header, c.value}
		}
		a, body := p.sendText("POST", endpointsPath+"/x/enable", c.body, headers...)
		assert.Contains(t, []int{403, 415, 422}, a.StatusCode, "%s: %s", name, body)
	}
	// One's own pages may.
	a, _ = p.sendText("POST", endpointsPath+"/x/enable", `{"by":"Lan"}`, "Origin", p.base, "Sec-Fetch-Site", "same-origin")
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
	a, body = serve(t, testConfig(t, newMemLog())).sendText("GET", endpointsPath, "")
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
	assert.Contains(t, body, "delivers nothing")
}

func TestTestDelivery(t *testing.T) {
	t.Parallel()
	var sent outbox.Endpoint
	p, _ := serveDeliveries(t, func(c *Config) {
		c.TestEndpoint = func(_ context.Context, e outbox.Endpoint, _ string) outbox.Result {
			sent = e
			return outbox.Result{Outcome: outbox.Retry, Status: 503, Err: errors.New("503 at https://u:geheim@x/"), Excerpt: "busy", Started: time.Now(), Took: time.Second, RetryAfter: time.Minute}
		}
	})
	p.ok("POST", endpointsPath, `{"by":"Lan","name":"ioc","url":"https://ioc.example/hook"}`)
	got := p.ok("POST", endpointsPath+"/ioc/test", `{"by":"Lan"}`)
	assert.Equal(t, "retry", got["outcome"])
	assert.InDelta(t, 60, got["retry_after"], 0)
	assert.NotContains(t, got["error"], "geheim")
	assert.Len(t, sent.Secrets, 1, "it can sign")
	log := p.ok("GET", "/api/v1/attempts?kind=test&endpoint=ioc", "")
	require.Len(t, log["items"], 1)
	a, _ := p.sendText("POST", endpointsPath+"/nobody/test", `{"by":"Lan"}`)
	assert.Equal(t, http.StatusNotFound, a.StatusCode)
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, store := serveDeliveries(t, nil)
	p.ok("POST", endpointsPath, `{"by":"Lan","name":"ioc","url":"https://ioc.example/hook"}`)
	var batch []events.Change
	for n := range 5 {
		batch = append(batch, events.Change{Event: testEvent(n)})
	}
	require.NoError(t, store.Commit(ctx, batch))
	epoch, err := store.Lease(ctx, "ioc", "me", time.Minute)
	require.NoError(t, err)
	require.NoError(t, store.Settle(ctx, outbox.Settlement{
		Endpoint: "ioc", Epoch: epoch, Dead: []int64{1, 2, 3}, Delivered: []int64{4},
		Attempts: []outbox.Attempt{{
			Endpoint: "ioc", Kind: outbox.KindDelivery, MessageID: "m", Sequence: 1, Number: 1,
			Result: outbox.Result{Outcome: outbox.Refused, Status: 400, Err: errors.New("400 Bad Request"), Started: time.Now()},
		}},
	}))
	page := p.ok("GET", endpointsPath+"/ioc/deliveries?state=dead&limit=2", "")
	require.Len(t, page["items"], 2)
	assert.InDelta(t, 2, page["next"], 0)
	page = p.ok("GET", endpointsPath+"/ioc/deliveries?state=dead&limit=2&before=2", "")
	require.Len(t, page["items"], 1)
	assert.Nil(t, page["next"])
	assert.Len(t, p.ok("GET", "/api/v1/events/"+testEvent(0).ID+"/deliveries", "")["items"], 1)
	assert.Len(t, p.ok("GET", "/api/v1/attempts?outcome=refused", "")["items"], 1)
	one := p.ok("GET", endpointsPath+"/ioc", "")
	assert.Equal(t, map[string]any{"pending": 1.0, "parked": 0.0, "dead": 3.0}, one["deliveries"])

	preview := p.ok("POST", endpointsPath+"/ioc/replay", `{"by":"Lan","state":"dead","preview":true}`)
	assert.InDelta(t, 3, preview["count"], 0)
	assert.Len(t, preview["examples"], 3)
	for range 2 {
		done := p.ok("POST", endpointsPath+"/ioc/replay", `{"by":"Lan","state":"dead"}`, "Idempotency-Key", "k")
		assert.InDelta(t, 3, done["count"], 0)
	}
	n, err := store.Backlog(ctx, "ioc")
	require.NoError(t, err)
	assert.Equal(t, int64(4), n)
	a, body := p.sendText("POST", endpointsPath+"/ioc/replay", `{"by":"Lan","state":"all"}`)
	assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
	assert.Contains(t, body, `"field":"from"`)
	for query, field := range map[string]string{
		"/api/v1/attempts?outcome=x": "outcome", "/api/v1/attempts?event=1": "event", "/api/v1/attempts?limit=0": "limit", "/api/v1/attempts?a=b": "a",
		"/api/v1/attempts?from=x": "from", "/api/v1/attempts?endpoint=a&endpoint=b": "endpoint", endpointsPath + "/ioc/deliveries?state=missing": "state",
	} {
		a, body := p.sendText("GET", query, "")
		assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, query)
		assert.Contains(t, body, strconv.Quote(field), query)
	}
}

package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/outbox"
)

// TestEveryChangeTakesAKey: what changes something says in the contract that a
// retry does no harm.
func TestEveryChangeTakesAKey(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(t, err)
	changes := 0
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if method == http.MethodGet || path == pathBacktest { // it only calculates
				continue
			}
			changes++
			assert.NotNil(t, op.Parameters.GetByInAndName("header", "Idempotency-Key"), "%s %s", method, path)
		}
	}
	assert.Greater(t, changes, 15)
}

// TestRetries repeats what changes something: it is done once.
func TestRetries(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	release := make(chan struct{})
	p, _ := serveDeliveries(t, func(c *Config) {
		c.TestEndpoint = func(_ context.Context, _ outbox.Endpoint, _ string) outbox.Result {
			sent.Add(1)
			<-release
			return outbox.Result{Outcome: outbox.Retry, Status: 503, Err: errors.New("503"), Started: time.Now()}
		}
		c.Feed = c.Endpoints.(FeedStore) //nolint:forcetypeassert // the store is all of it
	})
	p.ok("POST", endpointsPath, `{"by":"Lan","name":"ioc","url":"https://ioc.example/hook"}`)
	rotated := p.ok("POST", endpointsPath+"/ioc/secrets", `{"by":"Lan","overlap":"1h"}`)
	old := rotated["secrets"].([]any)[1].(map[string]any)["id"].(string) //nolint:forcetypeassert // the contract says so

	first := make(chan string, 1)
	ask := func() (int, string) {
		a, text := p.sendText("POST", endpointsPath+"/ioc/test", `{"by":"Lan"}`, "Idempotency-Key", "t")
		return a.StatusCode, text
	}
	go func() {
		_, text := ask()
		first <- text
	}()
	require.Eventually(t, func() bool { return sent.Load() == 1 }, 10*time.Second, 10*time.Millisecond)
	status, text := ask()
	assert.Equal(t, http.StatusConflict, status, text)
	assert.Contains(t, text, "is being done at this moment")
	close(release)
	answered := <-first
	_, text = ask()
	assert.JSONEq(t, answered, text)
	assert.Contains(t, text, `"status":503`)
	assert.Equal(t, int64(1), sent.Load())

	var key struct {
		Name, Key string
		Created   string `json:"created_at"`
	}
	made := `{"by":"Lan","name":"kho","per_minute":6}`
	require.Equal(t, http.StatusCreated, p.send("POST", pathFeedKeys, made, &key, "Idempotency-Key", "f").StatusCode)
	assert.NotEmpty(t, key.Key)
	again := key
	again.Key = ""
	require.Equal(t, http.StatusCreated, p.send("POST", pathFeedKeys, made, &again, "Idempotency-Key", "f").StatusCode)
	assert.Empty(t, again.Key, "shown once")
	assert.Equal(t, key.Created, again.Created)

	for _, tt := range [][2]string{
		{"secret", endpointsPath + "/ioc/secrets/" + old}, {"feed", pathFeedKeys + "/kho"}, {"endpoint", endpointsPath + "/ioc"},
	} {
		name, path := tt[0], tt[1]
		for range 2 {
			a, text := p.sendText("DELETE", path+"?by=Lan", "", "Idempotency-Key", "end of "+name)
			assert.Equal(t, http.StatusNoContent, a.StatusCode, "%s: %s", name, text)
		}
		a, text := p.sendText("DELETE", path+"?by=Minh", "", "Idempotency-Key", "end of "+name)
		assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
		assert.Contains(t, text, "was used for another request")
		a, _ = p.sendText("DELETE", path+"?by=Lan", "")
		assert.Equal(t, http.StatusNotFound, a.StatusCode, name)
		a, text = p.sendText("DELETE", path+"?by=Lan", "", "Idempotency-Key", strings.Repeat("k", 201))
		assert.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
		assert.Contains(t, text, "1 to 200")
	}
	log := p.ok("GET", pathAttempts+"?endpoint=ioc", "")["items"].([]any) //nolint:forcetypeassert // the contract says so
	require.Len(t, log, 1, "the log outlives the endpoint")
	assert.Equal(t, true, log[0].(map[string]any)["former"]) //nolint:forcetypeassert // the contract says so
}

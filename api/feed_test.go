package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/wire"
)

type feedAnswer struct {
	Items []struct {
		Sequence int64
		Step, ID string
		Event    wire.Event
	}
	After, Next, Last, First int64
	Skipped                  struct{ Filtered, Deleted int64 }
}

// newKey makes a key of the feed with more fields of the request, such as
// `,"per_minute":6`.
func (p *peer) newKey(name, more string) string {
	p.tb.Helper()
	var made struct{ Key string }
	a := p.send("POST", "/api/v1/feed/keys", fmt.Sprintf(`{"by":"lan","name":%q%s}`, name, more), &made)
	require.Equal(p.tb, http.StatusCreated, a.StatusCode)
	return "Bearer " + made.Key
}

func (p *peer) feed(auth, query string) feedAnswer {
	p.tb.Helper()
	var text string
	a := p.send("GET", "/api/v1/feed"+query, "", &text, "Authorization", auth)
	require.Equal(p.tb, http.StatusOK, a.StatusCode, text)
	var out feedAnswer
	require.NoError(p.tb, json.Unmarshal([]byte(text), &out))
	require.Equal(p.tb, out.Next-out.After, int64(len(out.Items))+out.Skipped.Filtered+out.Skipped.Deleted, "every number is explained")
	return out
}

func TestFeed(t *testing.T) {
	t.Parallel()
	p, store := realPeer(t, func(c *Config) {
		c.EvidenceURL = func(e *events.Event, ref events.EvidenceRef) string {
			return "https://xa.example/e/" + e.ID + "/" + ref.Type
		}
	})
	auth := p.newKey("ioc", `,"per_minute":6000`)
	some := p.newKey("some", `,"filter":{"sources":["cam-2"],"steps":["raised"]},"per_minute":6000`)
	for n := range 6 {
		ev := testEvent(n)
		ev.Evidence = []events.EvidenceRef{{Type: "snapshot", Path: "a.jpg", SHA256: strings.Repeat("0a", 32)}}
		require.NoError(t, store.Commit(t.Context(), []events.Change{{Event: ev}}))
	}
	done := testEvent(2)
	done.State, done.ClearedAt = events.StateCleared, done.OccurredAt.Add(time.Second)
	require.NoError(t, store.Commit(t.Context(), []events.Change{{Event: done}}))
	require.Equal(t, 200, p.send("POST", "/api/v1/events/"+done.ID+"/close", `{"by":"lan","verdict":"confirmed"}`, nil).StatusCode)

	all := p.feed(auth, "")
	require.Len(t, all.Items, 8)
	assert.Equal(t, []int64{8, 8, 1}, []int64{all.Next, all.Last, all.First})
	assert.Equal(t, "raised", all.Items[2].Step)
	assert.Equal(t, events.StateRaised, all.Items[2].Event.State, "raised stays raised")
	assert.Equal(t, "new", all.Items[2].Event.Workflow.State)
	assert.Nil(t, all.Items[2].Event.ClearedAt)
	assert.Equal(t, done.ID+"-cleared", all.Items[6].ID)
	assert.Equal(t, "new", all.Items[6].Event.Workflow.State)
	assert.Equal(t, done.ID+"-workflow-8", all.Items[7].ID)
	assert.Equal(t, "closed", all.Items[7].Event.Workflow.State)
	assert.Equal(t, "https://xa.example/e/"+done.ID+"/snapshot", all.Items[2].Event.Evidence[0].URL)

	few := p.feed(some, "?after=0&limit=500")
	require.Len(t, few.Items, 1)
	assert.Equal(t, int64(3), few.Items[0].Sequence)
	assert.Equal(t, int64(7), few.Skipped.Filtered)
	one := p.feed(auth, "?after=3&limit=1")
	assert.Equal(t, int64(4), one.Items[0].Sequence)
	assert.Equal(t, int64(4), one.Next)

	for query, want := range map[string]string{
		"after=9": "another store", "after=-1": "after", "limit=501": "limit", "wait=31": "wait", "wait=x": "wait", "kind=x": "kind", "after=1&after=2": "once",
	} {
		var text string
		assert.Equal(t, 422, p.send("GET", "/api/v1/feed?"+query, "", &text, "Authorization", auth).StatusCode, query)
		assert.Contains(t, text, want)
	}
	for _, header := range []string{"", "Bearer ", "Bearer xfk_x", "Basic " + auth[7:], auth + "x", "Bearer xfk_" + strings.Repeat("A", 43), auth[7:]} {
		a := p.send("GET", "/api/v1/feed", "", nil, "Authorization", header)
		assert.Equal(t, http.StatusUnauthorized, a.StatusCode, header)
		assert.Contains(t, a.Header.Get("WWW-Authenticate"), "Bearer")
	}
	assert.Equal(t, 409, p.send("POST", "/api/v1/feed/keys", `{"by":"a","name":"ioc"}`, nil).StatusCode)
	_, list := p.get("/api/v1/feed/keys")
	assert.NotContains(t, list, auth[11:])
	assert.Contains(t, list, `"name":"ioc","filter":{},"per_minute":6000`)
	assert.Equal(t, 422, p.send("DELETE", "/api/v1/feed/keys/ioc", "", nil).StatusCode)
	assert.Equal(t, 204, p.send("DELETE", "/api/v1/feed/keys/ioc?by=lan", "", nil).StatusCode)
	assert.Equal(t, 404, p.send("DELETE", "/api/v1/feed/keys/ioc?by=lan", "", nil).StatusCode)
	assert.Equal(t, http.StatusUnauthorized, p.send("GET", "/api/v1/feed", "", nil, "Authorization", auth).StatusCode, "at once")
}

func TestFeedWaits(t *testing.T) {
	t.Parallel()
	p, store := realPeer(t, func(c *Config) {
		s, _ := c.Events.(*pgstore.Store)
		c.Poll = time.Hour // woken, or not at all
		c.Watch = func(ctx context.Context, wake func()) error { return s.Watch(ctx, pgstore.EventChanges, wake) }
	})
	auth := p.newKey("ioc", `,"filter":{"sources":["cam-1"]},"per_minute":6000`)
	start := time.Now()
	got := p.feed(auth, "?wait=1")
	assert.Empty(t, got.Items)
	assert.GreaterOrEqual(t, time.Since(start), time.Second)
	answered := make(chan feedAnswer, 1)
	go func() { answered <- p.feed(auth, "?wait=30") }()
	time.Sleep(100 * time.Millisecond) // the request must wait already
	for n := range 2 {                 // the first is of another camera
		require.NoError(t, store.Commit(t.Context(), []events.Change{{Event: testEvent(n)}}))
	}
	start = time.Now()
	got = <-answered
	require.Len(t, got.Items, 1)
	assert.Equal(t, int64(1), got.Skipped.Filtered)
	assert.Less(t, time.Since(start), 5*time.Second)

	go func() { answered <- p.feed(auth, "?after=2&wait=30") }()
	time.Sleep(100 * time.Millisecond) // the request must wait already
	start = time.Now()
	p.cancel()
	assert.Equal(t, int64(2), (<-answered).Next)
	assert.Less(t, time.Since(start), 4*time.Second, "the shutdown ends the wait")
}

// TestFeedFollows reads with a reader that is killed and begins again from what
// it had stored, or from nothing, while events are written: it ends with exactly
// the changes there are.
func TestFeedFollows(t *testing.T) {
	t.Parallel()
	p, store := realPeer(t)
	auth := p.newKey("ioc", `,"per_minute":6000`)
	const n, total = 120, 240
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := range n {
			ev := testEvent(i)
			assert.NoError(t, store.Commit(context.Background(), []events.Change{{Event: ev}}))
			_, err := store.Act(context.Background(), events.WorkflowRequest{EventID: ev.ID, Action: events.ActionAcknowledge, By: "lan"})
			assert.NoError(t, err)
		}
	})
	var kept []int64 // what the reader has on its disk
	var position int64
	for round := 1; position < total; round++ {
		ctx, kill := context.WithCancel(t.Context())
		if round%5 == 0 {
			kill() // before the answer came
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/api/v1/feed?after=%d&limit=9&wait=2", p.base, position), http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Authorization", auth)
		resp, err := p.Do(r)
		if err == nil {
			var page feedAnswer
			require.Equal(t, 200, resp.StatusCode)
			require.NoError(t, json.NewDecoder(resp.Body).Decode(&page))
			resp.Body.Close()
			if round%7 != 0 { // else killed before it stored the page
				for _, item := range page.Items {
					kept = append(kept, item.Sequence)
				}
				position = page.Next
			}
		}
		kill()
		if round == 20 {
			kept, position = nil, 0 // it lost everything
		}
	}
	writer.Wait()
	require.Len(t, kept, total)
	for i, sequence := range kept {
		require.Equal(t, int64(i+1), sequence)
	}
}

func TestFeedRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	p, _ := realPeer(t, func(c *Config) {
		c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	slow, other := p.newKey("slow", `,"per_minute":12`), p.newKey("other", `,"per_minute":12`)
	ask := func(key string) answer { return p.send("GET", "/api/v1/feed", "", nil, "Authorization", key) }
	for range 2 { // those of ten seconds at once
		assert.Equal(t, 200, ask(slow).StatusCode)
	}
	a := ask(slow)
	assert.Equal(t, http.StatusTooManyRequests, a.StatusCode)
	assert.Equal(t, "5", a.Header.Get("Retry-After"))
	assert.Equal(t, 200, ask(other).StatusCode, "each key has its own")
	mu.Lock()
	now = now.Add(5 * time.Second)
	mu.Unlock()
	assert.Equal(t, 200, ask(slow).StatusCode)
	assert.Equal(t, 429, ask(slow).StatusCode)
}

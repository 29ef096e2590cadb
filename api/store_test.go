package api

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgstore"
)

var _ EventReader = (*pgstore.Store)(nil)

// TestRealStore serves a real database: streams resume while several writers
// commit at the same time, and the list has the same events.
func TestRealStore(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	store, err := pgstore.Open(ctx, eventstest.Database(t), pgstore.Config{})
	require.NoError(t, err)
	t.Cleanup(store.Close)
	require.NoError(t, store.Migrate(ctx))
	require.NoError(t, store.EnsurePartitions(ctx, testEvent(0).OccurredAt))

	cfg := testConfig(t, newMemLog())
	cfg.Events, cfg.Tail = store, 16
	cfg.Watch = func(ctx context.Context, wake func()) error { return store.Watch(ctx, pgstore.EventChanges, wake) }
	p := serve(t, cfg)
	const writers, each = 4, 60
	exerciseResume(t, p, 2*writers*each, 4, func() {
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for n := range each {
					ev := testEvent(w*each + n)
					if !assert.NoError(t, store.Commit(ctx, []events.Change{{Event: ev}})) {
						return
					}
					ev.State, ev.ClearedAt = events.StateCleared, ev.OccurredAt.Add(time.Second)
					if !assert.NoError(t, store.Commit(ctx, []events.Change{{Event: ev}})) {
						return
					}
				}
			})
		}
		wg.Wait()
	})

	seen, query := map[string]bool{}, ""
	for {
		page := p.page("/api/v1/events?state=cleared&limit=70" + query)
		for _, ev := range page.Items {
			assert.False(t, seen[ev.ID], "twice")
			seen[ev.ID] = true
		}
		if page.Next == nil {
			break
		}
		query = "&before=" + *page.Next
	}
	assert.Len(t, seen, writers*each)
	one := testEvent(7)
	resp, _ := p.get("/api/v1/events/" + one.ID)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	resp, _ = p.get("/api/v1/events/" + testEvent(9999).ID)
	assert.Equal(t, http.StatusNotFound, resp.StatusCode)
	resp, _ = p.get("/readyz")
	assert.Equal(t, http.StatusOK, resp.StatusCode)
}

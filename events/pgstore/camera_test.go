package pgstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/pgstore"
)

// count runs a query for one number.
func count(tb testing.TB, dsn, sql string) int64 {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), dsn)
	require.NoError(tb, err)
	defer conn.Close(context.WithoutCancel(tb.Context()))
	var n int64
	require.NoError(tb, conn.QueryRow(tb.Context(), sql).Scan(&n))
	return n
}

func rules(nameAndSpec ...string) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage)
	for i := 0; i < len(nameAndSpec); i += 2 {
		out[nameAndSpec[i]] = json.RawMessage(nameAndSpec[i+1])
	}
	return out
}

func TestCameras(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := open(t)
	put := func(want int, spec string, r map[string]json.RawMessage) {
		t.Helper()
		got, err := s.PutCamera(ctx, pgstore.CameraInput{Slug: "cho", Spec: []byte(spec), Rules: r})
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	versions := func(want map[string]int) {
		t.Helper()
		got, err := s.RuleVersions(ctx, "cho")
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	versions(map[string]int{})
	put(1, `{"name":"Chợ","rules":["a","b"]}`, rules("a", `{"x":1}`, "b", `{"x":1}`))
	created, err := s.Camera(ctx, "cho")
	require.NoError(t, err)
	assert.True(t, created.Enabled)
	assert.JSONEq(t, `{"name":"Chợ","rules":["a","b"]}`, string(created.Spec))
	put(1, ` {"rules": ["a","b"], "name":"Chợ"}`, rules("b", ` {"x": 1}`, "a", `{"x":1}`))
	same, err := s.Camera(ctx, "cho")
	require.NoError(t, err)
	assert.Equal(t, created, same, "nothing was written")
	put(2, `{"name":"Chợ mới"}`, rules("a", `{"x":2}`))
	versions(map[string]int{"a": 2, "b": 1})
	put(3, `{"name":"Chợ"}`, rules("a", `{"x":1}`, "b", `{"x":1}`))
	versions(map[string]int{"a": 3, "b": 1})

	require.NoError(t, s.DeleteCamera(ctx, "cho"))
	require.ErrorIs(t, s.DeleteCamera(ctx, "cho"), events.ErrNotFound)
	_, err = s.Camera(ctx, "cho")
	require.ErrorIs(t, err, events.ErrNotFound)
	put(1, `{}`, rules("a", `{"x":5}`))
	versions(map[string]int{"a": 4, "b": 1})

	for name, bad := range map[string][]pgstore.CameraInput{
		"not JSON":      {{Slug: "new", Spec: []byte(`{}`)}, {Slug: "z", Spec: []byte(`{`)}},
		"not an object": {{Slug: "new", Spec: []byte(`{}`)}, {Slug: "z", Spec: []byte(`[]`)}},
		"bad rule":      {{Slug: "new", Spec: []byte(`{}`)}, {Slug: "z", Spec: []byte(`{}`), Rules: rules("a", `1`)}},
		"no slug":       {{Slug: "new", Spec: []byte(`{}`)}, {Spec: []byte(`{}`)}},
		"twice":         {{Slug: "new", Spec: []byte(`{}`)}, {Slug: "new", Spec: []byte(`{}`)}},
	} {
		_, err := s.PutCameras(ctx, bad)
		require.Error(t, err, name)
		require.NotErrorIs(t, err, events.ErrUnavailable, name)
	}
	got, err := s.PutCameras(ctx, []pgstore.CameraInput{
		{Slug: "z", Spec: []byte(`{}`), Disabled: true}, {Slug: "cho", Spec: []byte(`{"n":1}`)},
	})
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"z": 1, "cho": 2}, got)
	list, err := s.Cameras(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2, "the refused imports left nothing")
	assert.Equal(t, []string{"cho", "z"}, []string{list[0].Slug, list[1].Slug})
	assert.False(t, list[1].Enabled)
}

// TestReplaceCameras: an import that fails deletes nothing.
func TestReplaceCameras(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _ := open(t)
	slugs := func() (out []string) {
		all, err := s.Cameras(ctx)
		require.NoError(t, err)
		for _, c := range all {
			out = append(out, c.Slug)
		}
		return out
	}
	_, err := s.PutCameras(ctx, []pgstore.CameraInput{{Slug: "a", Spec: []byte(`{}`)}, {Slug: "b", Spec: []byte(`{}`)}, {Slug: "c", Spec: []byte(`{}`)}})
	require.NoError(t, err)
	_, _, err = s.ReplaceCameras(ctx, []pgstore.CameraInput{{Slug: "b", Spec: []byte(`{}`)}, {Slug: "d", Spec: []byte(`[]`)}})
	require.Error(t, err)
	require.ElementsMatch(t, []string{"a", "b", "c"}, slugs())
	versions, deleted, err := s.ReplaceCameras(ctx, []pgstore.CameraInput{{Slug: "b", Spec: []byte(`{}`)}, {Slug: "d", Spec: []byte(`{}`)}})
	require.NoError(t, err)
	assert.Equal(t, map[string]int{"b": 1, "d": 1}, versions)
	assert.Equal(t, []string{"a", "c"}, deleted)
	require.ElementsMatch(t, []string{"b", "d"}, slugs())
	_, deleted, err = s.ReplaceCameras(ctx, nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"b", "d"}, deleted)
}

func TestPutCamerasConcurrently(t *testing.T) {
	t.Parallel()
	s, dsn := open(t)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 10 {
				spec := json.RawMessage(fmt.Sprintf(`{"n":"%d-%d"}`, w, i))
				in := []pgstore.CameraInput{{Slug: "a", Spec: spec, Rules: rules("r", string(spec))}, {Slug: "b", Spec: spec}}
				if w%2 == 0 {
					in[0], in[1] = in[1], in[0]
				}
				_, err := s.PutCameras(t.Context(), in)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int64(40), count(t, dsn, "SELECT version FROM camera WHERE slug = 'a'"))
	assert.Equal(t, int64(40), count(t, dsn, "SELECT count(*) FROM rule"))
}

func TestWatch(t *testing.T) {
	t.Parallel()
	s, dsn := open(t)
	slow, err := pgstore.Open(t.Context(), dsn, pgstore.Config{Poll: time.Minute}) // so that only NOTIFY wakes
	require.NoError(t, err)
	defer slow.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	watch := func(s *pgstore.Store, topic pgstore.Topic) *atomic.Int64 {
		n := &atomic.Int64{}
		wg.Go(func() { assert.NoError(t, s.Watch(ctx, topic, func() { n.Add(1) })) })
		require.Eventually(t, func() bool { return n.Load() > 0 }, 10*time.Second, time.Millisecond, "once at the start")
		return n
	}
	eventsSeen, camerasSeen := watch(slow, pgstore.EventChanges), watch(slow, pgstore.CameraChanges)
	require.NoError(t, s.Commit(t.Context(), changes(raised("a", 1))))
	require.Eventually(t, func() bool { return eventsSeen.Load() == 2 }, 10*time.Second, time.Millisecond)
	_, err = s.PutCamera(t.Context(), pgstore.CameraInput{Slug: "a", Spec: []byte(`{}`)})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return camerasSeen.Load() == 2 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Commit(t.Context(), changes(raised("a", 1))))
	_, err = s.PutCamera(t.Context(), pgstore.CameraInput{Slug: "a", Spec: []byte(`{}`)})
	require.NoError(t, err)

	polled := watch(s, pgstore.EventChanges)
	require.Eventually(t, func() bool { return polled.Load() >= 3 }, 10*time.Second, time.Millisecond, "polling")
	assert.Equal(t, int64(2), eventsSeen.Load(), "nothing changed, nobody was woken")
	assert.Equal(t, int64(2), camerasSeen.Load())

	require.NoError(t, exec(t, dsn, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`))
	before := polled.Load()
	require.Eventually(t, func() bool { return polled.Load() >= before+5 }, 10*time.Second, time.Millisecond, "connected again")
	require.Eventually(t, func() bool {
		return count(t, dsn, "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN xacam_event' AND datname = current_database()") > 0 ||
			count(t, dsn, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '-- ping' AND datname = current_database()") > 0
	}, 10*time.Second, 10*time.Millisecond)
}

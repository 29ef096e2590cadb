//go:build cgo

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// happened returns the n-th event, which no camera saw.
func happened(n int) events.Event {
	key := events.Key{Source: "cong-cho", Kind: "intrusion", Rule: "dem", Object: strconv.Itoa(n)}
	at := time.Now().UTC().Truncate(time.Microsecond)
	return events.Event{
		ID: events.NewID(key, at), Kind: key.Kind, State: events.StateRaised, Severity: events.SeverityHigh,
		Source: events.Source{Type: "camera", ID: key.Source, Name: "Cổng chợ"}, Place: events.Place{Commune: "31615"},
		Rule: events.RuleRef{Name: key.Rule, Version: 1}, Object: key.Object, OccurredAt: at, Why: events.Text{VI: "Có người.", EN: "A person."},
	}
}

// change sends JSON to the API and returns the answer's status and body.
func (s *serving) change(t *testing.T, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(text)
}

// TestDelivery follows events from the spool to a receiver, through a 410 and
// back, in a running server.
func TestDelivery(t *testing.T) {
	t.Parallel()
	db := newTestDatabase(t)
	s := serve(t, db, newScripted())
	<-s.db.Ready()
	province, err := newReceiver(t.Context())
	require.NoError(t, err)
	go func() { assert.NoError(t, province.Run(t.Context())) }()
	document := "endpoint: tinh\nurl: " + province.URL() + "\nallow_cidrs: [127.0.0.0/8]\nheartbeat: 10s\nheaders: {X-Key: " + strconv.Quote(password) + "}\n"
	out := apply(t, db, document)
	_, secret, ok := strings.Cut(out, "not shown again: ")
	require.True(t, ok, out)
	e, err := s.db.Endpoint(t.Context(), "tinh")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(secret), e.Secrets[0].Text())
	require.NoError(t, province.Trust(e.Secrets))

	var want []string
	for n := range 20 {
		ev := happened(n)
		want = append(want, ev.ID+"-raised")
		s.spool.Submit(events.Change{Event: ev})
	}
	ids := func() []string {
		var out []string
		for _, m := range province.Got() {
			if !strings.HasPrefix(m.ID, "heartbeat") {
				out = append(out, m.ID)
			}
		}
		return out
	}
	within(t, 10*time.Second, "deliveries", func() bool { return len(ids()) >= len(want) })
	assert.Equal(t, want, ids(), "in order")
	within(t, 10*time.Second, "a heartbeat", func() bool { return len(province.Got()) > len(ids()) })

	status, body := s.change(t, "/api/v1/endpoints/tinh/test", `{"by":"Lan"}`)
	require.Equal(t, http.StatusOK, status, body)
	assert.Contains(t, body, `"outcome":"delivered"`)
	got := province.Got()
	assert.Contains(t, got[len(got)-1].ID, "test-tinh")

	// The receiver says that it is gone: an alarm, nothing more is sent.
	province.Answer(http.StatusGone)
	last := happened(100)
	s.spool.Submit(events.Change{Event: last})
	alarm := func(state string) bool { return len(s.events(t, "kind=delivery_failing&state="+state)) == 1 }
	within(t, 15*time.Second, "the alarm", func() bool { return alarm("raised") })
	list := s.events(t, "kind=delivery_failing")
	assert.Equal(t, "system", list[0].Source.Type)
	assert.Equal(t, "tinh", list[0].Source.ID)
	body2, _ := s.get(t, "/api/v1/endpoints/tinh")
	assert.Contains(t, string(body2), `"disabled_why":"gone"`)

	province.Answer(0)
	status, body = s.change(t, "/api/v1/endpoints/tinh/enable", `{"by":"Lan"}`)
	require.Equal(t, http.StatusOK, status, body)
	within(t, 15*time.Second, "what waited", func() bool { return slices.Contains(ids(), last.ID+"-raised") })
	within(t, 15*time.Second, "the end of the alarm", func() bool { return alarm("cleared") })

	// The alarm itself may have come when the endpoint was disabled already: then
	// it was not queued, and is what is missing.
	status, body = s.change(t, "/api/v1/endpoints/tinh/replay", `{"by":"Lan","state":"missing","from":"`+time.Now().Add(-time.Hour).Format(time.RFC3339)+`"}`)
	require.Equal(t, http.StatusOK, status, body)
	var replayed struct{ Count int }
	require.NoError(t, json.Unmarshal([]byte(body), &replayed))
	assert.LessOrEqual(t, replayed.Count, 1)
	within(t, 15*time.Second, "the alarm, at once or by the replay", func() bool {
		return slices.Contains(ids(), list[0].ID+"-raised")
	})
	assert.NotContains(t, s.log.String(), strings.TrimSpace(secret))

	// The same name after a restart, so that its own lease holds up nobody.
	id, err := os.ReadFile(filepath.Join(db.data, "server-id"))
	require.NoError(t, err)
	s.stop()
	s = serve(t, db, newScripted())
	<-s.db.Ready()
	again, err := os.ReadFile(filepath.Join(db.data, "server-id"))
	require.NoError(t, err)
	assert.Equal(t, id, again)
	began := time.Now()
	after := happened(200)
	s.spool.Submit(events.Change{Event: after})
	within(t, 10*time.Second, "deliveries after a restart", func() bool { return slices.Contains(ids(), after.ID+"-raised") })
	t.Logf("after a restart: %s", time.Since(began).Round(time.Millisecond))

	// What a deleted endpoint leaves is removed without being asked for, but for the
	// log of what was sent to it.
	require.NoError(t, s.db.DeleteEndpoint(t.Context(), "tinh", outbox.Act{By: "Lan"}))
	within(t, 15*time.Second, "the removal", func() bool { return rows(t, db, "endpoint")+rows(t, db, "delivery") == 0 })
	assert.Positive(t, rows(t, db, "attempt"))
}

// rows counts those of a table.
func rows(t *testing.T, db testDatabase, table string) (n int64) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.dsn)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()).Scan(&n))
	return n
}

//go:build cgo

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/vision/backtest"
)

// try posts a backtest and returns the status and what is answered, which must
// be what the contract says.
func (s *serving) try(t *testing.T, body string) (status int, r backtest.Result, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.base+"/api/v1/rules/backtest", strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	if resp.StatusCode == http.StatusOK {
		contract, _ := s.get(t, "/api/v1/openapi.yaml")
		doc, err := openapi3.NewLoader().LoadFromData(contract)
		require.NoError(t, err)
		var v any
		require.NoError(t, json.Unmarshal(answer, &v))
		require.NoError(t, doc.Components.Schemas["BacktestResult"].Value.VisitJSON(v))
		require.NoError(t, json.Unmarshal(answer, &r))
	}
	return resp.StatusCode, r, string(answer)
}

// What a running server has raised is what its rule raises when it is tried
// afterwards: the same events, over the API and on the data folder alone, over a
// change of the configuration in between. Other rules raise others.
func TestBacktestOfARunningServer(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	db, people := newTestDatabase(t), newScripted("at-a")
	s := serve(t, db, people)
	<-s.db.Ready()
	live := s.subscribe(t)
	file := testCamera("a", address("a"), "at-a", "medium")
	apply(t, db, file)
	s.online(t, "a")
	visit := func(n int) {
		people.enter("at-a")
		live.wait(t, 10*time.Second, "a", "intrusion", 2*n+1)
		time.Sleep(500 * time.Millisecond)
		people.leave("at-a")
		live.wait(t, 15*time.Second, "a", "intrusion", 2*n+2)
	}
	visit(0)
	file = strings.Replace(file, "name: Camera a", "name: Cổng chợ", 1) // another analysis, the same rule
	apply(t, db, file)
	within(t, 10*time.Second, "the camera is made anew", func() bool {
		f, _, err := s.manager.fileOf("a")
		return err == nil && f.Name == "Cổng chợ"
	})
	s.online(t, "a")
	visit(1)

	status, got, text := s.try(t, `{"camera":"a","rule":"people","days":1,"examples":10}`)
	require.Equal(t, http.StatusOK, status, text)
	require.Len(t, got.Rules, 1)
	same(t, live.find("a", "intrusion"), got.Rules[0])
	assert.Equal(t, &backtest.Live{Events: 2, Again: 2}, got.Rules[0].Live)
	assert.Positive(t, got.Coverage.Recorded)
	assert.Less(t, got.Coverage.Recorded, 0.1)

	status, got, text = s.try(t, `{"camera":"a","days":1,"rule":{"name":"people","kind":"intrusion","zone":"corner","after":0.3},
		"zones":{"corner":{"area":[[0.02,0.02],[0.1,0.02],[0.1,0.1],[0.02,0.1]]}}}`)
	require.Equal(t, http.StatusOK, status, text)
	assert.Zero(t, got.Rules[0].Events)
	assert.Equal(t, &backtest.Live{Events: 2}, got.Rules[0].Live)
	for body, field := range map[string]string{
		`{"camera":"b"}`:               `"field":"camera"`,
		`{"camera":"a","rule":"none"}`: `"field":"rule"`,
		`{"camera":"a","rule":{"name":"x","kind":"intrusion","zone":"all","after":"long"}}`: `"field":"rule.after"`,
		`{"camera":"a","rule":{"name":"x","kind":"intrusion","zone":"nowhere"}}`:            `"field":"rule.zone"`,
		`{"camera":"a","zones":{"all":{"area":[[0,0],[1,1]]}}}`:                             `"field":"zones.all.area"`,
		`{"camera":"a","zones":{"all":{"era":1}}}`:                                          `"field":"zones"`,
	} {
		status, _, text := s.try(t, body)
		assert.Equal(t, http.StatusUnprocessableEntity, status, "%s: %s", body, text)
		assert.Contains(t, text, field)
		secretFree(t, text)
	}

	s.stop()
	r := xacam(t, "backtest", "--data", db.data, "--camera", "a", "--rule", "people", "--days", "1", "--examples", "10", "--json")
	require.Equal(t, exitOK, r.code, r.stderr)
	var alone backtest.Result
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &alone))
	same(t, live.find("a", "intrusion"), alone.Rules[0])
	assert.Nil(t, alone.Rules[0].Live)
	secretFree(t, r.stdout+r.stderr)

	r = xacam(t, "backtest", "-c", db.config, "--camera", "a", "--days", "1")
	require.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "Quy tắc «people» (intrusion)")
	assert.Contains(t, r.stdout, "Thực tế quy tắc này đã báo 2 sự kiện: 2 vẫn được báo, 0 không còn; 0 sự kiện mới.")
}

// same checks that the tried rule raised what the changes of events say.
func same(t *testing.T, changes []wire.Event, r backtest.RuleResult) {
	t.Helper()
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339Nano, text)
		require.NoError(t, err)
		return when.UTC()
	}
	var want, got []string
	for i := range changes {
		if ev := &changes[i]; ev.ClearedAt != nil {
			want = append(want, strings.Join([]string{ev.ID, at(ev.OccurredAt).String(), at(*ev.ClearedAt).String(), ev.Why.VI, string(ev.Severity)}, " "))
		}
	}
	for _, x := range r.Examples {
		require.NotNil(t, x.Until)
		got = append(got, strings.Join([]string{x.ID, x.At.UTC().String(), x.Until.UTC().String(), x.Why.VI, string(x.Severity)}, " "))
	}
	require.NotEmpty(t, want)
	require.Equal(t, want, got)
}

// A server that keeps no tracks says so.
func TestNoTracksAreKept(t *testing.T) {
	t.Parallel()
	cfg, err := loadConfig(writeFile(t, "xacam.yaml", "listen: 127.0.0.1:0\ndata: "+t.TempDir()+"\ntracks: {days: 0}\n"))
	require.NoError(t, err)
	var log bytes.Buffer
	srv, err := newServer(context.WithoutCancel(t.Context()), cfg, &log)
	require.NoError(t, err)
	assert.Nil(t, srv.backtests)
	require.NoError(t, srv.listener.Close())
	require.NoError(t, srv.lock.Close())
	require.NoError(t, srv.media.Close())
	srv.store.Close()
}

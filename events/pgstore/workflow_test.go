package pgstore_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/audit"
)

func TestAct(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, v := openSigned(t)
	require.NoError(t, exec(t, dsn, `INSERT INTO endpoint (name, spec, version, enabled) VALUES
		('all', '{"filter": {"steps": ["raised", "cleared", "workflow"]}}', 1, true), ('plain', '{}', 1, true)`))
	ev := raised("a", 1)
	id := ev.ID
	act := func(r events.WorkflowRequest) (events.Done, error) {
		r.EventID = id
		return s.Act(ctx, r)
	}
	_, err := act(events.WorkflowRequest{Action: events.ActionAcknowledge, By: "lan"})
	require.ErrorIs(t, err, events.ErrNotFound, "it waits in the spool")
	require.NoError(t, s.Commit(ctx, changes(ev)))

	done, err := act(events.WorkflowRequest{Action: events.ActionAcknowledge, By: "lan", Key: "1"})
	require.NoError(t, err)
	assert.Equal(t, "acknowledged", done.Event.Workflow.State)
	assert.Equal(t, int64(2), done.Event.Sequence)
	assert.Positive(t, done.Waited)
	_, err = act(events.WorkflowRequest{Action: events.ActionAcknowledge, By: "minh"})
	c, ok := errors.AsType[*events.ConflictError](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, "lan", c.By)
	assert.Equal(t, "event.acknowledge", c.Action)
	assert.WithinDuration(t, time.Now(), c.At, time.Minute)

	done, err = act(events.WorkflowRequest{Action: events.ActionAssign, By: "lan", To: "minh"})
	require.NoError(t, err)
	assert.Zero(t, done.Waited, "acknowledged before")
	require.NoError(t, s.Commit(ctx, changes(cleared(ev, time.Minute))))
	done, err = act(events.WorkflowRequest{Action: events.ActionClose, By: "minh", Verdict: "false_alarm", Note: "con chó"})
	require.NoError(t, err)
	assert.Equal(t, events.StateCleared, done.Event.State)
	assert.Equal(t, int64(5), done.Event.Sequence)
	for _, a := range []events.WorkflowRequest{
		{Action: events.ActionNote, By: "lan", Note: "xem lại"},
		{Action: events.ActionHold, By: "lan", Case: "7", Note: "công văn 12"},
		{Action: events.ActionReopen, By: "lan"},
		{Action: events.ActionRelease, By: "minh", Case: "7", Note: "xong"},
		{Action: events.ActionHold, By: "lan", Case: "7", Note: "lại"},
	} {
		_, err = act(a)
		require.NoError(t, err, a.Action)
	}
	_, err = act(events.WorkflowRequest{Action: events.ActionHold, By: "minh", Case: "7", Note: "x"})
	require.ErrorContains(t, err, "event.hold by lan")
	_, err = act(events.WorkflowRequest{Action: events.ActionRelease, By: "minh", Case: "8", Note: "x"})
	require.ErrorIs(t, err, events.ErrConflict)
	_, err = act(events.WorkflowRequest{Action: events.ActionReopen, By: "minh"})
	require.ErrorContains(t, err, "event.reopen by lan")

	// Each change shows the event as it was.
	log, err := s.ChangesSince(ctx, 0, 500)
	require.NoError(t, err)
	var got []string
	for i, e := range log {
		assert.Equal(t, int64(i+1), e.Sequence)
		line := fmt.Sprintf("%s %s %s", e.Step, e.State, e.Workflow.State)
		if e.Workflow.Assignee != nil {
			line += " " + *e.Workflow.Assignee
		}
		if e.Workflow.Verdict != nil {
			line += " " + *e.Workflow.Verdict
		}
		assert.Equal(t, e.State == events.StateCleared, !e.ClearedAt.IsZero())
		got = append(got, line)
	}
	want := []string{
		"raised raised new", "workflow raised acknowledged", "workflow raised assigned minh", "cleared cleared assigned minh",
		"workflow cleared closed minh false_alarm", "workflow cleared closed minh false_alarm", "workflow cleared closed minh false_alarm",
		"workflow cleared acknowledged", "workflow cleared acknowledged", "workflow cleared acknowledged",
	}
	assert.Equal(t, want, got)

	// What is delivered says the same.
	got = query(t, dsn, `SELECT m.step || ' ' || (m.event ->> 'State') || ' ' || concat_ws(' ', m.event -> 'Workflow' ->> 'state',
		m.event -> 'Workflow' ->> 'assignee', m.event -> 'Workflow' ->> 'verdict') FROM outbox_message m JOIN delivery d USING (sequence)
		WHERE d.endpoint = 'all' ORDER BY m.sequence`)
	assert.Equal(t, want, got)
	assert.Equal(t, []string{"raised", "cleared"},
		query(t, dsn, "SELECT step FROM outbox_message JOIN delivery USING (sequence) WHERE endpoint = 'plain' ORDER BY sequence"))
	assert.Equal(t, []string{"true"}, query(t, dsn, "SELECT (count(DISTINCT event ->> 'ReceivedAt') = 1)::text FROM outbox_message"))

	sound, err := verify(t, s, v)
	require.NoError(t, err)
	assert.Equal(t, int64(8), sound)
	assert.Equal(t, []string{"7 lan lại"}, query(t, dsn, "SELECT case_id || ' ' || held_by || ' ' || reason FROM case_hold WHERE released_at IS NULL"))
	entries, err := s.Audit(ctx, audit.Filter{EventID: id, Action: "event.close"}, audit.Page{Limit: 10})
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.JSONEq(t, `{"request":{"note":"con chó","verdict":"false_alarm"},"sequence":5,"was":{"state":"assigned","assignee":"minh","verdict":null},
		"is":{"state":"closed","assignee":"minh","verdict":"false_alarm"}}`, entries[0].Detail)

	// The same request with the same key is answered as then, though things moved on.
	again, err := act(events.WorkflowRequest{Action: events.ActionAcknowledge, By: "lan", Key: "1"})
	require.NoError(t, err)
	assert.True(t, again.Repeated)
	assert.Equal(t, int64(1), again.Number)
	assert.Equal(t, int64(2), again.Event.Sequence)
	assert.Equal(t, "acknowledged", again.Event.Workflow.State)
	assert.Equal(t, events.StateRaised, again.Event.State)
	for _, other := range []events.WorkflowRequest{
		{Action: events.ActionAcknowledge, By: "minh", Key: "1"},
		{Action: events.ActionNote, By: "lan", Note: "x", Key: "1"},
		{Action: events.ActionReopen, By: "lan", Key: "1"},
	} {
		_, err = act(other)
		f, ok := errors.AsType[*events.FieldError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, "Idempotency-Key", f.Field)
		assert.NotErrorIs(t, err, events.ErrConflict, "%+v", other)
	}
	for range 2 {
		n, err := act(events.WorkflowRequest{Action: events.ActionNote, By: "lan", Note: "một lần", Key: "2"})
		require.NoError(t, err)
		assert.Equal(t, int64(11), n.Event.Sequence)
	}
	_, err = s.Act(ctx, events.WorkflowRequest{EventID: "x", Action: events.ActionAcknowledge, By: "a"})
	require.ErrorIs(t, err, events.ErrNotFound)
	_, err = act(events.WorkflowRequest{Action: events.ActionAssign})
	require.ErrorContains(t, err, "by: ")
	require.ErrorContains(t, err, "to: ")
	assert.NotErrorIs(t, err, events.ErrUnavailable)

	for _, f := range []events.Filter{{Workflow: []string{"acknowledged"}}, {Workflow: []string{"new", "acknowledged"}}} {
		found, err := s.Events(ctx, f, events.Page{Limit: 10})
		require.NoError(t, err)
		assert.Len(t, found, 1)
	}
	for _, f := range []events.Filter{{Workflow: []string{"closed", "new"}}, {Assignees: []string{"minh"}}, {Assignees: []string{"minh", "lan"}, Workflow: []string{"new", "closed"}}} {
		found, err := s.Events(ctx, f, events.Page{Limit: 10})
		require.NoError(t, err)
		assert.Empty(t, found)
	}
}

// query returns the first column of every row.
func query(tb testing.TB, dsn, sql string) []string {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), dsn)
	require.NoError(tb, err)
	defer conn.Close(tb.Context())
	rows, err := conn.Query(tb.Context(), sql)
	require.NoError(tb, err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(tb, err)
	return out
}

// TestActTogether lets people and cameras write at the same time: one of many
// acknowledges, one key is one entry, and numbers have no gaps.
func TestActTogether(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, _, v := openSigned(t)
	const n, people = 20, 6
	for i := range n {
		require.NoError(t, s.Commit(ctx, changes(raised("a", i))))
	}
	var wg sync.WaitGroup
	var won, refused, fresh atomic.Int64
	for p := range people {
		wg.Go(func() {
			for i := range n {
				_, err := s.Act(ctx, events.WorkflowRequest{EventID: raised("a", i).ID, Action: events.ActionAcknowledge, By: fmt.Sprint("p", p)})
				switch {
				case err == nil:
					won.Add(1)
				case errors.Is(err, events.ErrConflict):
					refused.Add(1)
				default:
					t.Error(err)
				}
				d, err := s.Act(ctx, events.WorkflowRequest{EventID: raised("a", i).ID, Action: events.ActionNote, By: "đội", Note: "x", Key: strconv.Itoa(i)})
				if assert.NoError(t, err) && !d.Repeated {
					fresh.Add(1)
				}
				assert.NoError(t, s.Append(ctx, "p", "endpoint.create", "endpoint:x", "", nil))
			}
		})
	}
	wg.Go(func() {
		for i := range n {
			assert.NoError(t, s.Commit(ctx, changes(cleared(raised("a", i), time.Second), raised("b", i))))
		}
	})
	wg.Wait()
	assert.Equal(t, int64(n), won.Load())
	assert.Equal(t, int64(n*(people-1)), refused.Load())
	assert.Equal(t, int64(n), fresh.Load())
	sound, err := verify(t, s, v)
	require.NoError(t, err)
	assert.Equal(t, int64(2*n+n*people), sound)
	log, err := s.ChangesSince(ctx, 0, 500)
	require.NoError(t, err)
	require.Len(t, log, 5*n)
	for i, e := range log {
		assert.Equal(t, int64(i+1), e.Sequence)
	}
}

// TestChangesOfDeletedEvents: a page of nothing but deleted events is not the
// end of the log.
func TestChangesOfDeletedEvents(t *testing.T) {
	t.Parallel()
	s, dsn, _ := openSigned(t)
	for i := range 10 {
		require.NoError(t, s.Commit(t.Context(), changes(raised("a", i))))
	}
	require.NoError(t, exec(t, dsn, "DELETE FROM event WHERE sequence BETWEEN 2 AND 7"))
	log, err := s.ChangesSince(t.Context(), 1, 2)
	require.NoError(t, err)
	require.Len(t, log, 2)
	assert.Equal(t, int64(8), log[0].Sequence)
	assert.Equal(t, int64(9), log[1].Sequence)
}

func BenchmarkAct(b *testing.B) {
	s, _, _ := openSigned(b)
	ev := raised("a", 1)
	require.NoError(b, s.Commit(b.Context(), changes(ev)))
	for b.Loop() {
		if _, err := s.Act(b.Context(), events.WorkflowRequest{EventID: ev.ID, Action: events.ActionNote, By: "lan", Note: strings.Repeat("ghi ", 20)}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "actions/s")
}

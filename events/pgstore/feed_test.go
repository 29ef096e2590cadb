package pgstore_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
)

// TestFeedRebuilds reads the feed while cameras and people write, forgetting
// everything now and then, and compares with the change log: nothing missing,
// nothing twice, in order, and every number explained.
func TestFeedRebuilds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, _ := openSigned(t)
	const n = 150
	done := make(chan struct{})
	var writers sync.WaitGroup
	for _, source := range []string{"a", "b"} {
		writers.Go(func() {
			for i := range n {
				ev := raised(source, i)
				if i%3 == 0 {
					ev.Severity = events.SeverityLow
				}
				assert.NoError(t, s.Commit(ctx, changes(ev)))
				_, err := s.Act(ctx, events.WorkflowRequest{EventID: ev.ID, Action: events.ActionAcknowledge, By: "lan"})
				assert.NoError(t, err)
				assert.NoError(t, s.Commit(ctx, changes(cleared(ev, time.Second))))
			}
		})
	}
	go func() { writers.Wait(); close(done) }()
	key := outbox.FeedKey{Name: "k", Filter: outbox.Filter{Severity: events.SeverityHigh, Sources: []string{"a"}}}
	var got []events.Event
	var after, last, explained int64
	for round := 0; ; round++ {
		var ended bool
		select {
		case <-done:
			ended = true
		default:
		}
		if round%40 == 39 && !ended { // the receiver lost everything
			got, after, explained = nil, 0, 0
		}
		p, err := s.Feed(ctx, key, after, 1+round%7)
		require.NoError(t, err)
		require.GreaterOrEqual(t, p.Last, last)
		require.Equal(t, p.Next-after, int64(len(p.Items))+p.Filtered+p.Deleted, "every number is explained")
		got = append(got, p.Items...)
		explained += p.Next - after
		after, last = p.Next, p.Last
		if ended && after == last {
			break
		}
	}
	assert.Equal(t, int64(6*n), after)
	assert.Equal(t, after, explained)
	var want []events.Event
	for next := int64(0); ; {
		log, err := s.ChangesSince(ctx, next, 500)
		require.NoError(t, err)
		for _, e := range log {
			if e.Source.ID == "a" && e.Severity == events.SeverityHigh {
				want = append(want, e)
			}
			next = e.Sequence
		}
		if len(log) < 500 {
			break
		}
	}
	require.Len(t, got, n/3*2*3)
	for i := range got { // cleared_at of a raised change, and so on
		assert.Equal(t, want[i].Sequence, got[i].Sequence)
		assert.Equal(t, want[i].ID, got[i].ID)
		assert.Equal(t, want[i].Step, got[i].Step)
		assert.Equal(t, want[i].State, got[i].State)
		assert.Equal(t, want[i].Workflow, got[i].Workflow)
	}

	// Deleted events are counted, in the middle, at the start and at the end.
	require.NoError(t, exec(t, dsn, "DELETE FROM event_change WHERE sequence <= 3 OR sequence > 6 * "+strconv.Itoa(n)+" - 2"))
	require.NoError(t, exec(t, dsn, "DELETE FROM event WHERE id IN (SELECT event_id FROM event_change WHERE sequence = 100)"))
	var deleted, items, filtered int64
	for after = 0; ; {
		p, err := s.Feed(ctx, outbox.FeedKey{}, after, 100)
		require.NoError(t, err)
		assert.Equal(t, int64(4), p.First)
		deleted, items, filtered = deleted+p.Deleted, items+int64(len(p.Items)), filtered+p.Filtered
		if after = p.Next; after == p.Last {
			break
		}
	}
	assert.Equal(t, int64(6*n), after)
	assert.Equal(t, int64(6*n), deleted+items)
	assert.Zero(t, filtered)
	assert.Equal(t, int64(8), deleted)
	_, err := s.Feed(ctx, outbox.FeedKey{}, 6*n+1, 10)
	require.ErrorContains(t, err, "another store")
}

func TestFeedKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, v := openSigned(t)
	secret := outbox.NewFeedSecret()
	k := outbox.FeedKey{Name: "ioc", Filter: outbox.Filter{Kinds: []events.Kind{"intrusion"}, Steps: []events.Step{events.StepRaised}}}
	require.NoError(t, k.Check())
	var ok bool
	k.Hash, ok = outbox.HashFeedSecret(secret)
	require.True(t, ok)
	lan, minh := outbox.Act{By: "lan", Key: "k1"}, outbox.Act{By: "minh", Key: "k2"}
	made, repeated, err := s.CreateFeedKey(ctx, k, lan)
	require.NoError(t, err)
	assert.False(t, repeated)
	retry := k
	retry.Hash, _ = outbox.HashFeedSecret(outbox.NewFeedSecret())
	again, repeated, err := s.CreateFeedKey(ctx, retry, lan)
	require.NoError(t, err)
	assert.True(t, repeated)
	assert.Equal(t, made, again)
	retry.PerMinute = 7
	_, _, err = s.CreateFeedKey(ctx, retry, lan)
	require.ErrorContains(t, err, "was used for another request, feed_key.create of feed_key:ioc by lan")
	_, _, err = s.CreateFeedKey(ctx, k, outbox.Act{By: "lan"})
	require.ErrorIs(t, err, events.ErrConflict)
	got, err := s.UseFeedKey(ctx, k.Hash)
	require.NoError(t, err)
	assert.Equal(t, k.Filter, got.Filter)
	assert.Equal(t, 60, got.PerMinute)
	list, err := s.FeedKeys(ctx)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.WithinDuration(t, time.Now(), list[0].LastUsed, time.Minute)
	other, _ := outbox.HashFeedSecret(outbox.NewFeedSecret())
	_, err = s.UseFeedKey(ctx, other)
	require.ErrorIs(t, err, events.ErrNotFound)
	require.NoError(t, exec(t, dsn, "UPDATE feed_key SET expires_at = now()"))
	_, err = s.UseFeedKey(ctx, k.Hash)
	require.ErrorIs(t, err, events.ErrNotFound, "expired")
	require.NoError(t, s.RevokeFeedKey(ctx, "ioc", minh))
	require.NoError(t, s.RevokeFeedKey(ctx, "ioc", minh), "a retry")
	require.ErrorIs(t, s.RevokeFeedKey(ctx, "ioc", outbox.Act{By: "minh"}), events.ErrNotFound)
	sound, err := verify(t, s, v)
	require.NoError(t, err)
	assert.Equal(t, int64(2), sound, "nothing is said of what was refused")
	for _, bad := range []string{"", "xfk_", secret[4:], secret + "a", "XFK_" + secret[4:]} {
		_, ok := outbox.HashFeedSecret(bad)
		assert.False(t, ok, bad)
	}
	assert.Empty(t, query(t, dsn, "SELECT detail_text FROM audit WHERE detail_text LIKE '%"+secret[4:12]+"%'"))
}

func TestHistoryAndStats(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn, _ := openSigned(t)
	for i := range 12 {
		require.NoError(t, s.Commit(ctx, changes(raised("a", i))))
		if i == 11 {
			continue
		}
		verdict := map[bool]string{true: "false_alarm", false: "confirmed"}[i < 3]
		_, err := s.Act(ctx, events.WorkflowRequest{EventID: raised("a", i).ID, Action: events.ActionAcknowledge, By: "lan"})
		require.NoError(t, err)
		if i < 10 {
			_, err = s.Act(ctx, events.WorkflowRequest{EventID: raised("a", i).ID, Action: events.ActionClose, By: "lan", Verdict: verdict})
			require.NoError(t, err)
		}
	}
	require.NoError(t, s.Commit(ctx, changes(raised("b", 1))))
	require.NoError(t, exec(t, dsn, "UPDATE event SET acknowledged_at = received_at + interval '1 s' * object::int WHERE acknowledged_at IS NOT NULL"))
	stats, err := s.RuleStats(ctx, day, day.Add(time.Hour))
	require.NoError(t, err)
	require.Len(t, stats, 2)
	assert.Equal(t, events.RuleStats{
		Source: "a", Rule: "dem", Kind: "intrusion", Events: 12, Acknowledged: 11, Closed: 10, Confirmed: 7, FalseAlarm: 3,
		Median: 5 * time.Second, P90: 9 * time.Second,
	}, stats[0])
	rate, low, high, ok := stats[0].FalseAlarmRate()
	require.True(t, ok)
	assert.InDelta(t, 0.3, rate, 1e-9)
	assert.InDelta(t, 0.1078, low, 1e-4) // R: prop.test(3, 10, correct = FALSE)
	assert.InDelta(t, 0.6032, high, 1e-4)
	_, _, _, ok = stats[1].FalseAlarmRate()
	assert.False(t, ok)
	stats, err = s.RuleStats(ctx, day.Add(-time.Hour), day)
	require.NoError(t, err)
	assert.Empty(t, stats, "to is exclusive")

	id := raised("a", 1).ID
	require.NoError(t, s.Append(ctx, "minh", "evidence.export", "event:"+id, id, map[string]any{"why": "hồ sơ"}))
	moments, err := s.History(ctx, id)
	require.NoError(t, err)
	var got []string
	for _, m := range moments {
		line := string(m.Step)
		if m.Entry != nil {
			line += " " + m.Entry.Action + " " + m.Entry.Actor
		}
		got = append(got, line)
	}
	assert.Equal(t, []string{"raised", "workflow event.acknowledge lan", "workflow event.close lan", " evidence.export minh"}, got)
	_, err = s.History(ctx, events.NewID(events.Key{}, day))
	require.ErrorIs(t, err, events.ErrNotFound)
}

// BenchmarkFeed pages through a long log: go test ./events/pgstore -run '^$'
// -bench Feed -events 1000000.
func BenchmarkFeed(b *testing.B) {
	s := openFull(b, *benchEvents)
	for _, c := range []struct {
		name string
		key  outbox.FeedKey
	}{{"all", outbox.FeedKey{}}, {"one camera", outbox.FeedKey{Filter: outbox.Filter{Sources: []string{"cam3"}}}}} {
		b.Run(c.name, func(b *testing.B) {
			var after int64
			for b.Loop() {
				p, err := s.Feed(b.Context(), c.key, after, 200)
				if err != nil {
					b.Fatal(err)
				}
				if after = p.Next; after == p.Last {
					after = 0
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pages/s")
		})
	}
}

// TestUseOfAKeyIsOneRoundTrip: what is written once a minute costs the other
// requests nothing.
func TestUseOfAKeyIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, dsn := openSealed(t)
	k := outbox.FeedKey{Name: "ioc"}
	require.NoError(t, k.Check())
	k.Hash, _ = outbox.HashFeedSecret(outbox.NewFeedSecret())
	_, _, err := s.CreateFeedKey(ctx, k, by)
	require.NoError(t, err)
	s.Close()
	transactions := func() int {
		n, err := strconv.Atoi(query(t, dsn, "SELECT xact_commit::text FROM pg_stat_database WHERE datname = current_database()")[0])
		require.NoError(t, err)
		return n
	}
	const uses = 500 // much more than there is beside them
	before := transactions()
	one, err := pgstore.Open(ctx, dsn, pgstore.Config{MaxConns: 1})
	require.NoError(t, err)
	for range uses {
		_, err := one.UseFeedKey(ctx, k.Hash)
		require.NoError(t, err)
	}
	one.Close()
	require.Eventually(t, func() bool { return transactions()-before >= uses }, 10*time.Second, 50*time.Millisecond)
	assert.Less(t, transactions()-before, uses+uses/2)

	noted := func() string { return query(t, dsn, "SELECT coalesce(last_used_at::text, '') FROM feed_key")[0] }
	first := noted()
	assert.NotEmpty(t, first)
	again := openAt(t, dsn)
	_, err = again.UseFeedKey(ctx, k.Hash)
	require.NoError(t, err)
	assert.Equal(t, first, noted(), "within the minute")
	require.NoError(t, exec(t, dsn, "UPDATE feed_key SET last_used_at = now() - interval '61 seconds'"))
	early := noted()
	_, err = again.UseFeedKey(ctx, k.Hash)
	require.NoError(t, err)
	assert.NotEqual(t, early, noted())
	require.NoError(t, exec(t, dsn, "UPDATE feed_key SET last_used_at = NULL, expires_at = now()"))
	_, err = again.UseFeedKey(ctx, k.Hash)
	require.ErrorIs(t, err, events.ErrNotFound)
	assert.Empty(t, noted(), "what is refused is no use")
}

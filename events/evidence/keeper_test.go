package evidence_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/evidence"
)

func TestAgeByClass(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	old := s.event("intrusion", 91*aDay, 10)
	young := s.event("intrusion", 89*aDay, 10)
	crossing := s.event("line_crossing", 31*aDay, 10)
	crossingYoung := s.event("line_crossing", 29*aDay, 10)
	held := s.event("intrusion", 500*aDay, 10)
	s.hold(held)
	wrong := s.event("intrusion", 8*aDay, 10)
	s.exec("UPDATE event SET workflow_state = 'closed', verdict = 'false_alarm' WHERE id = $1", wrong.ID)
	shared := s.event("intrusion", 95*aDay, 10)
	sharedWithYoung := s.event("intrusion", 2*aDay, 10, shared.Evidence...)
	sharedWithHeld := s.event("intrusion", 96*aDay, 10, held.Evidence...)

	k := s.keeper(evidence.KeeperConfig{Policy: evidence.Policy{Classes: []evidence.Class{
		{Name: "false alarms", Verdicts: []string{"false_alarm"}, Keep: 7 * aDay},
		{Name: "traffic", Kinds: []events.Kind{"line_crossing"}, Keep: 30 * aDay},
	}}})
	require.NoError(t, k.Round(t.Context()))
	for name, c := range map[string]struct {
		ev   events.Event
		here bool
	}{
		"too old":                   {old, false},
		"not yet":                   {young, true},
		"of a class, too old":       {crossing, false},
		"of a class, not yet":       {crossingYoung, true},
		"held":                      {held, true},
		"closed as a false alarm":   {wrong, false},
		"shared with a young event": {shared, true},
		"and that one":              {sharedWithYoung, true},
		"shared with a held event":  {sharedWithHeld, true},
	} {
		assert.Equal(t, c.here, s.here(c.ev), name)
	}
	assert.ElementsMatch(t, []string{
		"age " + old.Evidence[0].Path, "age " + crossing.Evidence[0].Path, "age " + wrong.Evidence[0].Path,
	}, s.deletions())

	require.NoError(t, k.Round(t.Context()))
	assert.Len(t, s.deletions(), 3, "nothing is deleted twice")
}

// TestSharedFilesAreKeptForTheLongest: whoever refers to a file decides on it,
// not only the event whose class ends first.
func TestSharedFilesAreKeptForTheLongest(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	wrong := s.event("intrusion", 8*aDay, 10)
	s.exec("UPDATE event SET workflow_state = 'closed', verdict = 'false_alarm' WHERE id = $1", wrong.ID)
	s.event("intrusion", 9*aDay, 10, wrong.Evidence...) // older, and nobody said that it was wrong
	both := s.event("line_crossing", 31*aDay, 10)
	s.event("line_crossing", 32*aDay, 10, both.Evidence...)
	pending := s.event("line_crossing", 31*aDay, 10)
	cfg := evidence.KeeperConfig{
		Policy: evidence.Policy{MaxBytes: 1, Classes: []evidence.Class{
			{Name: "false alarms", Verdicts: []string{"false_alarm"}, Keep: 7 * aDay},
			{Name: "traffic", Kinds: []events.Kind{"line_crossing"}, Keep: 30 * aDay},
		}},
		Pending: func(context.Context) (func(string) bool, error) {
			return func(p string) bool { return p == pending.Evidence[0].Path }, nil
		},
	}
	quota := s.keeper(cfg)
	cfg.Policy.MaxBytes = 0
	k := s.keeper(cfg)
	require.NoError(t, k.Round(t.Context()))
	assert.True(t, s.here(wrong), "the other event needs it")
	assert.False(t, s.here(both), "due for both")
	assert.True(t, s.here(pending), "a package that is not sealed needs it")
	require.NoError(t, quota.Round(t.Context()))
	assert.False(t, s.here(wrong), "for want of room it goes")
	assert.True(t, s.here(pending))
}

func TestQuotaTakesTheOldest(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	var all []events.Event
	for i := range 500 { // more than a page
		all = append(all, s.event("intrusion", time.Duration(500-i)*time.Hour/10, 1000))
	}
	s.hold(all[3])
	k := s.keeper(evidence.KeeperConfig{Policy: evidence.Policy{MaxBytes: 100_000}})
	require.NoError(t, k.Round(t.Context()))
	total, err := s.db.Bytes(t.Context())
	require.NoError(t, err)
	assert.LessOrEqual(t, total, int64(100_000))
	assert.GreaterOrEqual(t, total, int64(55_000), "a tenth more than needed, no more")
	assert.True(t, s.here(all[3]), "held")
	assert.False(t, s.here(all[0]))
	assert.False(t, s.here(all[250]))
	assert.True(t, s.here(all[499]))
	assert.True(t, s.here(all[450]))
}

// TestNoHoldIsLost lets people put events on hold while they are being deleted:
// whatever is on hold at the end must be there.
func TestNoHoldIsLost(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	var all []events.Event
	for range 300 {
		all = append(all, s.event("intrusion", 100*aDay, 10))
	}
	conn, err := pgx.Connect(t.Context(), s.dsn)
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	k := s.keeper(evidence.KeeperConfig{})
	go func() { done <- k.Round(t.Context()) }()
	heldThere := 0
	for i := range 300 {
		ev := all[299-i]
		// As the workflow does it: only what is there can be held.
		tag, err := conn.Exec(t.Context(), `INSERT INTO case_hold (event_id, case_id, held_by, reason)
			SELECT event_id, 'vu-1', 'an', 'x' FROM evidence WHERE event_id = $1 AND gone_at IS NULL`, ev.ID)
		require.NoError(t, err)
		if tag.RowsAffected() == 1 {
			heldThere++
			all = append(all, ev)
		}
	}
	require.NoError(t, <-done)
	for _, ev := range all[300:] {
		assert.True(t, s.here(ev))
	}
	t.Logf("%d of 300 were held before they were deleted", heldThere)
}

func TestPolicyIsChecked(t *testing.T) {
	t.Parallel()
	s := newShelf(t, t.TempDir())
	for _, p := range []evidence.Policy{
		{Keep: time.Minute}, {Keep: -aDay}, {MaxBytes: -1}, {Classes: []evidence.Class{{Name: "x"}}},
	} {
		_, err := evidence.NewKeeper(evidence.KeeperConfig{Store: s.media, Catalogue: s.db, Policy: p})
		require.Error(t, err, "%+v", p)
	}
}

package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
)

func TestWorkflowTable(t *testing.T) {
	t.Parallel()
	lan, verdict := "lan", "confirmed"
	states := map[string]events.Workflow{
		"new": {State: "new"}, "acknowledged": {State: "acknowledged"},
		"assigned": {State: "assigned", Assignee: &lan}, "closed": {State: "closed", Assignee: &lan, Verdict: &verdict},
	}
	for action, want := range map[events.Action]map[string]string{ // "" is a conflict
		events.ActionAcknowledge: {"new": "acknowledged", "acknowledged": "", "assigned": "", "closed": ""},
		events.ActionAssign:      {"new": "assigned", "acknowledged": "assigned", "assigned": "assigned", "closed": ""},
		events.ActionClose:       {"new": "closed", "acknowledged": "closed", "assigned": "closed", "closed": ""},
		events.ActionReopen:      {"new": "", "acknowledged": "", "assigned": "", "closed": "acknowledged"},
		events.ActionNote:        {"new": "new", "acknowledged": "acknowledged", "assigned": "assigned", "closed": "closed"},
		events.ActionHold:        {"new": "new", "acknowledged": "acknowledged", "assigned": "assigned", "closed": "closed"},
	} {
		for from, to := range want {
			is, err := states[from].Apply(&events.WorkflowRequest{Action: action, To: "minh", Verdict: "other"}, false)
			if to == "" {
				require.ErrorIs(t, err, events.ErrConflict, "%s %s", action, from)
				assert.Equal(t, states[from], is, "%s %s", action, from)
				continue
			}
			require.NoError(t, err, "%s %s", action, from)
			assert.Equal(t, to, is.State, "%s %s", action, from)
			assert.Equal(t, to == "closed", is.Verdict != nil, "%s %s", action, from)
			if action == events.ActionReopen {
				assert.Nil(t, is.Assignee)
			}
		}
	}
	_, err := states["assigned"].Apply(&events.WorkflowRequest{Action: events.ActionAssign, To: "lan"}, false)
	require.ErrorIs(t, err, events.ErrConflict, "hers already")
	_, err = states["new"].Apply(&events.WorkflowRequest{Action: events.ActionHold, Case: "1"}, true)
	require.ErrorIs(t, err, events.ErrConflict)
	_, err = states["new"].Apply(&events.WorkflowRequest{Action: events.ActionRelease, Case: "1"}, false)
	require.ErrorIs(t, err, events.ErrConflict)
}

func TestWorkflowRequestCheck(t *testing.T) {
	t.Parallel()
	for _, good := range []events.WorkflowRequest{
		{Action: events.ActionAcknowledge, By: "Nguyễn Thị Lan"},
		{Action: events.ActionAssign, By: "a", To: "b", Note: "xem giúp"},
		{Action: events.ActionNote, By: "a", Note: strings.Repeat("ộ", 4000)},
		{Action: events.ActionNote, By: "a", Note: "dòng một\n\tdòng hai"},
		{Action: events.ActionClose, By: "a", Verdict: "false_alarm"},
		{Action: events.ActionHold, By: "a", Case: "12/2026", Note: "theo công văn"},
	} {
		require.NoError(t, good.Check(), "%+v", good)
	}
	for want, bad := range map[string]events.WorkflowRequest{
		"by":                 {Action: events.ActionAcknowledge, By: " "},
		"to":                 {Action: events.ActionAssign, By: "a"},
		"by,to":              {Action: events.ActionAssign},
		"to,verdict,case":    {Action: events.ActionNote, By: "a", Note: "x", To: "b", Verdict: "other", Case: "1"},
		"note":               {Action: events.ActionNote, By: "a", Note: "\n"},
		"verdict":            {Action: events.ActionClose, By: "a", Verdict: "maybe"},
		"case,note":          {Action: events.ActionRelease, By: "a"},
		"action":             {Action: "delete", By: "a"},
		"Idempotency-Key":    {Action: events.ActionAcknowledge, By: "a", Key: "a\x00"},
		"by,Idempotency-Key": {Action: events.ActionAcknowledge, By: strings.Repeat("a", 101), Key: strings.Repeat("k", 201)},
	} {
		assert.Equal(t, want, strings.Join(fields(bad.Check()), ","), "%+v", bad)
	}
	for _, note := range []string{strings.Repeat("a", 4001), "a\x00b", "a\rb", "\x1b[31m", "\xff", "a\u202eb"} {
		r := events.WorkflowRequest{Action: events.ActionNote, By: "a", Note: note}
		assert.Equal(t, []string{"note"}, fields(r.Check()), "%q", note)
	}
}

// fields names the fields of joined errors.
func fields(err error) (names []string) {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	for _, e := range joined.Unwrap() {
		if f, ok := errors.AsType[*events.FieldError](e); ok {
			names = append(names, f.Field)
		}
	}
	return names
}

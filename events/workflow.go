package events

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// States of a Workflow.
const (
	WorkflowNew          = "new"
	WorkflowAcknowledged = "acknowledged"
	WorkflowAssigned     = "assigned"
	WorkflowClosed       = "closed"
)

// WorkflowStates lists the states of a workflow in their order.
func WorkflowStates() []string {
	return []string{WorkflowNew, WorkflowAcknowledged, WorkflowAssigned, WorkflowClosed}
}

// Verdicts lists what a person may find about an event.
func Verdicts() []string { return []string{"confirmed", "false_alarm", "other"} }

// Action is what a person does to an event.
type Action string

// Actions.
const (
	ActionAcknowledge Action = "acknowledge" // from new
	ActionAssign      Action = "assign"      // unless closed; acknowledges too
	ActionNote        Action = "note"
	ActionClose       Action = "close"   // with a verdict; acknowledges too
	ActionReopen      Action = "reopen"  // from closed, to acknowledged and nobody's
	ActionHold        Action = "hold"    // keeps the evidence for a case
	ActionRelease     Action = "release" // ends a hold
)

// Actions lists every action.
func Actions() []Action {
	return []Action{ActionAcknowledge, ActionAssign, ActionNote, ActionClose, ActionReopen, ActionHold, ActionRelease}
}

// WorkflowRequest asks for an action. The zero value of a field means that it
// was not given.
type WorkflowRequest struct {
	EventID string
	Action  Action
	By      string // who acts, 1 to 100 characters
	To      string // assignee, of assign only
	Note    string // of all; required by note, hold and release
	Verdict string // of close only, one of Verdicts
	Case    string // of hold and release only: the case's number
	Key     string // Idempotency-Key; "" when a repetition is a second request
}

// Done is what became of a request.
type Done struct {
	Event    Event         // as it was after the action
	Number   int64         // of the entry in the audit chain
	Repeated bool          // the same request was answered before, and nothing was done now
	Waited   time.Duration // from storing the event until it was acknowledged; 0 unless this action did so
}

// Limits of a request.
const (
	maxPerson = 100
	maxNote   = 4000
	maxCase   = 100
	maxKey    = 200
)

// Check returns everything that is wrong with a request as joined *FieldError.
func (r *WorkflowRequest) Check() error {
	var errs []error
	bad := func(field, reason string) { errs = append(errs, &FieldError{Field: field, Reason: reason}) }
	if !isLine(r.By, maxPerson) {
		bad("by", fmt.Sprintf("is required: who does this, 1 to %d printable characters", maxPerson))
	}
	for _, f := range []struct {
		field, value string
		wanted       bool
		limit        int
	}{
		{"to", r.To, r.Action == ActionAssign, maxPerson},
		{"verdict", r.Verdict, r.Action == ActionClose, maxPerson},
		{"case", r.Case, r.Action == ActionHold || r.Action == ActionRelease, maxCase},
	} {
		switch {
		case !f.wanted && f.value != "":
			bad(f.field, fmt.Sprintf("is not a field of %s", r.Action))
		case f.wanted && !isLine(f.value, f.limit):
			bad(f.field, fmt.Sprintf("is required, 1 to %d printable characters", f.limit))
		case f.field == "verdict" && f.wanted && !slices.Contains(Verdicts(), f.value):
			bad(f.field, "must be one of "+strings.Join(Verdicts(), ", "))
		}
	}
	must := r.Action == ActionNote || r.Action == ActionHold || r.Action == ActionRelease
	switch {
	case must && strings.TrimSpace(r.Note) == "":
		bad("note", fmt.Sprintf("is required, at most %d characters", maxNote))
	case !isText(r.Note, maxNote):
		bad("note", fmt.Sprintf("must be text of at most %d characters without control characters other than line feeds and tabs", maxNote))
	}
	if r.Key != "" && !isLine(r.Key, maxKey) {
		bad("Idempotency-Key", fmt.Sprintf("must be 1 to %d printable characters", maxKey))
	}
	if !slices.Contains(Actions(), r.Action) {
		bad("action", fmt.Sprintf("must be one of %v", Actions()))
	}
	return errors.Join(errs...)
}

// isLine reports whether s is one line of visible text.
func isLine(s string, limit int) bool {
	return strings.TrimSpace(s) != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// isText reports whether s is text of any number of lines.
func isText(s string, limit int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= limit &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' })
}

// Apply returns what a workflow becomes by an action; held says whether the
// request's case holds the event. A *ConflictError, without By and At, says that
// the action is not possible now.
func (w Workflow) Apply(r *WorkflowRequest, held bool) (Workflow, error) {
	refuse := func(format string, args ...any) (Workflow, error) {
		return w, &ConflictError{Reason: fmt.Sprintf(format, args...)}
	}
	closed := w.State == WorkflowClosed
	switch r.Action {
	case ActionAcknowledge:
		if w.State != WorkflowNew {
			return refuse("the event is %s already", w.State)
		}
		w.State = WorkflowAcknowledged
	case ActionAssign:
		switch {
		case closed:
			return refuse("the event is closed; reopen it first")
		case w.State == WorkflowAssigned && w.Assignee != nil && *w.Assignee == r.To:
			return refuse("the event is assigned to %s already", r.To)
		}
		to := r.To
		w.State, w.Assignee = WorkflowAssigned, &to
	case ActionClose:
		if closed {
			return refuse("the event is closed already")
		}
		verdict := r.Verdict
		w.State, w.Verdict = WorkflowClosed, &verdict
	case ActionReopen:
		if !closed {
			return refuse("the event is %s, not closed", w.State)
		}
		w = Workflow{State: WorkflowAcknowledged}
	case ActionHold:
		if held {
			return refuse("the case %s holds the event already", r.Case)
		}
	case ActionRelease:
		if !held {
			return refuse("no case %s holds the event", r.Case)
		}
	case ActionNote:
	}
	return w, nil
}

// ConflictError says why something cannot be done now, and who did what stands
// against it. It wraps ErrConflict.
type ConflictError struct {
	Reason string
	By     string // "" when nobody did
	Action string // "event.close"
	At     time.Time
}

// Error implements error.
func (e *ConflictError) Error() string {
	if e.By == "" {
		return e.Reason
	}
	return fmt.Sprintf("%s: %s by %s at %s", e.Reason, e.Action, e.By, e.At.UTC().Format(time.RFC3339))
}

// Unwrap returns ErrConflict.
func (e *ConflictError) Unwrap() error { return ErrConflict }

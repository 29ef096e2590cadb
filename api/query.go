package api

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xacam/xacam/events"
)

// Limits of a query.
const (
	defaultLimit = 50
	maxLimit     = 200
	maxValues    = 50  // of one filter
	maxNameRunes = 100 // of a camera, a zone or a kind
	maxQuery     = 8 << 10
)

// eventQuery is the parsed query of an event list or stream.
type eventQuery struct {
	Filter events.Filter
	Page   events.Page
	After  int64 // of a stream; -1 when not given
	Named  bool  // messages of a stream are named by their steps
}

// listParams and streamParams return the parameters that each route accepts.
func listParams() []string {
	return []string{"from", "to", "kind", "camera", "zone", "severity", "state", "workflow", "assignee", "before", "limit"}
}

func streamParams() []string {
	return []string{"kind", "camera", "zone", "severity", "state", "after", "names"}
}

// parseEventQuery reads the query part of an address. It accepts only the
// parameters of allowed and the kinds of kinds, where an empty kinds accepts
// every well-formed one. Errors are of type *events.FieldError and never
// repeat more of the input than a parameter's name.
func parseEventQuery(raw string, allowed []string, kinds []events.Kind) (eventQuery, error) {
	q := eventQuery{Page: events.Page{Limit: defaultLimit}, After: -1}
	if len(raw) > maxQuery {
		return q, &events.FieldError{Field: "query", Reason: fmt.Sprintf("must be at most %d bytes", maxQuery)}
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, &events.FieldError{Field: "query", Reason: "must be name=value pairs joined by &, with %XX for special characters"}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // the same wrong query always names the same field
	for _, name := range names {
		if !slices.Contains(allowed, name) {
			return q, &events.FieldError{Field: printable(name), Reason: "is not a parameter here; allowed are " + strings.Join(allowed, ", ")}
		}
		if reason := q.set(name, values[name], kinds); reason != "" {
			return q, &events.FieldError{Field: name, Reason: reason}
		}
	}
	if f := q.Filter; !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return q, &events.FieldError{Field: "to", Reason: "must be later than from"}
	}
	return q, nil
}

// set stores the values of one parameter and returns what is wrong with them,
// or "".
func (q *eventQuery) set(name string, values []string, kinds []events.Kind) (reason string) {
	f := &q.Filter
	switch name {
	case "kind":
		f.Kinds, reason = oneOf(values, kinds, "a kind like line_crossing")
	case "severity":
		f.Severities, reason = oneOf(values, events.Severities(), "")
	case "state":
		f.States, reason = oneOf(values, []events.State{events.StateRaised, events.StateCleared}, "")
	case "camera":
		f.Sources, reason = oneOf[string](values, nil, "the slug of a camera")
	case "zone":
		f.Zones, reason = oneOf[string](values, nil, "the name of a zone or line")
	case "workflow":
		f.Workflow, reason = oneOf(values, events.WorkflowStates(), "")
	case "assignee":
		f.Assignees, reason = oneOf[string](values, nil, "who events are assigned to")
	default:
		if len(values) != 1 {
			return "must be given once"
		}
		reason = q.setSingle(name, values[0])
	}
	return reason
}

func (q *eventQuery) setSingle(name, v string) (reason string) {
	switch name {
	case "from":
		q.Filter.From, reason = parseTime(v)
	case "to":
		q.Filter.To, reason = parseTime(v)
	case "before":
		if q.Page.Before, reason = parseID(v); reason != "" {
			return "must be the value of next from the page before"
		}
	case "limit":
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxLimit {
			return fmt.Sprintf("must be a whole number from 1 to %d", maxLimit)
		}
		q.Page.Limit = n
	case "after":
		q.After, reason = parseSequence(v)
	case "names":
		if v != "change" && v != "step" {
			return "must be change or step"
		}
		q.Named = v == "step"
	}
	return reason
}

// oneOf checks values against allowed; an empty allowed accepts every short
// text of printable characters, which what describes.
func oneOf[T ~string](values []string, allowed []T, what string) ([]T, string) {
	if len(values) > maxValues {
		return nil, fmt.Sprintf("must be given at most %d times", maxValues)
	}
	out := make([]T, 0, len(values))
	for _, v := range values {
		switch {
		case len(allowed) > 0 && !slices.Contains(allowed, T(v)):
			list := make([]string, len(allowed))
			for i, a := range allowed {
				list[i] = string(a)
			}
			return nil, "must be one of " + strings.Join(list, ", ")
		case !isName(v):
			return nil, fmt.Sprintf("must be %s, 1 to %d printable characters", what, maxNameRunes)
		}
		out = append(out, T(v))
	}
	return out, ""
}

// isName reports whether s can be a stored name. The database takes neither
// invalid UTF-8 nor NUL.
func isName(s string) bool { return isLine(s, maxNameRunes) }

// isLine is isName of at most so many characters.
func isLine(s string, runes int) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= runes &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// printable returns the start of s, fit to be repeated in an answer.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 40 {
		s = string(r[:40]) + "…"
	}
	return s
}

// parseTime reads an RFC 3339 time in the years 1 to 9999. A "+" that was not
// written as %2B arrives as a space; since nothing else in such a time can be
// one, it is understood.
func parseTime(v string) (time.Time, string) {
	t, err := time.Parse(time.RFC3339, strings.Replace(v, " ", "+", 1))
	if err != nil || t.UTC().Year() < 1 || t.UTC().Year() > 9999 {
		return time.Time{}, "must be an RFC 3339 time like 2026-11-23T22:14:05+07:00"
	}
	return t.UTC(), ""
}

// parseID reads a UUID and returns its canonical form.
func parseID(v string) (id, reason string) {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	ok := len(v) == len(form)
	for i := 0; ok && i < len(form); i++ {
		if form[i] == '-' {
			ok = v[i] == '-'
		} else {
			ok = strings.IndexByte("0123456789abcdefABCDEF", v[i]) >= 0
		}
	}
	if !ok {
		return "", "must be the UUID of an event"
	}
	return strings.ToLower(v), ""
}

// parseSequence reads the sequence of an event.
func parseSequence(v string) (int64, string) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return -1, "must be the sequence of an event, 0 for everything"
	}
	return n, ""
}

// matches reports whether ev is selected by f, whose From and To it ignores:
// a stream has none.
func matches(f *events.Filter, ev *events.Event) bool {
	return in(f.Kinds, ev.Kind) && in(f.Sources, ev.Source.ID) && in(f.Zones, ev.Zone) &&
		in(f.Severities, ev.Severity) && in(f.States, ev.State)
}

func in[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

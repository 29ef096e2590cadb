package format

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/xacam/xacam/events/wire"
)

// truncated marks attributes of which something is missing.
const truncated = "truncated"

// cuts are tried one after the other until a body fits: first nothing, then what
// is least missed.
func cuts() []func(*wire.Event) {
	return []func(*wire.Event){
		func(*wire.Event) {},
		func(w *wire.Event) { cutAttributes(w, 2000, 6000) },
		func(w *wire.Event) { cutAttributes(w, 200, 2000); cutEvidence(w, 20) },
		func(w *wire.Event) { cutAttributes(w, 0, 0); cutEvidence(w, 5); cutTexts(w, 200) },
		func(w *wire.Event) { cutEvidence(w, 0); cutTexts(w, 60) },
	}
}

// cutAttributes leaves out attributes longer than one bytes as JSON, and the
// longest ones until all together have no more than all.
func cutAttributes(w *wire.Event, one, all int) {
	sizes := make(map[string]int, len(w.Attributes))
	sum := 0
	for k, v := range w.Attributes {
		b, err := json.Marshal(v)
		if err != nil {
			continue // which is said when the body is written
		}
		sizes[k] = len(b) + len(k)
		sum += sizes[k]
	}
	names := slices.SortedFunc(maps.Keys(sizes), func(a, b string) int {
		if sizes[a] != sizes[b] {
			return sizes[b] - sizes[a]
		}
		if a < b {
			return -1
		}
		return 1
	})
	kept := maps.Clone(w.Attributes)
	for _, k := range names {
		if k == truncated || sizes[k] <= one && sum <= all {
			continue
		}
		if s, ok := kept[k].(string); ok && one > 100 && sum-sizes[k]+one <= all {
			kept[k] = shorten(s, 50)
			sum += len(shorten(s, 50)) - sizes[k]
		} else {
			delete(kept, k)
			sum -= sizes[k]
		}
		kept[truncated] = true
	}
	w.Attributes = kept
}

func cutEvidence(w *wire.Event, most int) {
	if len(w.Evidence) > most {
		w.Evidence = w.Evidence[:most]
		mark(w)
	}
}

// cutTexts shortens every text that people or other systems may have made long.
func cutTexts(w *wire.Event, runes int) {
	texts := []*string{
		&w.Why.VI, &w.Why.EN, &w.Zone, &w.Rule.Name, &w.Source.ID, &w.Source.Name, &w.Source.Hamlet, &w.Place.Commune,
	}
	if w.Subject != nil {
		s := *w.Subject
		w.Subject = &s
		texts = append(texts, &s.Class)
	}
	if w.Workflow.Assignee != nil {
		s := *w.Workflow.Assignee
		w.Workflow.Assignee = &s
		texts = append(texts, &s)
	}
	for _, t := range texts {
		if short := shorten(*t, runes); short != *t {
			*t = short
			mark(w)
		}
	}
}

func mark(w *wire.Event) {
	w.Attributes = maps.Clone(w.Attributes)
	if w.Attributes == nil {
		w.Attributes = make(map[string]any)
	}
	w.Attributes[truncated] = true
}

// shorten cuts a text after so many characters.
func shorten(s string, runes int) string {
	if utf8.RuneCountInString(s) <= runes {
		return s
	}
	r := []rune(s[:min(len(s), 4*runes)])
	return string(r[:min(len(r), runes-1)]) + "…"
}

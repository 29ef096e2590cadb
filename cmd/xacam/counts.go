package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
)

// totals is what a replay has counted, each minute's latest total once.
type totals struct{ list []events.Count }

// add implements analysis.counted.
func (t *totals) add(counts []events.Count) {
next:
	for _, c := range counts {
		for i := range t.list {
			old := t.list[i]
			if old.N = c.N; old == c {
				t.list[i].N = c.N
				continue next
			}
		}
		t.list = append(t.list, c)
	}
}

// countLine is one total in the file of a replay.
type countLine struct {
	Minute    string `json:"minute"`
	Camera    string `json:"camera"`
	Rule      string `json:"rule"`
	Line      string `json:"line"`
	Class     string `json:"class"`
	Direction string `json:"direction"`
	Count     int    `json:"count"`
}

// write makes the file, unless path is empty.
func (t *totals) write(path string, loc *time.Location) (err error) {
	if path == "" {
		return nil
	}
	var out *bufio.Writer
	done, err := openLines(&out, path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done(err == nil)) }()
	slices.SortFunc(t.list, func(a, b events.Count) int {
		return cmp.Or(a.Minute.Compare(b.Minute), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Direction, b.Direction))
	})
	for _, c := range t.list {
		line, err := json.Marshal(countLine{
			c.Minute.In(loc).Format(wire.TimeLayout), c.Source, c.Rule, c.Line, c.Class, c.Direction, c.N,
		})
		if err != nil {
			return fmt.Errorf("write counts: %w", err)
		}
		if _, err := out.Write(append(line, '\n')); err != nil {
			return fmt.Errorf("write counts: %w", err)
		}
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/vision/backtest"
	"github.com/xacam/xacam/vision/camera"
	"github.com/xacam/xacam/vision/tracklog"
)

// eventList is what tells which events happened.
type eventList interface {
	Events(ctx context.Context, f events.Filter, p events.Page) ([]events.Event, error)
}

// backtester tries rules on the tracks of this server. It is safe for concurrent
// use.
type backtester struct {
	manager *manager
	log     *tracklog.Log
	events  eventList
}

// Backtest implements api.Backtester.
func (b *backtester) Backtest(ctx context.Context, r api.BacktestRequest) (any, error) {
	file, versions, err := b.manager.fileOf(r.Camera)
	if errors.Is(err, events.ErrNotFound) {
		return nil, &events.FieldError{Field: "camera", Reason: fmt.Sprintf("%.70q is not a camera that runs here", r.Camera)}
	}
	if err != nil {
		return nil, err
	}
	q := backtest.Request{
		File: file, From: r.From, To: r.To, Calendar: b.manager.planr.calendar, Versions: versions, Examples: r.Examples,
	}
	if err := overrideBacktest(&q, r); err != nil {
		return nil, err
	}
	return runBacktest(ctx, b.log, b.log.Dir(), b.events, q)
}

// runBacktest runs q on the stored tracks in dir. What a running log still has in
// memory is written first; log may be nil. Without events, or while they cannot be
// read, nothing is compared.
func runBacktest(ctx context.Context, log *tracklog.Log, dir string, list eventList, q backtest.Request) (*backtest.Result, error) {
	began := time.Now()
	if log != nil {
		sctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = log.Sync(sctx, q.File.Camera) // else the latest two minutes are missing, and are told as missing
		cancel()
	}
	if list != nil {
		q.Live = liveEvents(ctx, list, q)
	}
	result, err := backtest.Run(ctx, dir, q)
	if err != nil {
		return nil, err
	}
	result.Took = time.Since(began).Round(time.Millisecond).Seconds()
	return result, nil
}

// maxLive bounds the events that are compared with. Beyond it nothing is.
const maxLive = 50_000

// liveEvents returns the camera's events of the range, nil when they cannot be
// known.
func liveEvents(ctx context.Context, list eventList, q backtest.Request) []events.Event {
	f := events.Filter{From: q.From, To: q.To, Sources: []string{q.File.Camera}}
	for _, r := range q.File.Rules {
		if !slices.Contains(f.Kinds, r.Kind) {
			f.Kinds = append(f.Kinds, r.Kind)
		}
	}
	if len(f.Kinds) == 0 {
		return nil
	}
	out := []events.Event{}
	page := events.Page{Limit: 500}
	for len(out) <= maxLive {
		got, err := list.Events(ctx, f, page)
		if err != nil {
			return nil
		}
		out = append(out, got...)
		if len(got) < page.Limit {
			return out
		}
		page.Before = got[len(got)-1].ID
	}
	return nil
}

// overrideBacktest puts the request's rule, zones and lines in place of the
// camera's, and checks the result. Errors are events.FieldError, joined, with the
// fields named as in the request.
func overrideBacktest(q *backtest.Request, r api.BacktestRequest) error {
	err := errors.Join(merge(&q.File.Zones, "zones", r.Zones), merge(&q.File.Lines, "lines", r.Lines))
	var name string
	var rule camera.Rule
	switch {
	case len(r.Rule) == 0:
	case json.Unmarshal(r.Rule, &name) == nil:
		q.Rules = []string{name}
	case json.Unmarshal(r.Rule, &rule) == nil:
		q.File.Rules = []camera.Rule{rule}
		return errors.Join(err, inRequest(q.File.Validate()))
	default:
		err = errors.Join(err, &events.FieldError{Field: "rule", Reason: "must be the name of a rule, or a rule as in a camera file"})
	}
	return errors.Join(err, q.File.Validate())
}

// inRequest names the fields of the camera file's only rule as those of the
// request's.
func inRequest(err error) error {
	if err == nil {
		return nil
	}
	if list, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range list.Unwrap() {
			out = append(out, inRequest(e))
		}
		return errors.Join(out...)
	}
	if field, ok := errors.AsType[*events.FieldError](err); ok {
		if rest, ours := strings.CutPrefix(field.Field, "rules[0]"); ours {
			return &events.FieldError{Field: "rule" + rest, Reason: field.Reason}
		}
	}
	return err
}

// merge puts the entries of a JSON object in place of those in a copy of into.
func merge[T any](into *map[string]T, field string, raw json.RawMessage) error {
	if len(raw) == 0 {
		return nil
	}
	var given map[string]T
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&given); err != nil {
		return &events.FieldError{Field: field, Reason: "must be as in a camera file: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	*into = merged(*into, given)
	return nil
}

// merged returns a copy of old with the entries of given.
func merged[T any](old, given map[string]T) map[string]T {
	out := make(map[string]T, len(old)+len(given))
	maps.Copy(out, old)
	maps.Copy(out, given)
	return out
}

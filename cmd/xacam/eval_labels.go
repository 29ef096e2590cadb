package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/wire"
	"github.com/xacam/xacam/vision/geom"
	"github.com/xacam/xacam/vision/score"
)

// Limits of the files of labels and events.
const (
	maxLabelFile = 64 << 20 // bytes
	maxEventLine = 4 << 20  // bytes
	maxToldOf    = 2_000_000
)

// labelFile is a file of labels. As YAML it is one document, as JSON lines each
// line is one of Events.
type labelFile struct {
	Start  string       `yaml:"start"` // of the recording, RFC 3339; else --start
	From   eventTime    `yaml:"from"`  // the part that somebody watched; default all of it
	To     eventTime    `yaml:"to"`
	Events []eventLabel `yaml:"events"`
	Unsure []labelSpan  `yaml:"unsure"` // parts that are not scored
}

type labelSpan struct {
	From eventTime `yaml:"from"`
	To   eventTime `yaml:"to"`
}

// eventLabel is something that happened.
type eventLabel struct {
	Kind     string    `yaml:"kind" json:"kind"`
	Camera   string    `yaml:"camera" json:"camera"`
	Rule     string    `yaml:"rule" json:"rule"`
	Zone     string    `yaml:"zone" json:"zone"`
	Class    string    `yaml:"class" json:"class"`
	Box      []float64 `yaml:"box" json:"box"` // x0, y0, x1, y1 in [0,1]
	From     eventTime `yaml:"from" json:"from"`
	To       eventTime `yaml:"to" json:"to"`   // default From
	Due      eventTime `yaml:"due" json:"due"` // default From
	Optional bool      `yaml:"optional" json:"optional"`
	Note     string    `yaml:"note" json:"note"`
}

// eventTime is a time of day with its date, RFC 3339, or the time since the start
// of the recording: seconds, m:ss or h:mm:ss, each with decimals if need be.
type eventTime string

// UnmarshalJSON takes a string or a number.
func (t *eventTime) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = eventTime(s)
		return nil
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("a time must be a string or a number of seconds")
	}
	*t = eventTime(n)
	return nil
}

// on returns the moment, given the start of the recording.
func (t eventTime) on(start time.Time) (time.Time, error) {
	text := strings.TrimSpace(string(t))
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	seconds := 0.0
	parts := strings.Split(strings.TrimSuffix(text, "s"), ":")
	for i, p := range parts {
		v, err := strconv.ParseFloat(p, 64)
		whole := i == len(parts)-1 || !strings.ContainsAny(p, ".eE")
		if err != nil || len(parts) > 3 || !(v >= 0 && v < 1e8) || !whole || i > 0 && v >= 60 {
			return time.Time{}, fmt.Errorf("%q: give a time such as %s, or the time in the recording such as 1:02.5", text, replayStart)
		}
		seconds = seconds*60 + v
	}
	return start.Add(time.Duration(seconds * float64(time.Second))), nil
}

// labels are what a file of labels says.
type labels struct {
	start  time.Time // of the recording
	events []score.Label
	cfg    score.EventConfig
}

// readLabels reads a file of labels, JSON lines where its name ends in .jsonl,
// else YAML. Every problem is named.
func readLabels(path string, start time.Time) (labels, error) {
	f, err := os.Open(path)
	if err != nil {
		return labels{}, fmt.Errorf("read the labels: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLabelFile+1))
	if err != nil {
		return labels{}, fmt.Errorf("read the labels: %w", err)
	}
	if len(b) > maxLabelFile {
		return labels{}, usagef("%s: larger than %d MiB", path, maxLabelFile>>20)
	}
	out, err := parseLabels(b, strings.HasSuffix(path, ".jsonl"), start)
	if err != nil {
		return labels{}, usagef("%s: %w", path, err)
	}
	return out, nil
}

func parseLabels(b []byte, lines bool, start time.Time) (labels, error) {
	var file labelFile
	var err error
	if lines {
		file.Events, err = labelLines(b)
	} else {
		dec := yaml.NewDecoder(bytes.NewReader(b))
		dec.KnownFields(true)
		if err = dec.Decode(&file); errors.Is(err, io.EOF) {
			err = errors.New("there is nothing in it")
		}
	}
	if wrong := (*yaml.TypeError)(nil); errors.As(err, &wrong) {
		return labels{}, joinTypeErrors(wrong)
	} else if err != nil {
		return labels{}, err
	}
	out := labels{start: start}
	if file.Start != "" {
		if out.start, err = time.Parse(time.RFC3339Nano, file.Start); err != nil {
			return labels{}, fmt.Errorf("start: %q: give a time such as %s", file.Start, replayStart)
		}
	}
	r := labelReader{start: out.start}
	out.cfg.Watched = r.span("", labelSpan{file.From, file.To})
	for i, s := range file.Unsure {
		out.cfg.Unsure = append(out.cfg.Unsure, r.span(fmt.Sprintf("unsure[%d].", i), s))
	}
	for i := range file.Events {
		out.events = append(out.events, r.label(fmt.Sprintf("events[%d].", i), &file.Events[i]))
	}
	return out, errors.Join(r.errs...)
}

// joinTypeErrors says what YAML's decoder says, without the names of Go types.
func joinTypeErrors(e *yaml.TypeError) error {
	var errs []error
	for _, text := range e.Errors {
		text, _, _ = strings.Cut(text, " in type main.")
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

func labelLines(b []byte) ([]eventLabel, error) {
	var out []eventLabel
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		var l eventLabel
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, l)
	}
	return out, nil
}

// labelReader collects the problems of a file.
type labelReader struct {
	start time.Time
	errs  []error
}

func (r *labelReader) time(path string, t eventTime) time.Time {
	if t == "" {
		return time.Time{}
	}
	at, err := t.on(r.start)
	if err != nil {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", path, err))
	}
	return at
}

func (r *labelReader) span(path string, s labelSpan) score.Span {
	out := score.Span{From: r.time(path+"from", s.From), To: r.time(path+"to", s.To)}
	if !out.To.IsZero() && !out.To.After(out.From) {
		r.errs = append(r.errs, fmt.Errorf("%sto: is not after from", path))
	}
	return out
}

func (r *labelReader) label(path string, l *eventLabel) score.Label {
	out := score.Label{
		Kind: l.Kind, Camera: l.Camera, Rule: l.Rule, Zone: l.Zone, Class: l.Class,
		From: r.time(path+"from", l.From), To: r.time(path+"to", l.To), Due: r.time(path+"due", l.Due),
		Optional: l.Optional, Note: l.Note,
	}
	if l.Kind == "" {
		r.errs = append(r.errs, fmt.Errorf("%skind: is required", path))
	}
	if l.From == "" {
		r.errs = append(r.errs, fmt.Errorf("%sfrom: is required", path))
	}
	if l.To == "" {
		out.To = out.From
	}
	if out.To.Before(out.From) {
		r.errs = append(r.errs, fmt.Errorf("%sto: is before from", path))
	}
	if b := l.Box; b != nil {
		if len(b) == 4 && b[0] >= 0 && b[1] >= 0 && b[0] < b[2] && b[1] < b[3] && b[2] <= 1 && b[3] <= 1 {
			out.Box = &geom.Box{Min: geom.Point{X: b[0], Y: b[1]}, Max: geom.Point{X: b[2], Y: b[3]}}
		} else {
			r.errs = append(r.errs, fmt.Errorf("%sbox: give x0, y0, x1, y1 from 0 to 1", path))
		}
	}
	return out
}

// readTold reads events as replay writes them: the last line of an event counts.
func readTold(paths []string) ([]events.Event, error) {
	var out []events.Event
	at := make(map[string]int)
	for _, path := range paths {
		if err := readToldFile(path, func(e events.Event) error {
			if i, known := at[e.ID]; known {
				out[i] = e
				return nil
			}
			if len(out) == maxToldOf {
				return fmt.Errorf("more than %d events", maxToldOf)
			}
			at[e.ID] = len(out)
			out = append(out, e)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("read the events: %s: %w", path, err)
		}
	}
	return out, nil
}

func readToldFile(path string, add func(events.Event) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, maxEventLine)
	n := 0
	for sc.Scan() {
		n++
		if len(bytes.TrimSpace(sc.Bytes())) == 0 {
			continue
		}
		var w wire.Event
		if err := json.Unmarshal(sc.Bytes(), &w); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		e, err := w.Event()
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if e.ID == "" || e.Kind == "" {
			return fmt.Errorf("line %d: not an event: no id or no kind", n)
		}
		if err := add(e); err != nil {
			return err
		}
	}
	return sc.Err()
}

// toldOf returns what is scored of an event.
func toldOf(e *events.Event) score.Told {
	t := score.Told{
		ID: e.ID, Kind: string(e.Kind), Camera: e.Source.ID, Rule: e.Rule.Name, Zone: e.Zone, From: e.OccurredAt, To: e.ClearedAt,
	}
	if s := e.Subject; s != nil {
		t.Class = s.Class
		t.Box = &geom.Box{Min: geom.Point{X: s.Box[0], Y: s.Box[1]}, Max: geom.Point{X: s.Box[2], Y: s.Box[3]}}
	}
	return t
}

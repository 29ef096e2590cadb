package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/vision/camera"
)

// endpointFile is one document `endpoint: NAME` of a file for apply.
type endpointFile struct {
	outbox.Spec `yaml:",inline"`

	// Secrets that the receiver has already; without one it is made and shown.
	Secret  string   `yaml:"secret,omitempty"`
	Secrets []string `yaml:"secrets,omitempty"`
}

// applyFile is what apply reads: cameras and endpoints.
type applyFile struct {
	cameras   []camera.File
	endpoints []outbox.Endpoint
}

// maxEndpoints in one file.
const maxEndpoints = 200

// parseApply takes the documents of a file apart: those that begin with
// endpoint are endpoints, all others cameras. The cameras' parser sees empty
// lines in place of the endpoints, so that line numbers in messages stay right.
func parseApply(text []byte) (*applyFile, error) {
	out := &applyFile{}
	cameras, endpoints := splitDocuments(text)
	var errs []error
	if len(endpoints) == 0 || len(bytes.TrimSpace(stripSeparators(cameras))) > 0 {
		files, err := camera.Parse(cameras)
		out.cameras = files
		errs = append(errs, err)
	}
	if len(endpoints) > maxEndpoints {
		return nil, fmt.Errorf("more than %d endpoints", maxEndpoints)
	}
	seen := map[string]bool{}
	for i, doc := range endpoints {
		e, err := parseEndpoint(doc)
		errs = append(errs, inEndpoint(i, e.Name, err))
		if seen[e.Name] {
			errs = append(errs, &events.FieldError{Field: fmt.Sprintf("endpoints[%d].endpoint", i), Reason: fmt.Sprintf("%q is used twice", e.Name)})
		}
		seen[e.Name] = true
		out.endpoints = append(out.endpoints, e)
	}
	return out, errors.Join(errs...)
}

// document is a part of a YAML text and the line before it.
type document struct {
	text []byte
	line int
}

// splitDocuments returns the text without endpoints, of as many lines, and the
// endpoints.
func splitDocuments(text []byte) (cameras []byte, endpoints []document) {
	var doc []byte
	start, line := 0, 0
	flush := func() {
		if isEndpoint(doc) {
			endpoints = append(endpoints, document{doc, start})
			doc = bytes.Repeat([]byte("\n"), bytes.Count(doc, []byte("\n")))
		}
		cameras = append(cameras, doc...)
		doc, start = nil, line
	}
	for l := range bytes.Lines(text) {
		if bytes.HasPrefix(l, []byte("---")) && (len(l) == 3 || strings.ContainsRune(" \t\r\n", rune(l[3]))) {
			flush()
		}
		doc = append(doc, l...)
		line++
	}
	flush()
	return cameras, endpoints
}

// isEndpoint reports whether a document has endpoint at its top.
func isEndpoint(doc []byte) bool {
	var top map[string]yaml.Node
	if yaml.Unmarshal(doc, &top) == nil {
		_, ok := top["endpoint"]
		return ok
	}
	// It cannot be read; let the right parser say why.
	for l := range bytes.Lines(doc) {
		if bytes.HasPrefix(bytes.TrimPrefix(l, []byte("--- ")), []byte("endpoint:")) {
			return true
		}
	}
	return false
}

func stripSeparators(text []byte) []byte {
	var out []byte
	for l := range bytes.Lines(text) {
		if t := bytes.TrimSpace(l); !bytes.Equal(t, []byte("---")) && !bytes.HasPrefix(t, []byte("#")) {
			out = append(out, l...)
		}
	}
	return out
}

// parseEndpoint reads one document strictly. Messages never show a value: it may
// be a secret.
func parseEndpoint(d document) (outbox.Endpoint, error) {
	dec := yaml.NewDecoder(bytes.NewReader(append(bytes.Repeat([]byte("\n"), d.line), d.text...)))
	dec.KnownFields(true)
	var f endpointFile
	if err := dec.Decode(&f); err != nil {
		return outbox.Endpoint{Name: f.Name}, yamlProblem(err)
	}
	var errs []error
	if unknown := f.KeepHeaders(nil); len(unknown) > 0 {
		errs = append(errs, &events.FieldError{Field: "headers." + unknown[0], Reason: "reads " + outbox.Redacted + "; write the value, or use `xacam export` without --redact"})
	}
	e, err := f.Endpoint()
	errs = append(errs, err)
	if f.Secret != "" {
		f.Secrets = append(f.Secrets, f.Secret)
	}
	for i, text := range f.Secrets {
		field := fmt.Sprintf("secrets[%d]", i)
		if text == f.Secret {
			field = "secret"
		}
		k, err := outbox.ParseSecret(text, time.Now())
		if err != nil {
			errs = append(errs, &events.FieldError{Field: field, Reason: err.Error()})
			continue
		}
		e.Secrets = append(e.Secrets, k)
	}
	return e, errors.Join(errs...)
}

// yamlProblem rewrites the decoder's messages without values.
func yamlProblem(err error) error {
	te := (*yaml.TypeError)(nil)
	if !errors.As(err, &te) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var errs []error
	for _, s := range te.Errors {
		where, what, _ := strings.Cut(s, ": ")
		switch {
		case strings.Contains(what, "not found in type"):
			what = "unknown field " + strings.Fields(strings.TrimPrefix(what, "field "))[0]
		case strings.Contains(what, " into "):
			what = "is not " + map[bool]string{true: "a number", false: "of the right kind, such as a text or a list"}[strings.HasSuffix(what, "int") || strings.HasSuffix(what, "float64")]
		}
		errs = append(errs, &events.FieldError{Field: where, Reason: what})
	}
	return errors.Join(errs...)
}

// inEndpoint puts the place in front of every problem.
func inEndpoint(i int, name string, err error) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, one := range joined.Unwrap() {
			errs = append(errs, inEndpoint(i, name, one))
		}
		return errors.Join(errs...)
	}
	if f, ok := errors.AsType[*events.FieldError](err); ok && !strings.HasPrefix(f.Field, "line ") {
		return &events.FieldError{Field: fmt.Sprintf("endpoints[%d].%s", i, f.Field), Reason: f.Reason}
	}
	if name == "" {
		name = strconv.Itoa(i)
	}
	return fmt.Errorf("endpoint %s: %w", name, err)
}

// applyEndpoints stores all of the endpoints or none, and says what changed. New
// secrets are shown this once.
func applyEndpoints(ctx context.Context, s *pgstore.Store, list []outbox.Endpoint, prune bool, w io.Writer) error {
	if len(list) == 0 {
		return nil
	}
	stored, deleted, err := s.ReplaceEndpoints(ctx, list, prune, outbox.Act{By: osUser()})
	if err != nil {
		return err
	}
	for _, st := range stored {
		what := "unchanged"
		switch {
		case st.Created:
			what = "added"
		case st.Changed:
			what = "changed"
		}
		fmt.Fprintf(w, "endpoint %s: %s, version %d\n", st.Endpoint.Name, what, st.Endpoint.Version)
		for _, k := range st.Issued {
			fmt.Fprintf(w, "endpoint %s: secret for the receiver, not shown again: %s\n", st.Endpoint.Name, k.Text)
		}
	}
	for _, name := range deleted {
		fmt.Fprintf(w, "endpoint %s: deleted\n", name)
	}
	return nil
}

// osUser names who runs a command.
func osUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username + " (command line)"
	}
	return "command line"
}

// exportEndpoints returns endpoints as the YAML that apply reads. Names that are
// not endpoints are left to the cameras.
func exportEndpoints(ctx context.Context, s *pgstore.Store, names []string, secrets bool) (text []byte, found []string, err error) {
	list, err := s.Endpoints(ctx)
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, e := range list {
		if len(names) > 0 && !slices.Contains(names, e.Name) {
			continue
		}
		f := endpointFile{Spec: outbox.SpecOf(e, secrets)}
		for _, k := range e.Secrets {
			if secrets && k.Expires.IsZero() {
				f.Secrets = append(f.Secrets, k.Reveal())
			}
		}
		if err := enc.Encode(f); err != nil { //nolint:gosec // secrets only where they were asked for
			return nil, nil, fmt.Errorf("write endpoint %s: %w", e.Name, err)
		}
		found = append(found, e.Name)
	}
	if len(found) == 0 {
		return nil, nil, nil
	}
	return b.Bytes(), found, enc.Close()
}

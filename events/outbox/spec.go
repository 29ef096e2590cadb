package outbox

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/xacam/xacam/events"
)

// Redacted is what is shown in place of a secret.
const Redacted = "<redacted>"

// Spec is an endpoint as people write it, in the API and in the file that
// `xacam apply` reads. Durations are written as 15s, 5m, 72h; what is left out
// has its default.
type Spec struct {
	Name        string            `json:"name" yaml:"endpoint"`
	Enabled     *bool             `json:"enabled,omitempty" yaml:"enabled,omitempty"` // default true
	URL         string            `json:"url" yaml:"url"`
	Format      Format            `json:"format,omitempty" yaml:"format,omitempty"`
	Filter      FilterSpec        `json:"filter,omitzero" yaml:"filter,omitempty"`
	Signing     []string          `json:"signing,omitempty" yaml:"signing,omitempty,flow"`
	AllowCIDRs  []string          `json:"allow_cidrs,omitempty" yaml:"allow_cidrs,omitempty,flow"`
	CA          string            `json:"ca,omitempty" yaml:"ca,omitempty"`
	Timeout     string            `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	Rate        float64           `json:"rate,omitempty" yaml:"rate,omitempty"`
	Concurrency int               `json:"concurrency,omitempty" yaml:"concurrency,omitempty"`
	Heartbeat   string            `json:"heartbeat,omitempty" yaml:"heartbeat,omitempty"` // or "off"
	ExpireAfter string            `json:"expire_after,omitempty" yaml:"expire_after,omitempty"`
	Headers     map[string]string `json:"headers,omitempty" yaml:"headers,omitempty"` // values are secrets
}

// FilterSpec is a Filter as people write it.
type FilterSpec struct {
	Kinds    []events.Kind   `json:"kinds,omitempty" yaml:"kinds,omitempty,flow"`
	Severity events.Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
	Hamlets  []string        `json:"hamlets,omitempty" yaml:"hamlets,omitempty,flow"`
	Cameras  []string        `json:"cameras,omitempty" yaml:"cameras,omitempty,flow"` // sensors too
	Steps    []events.Step   `json:"steps,omitempty" yaml:"steps,omitempty,flow"`
	Schedule string          `json:"schedule,omitempty" yaml:"schedule,omitempty"`
}

// heartbeatOff is written for none.
const heartbeatOff = "off"

// Endpoint returns the endpoint that s describes, checked and with defaults. The
// error joins one *events.FieldError for each problem.
func (s Spec) Endpoint() (Endpoint, error) {
	e := Endpoint{
		Name: s.Name, Enabled: s.Enabled == nil || *s.Enabled, URL: s.URL, Format: s.Format, Signing: s.Signing, CA: s.CA, Rate: s.Rate,
		Concurrency: s.Concurrency, Headers: maps.Clone(s.Headers),
		Filter: Filter{
			Kinds: s.Filter.Kinds, Severity: s.Filter.Severity, Hamlets: s.Filter.Hamlets, Sources: s.Filter.Cameras,
			Steps: s.Filter.Steps, Schedule: s.Filter.Schedule,
		},
	}
	var errs []error
	if strings.Contains(s.URL, Redacted) {
		errs = append(errs, &events.FieldError{Field: "url", Reason: "reads " + Redacted + "; write it whole"})
	}
	for i, text := range s.AllowCIDRs {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			errs = append(errs, &events.FieldError{Field: fmt.Sprintf("allow_cidrs[%d]", i), Reason: "is not a network; give for example 10.92.0.0/16"})
			continue
		}
		e.AllowCIDRs = append(e.AllowCIDRs, p)
	}
	if s.Heartbeat == heartbeatOff {
		e.Heartbeat = -1
	}
	for _, d := range []struct {
		field, text string
		to          *time.Duration
	}{{"timeout", s.Timeout, &e.Timeout}, {"heartbeat", s.Heartbeat, &e.Heartbeat}, {"expire_after", s.ExpireAfter, &e.ExpireAfter}} {
		if d.text == "" || d.to == &e.Heartbeat && d.text == heartbeatOff {
			continue
		}
		v, err := time.ParseDuration(d.text)
		if err != nil || v <= 0 {
			errs = append(errs, &events.FieldError{Field: d.field, Reason: "is not a duration; give for example 15s, 5m or 72h"})
			continue
		}
		*d.to = v
	}
	e, err := e.Check()
	return e, errors.Join(append(errs, err)...)
}

// SpecOf returns how e is written. With secrets false the values of headers and
// the query of the address, which often holds a key, read Redacted.
func SpecOf(e Endpoint, secrets bool) Spec {
	enabled := e.Enabled
	s := Spec{
		Name: e.Name, Enabled: &enabled, URL: e.URL, Format: e.Format, Signing: e.Signing, CA: e.CA, Rate: e.Rate, Concurrency: e.Concurrency,
		Timeout: e.Timeout.String(), ExpireAfter: e.ExpireAfter.String(), Heartbeat: heartbeatOff, Headers: maps.Clone(e.Headers),
		Filter: FilterSpec{
			Kinds: e.Filter.Kinds, Severity: e.Filter.Severity, Hamlets: e.Filter.Hamlets, Cameras: e.Filter.Sources,
			Steps: e.Filter.Steps, Schedule: e.Filter.Schedule,
		},
	}
	if e.Heartbeat > 0 {
		s.Heartbeat = e.Heartbeat.String()
	}
	for _, p := range e.AllowCIDRs {
		s.AllowCIDRs = append(s.AllowCIDRs, p.String())
	}
	if !secrets {
		s.URL = redactURL(s.URL)
		for name := range s.Headers {
			s.Headers[name] = Redacted
		}
	}
	return s
}

// redactURL leaves out the query and the fragment of an address.
func redactURL(address string) string {
	if i := strings.IndexAny(address, "?#"); i >= 0 {
		return address[:i+1] + Redacted
	}
	return address
}

// KeepURL replaces an address whose query reads Redacted by old, if it is the
// same up to there: people send back what they were shown, and what is secret
// must not go to another address. Else it stays, and Endpoint refuses it.
func (s *Spec) KeepURL(old string) {
	if s.URL != old && s.URL == redactURL(old) {
		s.URL = old
	}
}

// KeepHeaders replaces values that read Redacted by those of old: people send
// back what they were shown. The names that old does not have are returned.
func (s *Spec) KeepHeaders(old map[string]string) (unknown []string) {
	for name, value := range s.Headers {
		if value != Redacted {
			continue
		}
		was, ok := old[name]
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		s.Headers[name] = was
	}
	slices.Sort(unknown)
	return unknown
}

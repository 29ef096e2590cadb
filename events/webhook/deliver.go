// Package webhook brings messages to receivers by HTTP, signed after Standard
// Webhooks 1.0. It trusts neither what a receiver answers nor where its name
// leads to.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/xacam/xacam/events/format"
	"github.com/xacam/xacam/events/outbox"
)

// Config tunes a Deliverer. The zero value is usable.
type Config struct {
	Format    format.Config
	UserAgent string   // default "xacam"
	Resolver  Resolver // default net.DefaultResolver
}

// Deliverer posts messages. Create it with New; it is safe for concurrent use.
type Deliverer struct {
	cfg       Config
	formatter *format.Formatter

	mu      sync.Mutex
	clients map[string]*client // by endpoint
}

var _ outbox.Deliverer = (*Deliverer)(nil)

// client keeps the connections to one endpoint.
type client struct {
	key  string // the settings that it was made for
	http *http.Client
	err  error
}

// New returns a Deliverer. Close it when it is no longer used.
func New(cfg Config) *Deliverer {
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "xacam")
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	return &Deliverer{cfg: cfg, formatter: format.New(cfg.Format), clients: make(map[string]*client)}
}

// Close closes idle connections.
func (d *Deliverer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.clients {
		c.close()
	}
	d.clients = make(map[string]*client)
	return nil
}

// Deliver implements outbox.Deliverer.
func (d *Deliverer) Deliver(ctx context.Context, e outbox.Endpoint, m outbox.Message) outbox.Result {
	body, err := d.formatter.Message(e.Format, m)
	if err != nil { // this message cannot be said in this format
		return outbox.Result{Outcome: outbox.Refused, Err: err, Started: time.Now()}
	}
	return d.post(ctx, &e, m.ID, body)
}

// Heartbeat implements outbox.Deliverer.
func (d *Deliverer) Heartbeat(ctx context.Context, e outbox.Endpoint, id string, h outbox.Heartbeat) outbox.Result {
	body, err := d.formatter.Heartbeat(e.Format, id, h)
	if err != nil {
		return outbox.Result{Outcome: outbox.Refused, Err: err, Started: time.Now()}
	}
	return d.post(ctx, &e, id, body)
}

// Test implements outbox.Deliverer.
func (d *Deliverer) Test(ctx context.Context, e outbox.Endpoint, id string) outbox.Result {
	body, err := d.formatter.Test(e.Format, id, time.Now())
	if err != nil {
		return outbox.Result{Outcome: outbox.Refused, Err: err, Started: time.Now()}
	}
	return d.post(ctx, &e, id, body)
}

// post makes one attempt.
func (d *Deliverer) post(ctx context.Context, e *outbox.Endpoint, id string, body format.Body) (r outbox.Result) {
	r = outbox.Result{Outcome: outbox.Retry, Started: time.Now()}
	defer func() { r.Took = time.Since(r.Started) }()
	timeout := cmp.Or(e.Timeout, outbox.DefaultTimeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var sent time.Time
	var once sync.Once
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { once.Do(func() { sent = time.Now() }) }})
	req, err := d.request(ctx, e, id, body, r.Started)
	if err != nil {
		r.Err = plain(err, timeout)
		return r
	}
	c := d.client(e)
	if c.err != nil {
		r.Err = c.err
		return r
	}
	resp, err := c.http.Do(req)
	once.Do(func() {}) // no writer after this
	r.Sent = sent
	if err != nil {
		r.Err = plain(err, timeout)
		return r
	}
	defer func() { _ = resp.Body.Close() }() // what was not read costs the connection
	r.Status, r.Outcome = resp.StatusCode, outcome(resp.StatusCode)
	if r.Outcome != outbox.Delivered {
		r.Err = statusError(resp.StatusCode)
		r.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	r.Excerpt = excerpt(readAnswer(resp.Body, cancel), resp.Header.Get("Content-Encoding"), repeated(e))
	return r
}

// repeated lists what must not be in an excerpt.
func repeated(e *outbox.Endpoint) []string {
	var list []string
	for _, v := range e.Headers {
		list = append(append(list, v), words(v)...)
	}
	if u, err := url.Parse(e.URL); err == nil {
		for pair := range strings.SplitSeq(u.RawQuery, "&") {
			name, value, found := strings.Cut(pair, "=")
			if !found {
				value = name
			}
			list = append(list, value)
			if text, err := url.QueryUnescape(value); err == nil {
				list = append(list, text)
			}
		}
	}
	for i := range e.Secrets {
		list = append(list, texts(&e.Secrets[i])...)
	}
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) }) // the longest first
	return list
}

// words returns the parts of a header's value that may be repeated on their own:
// what has 6 bytes or more, and the user and password of Basic credentials.
func words(value string) []string {
	var list []string
	add := func(s string) {
		if len(s) >= 6 {
			list = append(list, s)
		}
	}
	for w := range strings.FieldsFuncSeq(value, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`,;="`, r) }) {
		add(w)
	}
	if scheme, encoded, _ := strings.Cut(strings.TrimSpace(value), " "); strings.EqualFold(scheme, "basic") {
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded)); err == nil {
			user, password, _ := strings.Cut(string(b), ":")
			add(string(b))
			add(user)
			add(password)
		}
	}
	return list
}

func (d *Deliverer) request(ctx context.Context, e *outbox.Endpoint, id string, body format.Body, at time.Time) (*http.Request, error) {
	schemes := e.Signing
	if len(schemes) == 0 {
		schemes = []string{outbox.SchemeHMAC}
	}
	sig, err := Sign(e.Secrets, schemes, id, at, body.Bytes)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(body.Bytes))
	if err != nil {
		return nil, errors.New("the address of the endpoint cannot be read")
	}
	if req.URL.User != nil || req.URL.Scheme != "https" && req.URL.Scheme != "http" {
		return nil, errors.New("the address of the endpoint must be http:// or https://, without user and password")
	}
	for k, v := range e.Headers {
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", body.ContentType)
	req.Header.Set("User-Agent", d.cfg.UserAgent)
	req.Header.Set(HeaderID, id)
	req.Header.Set("Idempotency-Key", id) // also lets net/http repeat it on a connection that was just closed
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(HeaderSignature, sig)
	return req, nil
}

// client returns the connections of an endpoint, new ones after a change.
func (d *Deliverer) client(e *outbox.Endpoint) *client {
	key := fmt.Sprintf("%s|%v|%d|%s", e.CA, e.AllowCIDRs, e.Concurrency, e.Timeout)
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.clients[e.Name]
	if c != nil && c.key == key {
		return c
	}
	if c != nil {
		c.close()
	}
	c = d.newClient(e, key)
	d.clients[e.Name] = c
	return c
}

func (d *Deliverer) newClient(e *outbox.Endpoint, key string) *client {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CA != "" {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM([]byte(e.CA)) {
			return &client{key: key, err: errors.New("the certificates of the endpoint cannot be read")}
		}
	}
	g := &guard{allow: e.AllowCIDRs, resolver: d.cfg.Resolver, timeout: cmp.Or(e.Timeout, outbox.DefaultTimeout)}
	n := max(1, e.Concurrency)
	return &client{key: key, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // Proxy stays nil: the environment does not say where secrets go
			DialContext: g.dial, TLSClientConfig: conf, ForceAttemptHTTP2: true,
			DisableCompression: true, MaxResponseHeaderBytes: maxHeaderBytes,
			MaxIdleConns: n, MaxIdleConnsPerHost: n, MaxConnsPerHost: n + 1,
			IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		},
	}}
}

func (c *client) close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

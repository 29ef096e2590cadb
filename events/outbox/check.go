package outbox

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/schedule"
)

// Defaults and limits of an endpoint.
const (
	DefaultTimeout     = 15 * time.Second
	DefaultRate        = 20
	DefaultHeartbeat   = 5 * time.Minute
	DefaultExpireAfter = 7 * 24 * time.Hour
	MaxTimeout         = 30 * time.Second
	MaxRate            = 1000
	MaxConcurrency     = 32
	minExpireAfter     = 3 * 24 * time.Hour
	maxExpireAfter     = 90 * 24 * time.Hour
	minHeartbeat       = 10 * time.Second
	maxHeartbeat       = 24 * time.Hour
	maxCIDRs           = 32
	maxHeaders         = 16
	maxURL             = 2000 // bytes
	maxCA              = 64 << 10
	maxList            = 500 // entries of a list in a filter
)

// Schemes of signing.
const (
	SchemeHMAC    = "v1"  // HMAC-SHA256 with a shared secret
	SchemeEd25519 = "v1a" // Ed25519; the receiver holds no secret
)

// Formats lists every format.
func Formats() []Format { return []Format{FormatCloudEvents, FormatStandard, FormatCAP, FormatNGSILD} }

// Check returns a copy with defaults in place of zero values. The error joins
// one *events.FieldError for each problem; none of them shows the address,
// which may hold a secret.
func (e Endpoint) Check() (Endpoint, error) {
	e = e.withDefaults()
	c := checker{}
	c.name(e.Name)
	c.url(e.URL)
	c.oneOf("format", string(e.Format), Formats())
	c.signing(e.Signing)
	c.cidrs(e.AllowCIDRs)
	c.ca(e.CA)
	c.headers(e.Headers)
	c.duration("timeout", e.Timeout, time.Second, MaxTimeout)
	c.duration("expire_after", e.ExpireAfter, minExpireAfter, maxExpireAfter)
	if e.Heartbeat > 0 {
		c.duration("heartbeat", e.Heartbeat, minHeartbeat, maxHeartbeat)
	}
	if !(e.Rate >= 0.01 && e.Rate <= MaxRate) { // so written, NaN fails too
		c.addf("rate", "%v messages a second; give 0.01 to %d", e.Rate, MaxRate)
	}
	if e.Concurrency < 1 || e.Concurrency > MaxConcurrency {
		c.addf("concurrency", "%d requests at a time; give 1 to %d", e.Concurrency, MaxConcurrency)
	}
	c.filter(e.Filter)
	return e, errors.Join(c.errs...)
}

func (e Endpoint) withDefaults() Endpoint {
	if e.Format == "" {
		e.Format = FormatCloudEvents
	}
	if len(e.Signing) == 0 {
		e.Signing = []string{SchemeHMAC}
	}
	if e.Timeout == 0 {
		e.Timeout = DefaultTimeout
	}
	if e.Rate == 0 {
		e.Rate = DefaultRate
	}
	if e.Concurrency == 0 {
		e.Concurrency = 1
	}
	if e.Heartbeat == 0 {
		e.Heartbeat = DefaultHeartbeat
	}
	if e.ExpireAfter == 0 {
		e.ExpireAfter = DefaultExpireAfter
	}
	return e
}

// checker collects problems.
type checker struct{ errs []error }

func (c *checker) addf(field, reason string, args ...any) {
	c.errs = append(c.errs, &events.FieldError{Field: field, Reason: fmt.Sprintf(reason, args...)})
}

func (c *checker) name(s string) {
	if !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`).MatchString(s) {
		c.addf("name", "%q is not a short name; give 1 to 63 of a-z, 0-9 and -", s)
	}
}

// url accepts what can be dialled and compared without guessing. Addresses in
// unusual forms pass here and are refused when they are dialled.
func (c *checker) url(s string) {
	switch u, err := url.Parse(s); {
	case s == "":
		c.addf("url", "is empty; give https://host/path")
	case len(s) > maxURL:
		c.addf("url", "has %d bytes; at most %d", len(s), maxURL)
	case err != nil || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }):
		c.addf("url", "is not an address; give https://host/path")
	case u.Scheme != "https" && u.Scheme != "http":
		c.addf("url", "must begin with https:// or http://")
	case u.User != nil:
		c.addf("url", "must not hold a user or password; put what the receiver asks for into headers")
	case u.Hostname() == "" || u.Opaque != "":
		c.addf("url", "has no host")
	case u.Fragment != "":
		c.addf("url", "must not have a part after #")
	case u.Port() != "" && !validPort(u.Port()):
		c.addf("url", "has port %s; give 1 to 65535", u.Port())
	case strings.Contains(u.Hostname(), "%"):
		c.addf("url", "must not name a network interface")
	}
}

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func (c *checker) oneOf(field, v string, all []Format) {
	if !slices.Contains(all, Format(v)) {
		c.addf(field, "%q is not one of %v", v, all)
	}
}

func (c *checker) signing(schemes []string) {
	for i, s := range schemes {
		if s != SchemeHMAC && s != SchemeEd25519 {
			c.addf(fmt.Sprintf("signing[%d]", i), "%q is not one of [%s %s]", s, SchemeHMAC, SchemeEd25519)
		} else if slices.Contains(schemes[:i], s) {
			c.addf(fmt.Sprintf("signing[%d]", i), "%q is named twice", s)
		}
	}
}

func (c *checker) cidrs(list []netip.Prefix) {
	if len(list) > maxCIDRs {
		c.addf("allow_cidrs", "has %d networks; at most %d", len(list), maxCIDRs)
	}
	for i, p := range list {
		switch field := fmt.Sprintf("allow_cidrs[%d]", i); {
		case !p.IsValid():
			c.addf(field, "is not a network; give for example 10.92.0.0/16")
		case p.Addr().Is4In6():
			c.addf(field, "%s is an IPv4 network in IPv6 form; give it as IPv4", p)
		case p != p.Masked():
			c.addf(field, "%s has bits behind its length; did you mean %s?", p, p.Masked())
		case p.Bits() == 0:
			c.addf(field, "%s is every address; name the networks that the receiver is in", p)
		}
	}
}

func (c *checker) ca(text string) {
	if text == "" {
		return
	}
	if len(text) > maxCA {
		c.addf("ca", "has %d bytes; at most %d", len(text), maxCA)
		return
	}
	rest, n := []byte(text), 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		n++
		if block.Type != "CERTIFICATE" {
			c.addf("ca", "block %d is a %s; give certificates only", n, block.Type)
			return
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			c.addf("ca", "certificate %d cannot be read: %v", n, err)
			return
		}
	}
	if n == 0 || strings.TrimSpace(string(rest)) != "" {
		c.addf("ca", "is not a list of certificates in PEM form")
	}
}

func (c *checker) headers(h map[string]string) {
	if len(h) > maxHeaders {
		c.addf("headers", "has %d entries; at most %d", len(h), maxHeaders)
	}
	for name, value := range h {
		switch field := "headers." + name; {
		case !httpguts.ValidHeaderFieldName(name) || len(name) > 100:
			c.addf("headers", "%q is not the name of a header", name)
		case reserved(name):
			c.addf(field, "is set by the server itself")
		case !httpguts.ValidHeaderFieldValue(value) || len(value) > 4096:
			c.addf(field, "has a value that cannot be sent; it must be one line of at most 4096 bytes")
		}
	}
}

// reserved reports whether a header belongs to HTTP or to the signature.
func reserved(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "webhook-") || strings.HasPrefix(name, "content-") || strings.HasPrefix(name, "proxy-") ||
		slices.Contains([]string{
			"host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "accept-encoding",
		}, name)
}

func (c *checker) duration(field string, d, least, most time.Duration) {
	if d < least || d > most {
		c.addf(field, "%s; give %s to %s", d, least, most)
	}
}

func (c *checker) filter(f Filter) {
	for name, n := range map[string]int{
		"kinds": len(f.Kinds), "hamlets": len(f.Hamlets), "sources": len(f.Sources), "steps": len(f.Steps),
	} {
		if n > maxList {
			c.addf("filter."+name, "has %d entries; at most %d", n, maxList)
		}
	}
	_, err := NewMatcher(f, schedule.Calendar{})
	if field := (*events.FieldError)(nil); errors.As(err, &field) {
		c.addf("filter."+field.Field, "%s", field.Reason)
	}
}

package rtsp

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

const maxURL = 4096 // bytes

// hidden replaces every secret.
const hidden = "xxxxx"

// URL is the address of a stream. Its String method, and so every formatter,
// hides the password.
type URL struct {
	Secure     bool   // rtsps
	Host       string // host or host:port as written; IPv6 in brackets
	User       string // decoded; may be empty
	pass       string
	hasUser    bool
	pathPlain  string // with secrets, escaped
	pathHidden string
}

// ParseURL reads the address of a stream as people write it. Only rtsp:// and
// rtsps:// are accepted.
//
// The user name and the password end at the last @ before the path, and the
// first colon separates them, so `rtsp://user:p@ss:w%rd#1@host/path` means the
// password `p@ss:w%rd#1`. When every % of them begins a valid escape they are
// decoded, as RFC 3986 wants; otherwise they are taken literally. A password
// that holds a slash is found too, unless what stands before the slash could
// be a host; then write %2F. A literal password that only looks escaped, like
// `a%41`, must be written `a%2541`.
//
// The error never shows the input.
func ParseURL(s string) (*URL, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxURL {
		return nil, errors.New("the address is longer than 4096 characters")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, errors.New("the address has a control character")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "rtsp" && scheme != "rtsps" {
		return nil, errors.New("the address must begin with rtsp:// or rtsps://")
	}
	userinfo, host, path := split(rest)
	u := &URL{Secure: scheme == "rtsps", Host: host}
	if err := checkHost(host); err != nil {
		return nil, err
	}
	if userinfo != nil {
		u.hasUser = true
		user, pass, _ := strings.Cut(*userinfo, ":")
		u.User, u.pass = decode(user, *userinfo), decode(pass, *userinfo)
		if strings.ContainsFunc(u.User+u.pass, func(r rune) bool { return r < ' ' }) {
			return nil, errors.New("the user name or password has a control character")
		}
	}
	u.pathPlain = escapePath(path)
	if _, err := u.address(); err != nil {
		return nil, errors.New("the path of the address is not valid")
	}
	u.pathHidden = hidePath(u.pathPlain)
	return u, nil
}

// split cuts what follows the scheme. userinfo is nil when there is none.
func split(rest string) (userinfo *string, host, path string) {
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	at := strings.LastIndexByte(rest[:end], '@')
	if at < 0 && checkHost(hostOnly(rest[:end])) != nil {
		// Perhaps the slash belongs to the password.
		if later := strings.LastIndexByte(rest, '@'); later >= 0 {
			next := strings.IndexByte(rest[later:], '/')
			if next < 0 {
				next = len(rest) - later
			}
			at, end = later, later+next
		}
	}
	if at >= 0 {
		u := rest[:at]
		userinfo = &u
	}
	hostpart := rest[at+1 : end]
	host = hostOnly(hostpart)
	return userinfo, host, hostpart[len(host):] + rest[end:]
}

// hostOnly drops a query or fragment that follows the host without a path.
func hostOnly(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		return s[:i]
	}
	return s
}

func checkHost(host string) error {
	name, port := host, ""
	if strings.HasPrefix(host, "[") {
		addr, after, ok := strings.Cut(host[1:], "]")
		if _, err := netip.ParseAddr(addr); err != nil || !ok {
			return errors.New("the IPv6 address in brackets is not valid")
		}
		if after != "" && !strings.HasPrefix(after, ":") {
			return errors.New("only a port may follow the IPv6 address")
		}
		name, port = "x", strings.TrimPrefix(after, ":")
	} else if before, after, ok := strings.Cut(host, ":"); ok {
		name, port = before, after
		if n, err := strconv.Atoi(port); err != nil || n < 1 {
			return errors.New("the port must be a number from 1 to 65535")
		}
	}
	if name == "" {
		return errors.New("the address names no host")
	}
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	if strings.Trim(name, allowed) != "" {
		return errors.New("the host name has a character that is not allowed")
	}
	if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
		return errors.New("the port must be a number from 1 to 65535")
	}
	return nil
}

// decode undoes percent escapes of s when all of whole are valid.
func decode(s, whole string) string {
	if _, err := url.PathUnescape(whole); err != nil {
		return s
	}
	d, _ := url.PathUnescape(s) // a part of a valid whole, cut at a colon, is valid
	return d
}

var escape = regexp.MustCompile(`%([0-9a-fA-F]{2})?`)

// escapePath makes stray characters of a path and query safe for a request
// line and keeps valid escapes.
func escapePath(p string) string {
	p = escape.ReplaceAllStringFunc(p, func(m string) string {
		if len(m) == 1 {
			return "%25"
		}
		return m
	})
	p = strings.NewReplacer(" ", "%20", "#", "%23", `"`, "%22", "<", "%3C", ">", "%3E").Replace(p)
	if strings.HasPrefix(p, "?") || strings.HasPrefix(p, "%23") {
		p = "/" + p
	}
	return p
}

var secretParam = regexp.MustCompile(
	`(?i)((?:pass(?:word|wd)?|pwd|psw|token|secret|auth|key)=)([^&/?]*)`)

// hidePath masks credentials that some cameras want in the path or query, such
// as XMEye's /user=admin_password=…_channel=1.
func hidePath(p string) string {
	return secretParam.ReplaceAllStringFunc(p, func(m string) string {
		k, v, _ := strings.Cut(m, "=")
		if i := strings.Index(v, "_channel"); i >= 0 {
			return k + "=" + hidden + v[i:]
		}
		return k + "=" + hidden
	})
}

func (u *URL) scheme() string {
	if u.Secure {
		return "rtsps"
	}
	return "rtsp"
}

// address returns u for gortsplib, with the password.
func (u *URL) address() (*base.URL, error) {
	p, err := url.Parse(u.scheme() + "://" + u.Host + u.pathPlain)
	if err != nil {
		return nil, err
	}
	if u.hasUser {
		p.User = url.UserPassword(u.User, u.pass)
	}
	return (*base.URL)(p), nil
}

// Hostname returns the host without port and brackets.
func (u *URL) Hostname() string { return (&url.URL{Host: u.Host}).Hostname() }

// HostPort returns host:port with the scheme's default port (554, 322).
func (u *URL) HostPort() string {
	port := (&url.URL{Host: u.Host}).Port()
	if port == "" {
		port = "554"
		if u.Secure {
			port = "322"
		}
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// String returns the address with the password masked.
func (u *URL) String() string {
	user := ""
	if u.hasUser {
		user = url.User(u.User).String() + ":" + hidden + "@"
	}
	return u.scheme() + "://" + user + u.Host + u.pathHidden
}

// GoString hides the password from %#v.
func (u *URL) GoString() string { return "rtsp.URL(" + u.String() + ")" }

// scrub masks every form of the password in a text that came from elsewhere.
func (u *URL) scrub(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if u.pass != "" {
		enc := url.UserPassword("", u.pass).String()[1:]
		s = strings.NewReplacer(u.pass, hidden, enc, hidden, url.QueryEscape(u.pass), hidden, url.PathEscape(u.pass), hidden,
			strconv.Quote(u.pass), hidden).Replace(s)
	}
	for _, m := range secretParam.FindAllStringSubmatch(u.pathPlain, -1) {
		if v := m[2]; len(v) > 2 {
			s = strings.ReplaceAll(s, v, hidden)
		}
	}
	return s
}

// Redact returns s with the password of a stream address masked. It accepts
// anything; what it cannot read as an address it masks up to the last @.
func Redact(s string) string {
	if u, err := ParseURL(s); err == nil {
		return u.String()
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	} else {
		scheme += "://"
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = hidden + rest[at:]
	}
	return hidePath(scheme + rest)
}

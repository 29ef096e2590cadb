package rtsp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// Reason says why a session failed; it is also a metric label.
type Reason string

// Reasons.
const (
	Unreachable      Reason = "unreachable"       // refused, no route, timeout, unknown host
	WrongPassword    Reason = "wrong_password"    // refused or missing credentials
	NotRTSP          Reason = "not_rtsp"          // another protocol listens there
	NotFound         Reason = "not_found"         // no such path
	NoVideo          Reason = "no_video"          // no video track
	UnsupportedCodec Reason = "unsupported_codec" // neither H.264 nor H.265
	TLS              Reason = "tls"               // certificate or handshake
	Stalled          Reason = "stalled"           // connected, but no video comes
	NoKeyFrame       Reason = "no_key_frame"      // video without a frame to start from
	Closed           Reason = "closed"            // ended by the camera
	Refused          Reason = "refused"           // an answer that cannot be followed: redirect, transport, protocol error
	Internal         Reason = "internal"          // a panic of a handler or parser
)

// reasons lists every Reason, for metrics.
func reasons() []Reason {
	return []Reason{
		Unreachable, WrongPassword, NotRTSP, NotFound, NoVideo, UnsupportedCodec,
		TLS, Stalled, NoKeyFrame, Closed, Refused, Internal,
	}
}

// Error is the end of a session. Its text is one sentence that says what to
// do, without any password.
type Error struct {
	Reason Reason
	Host   string // host:port
	text   string
	err    error // never printed: it may quote an address
}

// Error implements error.
func (e *Error) Error() string { return e.text }

// Unwrap returns the cause. Do not print it: it may hold a password.
func (e *Error) Unwrap() error { return e.err }

// ReasonOf returns the Reason of err, or "" when it has none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// fail builds an Error about u; detail names what happened and what to do.
func (u *URL) fail(r Reason, cause error, format string, args ...any) error {
	host := u.HostPort()
	return &Error{Reason: r, Host: host, err: cause, text: u.scrub("camera at " + host + ": " + fmt.Sprintf(format, args...))}
}

// Causes found by sniff, before gortsplib sees the bytes.
var (
	errNotRTSP = errors.New("not an RTSP server")
)

// classify turns what gortsplib and the network return into an Error. s tells
// how far the session came.
func (u *URL) classify(err error, g *guard) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if g.refusal != nil {
		return g.refusal
	}
	if status, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err); ok {
		return u.badStatus(status, err)
	}
	switch {
	case errors.Is(err, errNotRTSP):
		return u.fail(NotRTSP, err, "%s answers there, not RTSP; check the port of the address (RTSP is usually 554)", g.speaks())
	case isTLS(err):
		return u.fail(TLS, err, "the encrypted connection failed (%s); check the camera's certificate, or use rtsp:// on a network you trust", tlsText(err))
	case !g.connected():
		return u.fail(Unreachable, err, "cannot connect (%s); check that it is switched on, the address, and that RTSP is enabled", netText(err))
	case !g.answered():
		return u.fail(NotRTSP, err, "the port is open but does not answer RTSP; check the port of the address (RTSP is usually 554), or wait if the camera is starting")
	case errors.As(err, new(liberrors.ErrClientAuthSetup)):
		return u.fail(WrongPassword, err, "it asks for a way to log in that is not supported; allow Digest or Basic authentication on the camera")
	case errors.As(err, new(liberrors.ErrClientRequestTimedOut)), isTimeout(err):
		return u.fail(Stalled, err, "it stopped answering; it may be overloaded or the network too slow")
	case errors.As(err, new(liberrors.ErrClientServerRequestedTCP)), errors.As(err, new(liberrors.ErrClientServerRequestedUDP)):
		return u.fail(Refused, err, "it does not offer the chosen transport; choose the other one (tcp or udp)")
	case errors.As(err, new(liberrors.ErrClientTCPTimeout)), errors.As(err, new(liberrors.ErrClientUDPTimeout)):
		return u.fail(Stalled, err, "video stopped coming; check the camera and the network")
	case errors.As(err, new(liberrors.ErrClientSDPInvalid)):
		return u.fail(Refused, err, "its description of the stream cannot be read (%s)", short(err))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err):
		return u.fail(Closed, err, "it closed the connection; it may have restarted or reached its limit of viewers")
	}
	return u.fail(Refused, err, "the session failed (%s)", short(err))
}

func (u *URL) badStatus(s liberrors.ErrClientBadStatusCode, err error) error {
	switch s.Code { //nolint:exhaustive // the rest share one sentence
	case base.StatusUnauthorized, base.StatusForbidden:
		if !u.hasUser {
			return u.fail(WrongPassword, err, "it asks for a user name and password; put them into the address as rtsp://user:password@host/path")
		}
		return u.fail(WrongPassword, err, "it refused the user name or password; correct them in the address, and check that the user may view video")
	case base.StatusNotFound, base.StatusGone, base.StatusBadRequest:
		return u.fail(NotFound, err, "there is no stream at the path %q (status %d); see the camera's manual for the path", u.pathHidden, s.Code)
	case base.StatusUnsupportedTransport:
		return u.fail(Refused, err, "it does not offer the chosen transport; choose the other one (tcp or udp)")
	case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
		return u.fail(Refused, err, "it has no room for another viewer (status %d); close other viewers or raise its limit", s.Code)
	}
	return u.fail(Refused, err, "it answered with status %d (%s)", s.Code, cut(s.Message))
}

func isTLS(err error) bool {
	return errors.As(err, new(tls.RecordHeaderError)) || errors.As(err, new(*tls.CertificateVerificationError)) ||
		errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError)) ||
		errors.As(err, new(x509.CertificateInvalidError)) || errors.As(err, new(tls.AlertError)) ||
		err != nil && strings.HasPrefix(err.Error(), "tls: ")
}

func tlsText(err error) string {
	switch {
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it does not speak TLS"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "its certificate is not signed by an authority we know"
	case errors.As(err, new(x509.HostnameError)):
		return "its certificate is for another name"
	}
	return short(err)
}

func netText(err error) string {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	case isDNS && dns.IsNotFound:
		return "unknown host name"
	case isDNS:
		return "the name server does not answer"
	case isTimeout(err):
		return "no answer in time"
	case isReset(err), errors.Is(err, io.EOF):
		return "connection closed at once"
	}
	return short(err)
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed)
}

// short is the text of a foreign error, bounded and on one line.
func short(err error) string { return cut(err.Error()) }

func cut(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	return s
}

package webhook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Resolver turns names into addresses. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// errForbidden is why an address is not dialled.
var errForbidden = errors.New("is not a public address; if the receiver is there, an administrator must allow its network in allow_cidrs")

// guard dials public addresses and those of networks that are allowed. It
// decides on the address that is dialled, not on its name: what a name led to
// when it was checked is no proof of where it leads to later.
type guard struct {
	allow    []netip.Prefix
	resolver Resolver
	timeout  time.Duration // for all addresses: net/http dials without the request's deadline
}

// dial resolves a name once and connects to one of its addresses.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, g.timeout)
	defer stop()
	list, err := g.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second, Control: g.control}
	var errs []error
	for i, a := range list {
		if !g.allowed(a) {
			errs = append(errs, fmt.Errorf("%s %w", a, errForbidden))
			continue
		}
		// One address that does not answer must not use up the time of the others.
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if deadline, ok := ctx.Deadline(); ok && i < len(list)-1 {
			attempt, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		}
		c, err := d.DialContext(attempt, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// resolve returns the addresses of a host, at most 8.
func (g *guard) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if endsInNumber(host) {
		return nil, errors.New("the host is an address in an unusual form; write it as 203.0.113.7 or use a name")
	}
	list, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("the host has no address")
	}
	return list[:min(len(list), 8)], nil
}

// endsInNumber reports whether some systems would read a host as an IPv4 address
// although it is none in the ordinary form: 2130706433, 0x7f.1, 0177.0.0.1.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// control looks at the address once more when the socket is there, whatever led
// to it.
func (g *guard) control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", address, err)
	}
	if !g.allowed(a.Addr()) {
		return fmt.Errorf("%s %w", a.Addr(), errForbidden)
	}
	return nil
}

func (g *guard) allowed(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	return slices.ContainsFunc(g.allow, func(p netip.Prefix) bool { return p.Contains(a) }) || public(a)
}

// public reports whether an address is one of the public internet. IPv6
// addresses that carry an IPv4 one are judged by that, and those of tunnels that
// nobody needs any more are not public.
func public(a netip.Addr) bool {
	if a.Is4() {
		return !contains(special4(), a)
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // NAT64, RFC 6052
		return public(netip.AddrFrom4([4]byte(b[12:])))
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214
		return false
	}
	return netip.MustParsePrefix("2000::/3").Contains(a) && !contains(special6(), a)
}

func contains(list []string, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(s string) bool { return netip.MustParsePrefix(s).Contains(a) })
}

// special4 are the IPv4 networks that are not global, IANA special-purpose
// address registry, and multicast.
func special4() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
	}
}

// special6 are those within 2000::/3: Teredo, benchmarks, ORCHID, documentation
// and 6to4. All outside 2000::/3 is not global: ::1, IPv4-compatible, fc00::/7,
// fe80::/10, multicast.
func special6() []string {
	return []string{"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"}
}

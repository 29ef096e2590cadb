package api

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// LoopbackOnly returns an error unless addr ("host:port") is a loopback
// address: an IP of the loopback network or the name localhost. The API has no
// users and no passwords yet, so whoever reaches it sees every event.
func LoopbackOnly(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("listen address %q: must be host:port, for example 127.0.0.1:8080", addr)
	}
	if strings.EqualFold(host, "localhost") {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("listen address %q: must be on 127.0.0.1, [::1] or localhost, "+
		"because the API has no log-in yet and anyone who reaches it could read every event", addr)
}

// hostAllowed reports whether the Host header of a request names one of hosts,
// with or without a port. Names compare without case, addresses by value.
func hostAllowed(header string, hosts []string) bool {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), ".")
	ip, ipErr := netip.ParseAddr(host)
	for _, want := range hosts {
		if strings.EqualFold(host, want) {
			return host != ""
		}
		if w, err := netip.ParseAddr(want); err == nil && ipErr == nil && w == ip {
			return true
		}
	}
	return false
}

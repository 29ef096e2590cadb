package outbox

import (
	"net/netip"
	"time"

	"github.com/xacam/xacam/events"
)

// Format is the body that an endpoint gets.
type Format string

// Formats. CloudEvents is the default.
const (
	FormatCloudEvents Format = "cloudevents" // CloudEvents 1.0, structured JSON
	FormatStandard    Format = "standard"    // {type, timestamp, data} of Standard Webhooks
	FormatCAP         Format = "cap"         // OASIS CAP 1.2 XML
	FormatNGSILD      Format = "ngsi-ld"     // Smart Data Models Alert, with @context
)

// Endpoint is where deliveries go. The zero values of optional fields are
// replaced by their defaults in Check.
type Endpoint struct {
	Name     string // slug
	Version  int
	Enabled  bool
	Disabled string // why, when not enabled

	URL         string
	Format      Format
	Filter      Filter
	Signing     []string          // "v1", "v1a"; default v1
	AllowCIDRs  []netip.Prefix    // private networks that its name may lead to
	CA          string            // PEM; "" trusts the system's
	Timeout     time.Duration     // of one attempt; default 15 s, 1 s to 30 s
	Rate        float64           // messages a second, catch-up included; default 20
	Concurrency int               // requests at a time; default 1. More keeps the order of each source only
	Heartbeat   time.Duration     // default 5 min; negative: none
	ExpireAfter time.Duration     // what waits longer is given up; default 7 d, at least 3 d
	Headers     map[string]string // fixed ones that the receiver asks for; values are secrets

	Secrets []Secret // opened; never shown
	Health  Health
}

// Secret signs. Until Expires an old one signs beside the new one.
type Secret struct {
	ID      string
	Scheme  string // "v1", "v1a"
	Key     []byte // HMAC key of 24 to 64 bytes, or the Ed25519 seed of 32
	Public  string // whpk_… of v1a
	Created time.Time
	Expires time.Time // zero: never
}

// Filter says which changes an endpoint wants. Empty lists want all.
type Filter struct {
	Kinds    []events.Kind
	Severity events.Severity // at least; "" is every one
	Hamlets  []string
	Sources  []string      // camera slugs, sensor IDs
	Steps    []events.Step // default raised and cleared
	Schedule string        // see events/schedule; "" is always
}

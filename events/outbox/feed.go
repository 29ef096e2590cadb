package outbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/schedule"
)

// FeedKey lets a receiver read the feed of changes. The key itself is known to
// the receiver only.
type FeedKey struct {
	Name      string // slug
	Hash      [sha256.Size]byte
	Filter    Filter // no Steps: all of them
	PerMinute int    // requests; 1 to 6000
	Created   time.Time
	Expires   time.Time // zero: never
	LastUsed  time.Time // to the minute; zero: never
}

// keyPrefix begins every key, so that one that leaks is recognised.
const keyPrefix = "xfk_"

// NewFeedSecret returns a new key, "xfk_" and 43 characters.
func NewFeedSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return keyPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// HashFeedSecret returns the hash under which a key is kept, and whether secret
// has the form of a key. The key has 256 random bits: a slow hash would add
// nothing.
func HashFeedSecret(secret string) (hash [sha256.Size]byte, ok bool) {
	rest, ok := strings.CutPrefix(secret, keyPrefix)
	if !ok || len(rest) != 43 {
		return hash, false
	}
	return sha256.Sum256([]byte(secret)), true
}

// DefaultPerMinute is the rate of a key that has none.
const DefaultPerMinute = 60

var slug = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Check fills in defaults and returns everything that is wrong as joined
// *events.FieldError.
func (k *FeedKey) Check() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &events.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
	if !slug.MatchString(k.Name) {
		bad("name", "must be 1 to 63 of a-z, 0-9 and -, such as ioc-tra-vinh")
	}
	if k.PerMinute == 0 {
		k.PerMinute = DefaultPerMinute
	}
	if k.PerMinute < 1 || k.PerMinute > 6000 {
		bad("per_minute", "must be from 1 to 6000")
	}
	for _, list := range []struct {
		field  string
		values []string
	}{{"filter.hamlets", k.Filter.Hamlets}, {"filter.sources", k.Filter.Sources}, {"filter.kinds", texts(k.Filter.Kinds)}} {
		for _, v := range list.values {
			if v == "" || utf8.RuneCountInString(v) > 100 || !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
				bad(list.field, "must be names of 1 to 100 printable characters")
				break
			}
		}
		if len(list.values) > 200 {
			bad(list.field, "must be at most 200")
		}
	}
	if _, err := NewMatcher(k.Filter, schedule.Calendar{}); err != nil {
		if f, ok := errors.AsType[*events.FieldError](err); ok {
			bad("filter."+f.Field, "%s", f.Reason)
		} else {
			bad("filter", "%v", err)
		}
	}
	return errors.Join(errs...)
}

func texts[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// FeedPage is a part of the feed. Every number after the one that was asked
// from, up to Next, is in Items, Filtered or Deleted.
type FeedPage struct {
	Items    []events.Event // as of their change, with Sequence and Step
	Next     int64          // ask from here for what follows
	Filtered int64          // changes that the key does not see
	Deleted  int64          // changes of events that were deleted
	First    int64          // smallest number that is still there; 0 for none
	Last     int64          // newest number
}
